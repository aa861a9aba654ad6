//! What the hub counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A counter that the worker writes and anybody reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the count.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets the count, for gauges.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted for one subscriber.
#[derive(Debug, Default)]
pub struct SubscriberStats {
    /// Unique within the transport, in the order of arrival, from 1.
    pub id: u64,
    /// The process at the other end, 0 if it is not known.
    pub pid: u32,
    /// The user at the other end.
    pub uid: u32,
    /// Events handed to the kernel whole.
    pub delivered: Counter,
    /// Events dropped on the way to this subscriber.
    pub dropped: Counter,
    /// Bytes that wait now.
    pub queued_bytes: Counter,
}

/// What is counted for one transport.
#[derive(Debug, Default)]
pub struct TransportStats {
    /// Events handed to the kernel whole, over all subscribers.
    pub delivered: Counter,
    /// Events that a subscriber asked for and did not get, over all subscribers.
    pub dropped: Counter,
    /// Subscribers that were turned away: too many, or not allowed.
    pub refused: Counter,
    /// Subscribers that were disconnected for breaking the protocol.
    pub protocol_errors: Counter,
    /// Subscribers that were disconnected because their queue was full.
    pub overflowed: Counter,
    subscribers: Mutex<Vec<Arc<SubscriberStats>>>,
}

impl TransportStats {
    /// Enters a subscriber.
    pub fn arrived(&self, subscriber: Arc<SubscriberStats>) {
        self.lock().push(subscriber);
    }

    /// Takes a subscriber out again.
    pub fn left(&self, id: u64) {
        self.lock().retain(|subscriber| subscriber.id != id);
    }

    /// The subscribers that there are now.
    pub fn subscribers(&self) -> Vec<Arc<SubscriberStats>> {
        self.lock().clone()
    }

    // A panic cannot leave the list half-changed, so a poisoned lock is as good as any.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<SubscriberStats>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sum over the hub and all its transports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Events that were published.
    pub published: u64,
    /// Events that found the publisher's ring full; no subscriber got them.
    pub ring_full: u64,
    /// Deliveries: events handed to the kernel whole, summed over all subscribers.
    pub delivered: u64,
    /// Events that a subscriber asked for and did not get, summed over all subscribers.
    pub dropped: u64,
    /// Subscribers now.
    pub subscribers: u64,
    /// Subscribers that were turned away.
    pub refused: u64,
    /// Subscribers that were disconnected for breaking the protocol.
    pub protocol_errors: u64,
    /// Subscribers that were disconnected because their queue was full.
    pub overflowed: u64,
}

impl HubStats {
    pub(super) fn add(&mut self, transport: &TransportStats) {
        self.delivered += transport.delivered.get();
        self.dropped += transport.dropped.get();
        self.subscribers += transport.lock().len() as u64;
        self.refused += transport.refused.get();
        self.protocol_errors += transport.protocol_errors.get();
        self.overflowed += transport.overflowed.get();
    }
}
