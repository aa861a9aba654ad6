//! The process that we are in: its forks, and what it may have.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::Once;

/// Makes every forked child let go of its parent's hubs, through `pthread_atfork(3)`. The hosts
/// here call it before they start a hub; a Rust program that forks calls it itself. Calling it
/// again does nothing.
pub fn watch_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        crate::hub::in_child(inode);
    }
    // SAFETY: the handler is a function for the life of the process (the library is linked
    // `-z nodelete`), touches only atomics, fstat(2) and close(2), and is thus safe in a child of a
    // process with threads.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

/// What a descriptor refers to; none if it is none.
fn inode(fd: RawFd) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat is harmless whatever the number is, and fills in the struct if it returns 0.
    unsafe { (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init().st_ino) }
}

/// How many descriptors this process may have.
pub(crate) fn descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit has room for the answer.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}
