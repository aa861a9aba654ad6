//! One client: its socket, and what waits for it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::batch::Frames;
use super::protocol::{ClientId, Protocol, Received};
use super::{StreamOptions, listener::Peer};
use crate::hub::{Fd, Interest, Poll, Queue, SubscriberStats, TransportStats};

/// Why a client goes away.
pub(super) enum Leaving {
    /// It hung up.
    Gone,
    /// It broke the protocol.
    Protocol(String),
    /// Its queue was full.
    Overflow,
    /// The hub closes.
    Closing,
}

pub(super) struct Client<C> {
    pub id: ClientId,
    pub peer: Peer,
    pub state: C,
    pub queue: Queue,
    pub stats: Arc<SubscriberStats>,
    socket: Fd<OwnedFd>,
    interest: Interest,
    /// The socket took no more when it was last tried.
    full: bool,
    /// It has closed its direction.
    ended: bool,
    /// What it sent after a request whose replies it has not read.
    unread: Vec<u8>,
}

impl<C> Client<C> {
    /// A client whose connection the poll knows already, with an interest in reading.
    pub fn new(id: ClientId, socket: Fd<OwnedFd>, peer: Peer, state: C, queue: Queue) -> Self {
        let stats = SubscriberStats::new(id.number(), peer.pid, peer.uid);
        Client {
            id,
            peer,
            state,
            queue,
            stats: Arc::new(stats),
            socket,
            interest: Interest::READ,
            full: false,
            ended: false,
            unread: Vec::new(),
        }
    }

