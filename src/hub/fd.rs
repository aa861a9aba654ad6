//! Descriptors in a process that is not ours.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};

use nix::sys::stat::fstat;

use super::fork;

/// A descriptor that stays ours, whatever the host does: a forked child closes it at birth, and
/// if the host closed it by mistake and its number is somebody else's now, that is not closed.
#[derive(Debug)]
pub struct Fd<T: AsFd + IntoRawFd> {
    /// None only while it is dropped.
    inner: Option<T>,
    identity: Option<(u64, u64)>,
}

impl<T: AsFd + IntoRawFd> Fd<T> {
    /// Takes care of a descriptor that has just been opened.
    pub fn new(inner: T) -> Self {
        let identity = identity(&inner);
        fork::opened(&inner.as_fd(), identity.map_or(0, |(_, inode)| inode));
        Fd { identity, inner: Some(inner) }
    }

    /// Takes care of a descriptor that forked children shall inherit and use.
    pub fn inherited(inner: T) -> Self {
        Fd { identity: identity(&inner), inner: Some(inner) }
    }

    /// Whether its number is still that of what was opened. What the host does meanwhile to
    /// descriptors that are not its own is not seen.
    pub fn is_ours(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| self.is(inner))
    }

    fn is(&self, inner: &T) -> bool {
        self.identity.is_some() && identity(inner) == self.identity
    }

    /// What it was made of.
    pub fn get(&self) -> &T {
        self.inner.as_ref().expect("it is there until it is dropped")
    }

    /// What it was made of, to be changed.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("it is there until it is dropped")
    }
}

impl<T: AsFd + IntoRawFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }
}

impl<T: AsFd + IntoRawFd> Drop for Fd<T> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        fork::closing(&inner.as_fd());
        if !self.is(&inner) {
            let _ = inner.into_raw_fd();
        }
    }
}

/// What a descriptor refers to; every socket has a number of its own.
fn identity(fd: &impl AsFd) -> Option<(u64, u64)> {
    fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
