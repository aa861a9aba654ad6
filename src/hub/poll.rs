//! What the worker sleeps on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::fd::Fd;

/// What to wait for on a socket. Errors and hang-ups are always told. Level-triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Something can be read.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Interest = Interest { read: true, write: false };

    fn flags(self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, self.read);
        flags.set(EpollFlags::EPOLLOUT, self.write);
        flags
    }
}

/// What happened on a socket.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// Something can be read, be it the end.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The connection is gone in both directions, or broken.
    pub hung_up: bool,
}

/// What [`Fd`] asks for.
pub(super) struct EpollFd(pub Epoll);

/// The set itself, which the bell knows, too.
pub(super) type Set = Fd<EpollFd>;

impl AsFd for EpollFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

impl IntoRawFd for EpollFd {
    fn into_raw_fd(self) -> RawFd {
        self.0.0.into_raw_fd()
    }
}

/// The worker's set of descriptors.
pub struct Poll {
    set: Arc<Set>,
    transport: u16,
}

const KEY_BITS: u32 = 48;

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poll { set: Arc::new(Fd::new(EpollFd(epoll))), transport: 0 })
    }

    /// Makes the transport number `transport` the owner of what is added next.
    pub(super) fn of(&mut self, transport: u16) -> &Self {
        self.transport = transport;
        self
    }

    pub(super) fn set(&self) -> Arc<Set> {
        self.set.clone()
    }

    /// Waits on a descriptor; `key` (48 bits) comes back with its readiness.
    pub fn add(&self, fd: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        self.set.get().0.add(fd, self.event(key, interest))?;
        Ok(())
    }

    /// Changes what is waited for.
    pub fn change(&self, fd: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        self.set.get().0.modify(fd, &mut self.event(key, interest))?;
        Ok(())
    }

    /// Stops waiting. To be called before the descriptor is closed: while a forked child holds a
    /// copy, closing alone would not end it.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = self.set.get().0.delete(fd);
    }

    fn event(&self, key: u64, interest: Interest) -> EpollEvent {
        EpollEvent::new(interest.flags(), self.key(key))
    }

    /// A key with the transport's number before it.
    pub(super) fn key(&self, key: u64) -> u64 {
        u64::from(self.transport) << KEY_BITS | key
    }

    /// Waits for at most `timeout`; none is for ever. Calls `ready` with the transport's number,
    /// the key, and what happened.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        found: &mut Vec<(u16, u64, Readiness)>,
    ) -> io::Result<()> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            // Rounded up, so that a deadline is not met by a spin of empty waits.
            Some(time) => {
                EpollTimeout::try_from(time.as_micros().div_ceil(1000)).unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = [EpollEvent::empty(); 256];
        found.clear();
        let count = match self.set.get().0.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let flags = event.events();
            found.push((
                (event.data() >> KEY_BITS) as u16,
                event.data() & ((1 << KEY_BITS) - 1),
                Readiness {
                    readable: flags.contains(EpollFlags::EPOLLIN),
                    writable: flags.contains(EpollFlags::EPOLLOUT),
                    hung_up: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
                },
            ));
        }
        Ok(())
    }
}
