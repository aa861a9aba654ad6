//! One destination: its way out, and what waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::MAX_UDP;
use super::outlet::{Outlet, Sent};
use crate::hub::{Interest, Overflow, Poll};

/// What is counted of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// The kernel has it.
    Sent,
    /// It had to wait.
    Queued,
    /// Another try was made for one that waits.
    Retried,
    /// Dropped: too much waits already.
    DroppedFull,
    /// Dropped: nobody listens.
    DroppedGone,
    /// Dropped: larger than the transport can carry.
    DroppedTooLarge,
    /// Dropped: the system refused it.
    DroppedError,
}

/// Who counts.
pub trait Account {
    /// Adds to a count.
    fn count(&self, what: Tally, by: u64);

    /// The datagram that tells of so many dropped ones, if the reader wants to know.
    fn lost_record(&self, _count: u64) -> Option<Vec<u8>> {
        None
    }
}

/// How long to wait when the system has no buffers, which no socket tells the end of.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// For how long the system may have no buffers for a datagram, of which it may be that it never has.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many datagrams leave in one system call.
const BATCH: usize = 64;

/// A datagram that waits.
struct Waiting {
    /// How many were dropped right before it, of which nothing tells yet.
    lost_before: u64,
    bytes: Box<[u8]>,
}

/// Datagrams on their way to one target.
pub struct Destination {
    outlet: Outlet,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    /// How many were dropped after the last one, of which nothing tells yet.
    lost: u64,
    limit: usize,
    overflow: Overflow,
    /// Whether the poll waits for room.
    waiting: bool,
    /// Since when the system has no buffers for the first that waits.
    lacking: Option<Instant>,
}

/// What a destination needs of its transport after a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing waits.
    Idle,
    /// The poll tells when there is room.
    Waiting,
    /// Nothing tells: try again after [`PAUSE`].
    Pausing,
}

/// What became of a datagram that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It is sent, or waits.
    Taken,
    /// It, or this many older ones, were dropped.
    Dropped(u64),
    /// There is no room, and the policy is to disconnect.
    Disconnect,
}

impl Destination {
    /// A destination for which at most `limit` bytes wait.
    pub fn new(outlet: Outlet, limit: usize, overflow: Overflow) -> Self {
        Destination {
            outlet,
            queue: VecDeque::new(),
            queued_bytes: 0,
            lost: 0,
            limit,
            overflow,
            waiting: false,
            lacking: None,
        }
    }

    /// Whether something waits, be it only to tell of what was dropped.
    pub fn has_pending(&self) -> bool {
        self.waiting || !self.queue.is_empty()
    }

    /// Whether the poll tells when there is room.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Notes datagrams that were dropped on the way here.
    pub fn note_lost(&mut self, count: u64) {
        self.lost += count;
    }

    /// Sends a datagram at once if nothing is before it, else queues it.
    pub fn offer(&mut self, datagram: &[u8], account: &impl Account) -> Offered {
        if self.outlet.is_udp() && datagram.len() > MAX_UDP {
            account.count(Tally::DroppedTooLarge, 1);
            self.lost += 1;
            return Offered::Dropped(1);
        }
        if self.queue.is_empty() {
            let sent = match self.tell(account) {
                Sent::Done => self.outlet.send(datagram),
                failed => failed,
            };
            if !matches!(sent, Sent::Later | Sent::NoBuffers) {
                if settle(sent, account) {
                    return Offered::Taken;
                }
                self.lost += 1;
                return Offered::Dropped(1);
            }
        }
        self.queue(datagram, account)
    }

    /// Queues a datagram behind all others.
    pub fn queue(&mut self, datagram: &[u8], account: &impl Account) -> Offered {
        let mut dropped = 0;
        while self.queued_bytes + datagram.len() > self.limit {
            match self.overflow {
                Overflow::Disconnect => return Offered::Disconnect,
                Overflow::DropOldest if !self.queue.is_empty() => {
                    self.drop_first();
                    dropped += 1;
                }
                Overflow::DropOldest | Overflow::DropNewest => {
                    self.lost += 1;
                    account.count(Tally::DroppedFull, dropped + 1);
                    return Offered::Dropped(dropped + 1);
                }
            }
        }
        account.count(Tally::DroppedFull, dropped);
        account.count(Tally::Queued, 1);
        let lost_before = std::mem::take(&mut self.lost);
        self.queue.push_back(Waiting { lost_before, bytes: datagram.into() });
        self.queued_bytes += datagram.len();
        if dropped == 0 { Offered::Taken } else { Offered::Dropped(dropped) }
    }

