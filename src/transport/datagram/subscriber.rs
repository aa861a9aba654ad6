//! A hub's datagram subscriber: it listens at an address and says nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::Target;
use super::destination::{Account, Destination, Offered, PAUSE, Progress, Tally};
use super::outlet::Outlet;
use crate::event::{Event, Param, Value};
use crate::hub::{Overflow, Poll, Readiness, SubscriberStats, Transport, TransportStats};
use crate::log::{Level, Limiter, Log};
use crate::wire::Filter;
use crate::wire::{jsonrpc, text};

/// The event that tells a subscriber how many events were dropped (`count`), at the place in its
/// stream where they are missing. Only a subscriber whose filter names it to the letter gets it.
pub const LOST_EVENT: &str = "E_HERALD_EVENTS_LOST";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The text grammar of OpenSIPS 2.4 and 3.0.
    Text,
    /// JSON-RPC 2.0 notifications, as OpenSIPS 3.1 and later.
    #[default]
    Json,
}

impl Format {
    /// Appends the event.
    pub fn encode(self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Text => text::encode(event, out),
            Format::Json => jsonrpc::encode(event, out),
        }
    }

    /// Appends the event of this name and these parameters, each a name and a value.
    pub fn encode_parts<'a>(
        self,
        name: &[u8],
        params: impl Iterator<Item = (&'a [u8], Value<'a>)>,
        out: &mut Vec<u8>,
    ) {
        match self {
            Format::Text => text::encode_parts(name, params, out),
            Format::Json => jsonrpc::encode_parts(name, params, out),
        }
    }
}

/// What a subscriber wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberOptions {
    /// Where it listens.
    pub to: Target,
    /// Which events it gets.
    pub events: Filter,
    /// How they are written.
    pub format: Format,
    /// After which time it gets no more; none is never.
    pub expire: Option<Duration>,
    /// Bytes that may wait for it.
    pub queue_bytes: usize,
    /// What happens when that many wait; [`Overflow::Disconnect`] ends the subscription.
    pub overflow: Overflow,
    /// Bytes of the socket's send buffer, which bounds a unix datagram; 0 is the system's default.
    pub send_buffer: usize,
}

impl SubscriberOptions {
    /// Everything by default: all events, as JSON-RPC, for ever.
    pub fn new(to: Target) -> Self {
        SubscriberOptions {
            to,
            events: Filter::default(),
            format: Format::Json,
            expire: None,
            queue_bytes: 1 << 20,
            overflow: Overflow::DropNewest,
            send_buffer: 0,
        }
    }
}

/// The transport of one subscriber.
pub struct Subscriber {
    name: String,
    options: SubscriberOptions,
    expires: Option<Instant>,
    /// None once the subscription has ended.
    destination: Option<Destination>,
    buffer: Vec<u8>,
    pausing: Option<Instant>,
    account: Counts,
    subscriber: Arc<SubscriberStats>,
    limiter: Limiter,
    log: Log,
}

impl Subscriber {
    /// A subscriber; `name` is its address as the operator wrote it. Nothing is sent until it has
    /// been added to a hub. Its expiry counts from now.
    pub fn new(name: &str, options: SubscriberOptions, log: Log) -> Self {
        let outlet = Outlet::new(options.to, options.send_buffer, None);
        let subscriber = Arc::new(SubscriberStats::new(1, 0, 0));
        let stats = Arc::new(TransportStats::new("datagram", options.queue_bytes as u64));
        subscriber.call(name);
        stats.arrived(subscriber.clone());
        let tell = options.events.names(LOST_EVENT).then_some(options.format);
        Subscriber {
            name: name.to_owned(),
            expires: options.expire.and_then(|time| Instant::now().checked_add(time)),
            destination: Some(Destination::new(outlet, options.queue_bytes, options.overflow)),
            options,
            buffer: Vec::new(),
            pausing: None,
            account: Counts { stats, subscriber: subscriber.clone(), tell },
            subscriber,
            limiter: Limiter::new(),
            log,
        }
    }

    /// Offers the datagram in the buffer; whether the subscription goes on.
    fn offer(&mut self) -> bool {
        let Some(destination) = &mut self.destination else { return false };
        let offered = destination.offer(&self.buffer, &self.account);
        match offered {
            Offered::Taken => {}
            Offered::Dropped(count) => self.note_lost(count),
            Offered::Disconnect => {
                self.account.count(Tally::DroppedFull, 1);
                self.account.stats.overflowed.add(1);
                return false;
            }
        }
        true
    }

