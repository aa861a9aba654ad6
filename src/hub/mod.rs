//! The bounded path from publishers to subscriber queues.
//!
//! Each publishing thread owns a [lane]: a ring that only it writes and only the worker
//! reads. A publish is one look at the thread's lane, a copy of the event into it, and a check
//! whether the worker sleeps. Nothing on that path locks, allocates (but for a thread's first
//! publish) or depends on the subscribers, and it can be abandoned at any instruction.
//!
//! The [worker] drains the lanes and hands each event to the [transports](Transport), which
//! encode it once, for all subscribers, and then lets them write: many events at a time, and what
//! a subscriber does not take waits in its [queue](Queue).

mod fd;
mod fork;
mod frames;
mod lane;
mod poll;
mod promise;
mod queue;
mod stats;
mod sync;
mod wake;
mod worker;

#[cfg(all(test, loom))]
mod loom_tests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;

pub use fd::Fd;
pub(crate) use fork::{generation, in_child};
pub use poll::{Interest, Poll, Readiness};
pub use queue::{LostRecord, Overflow, Pushed, Queue};
pub use stats::{Counter, HubStats, SubscriberStats, TransportStats};

use crate::event::Event;
use crate::log::{Log, log};
use lane::{Lane, Refused};
use promise::{Promise, Promiser, promise};
use wake::{Bell, Epoch};

/// Sockets that the worker serves. All calls come from the worker thread, but for
/// [`Transport::stats`], which comes before it is handed over.
pub trait Transport: Send {
    /// What the transport counts.
    fn stats(&self) -> Arc<TransportStats>;
    /// Enters the transport's descriptors into the worker's set.
    fn start(&mut self, poll: &Poll) -> io::Result<()>;
    /// Takes an event for every subscriber that wants it. More may follow at once: a flush comes
    /// after the last.
    fn event(&mut self, poll: &Poll, event: &Event<'_>);
    /// Tells every subscriber that `count` events were dropped here, before they got this far.
    fn lost(&mut self, count: u64);
    /// Writes what there is, as far as the sockets take it. Also called after [`Remote::nudge`].
    fn flush(&mut self, poll: &Poll);
    /// Something happened on the descriptor that was added with this key.
    fn ready(&mut self, poll: &Poll, key: u64, readiness: Readiness);
    /// When the transport wants [`Transport::timeout`] to be called, if ever.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// The deadline has come.
    fn timeout(&mut self, _poll: &Poll) {}
    /// Whether anything waits that a flush could still send.
    fn has_pending(&self) -> bool;
    /// Closes every descriptor.
    fn close(&mut self, poll: &Poll);
}

/// How a hub works.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Bytes of ring for each thread that publishes; rounded up to a power of two.
    pub ring_bytes: usize,
    /// How long closing may take to send what is queued.
    pub flush: Duration,
    /// How long the worker looks for more events before it sleeps, when they come close one after the
    /// other. Longer than a wake-up takes is seldom worth it: it may keep a subscriber, which the last
    /// write has woken, from its processor.
    pub spin: Duration,
}

impl Default for HubOptions {
    fn default() -> Self {
        HubOptions {
            ring_bytes: 1 << 20,
            flush: Duration::from_millis(200),
            spin: Duration::from_micros(5),
        }
    }
}

/// Why an event was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// The thread's ring is full: events come faster than the worker takes them. The event is
    /// counted, and subscribers are told.
    RingFull,
    /// The event is larger than the ring, has more than [`Event::MAX_PARAMS`] parameters, or a name is
    /// longer than [`Event::MAX_NAME`].
    TooLarge,
    /// The hub has been closed.
    Closed,
    /// The hub belongs to the parent of this forked process.
    Forked,
    /// The worker has ended on its own, or the host has closed the hub's descriptors.
    Failed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishError::RingFull => {
                "the ring is full; publish more slowly or give the hub a larger ring"
            }
            PublishError::TooLarge => "the event is too large; give the hub a larger ring",
            PublishError::Closed => "the hub is closed",
            PublishError::Forked => {
                "the hub belongs to the parent process; a forked child needs its own"
            }
            PublishError::Failed => "the hub has failed; close it and open another",
        })
    }
}

