//! A server of stream subscribers on a unix socket, whatever they speak.
//!
//! What can go wrong with a client is seen to here, once for every protocol: too many of them, one
//! that does not read, one that sends in pieces, half-closes, floods, or goes away at any moment.
//! A [`Protocol`] says only what the bytes mean.

mod batch;
mod client;
mod protocol;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_uring::Ring;

use super::listener::{self, Accepted, ListenError, ListenOptions, Listener, Peer};
use crate::event::Event;
use crate::hub::{Fd, Interest, Overflow, Poll, Queue, Readiness, Transport, TransportStats};
use crate::log::{Level, Limiter, Log};

pub use batch::Batch;
pub use protocol::{ClientId, Protocol, Reach, Received};

use batch::Cuttings;
use client::{Client, Leaving};

/// How a stream server treats its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Where it listens.
    pub listen: ListenOptions,
    /// How many clients there can be at once, 1 to [`StreamOptions::MAX_CLIENTS`].
    pub max_clients: usize,
    /// Bytes that may wait for one client, [`StreamOptions::MIN_QUEUE`] to
    /// [`StreamOptions::MAX_QUEUE`].
    pub queue_bytes: usize,
    /// What happens when that many wait.
    pub overflow: Overflow,
}

impl StreamOptions {
    /// The largest `max_clients`.
    pub const MAX_CLIENTS: usize = 4096;
    /// The smallest `queue_bytes`.
    pub const MIN_QUEUE: usize = 4096;
    /// The largest `queue_bytes`.
    pub const MAX_QUEUE: usize = 1 << 30;
    /// A client for which this many bytes of replies wait is not read from until it has read them.
    pub const REPLIES: usize = 64 * 1024;
}

/// How long accepting pauses when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections are accepted before the others get their turn.
const ACCEPTS: usize = 64;

/// From how many clients on short frames are sent to all of them in one system call.
const MANY: usize = 8;

/// Frames of at most so many bytes are short: to copy them for each client costs next to nothing.
const SHORT: usize = 1024;

/// The listener's key; no client has this slot.
const LISTENER: u64 = 0xffff;

/// The server.
pub struct StreamServer<P: Protocol> {
    protocol: P,
    listener: Option<Listener>,
    options: StreamOptions,
    slots: Vec<Option<Client<P::Client>>>,
    free: Vec<usize>,
    /// Events that no client has been handed yet.
    batch: Batch<P::Topic>,
    cuttings: Cuttings,
    /// Once there are many clients, where the kernel allows it.
    ring: Option<Fd<Ring>>,
    /// Who is sent what is in the ring.
    offered: Vec<Offer>,
    last_number: u64,
    paused_until: Option<Instant>,
    stats: Arc<TransportStats>,
    log: Log,
    limiter: Limiter,
}

/// A client that is sent frames together with others.
struct Offer {
    slot: usize,
    bytes: usize,
    events: u64,
}

impl<P: Protocol> StreamServer<P> {
    /// Binds the socket; clients are served once the server has been added to a hub.
    pub fn bind(protocol: P, options: StreamOptions, log: Log) -> Result<Self, ListenError> {
        let listener = Listener::bind(&options.listen)?;
        log.write(
            Level::Info,
            format_args!("herald: {} listens on {}", P::NAME, listener.path().display()),
        );
        let stats = TransportStats::new(P::NAME, options.queue_bytes as u64);
        Ok(StreamServer {
            protocol,
            listener: Some(listener),
            options,
            slots: Vec::new(),
            free: Vec::new(),
            batch: Batch::default(),
            cuttings: Cuttings::default(),
            ring: None,
            offered: Vec::new(),
            last_number: 0,
            paused_until: None,
            stats: Arc::new(stats),
            log,
            limiter: Limiter::new(),
        })
    }

    /// Writes a line that a client provoked.
    fn provoked(&mut self, level: Level, message: std::fmt::Arguments<'_>) {
        self.limiter.write(&self.log, level, format_args!("herald: {}: {message}", P::NAME));
    }

