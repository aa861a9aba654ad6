//! A server of stream subscribers on a unix socket, whatever they speak.
//!
//! What can go wrong with a client is seen to here, once for every protocol: too many of them, one
//! that does not read, one that sends in pieces, half-closes, floods, or goes away at any moment.
//! A [`Protocol`] says only what the bytes mean.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::listener::{Accepted, ListenError, ListenOptions, Listener, Peer};
use crate::event::Event;
use crate::hub::{
    Fd, Interest, LostRecord, Overflow, Poll, Pushed, Queue, Readiness, SubscriberStats, Transport,
    TransportStats,
};
use crate::log::{Level, Limiter, Log};

/// What the bytes of a stream mean.
pub trait Protocol: Send {
    /// What is remembered of a client.
    type Client: Default + Send;
    /// An encoded event.
    type Frame;

    /// The protocol's name, for logs.
    const NAME: &'static str;
    /// Encodes a lost record.
    const LOST_RECORD: LostRecord;

    /// Encodes an event; none if the protocol cannot express it.
    fn encode(&mut self, event: &Event<'_>) -> Option<Self::Frame>;
    /// The bytes of an encoded event.
    fn bytes(frame: &Self::Frame) -> &[u8];
    /// Whether the client wants this event.
    fn wants(client: &Self::Client, frame: &Self::Frame) -> bool;
    /// Whether the client wants any event at all.
    fn wants_any(client: &Self::Client) -> bool;
    /// Whether the client wants lost records.
    fn wants_losses(client: &Self::Client) -> bool;
    /// Takes in what a client sent. An error, which says what was wrong, ends the connection.
    fn receive(&mut self, client: &mut Self::Client, bytes: &[u8]) -> Result<(), String>;
}

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
}

/// How long accepting pauses when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections are accepted before the others get their turn.
const ACCEPTS: usize = 64;

/// The listener's key; a client's is its slot and the low half of its id.
const LISTENER: u64 = 0xffff;

struct Client<C> {
    id: u64,
    slot: usize,
    socket: Fd<OwnedFd>,
    peer: Peer,
    state: C,
    queue: Queue,
    interest: Interest,
    /// The socket took no more when it was last tried.
    full: bool,
    dirty: bool,
    stats: Arc<SubscriberStats>,
}

impl<C> Client<C> {
    fn key(&self) -> u64 {
        self.slot as u64 | (self.id & 0xffff_ffff) << 16
    }

    /// Sends what waits, as far as the socket takes it.
    fn send(&mut self, stats: &TransportStats) -> Result<(), Leaving> {
        let mut delivered = 0;
        self.full = false;
        let result = loop {
            let chunk = self.queue.chunk();
            if self.full || chunk.is_empty() {
                break Ok(());
            }
            let whole = chunk.len();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.get().as_raw_fd(), chunk, flags) {
                Ok(count) => {
                    delivered += self.queue.sent(count);
                    self.full = count < whole;
                }
                Err(Errno::EAGAIN) => self.full = true,
                Err(Errno::EINTR) => {}
                Err(_) => break Err(Leaving::Gone),
            }
        };
        stats.delivered.add(delivered);
        self.stats.delivered.add(delivered);
        result
    }
}

/// Why a client goes away.
enum Leaving {
    /// It hung up.
    Gone,
    /// It broke the protocol.
    Protocol(String),
    /// Its queue was full.
    Overflow,
    /// The hub closes.
    Closing,
}

/// The server.
pub struct StreamServer<P: Protocol> {
    protocol: P,
    listener: Option<Listener>,
    options: StreamOptions,
    slots: Vec<Option<Client<P::Client>>>,
    free: Vec<usize>,
    /// Slots with something new in their queue.
    dirty: Vec<usize>,
    /// Slots whose clients are to be disconnected.
    doomed: Vec<usize>,
    last_id: u64,
    paused_until: Option<Instant>,
    stats: Arc<TransportStats>,
    log: Log,
    limiter: Limiter,
}