impl std::error::Error for PublishError {}

/// The number of the bell among the transports.
const BELL: u16 = u16::MAX;

/// What publishers and the worker share.
struct Shared {
    lanes: ThreadLocal<Lane>,
    epoch: Epoch,
    bell: Bell,
    closed: AtomicBool,
    failed: AtomicBool,
    /// Set when there is something in the command channel.
    summoned: AtomicBool,
    forks: u32,
    transports: Mutex<Vec<Arc<TransportStats>>>,
    options: HubOptions,
}

impl Shared {
    fn summon(&self) {
        self.summoned.store(true, Ordering::Release);
        self.epoch.after_summons(|| self.wake());
    }

    fn wake(&self) {
        if !self.bell.ring() {
            self.failed.store(true, Ordering::Release);
        }
    }
}

/// A hub as what it serves sees it. It can be kept for any time and does not keep the hub: once that is
/// closed, or in a forked child, nothing happens any more.
#[derive(Clone)]
pub struct Remote(Weak<Shared>);

impl Remote {
    /// Has the worker flush its transports soon: what they were given by other ways than events is sent.
    pub fn nudge(&self) {
        if let Some(shared) = self.0.upgrade().filter(|shared| shared.forks == fork::generation()) {
            shared.summon();
        }
    }

    /// What has been counted for each transport.
    pub fn transports(&self) -> Vec<Arc<TransportStats>> {
        self.0.upgrade().map(|shared| lock(&shared.transports).clone()).unwrap_or_default()
    }
}

enum Command {
    Add(Box<dyn Transport>, Promiser<io::Result<()>>),
    Close,
}

/// A running hub. Dropping it closes it.
///
/// All methods can be called from any thread. In a forked child [`Hub::publish`], [`Hub::add`] and
/// [`Hub::attach_thread`] answer that the hub is not its own, and closing or dropping it leaves the
/// parent's alone; what it has counted is not to be asked for.
pub struct Hub {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    worker: Mutex<Option<Worker>>,
    worker_id: ThreadId,
    log: Log,
}

struct Worker {
    thread: JoinHandle<()>,
    /// Settles when the worker has ended.
    done: Promise<()>,
}

impl Hub {
    /// How much longer than the flush closing waits for a worker that is held up by the host's
    /// own log, say, before it goes on without it.
    const GRACE: Duration = Duration::from_secs(1);

