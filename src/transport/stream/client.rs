//! One client: its socket, and what waits for it.

use std::os::fd::{AsRawFd, OwnedFd};
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

    /// Sends frames, after what waits; what the socket does not take is queued.
    pub fn deliver(
        &mut self,
        poll: &Poll,
        frames: &Frames,
        stats: &TransportStats,
    ) -> Result<(), Leaving> {
        let mut sent = 0;
        let mut result = Ok(());
        // A socket that is full says when it has room; but before events are dropped it is asked.
        if !self.full || !self.queue.has_room(frames.bytes().len()) {
            result = self.send_queue(stats);
            if self.queue.is_empty() && !self.full && result.is_ok() {
                match send_some(&self.socket, frames.bytes(), &mut self.full) {
                    Ok(count) => sent = count,
                    Err(why) => result = Err(why),
                }
            }
        }
        let kept = frames.keep(sent, &mut self.queue);
        self.delivered(kept.delivered, stats);
        self.dropped(kept.dropped, stats);
        self.rearm(poll);
        if kept.disconnect { result.and(Err(Leaving::Overflow)) } else { result }
    }

    pub fn dropped(&self, count: u64, stats: &TransportStats) {
        if count == 0 {
            return;
        }
        self.stats.dropped.add(count);
        stats.dropped.add(count);
    }

    fn delivered(&self, count: u64, stats: &TransportStats) {
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
    match send(socket.get().as_raw_fd(), bytes, flags) {
        Ok(count) => {
            *full = count < bytes.len();
            Ok(count)
        }
        Err(Errno::EAGAIN) => {
            *full = true;
            Ok(0)
        }
        Err(Errno::EINTR) => Ok(0),
        Err(_) => Err(Leaving::Gone),
    }
}
