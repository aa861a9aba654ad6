//! What the hub counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    name: OnceLock<String>,
}

impl SubscriberStats {
    /// Of the subscriber `id`, the user `uid` in the process `pid`.
    pub fn new(id: u64, pid: u32, uid: u32) -> Self {
        SubscriberStats { id, pid, uid, ..SubscriberStats::default() }
    }

    /// Gives the subscriber a name; the first that is not empty stays.
    pub fn call(&self, name: &str) {
        if !name.is_empty() && self.name.get().is_none() {
            let _ = self.name.set(name.to_owned());
        }
    }

    /// The name that the subscriber was given, or what process it is.
    pub fn name(&self) -> String {
        self.name.get().cloned().unwrap_or_else(|| format!("pid {}", self.pid))
    }
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
    /// Requests that were dropped because they were none of this transport's.
    pub ignored: Counter,
    /// Datagrams that had to wait.
    pub queued: Counter,
    /// Attempts to send a datagram that waited.
    pub retried: Counter,
    /// Of `dropped`: datagrams at whose address nobody listened.
    pub dropped_gone: Counter,
    /// Of `dropped`: datagrams larger than their transport carries.
    pub dropped_too_large: Counter,
    /// Of `dropped`: datagrams that the system refused.
    pub dropped_error: Counter,
    name: &'static str,
    queue_limit: u64,
    subscribers: Mutex<Vec<Arc<SubscriberStats>>>,
}

impl TransportStats {
    /// Of a transport of this name, in which so many bytes can wait for a subscriber.
    pub fn new(name: &'static str, queue_limit: u64) -> Self {
        TransportStats { name, queue_limit, ..TransportStats::default() }
    }

    /// The transport's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes that can wait for a subscriber.
    pub fn queue_limit(&self) -> u64 {
        self.queue_limit
    }

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
    /// Requests that were dropped because they were none of the transport's.
    pub ignored: u64,
    /// Datagrams that had to wait.
    pub queued: u64,
    /// Attempts to send a datagram that waited.
    pub retried: u64,
    /// Of `dropped`: datagrams at whose address nobody listened.
    pub dropped_gone: u64,
    /// Of `dropped`: datagrams larger than their transport carries.
    pub dropped_too_large: u64,
    /// Of `dropped`: datagrams that the system refused.
    pub dropped_error: u64,
}

impl HubStats {
    pub(super) fn add(&mut self, transport: &TransportStats) {
        self.delivered += transport.delivered.get();
        self.dropped += transport.dropped.get();
        self.subscribers += transport.lock().len() as u64;
        self.refused += transport.refused.get();
        self.protocol_errors += transport.protocol_errors.get();
        self.overflowed += transport.overflowed.get();
        self.ignored += transport.ignored.get();
        self.queued += transport.queued.get();
        self.retried += transport.retried.get();
        self.dropped_gone += transport.dropped_gone.get();
        self.dropped_too_large += transport.dropped_too_large.get();
        self.dropped_error += transport.dropped_error.get();
    }
}
