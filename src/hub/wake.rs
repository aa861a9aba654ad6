//! Waking the worker, only when it sleeps.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::fd::Fd;
use super::lane::Lane;
use super::poll::{Poll, Set};
use super::sync::{AtomicU64, Barrier, Ordering};

/// Which sleep the worker is in: odd while it sleeps, even while it is awake. Only the worker
/// writes it. A publisher remembers the sleep that it has already ended, so a publish that is
/// abandoned half-way costs at most one wake-up more, never a lost one.
pub(super) struct Epoch {
    number: AtomicU64,
    barrier: Barrier,
}

impl Epoch {
    pub(super) fn new() -> Self {
        Epoch { number: AtomicU64::new(0), barrier: Barrier::new() }
    }

    /// Announces that the worker goes to sleep. It must look at every lane once more after this, and
    /// not sleep this time if the result is false.
    #[must_use]
    pub(super) fn fall_asleep(&self) -> bool {
        self.number.fetch_add(1, Ordering::Relaxed);
        self.barrier.rare()
    }

    /// Announces that the worker is awake.
    pub(super) fn wake_up(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// After something was put where the worker looks: calls `wake` if it sleeps.
    pub(super) fn after_summons(&self, wake: impl FnOnce()) {
        if self.sleep().is_some() {
            wake();
        }
    }

    /// After a push into `lane`: calls `wake` if the worker sleeps and this lane's publisher has
    /// not woken it from this sleep yet.
    pub(super) fn after_push(&self, lane: &Lane, wake: impl FnOnce()) {
        if let Some(sleep) = self.sleep()
            && !lane.has_woken(sleep)
        {
            wake();
            lane.woke(sleep);
        }
    }

    /// Which sleep the worker is in, if it is in one. Either this sees the worker asleep, or the
    /// worker's last look sees what was done before.
    fn sleep(&self) -> Option<u64> {
        self.barrier.frequent();
        let number = self.number.load(Ordering::Relaxed);
        (number % 2 == 1).then_some(number)
    }
}

/// The way to a worker that sleeps in `epoll_wait`: a socket in its set that could always be written
/// to and is told of once each time that the set is asked to (`EPOLLONESHOT`). That is one system
/// call here and none there, and faster than sending a byte.
///
/// If the host has closed our descriptors, their numbers may be its own now. Nothing of the host's
/// can be changed as long as either number is still ours: the set has no descriptor of the host's,
/// and no set of the host's has our socket. So the socket is looked at first; a socket, since unlike
/// an eventfd it has a number that tells it from all others.
pub(super) struct Bell {
    set: Arc<Set>,
    socket: Fd<OwnedFd>,
    key: u64,
}

impl Bell {
    /// A bell that is heard in `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        let bell = Bell { set: poll.set(), socket: Fd::new(socket), key: poll.key(0) };
        bell.set.get().0.add(&bell.socket, EpollEvent::new(EpollFlags::EPOLLONESHOT, bell.key))?;
        Ok(bell)
    }

    /// Wakes the worker; false if the host has closed our descriptors.
    pub(super) fn ring(&self) -> bool {
        let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
        let mut event = EpollEvent::new(flags, self.key);
        self.socket.is_ours() && self.set.get().0.modify(&self.socket, &mut event).is_ok()
    }
}
