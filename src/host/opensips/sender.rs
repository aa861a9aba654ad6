//! Sending, in one process: at once where nothing waits, else behind what waits.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::arena::{Arena, Count};
use super::log::{Lines, Taken};
use super::places::Key;
use crate::event::Event;
use crate::host::process;
use crate::hub::{self, Hub, HubOptions, PublishError};
use crate::log::{Level, Limiter, Log, log};
use crate::transport::datagram::{Backlog, MAX_UDP, Outlet, Relay, Sent, SourcePorts, Tally, Target};

/// What all processes have in common, made before the host forks.
#[derive(Clone)]
pub struct Common {
    pub arena: Arena,
    pub source: Arc<SourcePorts>,
    /// Bytes that may wait for one destination.
    pub queue: usize,
    pub send_buffer: usize,
}

impl Common {
    fn outlet(&self, target: Target) -> Outlet {
        Outlet::new(target, self.send_buffer, Some(self.source.clone()))
    }

    /// On its way to the worker an event shares the ring with those of all other destinations: room
    /// for four that are stuck, and some 40,000 small events, however the worker is scheduled.
    fn ring_bytes(&self) -> usize {
        (SHARES * self.queue).clamp(1 << 22, 1 << 24)
    }
}

/// No destination takes more than one share of the ring, so that one which is stuck costs no other
/// an event.
const SHARES: usize = 4;

/// What is with the worker for one destination.
#[derive(Default)]
struct Waiting {
    /// Bytes of datagrams. While it is not 0, all others follow them.
    bytes: AtomicUsize,
    /// Bytes of the ring.
    in_ring: AtomicUsize,
}

/// The sender of one process. A forked child makes its own when it raises its first event: there
/// are processes of which the host tells nobody.
pub struct Sender {
    common: Common,
    generation: u32,
    /// By place, with the key that it was made for.
    outlets: Vec<Option<(Key, Outlet)>>,
    /// How many of them are open at most.
    most_open: usize,
    /// By place.
    waiting: Arc<[Waiting]>,
    /// Started when a datagram has to wait for the first time.
    hub: Option<Hub>,
    pub buffer: Vec<u8>,
    limiter: Limiter,
    /// What this thread and the worker have to say: neither waits for the other.
    lines: [Arc<Lines>; 2],
    /// To the first of these.
    log: Log,
}

fn nothing_waiting(arena: Arena) -> Arc<[Waiting]> {
    (0..arena.places()).map(|_| Waiting::default()).collect()
}

thread_local! {
    /// Taken out while it is used.
    static SENDER: Cell<Option<Box<Sender>>> = const { Cell::new(None) };
}

/// Lends this process's sender to `body`. What that and the worker have to say is written afterwards,
/// since a log line can raise another event.
pub fn with<T>(common: &Common, body: impl FnOnce(&mut Sender) -> T) -> T {
    let generation = hub::generation();
    let mut sender = match SENDER.take() {
        Some(sender) if sender.generation == generation => sender,
        // None, or our parent's, whose descriptors were closed when we were born.
        _ => Box::new(Sender::new(common.clone(), generation)),
    };
    let result = body(&mut sender);
    if sender.lines.iter().any(|lines| lines.any()) {
        put_back_and_write(sender);
    } else {
        SENDER.set(Some(sender));
    }
    result
}

#[cold]
fn put_back_and_write(sender: Box<Sender>) {
    let lines = sender.lines.each_ref().map(|lines| lines.take());
    SENDER.set(Some(sender));
    lines.into_iter().for_each(Taken::write);
}

/// Ends this process's sender: what waits is sent, within the hub's bound.
pub fn end() {
    if let Some(sender) = SENDER.take() {
        let lines = sender.lines.clone();
        drop(sender);
        lines.iter().for_each(|lines| lines.take().write());
    }
}

impl Sender {
    #[cold]
    fn new(common: Common, generation: u32) -> Self {
        let arena = common.arena.with_next_row();
        let lines = <[Arc<Lines>; 2]>::default();
        Sender {
            outlets: (0..arena.places()).map(|_| None).collect(),
            most_open: process::descriptors() / 4,
            waiting: nothing_waiting(arena),
            common: Common { arena, ..common },
            generation,
            hub: None,
            buffer: Vec::new(),
            limiter: Limiter::new(),
            log: Lines::log(&lines[0]),
            lines,
        }
    }

    /// The arena, with this process's counters.
    pub fn arena(&self) -> &Arena {
        &self.common.arena
    }

    /// Counts for this process.
    pub fn count(&self, what: Count) {
        self.common.arena.count(what, 1);
    }

    /// Sends what is in the buffer; whether it is sent or waits.
    pub fn send(&mut self, key: Key) -> bool {
        let index = key.index();
        if !matches!(self.outlets.get(index), Some(Some((made_for, _))) if *made_for == key) {
            self.open(key);
        }
        let (Some(Some((_, outlet))), Some(waiting)) =
            (self.outlets.get_mut(index), self.waiting.get(index))
        else {
            self.dropped(key, Tally::DroppedGone, None);
            return false;
        };
        let size = self.buffer.len();
        if outlet.is_udp() && size > MAX_UDP {
            self.count(Count::DroppedTooLarge);
            self.report(format_args!(
                "an event of {size} bytes is too large for a UDP subscriber, which gets at most {MAX_UDP}"
            ));
            return false;
        }
        // Acquire: whoever counted down to 0 has sent what was before us.
        let follows = waiting.bytes.load(Ordering::Acquire) > 0;
        match if follows { Sent::Later } else { outlet.send(&self.buffer) } {
            Sent::Done => {
                self.count(Count::Sent);
                return true;
            }
            Sent::Later | Sent::NoBuffers => return self.queue(key),
            Sent::Gone => self.dropped(key, Tally::DroppedGone, None),
            Sent::TooLarge => self.dropped(key, Tally::DroppedTooLarge, None),
            Sent::Failed(errno) => self.dropped(key, Tally::DroppedError, Some(errno.desc())),
        }
        false
    }