    fn accept(&mut self, poll: &Poll) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Accepted::Peer(socket, peer) => self.admit(poll, socket, peer),
                Accepted::NotAllowed(peer) => {
                    self.stats.refused.add(1);
                    self.provoked(
                        Level::Warning,
                        format_args!(
                            "turned away pid {}: uid {} and gid {} are not allowed",
                            peer.pid, peer.uid, peer.gid
                        ),
                    );
                }
                Accepted::Nobody => return,
                Accepted::Exhausted(error) => {
                    let _ = poll.change(listener, LISTENER, Interest::default());
                    self.paused_until = Some(Instant::now() + PAUSE);
                    self.provoked(Level::Warning, format_args!("cannot accept a client: {error}"));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, poll: &Poll, socket: OwnedFd, peer: Peer) {
        if self.slots.len() - self.free.len() >= self.options.max_clients {
            self.stats.refused.add(1);
            let most = self.options.max_clients;
            let message = format_args!("turned away pid {}: there are {most} clients already", peer.pid);
            return self.provoked(Level::Warning, message);
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.last_number += 1;
        let id = ClientId { slot: slot as u16, number: self.last_number };
        let socket = Fd::new(socket);
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        if let Err(error) = poll.add(&socket, id.key(), Interest::READ) {
            self.free.push(slot);
            return self.provoked(Level::Warning, format_args!("cannot serve a client: {error}"));
        }
        let queue = Queue::new(self.options.queue_bytes, self.options.overflow);
        let client = Client::new(id, socket, peer, self.protocol.connected(id), queue);
        self.stats.arrived(client.stats.clone());
        self.slots[slot] = Some(client);
        if self.slots.len() == MANY && self.ring.is_none() {
            self.ring = Ring::new().ok().map(Fd::new);
        }
    }

    fn remove(&mut self, poll: &Poll, slot: usize, why: Leaving) {
        let Some(client) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        let unsent = client.queue.events();
        client.dropped(unsent, &self.stats);
        self.stats.left(client.id.number());
        let pid = client.peer.pid;
        self.protocol.disconnected(client.close(poll));
        match why {
            Leaving::Gone | Leaving::Closing if unsent == 0 => {}
            Leaving::Gone => self.provoked(
                Level::Info,
                format_args!("the client with pid {pid} left before it had read {unsent} events"),
            ),
            Leaving::Closing => self.provoked(
                Level::Warning,
                format_args!("the client with pid {pid} was closed with {unsent} events unsent"),
            ),
            Leaving::Protocol(what) => {
                self.stats.protocol_errors.add(1);
                let message = format_args!("closed the client with pid {pid}: protocol error: {what}");
                self.provoked(Level::Warning, message);
            }
            Leaving::Overflow => {
                self.stats.overflowed.add(1);
                let message =
                    format_args!("closed the client with pid {pid}: it does not read its events");
                self.provoked(Level::Warning, message);
            }
        }
    }

    /// Hands the batch to the clients.
    fn deliver(&mut self, poll: &Poll) {
        if self.batch.is_empty() {
            return;
        }
        let lost = self.batch.lost();
        for slot in 0..self.slots.len() {
            if self.ring.as_ref().is_some_and(|ring| ring.get().is_full()) {
                self.send_offered(poll);
            }
            let Some(client) = &mut self.slots[slot] else { continue };
            if lost > 0 && P::wants_any(&client.state) {
                client.dropped(lost, &self.stats);
            }
            let selected = self.cuttings.select::<P>(&mut self.batch, &client.state, &client.queue);
            let Some(frames) = selected else { continue };
            if let Some(ring) = &mut self.ring
                && (1..=SHORT).contains(&frames.bytes().len())
                && client.is_clear()
            {
                ring.get_mut().push(client.socket(), frames.bytes());
                self.offered.push(Offer { slot, bytes: frames.bytes().len(), events: frames.events() });
            } else if let Err(why) = client.deliver(poll, frames, &self.stats) {
                self.remove(poll, slot, why);
            }
        }
        self.send_offered(poll);
        self.batch.clear();
        self.cuttings.clear();
    }

    /// Sends what is in the ring.
    fn send_offered(&mut self, poll: &Poll) {
        if self.offered.is_empty() {
            return;
        }
        let Some(mut ring) = self.ring.take() else { return };
        let sent = ring.get_mut().send();
        let mut offered = std::mem::take(&mut self.offered);
        for (Offer { slot, bytes, events }, result) in offered.drain(..).zip(ring.get().results()) {
            let Some(client) = &mut self.slots[slot] else { continue };
            if matches!(result, Some(Ok(taken)) if taken == bytes) {
                client.delivered(events, &self.stats);
                continue;
            }
            let selected = self.cuttings.select::<P>(&mut self.batch, &client.state, &client.queue);
            let Some(frames) = selected else { continue };
            let settled = match result {
                Some(taken) => client.offered(poll, frames, taken, &self.stats),
                None => client.deliver(poll, frames, &self.stats),
            };
            if let Err(why) = settled {
                self.remove(poll, slot, why);
            }
        }
        self.offered = offered;
        // Where the kernel has begun to refuse, each client is sent to by itself from now on.
        if sent.is_ok() {
            ring.get_mut().clear();
            self.ring = Some(ring);
        }
    }

    /// Sends a client what waits for it.
    fn write(&mut self, poll: &Poll, slot: usize) -> Result<(), Leaving> {
        match self.slots.get_mut(slot) {
            Some(Some(client)) => client.write(poll, &mut self.protocol, &self.stats),
            _ => Ok(()),
        }
    }

    /// Sends the replies that have become ready.
    fn answer_late(&mut self, poll: &Poll) {
        let mut answered = Vec::new();
        let mut replies = Vec::new();
        let slots = &mut self.slots;
        self.protocol.late_replies(&mut |id, reply| {
            if let Some(Some(client)) = slots.get_mut(usize::from(id.slot))
                && client.id == id
            {
                reply(&mut client.state, &mut replies);
                client.queue.reply(&replies);
                replies.clear();
                answered.push(usize::from(id.slot));
            }
        });
        answered.sort_unstable();
        answered.dedup();
        for slot in answered {
            if let Err(why) = self.write(poll, slot) {
                self.remove(poll, slot, why);
            }
        }
    }

    fn resume(&mut self, poll: &Poll) {
        self.paused_until = None;
        if let Some(listener) = &self.listener {
            let _ = poll.change(listener, LISTENER, Interest::READ);
        }
    }
}

impl<P: Protocol> Transport for StreamServer<P> {
    fn stats(&self) -> Arc<TransportStats> {
        self.stats.clone()
    }

