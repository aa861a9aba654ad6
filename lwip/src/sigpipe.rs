//! Writing to pipes without SIGPIPE, whose handling is the program's own affair.

use std::mem::zeroed;
use std::ptr::null_mut;

/// Writes with SIGPIPE held back, and takes back the one that the write has raised.
pub(crate) fn held_back(write: impl FnOnce() -> isize) -> isize {
    // SAFETY: the sets are local, and filled by the calls before they are used; the thread's mask is
    // put back. A SIGPIPE that was pending before is left so.
    unsafe {
        let [mut pipe, mut before, mut pending] = zeroed::<[libc::sigset_t; 3]>();
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::sigpending(&mut pending);
        if libc::sigismember(&pending, libc::SIGPIPE) == 1 {
            return write();
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
        let written = write();
        let error = *libc::__errno_location();
        if written < 0 && error == libc::EPIPE {
            let at_once = zeroed::<libc::timespec>();
            libc::sigtimedwait(&pipe, null_mut(), &at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, null_mut());
        *libc::__errno_location() = error;
        written
    }
}