    /// Starts a hub and its worker thread.
    pub fn start(options: HubOptions, log: Log) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        let shared = Arc::new(Shared {
            lanes: ThreadLocal::new(),
            epoch: Epoch::new(),
            bell: Bell::new(poll.of(BELL))?,
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            summoned: AtomicBool::new(false),
            forks: fork::generation(),
            transports: Mutex::default(),
            options,
        });
        let (commands, inbox) = mpsc::channel();
        let (promiser, done) = promise();
        let thread = worker::spawn(shared.clone(), poll, inbox, promiser, log.clone())?;
        let worker_id = thread.thread().id();
        Ok(Hub { shared, commands, worker: Mutex::new(Some(Worker { thread, done })), worker_id, log })
    }

    /// Prepares this thread for publishing, so that its first publish allocates nothing.
    pub fn attach_thread(&self) -> Result<(), PublishError> {
        self.own()?.lane();
        Ok(())
    }

    /// Whether the hub belongs to the parent of this forked process.
    pub fn is_forked(&self) -> bool {
        self.shared.forks != fork::generation()
    }

    /// Hands an event to the worker. Never blocks. Events of one thread stay in order.
    pub fn publish(&self, event: &Event<'_>) -> Result<(), PublishError> {
        let shared = self.own()?;
        let lane = shared.lane();
        let pushed = lane.push(event);
        // Also after a refusal: the publish that filled the ring may have been abandoned before
        // it woke the worker.
        shared.epoch.after_push(lane, || shared.wake());
        if shared.failed.load(Ordering::Relaxed) {
            return Err(PublishError::Failed);
        }
        pushed.map_err(|refused| match refused {
            Refused::Full => PublishError::RingFull,
            Refused::TooLarge => PublishError::TooLarge,
        })
    }

    /// Hands a transport to the worker and waits until it is served. Refused on the worker's own thread.
    pub fn add(&self, transport: Box<dyn Transport>) -> io::Result<()> {
        let shared = self.own().map_err(io::Error::other)?;
        if self.is_served_by_this_thread() {
            let why = "the hub's own thread would wait for itself; serve from another";
            return Err(io::Error::new(io::ErrorKind::Deadlock, why));
        }
        let stats = transport.stats();
        let (promiser, answer) = promise();
        // A worker that has ended drops the command, which breaks the promise.
        let _ = self.commands.send(Command::Add(transport, promiser));
        shared.summon();
        answer.wait().unwrap_or_else(|| Err(io::Error::other(PublishError::Failed)))?;
        lock(&shared.transports).push(stats);
        Ok(())
    }

    /// The hub as what it serves sees it.
    pub fn remote(&self) -> Remote {
        Remote(Arc::downgrade(&self.shared))
    }

    /// The sum of what has been counted.
    pub fn stats(&self) -> HubStats {
        let mut stats = HubStats::default();
        for lane in self.shared.lanes.iter() {
            stats.published += lane.published();
            stats.ring_full += lane.lost();
        }
        for transport in lock(&self.shared.transports).iter() {
            stats.add(transport);
        }
        stats
    }

    /// What has been counted for each subscriber that there is now.
    pub fn subscribers(&self) -> Vec<Arc<SubscriberStats>> {
        lock(&self.shared.transports).iter().flat_map(|transport| transport.subscribers()).collect()
    }

    /// Closes the hub: sends what is queued, for at most [`HubOptions::flush`], and ends the
    /// worker. Publishing answers [`PublishError::Closed`] from now on. Closing twice is harmless.
    ///
    /// From the worker's own thread (a host whose abort handler cleans up) it only says that the
    /// worker shall end.
    pub fn close(&self) {
        let shared = &self.shared;
        if self.is_forked() {
            return;
        }
        shared.closed.store(true, Ordering::Release);
        let _ = self.commands.send(Command::Close);
        shared.summon();
        if self.is_served_by_this_thread() {
            return;
        }
        let Some(worker) = lock(&self.worker).take() else { return };
        // One that has failed may sleep for good on descriptors that the host has closed.
        let failed = shared.failed.load(Ordering::Acquire);
        let patience = if failed { Duration::ZERO } else { shared.options.flush + Self::GRACE };
        if worker.done.settles_within(patience) {
            // A panic of the worker has been caught and logged by itself.
            let _ = worker.thread.join();
        } else if !failed {
            log!(self.log, Warning, "herald: the worker thread did not end in time and is left behind");
        }
    }

    /// Whether this is the worker's own thread.
    pub fn is_served_by_this_thread(&self) -> bool {
        std::thread::current().id() == self.worker_id
    }

    fn own(&self) -> Result<&Shared, PublishError> {
        let shared = &self.shared;
        if self.is_forked() {
            Err(PublishError::Forked)
        } else if shared.failed.load(Ordering::Relaxed) {
            Err(PublishError::Failed)
        } else if shared.closed.load(Ordering::Relaxed) {
            Err(PublishError::Closed)
        } else {
            Ok(shared)
        }
    }
}

impl Shared {
    fn lane(&self) -> &Lane {
        self.lanes.get_or(|| Lane::new(self.options.ring_bytes))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
        if self.is_forked() {
            // The thread is not in this process, and its id may be that of one which is.
            std::mem::forget(lock(&self.worker).take());
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Locks a list that no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