    /// Sends what waits, as far as the socket takes it. The number is how many were dropped.
    pub fn flush(&mut self, account: &impl Account, poll: &Poll, key: u64) -> (u64, Progress) {
        let mut dropped = 0;
        let mut progress = Progress::Idle;
        while !self.queue.is_empty() {
            let outcome = match self.tell(account) {
                Sent::Done => self.send_batch(account),
                failed => failed,
            };
            match outcome {
                Sent::Done => {}
                Sent::Later => {
                    progress = Progress::Waiting;
                    break;
                }
                Sent::NoBuffers
                    if self.lacking.get_or_insert_with(Instant::now).elapsed() < PATIENCE =>
                {
                    progress = Progress::Pausing;
                    break;
                }
                failed => {
                    self.lacking = None;
                    settle(failed, account);
                    self.drop_first();
                    dropped += 1;
                }
            }
        }
        if progress == Progress::Idle {
            progress = match self.tell(account) {
                Sent::Later => Progress::Waiting,
                Sent::NoBuffers => Progress::Pausing,
                _ => Progress::Idle,
            };
        }
        (dropped, self.wait(progress, poll, key))
    }

    /// Sends what waits, up to the next of which is to be told that some were dropped before it.
    fn send_batch(&mut self, account: &impl Account) -> Sent {
        let all_told = |waiting: &&Waiting| {
            waiting.lost_before == 0 || account.lost_record(waiting.lost_before).is_none()
        };
        let next = self.queue.iter().take(BATCH).take_while(all_told);
        let batch: Vec<&[u8]> = next.map(|waiting| &*waiting.bytes).collect();
        let (count, outcome) = self.outlet.send_many(&batch);
        account.count(Tally::Retried, batch.len().min(count + 1) as u64);
        account.count(Tally::Sent, count as u64);
        self.forget(count);
        if count > 0 {
            self.lacking = None;
        }
        outcome
    }

    /// Tells of those that were dropped before the next that is to be sent. It is done, too, if there are
    /// none, or nobody wants to know.
    fn tell(&mut self, account: &impl Account) -> Sent {
        let lost = *self.gap();
        let record = if lost > 0 { account.lost_record(lost) } else { None };
        let sent = record.map_or(Sent::Done, |record| self.outlet.send(&record));
        if sent == Sent::Done {
            *self.gap() = 0;
        }
        sent
    }

    /// How many were dropped before the next that is to be sent.
    fn gap(&mut self) -> &mut u64 {
        self.queue.front_mut().map_or(&mut self.lost, |first| &mut first.lost_before)
    }

    /// Enters the socket into the poll, or takes it out.
    fn wait(&mut self, progress: Progress, poll: &Poll, key: u64) -> Progress {
        let Ok(socket) = self.outlet.socket() else {
            self.waiting = false;
            return progress;
        };
        if progress != Progress::Waiting {
            if std::mem::take(&mut self.waiting) {
                poll.remove(socket);
            }
            return progress;
        }
        let interest = Interest { read: false, write: true };
        // The socket may be another than before: its listener was started anew.
        self.waiting =
            poll.change(socket, key, interest).or_else(|_| poll.add(socket, key, interest)).is_ok();
        if self.waiting { progress } else { Progress::Pausing }
    }

    /// Gives up what waits; how many that were.
    pub fn abandon(&mut self, poll: &Poll) -> u64 {
        let count = self.queue.len();
        self.forget(count);
        if self.waiting
            && let Ok(socket) = self.outlet.socket()
        {
            poll.remove(socket);
        }
        self.waiting = false;
        count as u64
    }

    /// Drops the first that waits, of which the next is to tell.
    fn drop_first(&mut self) {
        let before = *self.gap();
        self.forget(1);
        *self.gap() += before + 1;
    }

    fn forget(&mut self, count: usize) {
        let gone = self.queue.drain(..count);
        self.queued_bytes -= gone.map(|waiting| waiting.bytes.len()).sum::<usize>();
    }
}

/// Counts what became of a datagram that will not be tried again; whether it was sent.
pub fn settle(sent: Sent, account: &impl Account) -> bool {
    let tally = match sent {
        Sent::Done => Tally::Sent,
        Sent::TooLarge => Tally::DroppedTooLarge,
        Sent::Gone => Tally::DroppedGone,
        Sent::Later | Sent::NoBuffers | Sent::Failed(_) => Tally::DroppedError,
    };
    account.count(tally, 1);
    sent == Sent::Done
}
