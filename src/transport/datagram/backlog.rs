//! For a host that sends datagrams on its own thread: what its sockets would not take.
//!
//! The host hands each such datagram to its hub as an event without a name, made by
//! [`Backlog::event`]; the worker sends them in order as the readers catch up. While any of a
//! destination's datagrams is on its way here, the host must send the next ones the same way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::destination::{Account, Destination, Offered, PAUSE, Progress, Tally};
use super::outlet::Outlet;
use crate::event::{Event, Param, Value};
use crate::hub::{Overflow, Poll, Readiness, Transport, TransportStats};

/// The host's side. Keys name its destinations; they have 48 bits and are never used again.
pub trait Relay: Send {
    /// The way to a destination; none if it is no destination any more.
    fn outlet(&self, key: u64) -> Option<Outlet>;
    /// Whether nothing more will be handed over for a destination.
    fn has_ended(&self, key: u64) -> bool;
    /// Counts what became of a destination's datagrams.
    fn count(&self, key: u64, what: Tally, by: u64);
    /// A datagram of so many bytes has left the hub's ring.
    fn arrived(&self, key: u64, bytes: usize);
    /// So many bytes of a destination's datagrams have been sent or dropped.
    fn settled(&self, key: u64, bytes: usize);
    /// How many bytes may wait for a destination.
    fn limit(&self) -> usize;
}

/// Counts for one destination.
struct Of<'a, R>(&'a R, u64);

impl<R: Relay> Account for Of<'_, R> {
    fn count(&self, what: Tally, by: u64) {
        self.0.count(self.1, what, by);
    }
}

/// What waits for a destination that has ended is kept for one to two times as long.
const LINGER: Duration = Duration::from_secs(1);

/// The transport.
pub struct Backlog<R: Relay> {
    relay: R,
    destinations: HashMap<u64, Destination>,
    /// Those that had ended at the last sweep.
    ended: Vec<u64>,
    pausing: Option<Instant>,
    sweep: Option<Instant>,
    stats: Arc<TransportStats>,
}

impl<R: Relay> Backlog<R> {
    /// A transport without destinations.
    pub fn new(relay: R) -> Self {
        Backlog {
            relay,
            destinations: HashMap::new(),
            ended: Vec::new(),
            pausing: None,
            sweep: None,
            stats: Arc::default(),
        }
    }

    /// The parameters of the event that carries a datagram to the destination `key`.
    pub fn event(key: u64, datagram: &[u8]) -> [Param<'_>; 2] {
        let param = |value| Param { name: "", value };
        [param(Value::Uint(key)), param(Value::Bytes(datagram))]
    }

    /// How many bytes of the hub's ring that event takes, at most.
    pub fn ring_bytes(datagram: usize) -> usize {
        // A word each for the record, the event, two parameters and the key; the last word is filled up.
        datagram + 48
    }

    fn flush_one(&mut self, poll: &Poll, key: u64) {
        let Some(destination) = self.destinations.get_mut(&key) else { return };
        let waited = destination.queued_bytes();
        let (_, progress) = destination.flush(&Of(&self.relay, key), poll, key);
        self.relay.settled(key, waited - destination.queued_bytes());
        match progress {
            Progress::Idle => {
                self.destinations.remove(&key);
            }
            Progress::Waiting => {}
            Progress::Pausing => self.pausing = Some(Instant::now() + PAUSE),
        }
    }

    /// Gives up what waits for those that have ended, and may never read again.
    fn sweep(&mut self, poll: &Poll) {
        let before = std::mem::take(&mut self.ended);
        let ended = self.destinations.keys().filter(|key| self.relay.has_ended(**key));
        self.ended = ended.copied().collect();
        // Those that had ended then, and have not begun anew since.
        for key in before.iter().filter(|key| self.ended.contains(key)) {
            if let Some(destination) = self.destinations.remove(key) {
                self.abandon(poll, *key, destination, Tally::DroppedGone);
            }
        }
        // A unix listener that takes nothing never says that another has taken its path.
        for key in self.destinations.keys().copied().collect::<Vec<_>>() {
            self.flush_one(poll, key);
        }
    }

    fn abandon(&self, poll: &Poll, key: u64, mut destination: Destination, cause: Tally) {
        let bytes = destination.queued_bytes();
        self.relay.count(key, cause, destination.abandon(poll));
        self.relay.settled(key, bytes);
    }
}

impl<R: Relay> Transport for Backlog<R> {
    fn stats(&self) -> Arc<TransportStats> {
        self.stats.clone()
    }

    fn start(&mut self, _poll: &Poll) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, _poll: &Poll, event: &Event<'_>) {
        let mut params = event.params().map(|param| param.value);
        let (Some(Value::Uint(key)), Some(Value::Bytes(datagram))) = (params.next(), params.next())
        else {
            return;
        };
        let relay = &self.relay;
        relay.arrived(key, datagram.len());
        let destination = match self.destinations.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let Some(outlet) = relay.outlet(key) else {
                    relay.count(key, Tally::DroppedGone, 1);
                    return relay.settled(key, datagram.len());
                };
                place.insert(Destination::new(outlet, relay.limit(), Overflow::DropNewest))
            }
        };
        if destination.queue(datagram, &Of(relay, key)) != Offered::Taken {
            relay.settled(key, datagram.len());
        }
    }

    /// The host counts for itself what its hub's ring could not take.
    fn lost(&mut self, _count: u64) {}

    fn flush(&mut self, poll: &Poll) {
        let unsent: Vec<u64> = self
            .destinations
            .iter()
            .filter(|(_, destination)| !destination.is_waiting())
            .map(|(key, _)| *key)
            .collect();
        for key in unsent {
            self.flush_one(poll, key);
        }
        if self.sweep.is_none() && !self.destinations.is_empty() {
            self.sweep = Some(Instant::now() + LINGER);
        }
    }

    fn ready(&mut self, poll: &Poll, key: u64, _readiness: Readiness) {
        self.flush_one(poll, key);
    }

    fn deadline(&self) -> Option<Instant> {
        self.pausing.into_iter().chain(self.sweep).min()
    }

    fn timeout(&mut self, poll: &Poll) {
        let now = Instant::now();
        if self.sweep.is_some_and(|sweep| sweep <= now) {
            self.sweep = None;
            self.sweep(poll);
        }
        if self.pausing.is_some_and(|pausing| pausing <= now) {
            self.pausing = None;
        }
        self.flush(poll);
    }

    fn has_pending(&self) -> bool {
        !self.destinations.is_empty()
    }

    fn close(&mut self, poll: &Poll) {
        for (key, destination) in std::mem::take(&mut self.destinations) {
            self.abandon(poll, key, destination, Tally::DroppedFull);
        }
    }
}