    /// Reads once; the poll comes back for the rest. The replies are left in the queue.
    pub fn read<P: Protocol<Client = C>>(
        &mut self,
        protocol: &mut P,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        let mut buffer = [0; 4096];
        match recv(self.socket.get().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            // It may have closed one direction only: it goes on receiving.
            Ok(0) => self.ended = true,
            Ok(count) => {
                let rest = self.take_in(protocol, &buffer[..count], stats)?;
                self.unread = buffer[count - rest..count].to_vec();
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => return Err(Leaving::Gone),
        }
        Ok(())
    }

    /// Answers requests, as long as their replies have room; how many bytes are left.
    fn take_in<P: Protocol<Client = C>>(
        &mut self,
        protocol: &mut P,
        mut bytes: &[u8],
        stats: &TransportStats,
    ) -> Result<usize, Leaving> {
        let mut replies = Vec::new();
        while !bytes.is_empty() && self.queue.replies() < StreamOptions::REPLIES {
            let before = bytes.len();
            let received = protocol.receive(&mut self.state, &mut bytes, &mut replies);
            self.queue.reply(&replies);
            replies.clear();
            self.queue.tell_losses(protocol.lost_record(&self.state));
            match received.map_err(Leaving::Protocol)? {
                Received::Understood => {}
                Received::Ignored => stats.ignored.add(1),
                Received::Withdrew => {
                    let dropped = self.queue.forget_events();
                    self.dropped(dropped, stats);
                }
            }
            self.stats.call(P::name(&self.state));
            if bytes.len() == before {
                break;
            }
        }
        Ok(bytes.len())
    }

    /// Sends what waits, as far as the socket takes it, takes in the requests that waited for that,
    /// and has the poll tell when there is more to do.
    pub fn write<P: Protocol<Client = C>>(
        &mut self,
        poll: &Poll,
        protocol: &mut P,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        loop {
            self.send_queue(stats)?;
            if self.unread.is_empty() || self.queue.replies() >= StreamOptions::REPLIES {
                break;
            }
            let unread = std::mem::take(&mut self.unread);
            let rest = self.take_in(protocol, &unread, stats)?;
            self.unread = unread[unread.len() - rest..].to_vec();
            if rest == unread.len() {
                break;
            }
        }
        self.rearm(poll);
        Ok(())
    }

    /// Whether frames could be sent at once: nothing waits, and the socket has room as far as is known.
    pub fn is_clear(&self) -> bool {
        !self.full && self.queue.is_empty()
    }

    /// Sends frames, after what waits; what the socket does not take is queued.
    pub fn deliver(
        &mut self,
        poll: &Poll,
        frames: &Frames,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        let mut sent = Ok(0);
        // A socket that is full says when it has room; but before events are dropped it is asked.
        if !self.full || !self.queue.has_room(frames.bytes().len()) {
            sent = self.send_queue(stats).map(|()| 0);
            if self.is_clear() && sent.is_ok() {
                sent = send_some(&self.socket, frames.bytes(), &mut self.full);
            }
        }
        self.settle(poll, frames, sent, stats)
    }

    /// Sees to frames that the socket was offered by [`Ring`](herald_uring::Ring).
    pub fn offered(
        &mut self,
        poll: &Poll,
        frames: &Frames,
        taken: io::Result<usize>,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        let taken = taken.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        let sent = taken_of(taken, frames.bytes().len(), &mut self.full);
        self.settle(poll, frames, sent, stats)
    }

    /// Queues what was not sent of frames.
    fn settle(
        &mut self,
        poll: &Poll,
        frames: &Frames,
        sent: Result<usize, Leaving>,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        let kept = frames.keep(*sent.as_ref().unwrap_or(&0), &mut self.queue);
        self.delivered(kept.delivered, stats);
        self.dropped(kept.dropped, stats);
        self.rearm(poll);
        if kept.disconnect { sent.and(Err(Leaving::Overflow)) } else { sent.map(drop) }
    }

    pub fn dropped(&self, count: u64, stats: &TransportStats) {
        if count == 0 {
            return;
        }
        self.stats.dropped.add(count);
        stats.dropped.add(count);
    }

    pub fn delivered(&self, count: u64, stats: &TransportStats) {
        if count == 0 {
            return;
        }
        self.stats.delivered.add(count);
        stats.delivered.add(count);
    }

    /// Sends what waits, as far as the socket takes it.
    fn send_queue(&mut self, stats: &TransportStats) -> Result<(), Leaving> {
        let mut delivered = 0;
        self.full = false;
        let result = loop {
            let chunk = self.queue.chunk();
            if self.full || chunk.is_empty() {
                break Ok(());
            }
            match send_some(&self.socket, chunk, &mut self.full) {
                Ok(count) => delivered += self.queue.sent(count),
                Err(why) => break Err(why),
            }
        };
        self.delivered(delivered, stats);
        result
    }

    /// Has the poll tell what matters now.
    fn rearm(&mut self, poll: &Poll) {
        let interest = Interest { read: !self.ended && self.unread.is_empty(), write: self.full };
        if self.interest != interest {
            self.interest = interest;
            let _ = poll.change(&self.socket, self.id.key(), interest);
        }
        let queued = self.queue.len() as u64;
        if self.stats.queued_bytes.get() != queued {
            self.stats.queued_bytes.set(queued);
        }
    }

    pub fn socket(&self) -> RawFd {
        self.socket.get().as_raw_fd()
    }

    /// Ends the connection.
    pub fn close(self, poll: &Poll) -> C {
        poll.remove(&self.socket);
        // A child of the host may hold a copy: the other end must see the end all the same.
        let _ = shutdown(self.socket.get().as_raw_fd(), Shutdown::Both);
        self.state
    }
}

/// Sends bytes without waiting; how many the socket took, and whether it is full.
fn send_some(socket: &Fd<OwnedFd>, bytes: &[u8], full: &mut bool) -> Result<usize, Leaving> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    taken_of(send(socket.get().as_raw_fd(), bytes, flags), bytes.len(), full)
}

/// How many of `length` bytes a socket took, and whether it is full.
fn taken_of(taken: nix::Result<usize>, length: usize, full: &mut bool) -> Result<usize, Leaving> {
    match taken {
        Ok(count) => {
            *full = count < length;
            Ok(count)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => {
            *full = true;
            Ok(0)
        }
        Err(_) => Err(Leaving::Gone),
    }
}