    fn note_lost(&mut self, count: u64) {
        let message = format_args!(
            "herald: {}: dropped {count} datagrams: gone, too slow, or too large",
            self.name
        );
        self.limiter.write(&self.log, Level::Warning, message);
    }

    fn end(&mut self, poll: &Poll, why: &str) {
        if let Some(mut destination) = self.destination.take() {
            let unsent = destination.abandon(poll);
            self.account.count(Tally::DroppedFull, unsent);
            self.account.stats.left(self.subscriber.id);
            self.log.write(Level::Info, format_args!("herald: {}: {why}; {unsent} unsent", self.name));
        }
    }
}

impl Transport for Subscriber {
    fn stats(&self) -> Arc<TransportStats> {
        self.account.stats.clone()
    }

    fn start(&mut self, _poll: &Poll) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, _poll: &Poll, event: &Event<'_>) {
        let expired = self.expires.is_some_and(|expires| expires <= Instant::now());
        // A message in another protocol's encoding cannot be expressed here.
        let wanted = event.as_encoded().is_none() && self.options.events.wants(event.name());
        if self.destination.is_none() || expired || !wanted {
            return;
        }
        self.buffer.clear();
        self.options.format.encode(event, &mut self.buffer);
        if !self.offer() {
            // The next timeout ends it.
            self.expires = Some(Instant::now());
        }
    }

    fn lost(&mut self, count: u64) {
        let Some(destination) = &mut self.destination else { return };
        destination.note_lost(count);
        self.account.count(Tally::DroppedFull, count);
        self.note_lost(count);
    }

    fn flush(&mut self, poll: &Poll) {
        let Some(destination) = &mut self.destination else { return };
        let (dropped, progress) = destination.flush(&self.account, poll, 0);
        self.pausing = (progress == Progress::Pausing).then(|| Instant::now() + PAUSE);
        if dropped > 0 {
            self.note_lost(dropped);
        }
        let waiting = self.destination.as_ref().map_or(0, Destination::queued_bytes);
        self.subscriber.queued_bytes.set(waiting as u64);
    }

    fn ready(&mut self, poll: &Poll, _key: u64, _readiness: Readiness) {
        self.flush(poll);
    }

    fn deadline(&self) -> Option<Instant> {
        self.destination.as_ref()?;
        self.pausing.into_iter().chain(self.expires).min()
    }

    fn timeout(&mut self, poll: &Poll) {
        if self.expires.is_some_and(|expires| expires <= Instant::now()) {
            self.end(poll, "the subscription has ended");
        } else {
            self.flush(poll);
        }
    }

    fn has_pending(&self) -> bool {
        self.destination.as_ref().is_some_and(Destination::has_pending)
    }

    fn close(&mut self, poll: &Poll) {
        self.end(poll, "the hub closes");
    }
}

/// Counts into the statistics of the hub.
struct Counts {
    stats: Arc<TransportStats>,
    subscriber: Arc<SubscriberStats>,
    /// How a lost record is written, if it is wanted.
    tell: Option<Format>,
}

impl Account for Counts {
    fn lost_record(&self, count: u64) -> Option<Vec<u8>> {
        let mut record = Vec::new();
        let params = [Param { name: "count", value: Value::Uint(count) }];
        self.tell?.encode(&Event::new(LOST_EVENT, &params), &mut record);
        Some(record)
    }

    fn count(&self, what: Tally, by: u64) {
        let TransportStats { queued, retried, dropped_gone, dropped_too_large, dropped_error, .. } =
            &*self.stats;
        match what {
            Tally::Sent => {
                self.stats.delivered.add(by);
                self.subscriber.delivered.add(by);
                return;
            }
            Tally::Queued => return queued.add(by),
            Tally::Retried => return retried.add(by),
            Tally::DroppedFull => {}
            Tally::DroppedGone => dropped_gone.add(by),
            Tally::DroppedTooLarge => dropped_too_large.add(by),
            Tally::DroppedError => dropped_error.add(by),
        }
        self.stats.dropped.add(by);
        self.subscriber.dropped.add(by);
    }
}
