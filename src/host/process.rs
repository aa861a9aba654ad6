//! The process that we are in: its forks, and what it may have.

use std::sync::Once;

/// Makes every forked child let go of its parent's hubs, through `pthread_atfork(3)`. The hosts
/// here call it before they start a hub; a Rust program that forks calls it itself. Calling it
/// again does nothing.
pub fn watch_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        crate::hub::in_child();
    }
    // SAFETY: the handler is a function for the life of the process (the library is linked
    // `-z nodelete`), touches only atomics and close(2), and is thus safe in a child of a
    // process with threads.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
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