impl<P: Protocol> StreamServer<P> {
    /// Binds the socket; clients are served once the server has been added to a hub.
    pub fn bind(protocol: P, options: StreamOptions, log: Log) -> Result<Self, ListenError> {
        let listener = Listener::bind(&options.listen)?;
        log.write(
            Level::Info,
            format_args!("herald: {} listens on {}", P::NAME, listener.path().display()),
        );
        Ok(StreamServer {
            protocol,
            listener: Some(listener),
            options,
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            last_id: 0,
            paused_until: None,
            stats: Arc::default(),
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
        self.last_id += 1;
        let stats = Arc::new(SubscriberStats {
            id: self.last_id,
            pid: peer.pid,
            uid: peer.uid,
            ..SubscriberStats::default()
        });
        let client = Client {
            id: self.last_id,
            slot,
            socket: Fd::new(socket),
            peer,
            state: P::Client::default(),
            queue: Queue::new(self.options.queue_bytes, self.options.overflow, P::LOST_RECORD),
            interest: Interest::READ,
            full: false,
            dirty: false,
            stats: stats.clone(),
        };
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        if let Err(error) = poll.add(&client.socket, client.key(), client.interest) {
            self.free.push(slot);
            return self.provoked(Level::Warning, format_args!("cannot serve a client: {error}"));
        }
        self.slots[slot] = Some(client);
        self.stats.arrived(stats);
    }

    fn remove(&mut self, poll: &Poll, slot: usize, why: Leaving) {
        let Some(client) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        poll.remove(&client.socket);
        // A child of the host may hold a copy: the other end must see the end all the same.
        let _ = shutdown(client.socket.get().as_raw_fd(), Shutdown::Both);
        let unsent = client.queue.events();
        self.stats.dropped.add(unsent);
        self.stats.left(client.id);
        let pid = client.peer.pid;
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

    /// Reads once from a client; the poll comes back for the rest.
    fn read(&mut self, poll: &Poll, slot: usize) -> Result<(), Leaving> {
        let Some(client) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        let mut buffer = [0; 4096];
        match recv(client.socket.get().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => {
                // It may have closed one direction only: it goes on receiving.
                client.interest.read = false;
                let _ = poll.change(&client.socket, client.key(), client.interest);
                Ok(())
            }
            Ok(count) => {
                let received = self.protocol.receive(&mut client.state, &buffer[..count]);
                client.queue.tell_losses(P::wants_losses(&client.state));
                received.map_err(Leaving::Protocol)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(_) => Err(Leaving::Gone),
        }
    }

    /// Sends a client what waits for it, as far as its socket takes it, and has the poll tell when it
    /// takes more.
    fn write(&mut self, poll: &Poll, slot: usize) -> Result<(), Leaving> {
        let Some(client) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        client.send(&self.stats)?;
        client.stats.queued_bytes.set(client.queue.len() as u64);
        if client.interest.write != client.full {
            client.interest.write = client.full;
            let _ = poll.change(&client.socket, client.key(), client.interest);
        }
        Ok(())
    }

    fn mark_dirty(client: &mut Client<P::Client>, dirty: &mut Vec<usize>) {
        // A socket that took no more is written to when it says that it has room.
        if !client.dirty && !client.interest.write {
            client.dirty = true;
            dirty.push(client.slot);
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

    fn event(&mut self, event: &Event<'_>) {
        let Some(frame) = self.protocol.encode(event) else { return };
        for client in self.slots.iter_mut().flatten() {
            if !P::wants(&client.state, &frame) {
                continue;
            }
            let bytes = P::bytes(&frame);
            if !client.full && !client.queue.has_room(bytes.len()) {
                // The queue is for what the socket does not take; the flush sees what became of it.
                let _ = client.send(&self.stats);
            }
            match client.queue.push(bytes) {
                Pushed::Queued => {}
                Pushed::Dropped(count) => {
                    client.stats.dropped.add(count);
                    self.stats.dropped.add(count);
                }
                Pushed::Disconnect => self.doomed.push(client.slot),
            }
            Self::mark_dirty(client, &mut self.dirty);
        }
    }

    fn lost(&mut self, count: u64) {
        for client in self.slots.iter_mut().flatten() {
            if P::wants_any(&client.state) {
                let dropped = count + client.queue.lose(count);
                client.stats.dropped.add(dropped);
                self.stats.dropped.add(dropped);
                Self::mark_dirty(client, &mut self.dirty);
            }
        }
    }

    fn flush(&mut self, poll: &Poll) {
        for slot in std::mem::take(&mut self.doomed) {
            self.stats.dropped.add(1);
            self.remove(poll, slot, Leaving::Overflow);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            if let Some(client) = &mut self.slots[slot] {
                client.dirty = false;
            }
            if let Err(why) = self.write(poll, slot) {
                self.remove(poll, slot, why);
            }
        }
        self.dirty = dirty;
    }

    fn ready(&mut self, poll: &Poll, key: u64, readiness: Readiness) {
        if key == LISTENER {
            return self.accept(poll);
        }
        let slot = (key & 0xffff) as usize;
        let current = self.slots.get(slot).and_then(Option::as_ref);
        if current.is_none_or(|client| client.key() != key) {
            // Its client was removed after the event was collected.
            return;
        }
        let mut result = Ok(());
        if readiness.readable {
            result = self.read(poll, slot);
        }
        if readiness.writable && result.is_ok() {
            result = self.write(poll, slot);
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
