//! Which process we are in.
//!
//! A forked child has no worker, and shares every descriptor with its parent: it must not write
//! into its parent's sockets, nor keep them open after the parent has gone. So the library keeps
//! a set of the descriptors that it opened, and a child closes them before it does anything else: those
//! that are still what was opened, and not the host's, which may have closed ours by mistake.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Descriptors above this are not closed in children. Linux gives the lowest free number, so only
/// a process with this many open files at once gets there.
const TRACKED: usize = 65536;
static OPEN: [AtomicU64; TRACKED / 64] = [const { AtomicU64::new(0) }; TRACKED / 64];
/// Their inodes. Memory is used only for numbers that have been ours.
static INODES: [AtomicU64; TRACKED] = [const { AtomicU64::new(0) }; TRACKED];

/// A number that changes in every forked child.
pub(crate) fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// To be called in a child between its `fork` and anything else, as `pthread_atfork` does. Every
/// hub of the parent is closed in the child from here on. `inode` says what a descriptor refers to.
/// Async-signal-safe, if that is.
pub(crate) fn in_child(inode: impl Fn(RawFd) -> Option<u64>) {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for (word, set) in OPEN.iter().enumerate() {
        let mut bits = set.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let fd = (word * 64) as RawFd + bits.trailing_zeros() as RawFd;
            let ours = INODES.get(fd as usize).map(|inode| inode.load(Ordering::Relaxed));
            if inode(fd) == ours {
                let _ = nix::unistd::close(fd);
            }
            bits &= bits - 1;
        }
    }
}

/// Enters a descriptor, which refers to this inode, into the set.
pub(crate) fn opened(fd: &impl AsRawFd, inode: u64) {
    if let Some(place) = INODES.get(fd.as_raw_fd() as usize) {
        place.store(inode, Ordering::Relaxed);
    }
    with_bit(fd, |set, bit| set.fetch_or(bit, Ordering::Relaxed));
}

/// Takes a descriptor out of the set, before it is closed.
pub(crate) fn closing(fd: &impl AsRawFd) {
    with_bit(fd, |set, bit| set.fetch_and(!bit, Ordering::Relaxed));
}

fn with_bit(fd: &impl AsRawFd, change: impl FnOnce(&AtomicU64, u64) -> u64) {
    let fd = fd.as_raw_fd() as usize;
    if let Some(set) = OPEN.get(fd / 64) {
        change(set, 1 << (fd % 64));
    }
}
