//! Sending, in one process: at once where nothing waits, else behind what waits.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::arena::{Arena, Subscription, slot_of_key};
use super::log as host;
use crate::event::Event;
use crate::hub::{self, Hub, HubOptions};
use crate::log::{Level, Limiter, log};
use crate::transport::datagram::{
    Account, Backlog, MAX_UDP, Outlet, Relay, Sent, SourcePorts, Tally, Target,
};

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
    outlets: Vec<Option<(u64, Outlet)>>,
    /// By slot: how many datagrams are with the worker. While it is not 0, all others follow them.
    waiting: Arc<[AtomicU32]>,
    /// Started when a datagram has to wait for the first time.
    hub: Option<Hub>,
    pub buffer: Vec<u8>,
    limiter: Limiter,
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
        Sender {
            outlets: (0..common.arena.slots()).map(|_| None).collect(),
            waiting: (0..common.arena.slots()).map(|_| AtomicU32::new(0)).collect(),
            common,
            generation,
            hub: None,
            buffer: Vec::new(),
            limiter: Limiter::new(),
        }
    }

    /// Sends what is in the buffer; whether it is sent or waits.
    pub fn send(&mut self, subscription: &Subscription) -> bool {
        let arena = self.common.arena;
        if matches!(subscription.target, Target::Udp(_)) && self.buffer.len() > MAX_UDP {
            arena.count_tally(Tally::DroppedTooLarge);
            let size = self.buffer.len();
            self.report(format_args!(
                "an event of {size} bytes is too large for a UDP subscriber, which gets at most {MAX_UDP}"
            ));
            return false;
        }
        let Some(waiting) = self.waiting.get(subscription.slot) else { return false };
        // Acquire: whoever counted down to 0 has sent what was before us.
        if waiting.load(Ordering::Acquire) > 0 {
            return self.queue(subscription);
        }
        let Some(place) = self.outlets.get_mut(subscription.slot) else { return false };
        let (_, outlet) = match place {
            Some(made) if made.0 == subscription.key => made,
            _ => place.insert((subscription.key, self.common.outlet(subscription.target))),
        };
        let (tally, why) = match outlet.send(&self.buffer) {
            Sent::Done => {
                arena.count_tally(Tally::Sent);
                return true;
            }
            Sent::Later => return self.queue(subscription),
            Sent::Gone => (Tally::DroppedGone, "nobody listens"),
            Sent::TooLarge => {
                (Tally::DroppedTooLarge, "it is larger than the send buffer (send_buffer)")
            }
            Sent::Failed(errno) => (Tally::DroppedError, errno.desc()),
        };
        arena.count_tally(tally);
        let target = subscription.target;
        self.report(format_args!("dropped an event for {target:?}: {why}"));
        false
    }

    /// Hands what is in the buffer to the worker.
    fn queue(&mut self, subscription: &Subscription) -> bool {
        let arena = self.common.arena;
        let Some(waiting) = self.waiting.get(subscription.slot) else { return false };
        waiting.fetch_add(1, Ordering::Relaxed);
        if self.hub.is_none() {
            self.hub = self.start_worker();
        }
        let params = Backlog::<Waiting>::event(subscription.key, &self.buffer);
        let published =
            self.hub.as_ref().is_some_and(|hub| hub.publish(&Event::new("", &params)).is_ok());
        if !published {
            self.waiting[subscription.slot].fetch_sub(1, Ordering::Relaxed);
            arena.count_tally(Tally::DroppedFull);
            let target = subscription.target;
            self.report(format_args!("dropped an event for {target:?}: too much waits already"));
        }
        published
    }

    fn start_worker(&self) -> Option<Hub> {
        let relay = Waiting { common: self.common.clone(), waiting: self.waiting.clone() };
        // A few of the largest datagrams must fit, whatever the queue's bound.
        let ring_bytes = self.common.queue.clamp(1 << 20, 1 << 24);
        let log = host::log();
        let start = || -> std::io::Result<Hub> {
            let hub = Hub::start(HubOptions { ring_bytes, ..HubOptions::default() }, log.clone())?;
            hub.add(Box::new(Backlog::new(relay)))?;
            Ok(hub)
        };
        start().inspect_err(|error| log!(log, Error, "cannot start the worker: {error}")).ok()
    }

    fn report(&mut self, message: std::fmt::Arguments<'_>) {
        self.limiter.write(&host::log(), Level::Warning, message);
    }
}

impl Arena {
    fn count_tally(&self, what: Tally) {
        Account::count(self, what, 1);
    }
}

/// What the worker asks of us.
struct Waiting {
    common: Common,
    waiting: Arc<[AtomicU32]>,
}

impl Account for Waiting {
    fn count(&self, what: Tally, by: u64) {
        Account::count(&self.common.arena, what, by);
    }
}

impl Relay for Waiting {
    fn outlet(&self, key: u64) -> Option<Outlet> {
        self.common.arena.by_key(key).map(|found| self.common.outlet(found.target))
    }

    fn settled(&self, key: u64, count: u64) {
        if let Some(waiting) = self.waiting.get(slot_of_key(key)) {
            waiting.fetch_sub(count as u32, Ordering::Release);
        }
    }

    fn limit(&self) -> usize {
        self.common.queue
    }
}
