//! Waking the worker, only when it sleeps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::fd::Fd;
use super::lane::Lane;
use super::sync::{AtomicU64, Ordering, fence};

/// Which sleep the worker is in: odd while it sleeps, even while it is awake. Only the worker
/// writes it. A publisher remembers the sleep that it has already ended, so a publish that is
/// abandoned half-way costs at most one wake-up more, never a lost one.
pub(super) struct Epoch(AtomicU64);

impl Epoch {
    pub(super) fn new() -> Self {
        Epoch(AtomicU64::new(0))
    }

    /// Announces that the worker goes to sleep. It must look at every lane once more after this.
    pub(super) fn fall_asleep(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Announces that the worker is awake.
    pub(super) fn wake_up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// After a push into `lane`: calls `wake` if the worker sleeps and this lane's publisher has
    /// not woken it from this sleep yet.
    pub(super) fn after_push(&self, lane: &Lane, wake: impl FnOnce()) {
        // Either the worker's last look sees the push, or this load sees the worker asleep.
        fence(Ordering::SeqCst);
        let epoch = self.0.load(Ordering::Relaxed);
        if epoch % 2 == 1 && !lane.has_woken(epoch) {
            wake();
            lane.woke(epoch);
        }
    }
}

/// The way to a worker that sleeps in `epoll_wait`: a socket pair rather than an eventfd, since
/// a `send` to a descriptor that the host has closed and opened again as a file of its own fails,
/// where a `write` would land in that file.
pub(super) struct Bell {
    ring: Fd<OwnedFd>,
    hear: Fd<OwnedFd>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ring, hear) = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags)?;
        Ok(Bell { ring: Fd::new(ring), hear: Fd::new(hear) })
    }

    /// Wakes the worker; false if the host has closed our descriptors.
    pub(super) fn ring(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // A full socket means that the worker has been told already.
        matches!(
            send(self.ring.as_fd().as_raw_fd(), &[1], flags),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR)
        )
    }

    /// Forgets every ring so far.
    pub(super) fn clear(&self) {
        while matches!(recv(self.hear.as_fd().as_raw_fd(), &mut [0; 8], MsgFlags::MSG_DONTWAIT), Ok(1..))
        {
        }
    }

    /// What the worker waits on.
    pub(super) fn fd(&self) -> impl AsFd + '_ {
        &self.hear
    }
}
