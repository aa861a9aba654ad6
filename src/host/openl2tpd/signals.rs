//! Keeping the daemon's own habit with signals from locking it up.
//!
//! openl2tpd leaves whatever it is doing by `siglongjmp` on SIGHUP, SIGINT and SIGTERM, `malloc`
//! included. In a process with one thread glibc's `malloc` takes no lock, so that mostly goes
//! well. Our worker makes it two, and a lock that is left held stops the daemon's next allocation
//! for good (measured: 8 of 25 daemons under a storm of SIGHUP; none with what is done here).
//!
//! So these signals are blocked on the main thread and read from a signalfd in the daemon's own
//! loop; there the daemon's handler runs, where nothing is left half-done. A daemon that does not
//! offer its loop (`usl_fd_add_fd`) keeps its signals as they are.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::host::symbol;
use crate::log::{Log, log};

type Callback = extern "C" fn(fd: c_int, argument: *mut c_void);
type AddFd = unsafe extern "C" fn(fd: c_int, callback: Callback, argument: *mut c_void) -> c_int;
type RemoveFd = unsafe extern "C" fn(fd: c_int) -> c_int;

/// Whether our descriptor is in the daemon's loop.
static HELD: AtomicBool = AtomicBool::new(false);

/// Open for the life of the process, like the library.
static PENDING: OnceLock<SignalFd> = OnceLock::new();

fn held() -> SigSet {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// Has the daemon's loop deliver the signals from now on. To be called on the main thread.
pub(super) fn hold(log: &Log) {
    if HELD.load(Ordering::Relaxed) {
        return;
    }
    let Some(add_fd) = symbol::find(c"usl_fd_add_fd") else { return };
    // SAFETY: the type of usl_fd_add_fd in openl2tp 1.8.
    let add_fd = unsafe { std::mem::transmute::<*mut c_void, AddFd>(add_fd.as_ptr()) };
    let pending = match SignalFd::with_flags(&held(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) {
        Ok(opened) => PENDING.get_or_init(|| opened),
        Err(error) => {
            log!(log, Warning, "herald: cannot hold the daemon's signals: {error}");
            return;
        }
    };
    // SAFETY: the daemon keeps the descriptor and the callback, which both live for ever.
    if unsafe { add_fd(pending.as_raw_fd(), deliver, null_mut()) } < 0 {
        log!(log, Warning, "herald: the daemon does not take our descriptor into its loop");
        return;
    }
    let _ = held().thread_block();
    HELD.store(true, Ordering::Relaxed);
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        // What the daemon starts expects its signals as they were.
        let _ = held().thread_unblock();
    }
    // SAFETY: the handler is a function for the life of the process, and async-signal-safe.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

/// Takes our descriptor out of the daemon's loop. The signals stay blocked: the daemon is ending,
/// and its handler would jump out of that.
pub(super) fn release() {
    if !HELD.swap(false, Ordering::Relaxed) {
        return;
    }
    let (Some(pending), Some(remove_fd)) = (PENDING.get(), symbol::find(c"usl_fd_remove_fd")) else {
        return;
    };
    // SAFETY: the type of usl_fd_remove_fd in openl2tp 1.8; what it does not know it ignores.
    unsafe {
        std::mem::transmute::<*mut c_void, RemoveFd>(remove_fd.as_ptr())(pending.as_raw_fd());
    }
}

/// Called from the daemon's loop when a signal is pending. The daemon's handler may leave this
/// function by `siglongjmp`, back to the loop, which restores the mask.
extern "C" fn deliver(_fd: c_int, _argument: *mut c_void) {
    boundary!((), {
        let Some(Ok(Some(found))) = PENDING.get().map(SignalFd::read_signal) else { return };
        let Ok(signal) = Signal::try_from(found.ssi_signo as c_int) else { return };
        let one = SigSet::from(signal);
        let _ = raise(signal);
        let _ = one.thread_unblock();
        let _ = one.thread_block();
    })
}