    fn start(&mut self, poll: &Poll) -> io::Result<()> {
        match &self.listener {
            Some(listener) => poll.add(listener, LISTENER, Interest::READ),
            None => Ok(()),
        }
    }

    fn event(&mut self, poll: &Poll, event: &Event<'_>) {
        self.protocol.encode(event, &mut self.batch);
        if self.batch.is_full() {
            self.deliver(poll);
        }
    }

    fn lost(&mut self, count: u64) {
        self.protocol.lost(count);
        self.batch.lose(count);
    }

    fn flush(&mut self, poll: &Poll) {
        self.deliver(poll);
        self.answer_late(poll);
    }

    fn ready(&mut self, poll: &Poll, key: u64, readiness: Readiness) {
        if key == LISTENER {
            return self.accept(poll);
        }
        let slot = (key & 0xffff) as usize;
        let Some(Some(client)) = self.slots.get_mut(slot) else { return };
        if client.id.key() != key {
            // Its client was removed after the event was collected.
            return;
        }
        let mut result = Ok(());
        if readiness.readable {
            result = client.read(&mut self.protocol, &self.stats);
        }
        if result.is_ok() {
            result = client.write(poll, &mut self.protocol, &self.stats);
        }
        if readiness.hung_up && result.is_ok() {
            result = Err(Leaving::Gone);
        }
        if let Err(why) = result {
            self.remove(poll, slot, why);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    fn timeout(&mut self, poll: &Poll) {
        self.resume(poll);
    }

    fn has_pending(&self) -> bool {
        self.slots.iter().flatten().any(|client| !client.queue.is_empty())
    }

    fn close(&mut self, poll: &Poll) {
        for slot in 0..self.slots.len() {
            self.remove(poll, slot, Leaving::Closing);
        }
        if let Some(listener) = self.listener.take() {
            poll.remove(&listener);
        }
    }
}