    /// Makes an outlet, if the place is still there, and closes those whose places are not; all, if
    /// these are so many that the host might lack descriptors.
    #[cold]
    fn open(&mut self, key: Key) {
        let Common { arena, .. } = self.common;
        for place in &mut self.outlets {
            place.take_if(|(made_for, _)| arena.target(*made_for).is_none());
        }
        if self.outlets.iter().flatten().count() >= self.most_open {
            self.outlets.fill_with(|| None);
        }
        if let Some(place) = self.outlets.get_mut(key.index()) {
            *place = arena.target(key).map(|target| (key, self.common.outlet(target)));
        }
    }

    /// Hands what is in the buffer to the worker.
    #[inline(never)]
    fn queue(&mut self, key: Key) -> bool {
        if self.hub.is_none() {
            self.hub = self.start_worker();
        }
        let published = match (self.waiting.get(key.index()), &self.hub) {
            (Some(waiting), Some(hub)) => self.publish(key, waiting, hub),
            _ => Err(PublishError::Failed),
        };
        if published == Err(PublishError::Failed) {
            // It has taken with it what it had. The next event that must wait starts another.
            self.hub = None;
            self.waiting = nothing_waiting(self.common.arena);
        }
        if published.is_err() {
            self.dropped(key, Tally::DroppedFull, None);
        }
        published.is_ok()
    }

    fn publish(&self, key: Key, waiting: &Waiting, hub: &Hub) -> Result<(), PublishError> {
        let bytes = self.buffer.len();
        let in_ring = Backlog::<Waiters>::ring_bytes(bytes);
        // The worker only ever takes away.
        if waiting.bytes.load(Ordering::Relaxed) + bytes > self.common.queue
            || waiting.in_ring.load(Ordering::Relaxed) + in_ring > self.common.ring_bytes() / SHARES
        {
            return Err(PublishError::RingFull);
        }
        waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        waiting.in_ring.fetch_add(in_ring, Ordering::Relaxed);
        let params = Backlog::<Waiters>::event(key.number(), &self.buffer);
        hub.publish(&Event::new("", &params)).inspect_err(|_| {
            waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            waiting.in_ring.fetch_sub(in_ring, Ordering::Relaxed);
        })
    }

    fn start_worker(&self) -> Option<Hub> {
        let log = Lines::log(&self.lines[1]);
        let relay = Waiters {
            common: self.common.clone(),
            waiting: self.waiting.clone(),
            limiter: RefCell::new(Limiter::new()),
            log: log.clone(),
        };
        let start = || -> std::io::Result<Hub> {
            let options = HubOptions { ring_bytes: self.common.ring_bytes(), ..HubOptions::default() };
            let hub = Hub::start(options, log.clone())?;
            hub.add(Box::new(Backlog::new(relay)))?;
            Ok(hub)
        };
        start().inspect_err(|error| log!(self.log, Error, "cannot start the worker: {error}")).ok()
    }

    /// Counts and reports an event that is dropped.
    #[cold]
    fn dropped(&mut self, key: Key, cause: Tally, why: Option<&str>) {
        self.common.dropped(key, cause, why, &mut self.limiter, &self.log);
    }

    #[cold]
    fn report(&mut self, message: std::fmt::Arguments<'_>) {
        self.limiter.write(&self.log, Level::Warning, message);
    }
}

impl Common {
    fn dropped(&self, key: Key, cause: Tally, why: Option<&str>, limiter: &mut Limiter, log: &Log) {
        self.arena.count_tally(cause, 1);
        let why = why.unwrap_or(match cause {
            Tally::DroppedFull => "too much waits already",
            Tally::DroppedGone => "nobody listens",
            Tally::DroppedTooLarge => "it is larger than the send buffer (send_buffer)",
            _ => "the system refused it",
        });
        if let Some(target) = self.arena.target(key) {
            let message = format_args!("dropped an event for {target}: {why}");
            limiter.write(log, Level::Warning, message);
        }
    }
}

/// What the worker asks of us.
struct Waiters {
    common: Common,
    waiting: Arc<[Waiting]>,
    limiter: RefCell<Limiter>,
    log: Log,
}

impl Waiters {
    fn of(&self, key: u64) -> Option<&Waiting> {
        self.waiting.get(Key::from_number(key).index())
    }
}

impl Relay for Waiters {
    fn outlet(&self, key: u64) -> Option<Outlet> {
        self.common.arena.target(Key::from_number(key)).map(|target| self.common.outlet(target))
    }

    fn count(&self, key: u64, what: Tally, by: u64) {
        match what {
            Tally::Sent | Tally::Queued | Tally::Retried => self.common.arena.count_tally(what, by),
            cause => {
                let limiter = &mut self.limiter.borrow_mut();
                let key = Key::from_number(key);
                (0..by).for_each(|_| self.common.dropped(key, cause, None, limiter, &self.log));
            }
        }
    }

    fn has_ended(&self, key: u64) -> bool {
        self.common.arena.has_ended(Key::from_number(key))
    }

    fn arrived(&self, key: u64, bytes: usize) {
        if let Some(waiting) = self.of(key) {
            waiting.in_ring.fetch_sub(Backlog::<Waiters>::ring_bytes(bytes), Ordering::Relaxed);
        }
    }

    fn settled(&self, key: u64, bytes: usize) {
        if let Some(waiting) = self.of(key) {
            waiting.bytes.fetch_sub(bytes, Ordering::Release);
        }
    }

    fn limit(&self) -> usize {
        self.common.queue
    }
}
