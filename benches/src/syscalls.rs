//! Counts the system calls with which a publish reaches others.
//!
//! This program defines `send` and `epoll_ctl` before libc does, so that every call of them in it
//! comes through here: what wakes the worker of Herald's hub, and each client's turn in the send
//! loop. Neither uses another system call to publish.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// How many such calls this thread has made.
#[inline]
pub fn calls() -> u64 {
    CALLS.get()
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

/// `send(2)`.
///
/// # Safety
///
/// As `send(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(fd: c_int, data: *const c_void, length: usize, flags: c_int) -> isize {
    count();
    let nobody: *const c_void = std::ptr::null();
    // SAFETY: the system call that libc's `send` makes, with the caller's arguments.
    unsafe { libc::syscall(libc::SYS_sendto, fd, data, length, flags, nobody, 0usize) as isize }
}

/// `epoll_ctl(2)`.
///
/// # Safety
///
/// As `epoll_ctl(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_ctl(set: c_int, change: c_int, fd: c_int, event: *mut c_void) -> c_int {
    count();
    // SAFETY: the system call that libc's `epoll_ctl` makes, with the caller's arguments.
    unsafe { libc::syscall(libc::SYS_epoll_ctl, set, change, fd, event) as c_int }
}
