//! Sending, in one process: at once where nothing waits, else behind what waits.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::arena::{Arena, Count, Key};
use super::log as host;
use crate::event::Event;
use crate::hub::{self, Hub, HubOptions, PublishError};
use crate::log::{Level, Limiter, log};
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
}

/// The sender of one process. A forked child makes its own when it raises its first event: there
/// are processes of which the host tells nobody.
pub struct Sender {
    common: Common,
    generation: u32,
    /// By slot, with the key of the subscription that it was made for.
    outlets: Vec<Option<(Key, Outlet)>>,
    /// By slot: how many datagrams are with the worker. While it is not 0, all others follow them.
    waiting: Arc<[AtomicU32]>,
    /// Started when a datagram has to wait for the first time.
    hub: Option<Hub>,
    pub buffer: Vec<u8>,
    limiter: Limiter,
}

fn nothing_waiting(arena: Arena) -> Arc<[AtomicU32]> {
    (0..arena.slots()).map(|_| AtomicU32::new(0)).collect()
}

thread_local! {
    /// Taken out while it is used, since a log line can raise another event.
    static SENDER: Cell<Option<Box<Sender>>> = const { Cell::new(None) };
}

/// Lends this process's sender to `body`.
pub fn with<T>(common: &Common, body: impl FnOnce(&mut Sender) -> T) -> T {
    let generation = hub::generation();
    let mut sender = match SENDER.take() {
        Some(sender) if sender.generation == generation => sender,
        // None, or our parent's, whose descriptors were closed when we were born.
        _ => Box::new(Sender::new(common.clone(), generation)),
    };
    let result = body(&mut sender);
    SENDER.set(Some(sender));
    result
}

/// Ends this process's sender: what waits is sent, within the hub's bound.
pub fn end() {
    drop(SENDER.take());
}

impl Sender {
    fn new(common: Common, generation: u32) -> Self {
        let arena = common.arena.with_next_row();
        Sender {
            outlets: (0..arena.slots()).map(|_| None).collect(),
            waiting: nothing_waiting(arena),
            common: Common { arena, ..common },
            generation,
            hub: None,
            buffer: Vec::new(),
            limiter: Limiter::new(),
        }
    }

    /// The arena, with this process's counters.
    pub fn arena(&self) -> Arena {
        self.common.arena
    }

    /// Counts for this process.
    pub fn count(&self, what: Count) {
        self.common.arena.count(what, 1);
    }

    /// Sends what is in the buffer; whether it is sent or waits.
    pub fn send(&mut self, key: Key) -> bool {
        let slot = key.slot();
        let (Some(place), Some(waiting)) = (self.outlets.get_mut(slot), self.waiting.get(slot)) else {
            return false;
        };
        let outlet = match place {
            Some((made_for, outlet)) if *made_for == key => outlet,
            _ => {
                let Some(target) = self.common.arena.target(key) else { return false };
                &mut place.insert((key, self.common.outlet(target))).1
            }
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
        let follows = waiting.load(Ordering::Acquire) > 0;
        match if follows { Sent::Later } else { outlet.send(&self.buffer) } {
            Sent::Done => {
                self.count(Count::Sent);
                return true;
            }
            Sent::Later => return self.queue(key),
            Sent::Gone => self.dropped(key, Tally::DroppedGone, None),
            Sent::TooLarge => self.dropped(key, Tally::DroppedTooLarge, None),
            Sent::Failed(errno) => self.dropped(key, Tally::DroppedError, Some(errno.desc())),
        }
        false
    }

    /// Hands what is in the buffer to the worker.
    fn queue(&mut self, key: Key) -> bool {
        if self.hub.is_none() {
            self.hub = self.start_worker();
        }
        let published = match (self.waiting.get(key.slot()), &self.hub) {
            (Some(waiting), Some(hub)) => {
                let params = Backlog::<Waiting>::event(key.number(), &self.buffer);
                waiting.fetch_add(1, Ordering::Relaxed);
                let published = hub.publish(&Event::new("", &params));
                if published.is_err() {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
                published
            }
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

    fn start_worker(&self) -> Option<Hub> {
        let relay = Waiting {
            common: self.common.clone(),
            waiting: self.waiting.clone(),
            limiter: RefCell::new(Limiter::new()),
        };
        // On its way to the worker an event shares the ring with those of all other destinations, some
        // of which may be stuck: room for some 40,000 small events, however the worker is scheduled.
        let ring_bytes = self.common.queue.clamp(1 << 22, 1 << 24);
        let log = host::log();
        let start = || -> std::io::Result<Hub> {
            let hub = Hub::start(HubOptions { ring_bytes, ..HubOptions::default() }, log.clone())?;
            hub.add(Box::new(Backlog::new(relay)))?;
            Ok(hub)
        };
        start().inspect_err(|error| log!(log, Error, "cannot start the worker: {error}")).ok()
    }

    /// Counts and reports an event that is dropped.
    fn dropped(&mut self, key: Key, cause: Tally, why: Option<&str>) {
        self.common.dropped(key, cause, why, &mut self.limiter);
    }

    fn report(&mut self, message: std::fmt::Arguments<'_>) {
        self.limiter.write(&host::log(), Level::Warning, message);
    }
}

impl Common {
    fn dropped(&self, key: Key, cause: Tally, why: Option<&str>, limiter: &mut Limiter) {
        self.arena.count_tally(cause, 1);
        let why = why.unwrap_or(match cause {
            Tally::DroppedFull => "too much waits already",
            Tally::DroppedGone => "nobody listens",
            Tally::DroppedTooLarge => "it is larger than the send buffer (send_buffer)",
            _ => "the system refused it",
        });
        if let Some(target) = self.arena.target(key) {
            let message = format_args!("dropped an event for {target:?}: {why}");
            limiter.write(&host::log(), Level::Warning, message);
        }
    }
}

/// What the worker asks of us.
struct Waiting {
    common: Common,
    waiting: Arc<[AtomicU32]>,
    limiter: RefCell<Limiter>,
}

impl Relay for Waiting {
    fn outlet(&self, key: u64) -> Option<Outlet> {
        self.common.arena.target(Key::from_number(key)).map(|target| self.common.outlet(target))
    }

    fn count(&self, key: u64, what: Tally, by: u64) {
        match what {
            Tally::Sent | Tally::Queued | Tally::Retried => self.common.arena.count_tally(what, by),
            cause => {
                let limiter = &mut self.limiter.borrow_mut();
                (0..by).for_each(|_| self.common.dropped(Key::from_number(key), cause, None, limiter));
            }
        }
    }

    fn settled(&self, key: u64, count: u64) {
        if let Some(waiting) = self.waiting.get(Key::from_number(key).slot()) {
            waiting.fetch_sub(count as u32, Ordering::Release);
        }
    }

    fn limit(&self) -> usize {
        self.common.queue
    }
}
