//! The bounded queue of one subscriber: bytes that wait for its socket, whole frames at a time,
//! and an honest account of what did not fit.

use std::collections::VecDeque;

/// What happens when a subscriber's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The new event is dropped and counted.
    #[default]
    DropNewest,
    /// The oldest events that wait are dropped and counted.
    DropOldest,
    /// The subscriber is disconnected.
    Disconnect,
}

/// Writes the lost record that says "this many events were dropped here" to the buffer.
pub type LostRecord = fn(count: u64, frame: &mut Vec<u8>);

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It waits in the queue.
    Queued,
    /// It, or this many older ones, were dropped.
    Dropped(u64),
    /// It does not fit, and the policy is to disconnect.
    Disconnect,
}

/// A frame in the queue: its length, and in the top bit whether it is a lost record.
#[derive(Clone, Copy)]
struct Frame(u32);

impl Frame {
    const LOST: u32 = 1 << 31;

    fn len(self) -> usize {
        (self.0 & !Self::LOST) as usize
    }

    fn is_lost_record(self) -> bool {
        self.0 & Self::LOST != 0
    }
}

/// Frames on their way to one subscriber.
///
/// The lost record stands in the stream exactly where the events are missing: under
/// [`Overflow::DropNewest`] before the next event that fits, or after the last one once all has
/// been sent; under [`Overflow::DropOldest`] before the oldest that is left.
pub struct Queue {
    /// Frames, the first of them untouched.
    bytes: VecDeque<u8>,
    frames: VecDeque<Frame>,
    /// The counts in the lost records among `frames`, in order.
    told: VecDeque<u64>,
    /// The rest of a frame that has been sent in part: it can no longer be dropped.
    partial: VecDeque<u8>,
    partial_is_event: bool,
    /// Dropped and not yet told.
    lost: u64,
    limit: usize,
    overflow: Overflow,
    lost_record: LostRecord,
    tell: bool,
}

impl Queue {
    /// The first allocation of a queue that was empty.
    const FIRST: usize = 2048;

    /// An empty queue for at most `limit` bytes. It allocates nothing until something is queued.
    pub fn new(limit: usize, overflow: Overflow, lost_record: LostRecord) -> Self {
        Queue {
            bytes: VecDeque::new(),
            frames: VecDeque::new(),
            told: VecDeque::new(),
            partial: VecDeque::new(),
            partial_is_event: false,
            lost: 0,
            limit,
            overflow,
            lost_record,
            tell: false,
        }
    }

    /// Whether the subscriber wants lost records. What was dropped before it asked is not told.
    pub fn tell_losses(&mut self, tell: bool) {
        self.tell = tell;
        if !tell {
            self.lost = 0;
        }
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.partial.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.owes_record()
    }

    /// Whether a frame of `len` bytes, and the lost record that may be due before it, fit.
    pub fn has_room(&self, len: usize) -> bool {
        // A lost record is no longer than a frame header and its count: 16 + 16 bytes at the most.
        let record = if self.owes_record() { 32 } else { 0 };
        self.fits(len + record)
    }

    /// Appends the frame of an event.
    pub fn push(&mut self, frame: &[u8]) -> Pushed {
        let told = self.lost == 0
            || self.overflow == Overflow::DropOldest
            || self.append_lost_record(frame.len());
        if told && self.fits(frame.len()) {
            self.append(frame, false);
            return Pushed::Queued;
        }
        match self.overflow {
            Overflow::DropNewest => self.dropped(1),
            Overflow::Disconnect => Pushed::Disconnect,
            Overflow::DropOldest if frame.len() > self.limit => self.dropped(1),
            Overflow::DropOldest => {
                let mut dropped = 0;
                while !self.fits(frame.len()) {
                    dropped += self.drop_oldest();
                }
                self.append(frame, false);
                if dropped == 0 { Pushed::Queued } else { self.dropped(dropped) }
            }
        }
    }

    /// Tells the subscriber that `count` events were dropped, here, before they got to it. The
    /// result is how many more had to be dropped to make room for the record.
    pub fn lose(&mut self, count: u64) -> u64 {
        if !self.tell {
            return 0;
        }
        let mut dropped = 0;
        match self.overflow {
            Overflow::DropOldest => {
                let mut record = Vec::new();
                (self.lost_record)(count, &mut record);
                while !self.fits(record.len()) && !self.frames.is_empty() {
                    dropped += self.drop_oldest();
                }
                self.lost += dropped;
                self.append(&record, true);
                self.told.push_back(count);
            }
            Overflow::DropNewest | Overflow::Disconnect => {
                self.lost += count;
                self.append_lost_record(0);
            }
        }
        dropped
    }

    /// The bytes to send next, in one piece; empty if there are none.
    pub fn chunk(&mut self) -> &[u8] {
        if self.partial.is_empty() && self.owes_record() {
            match self.overflow {
                Overflow::DropOldest => {
                    let mut record = Vec::new();
                    (self.lost_record)(std::mem::take(&mut self.lost), &mut record);
                    self.partial.extend(record);
                    self.partial_is_event = false;
                }
                Overflow::DropNewest | Overflow::Disconnect if self.bytes.is_empty() => {
                    self.append_lost_record(0);
                }
                Overflow::DropNewest | Overflow::Disconnect => {}
            }
        }
        let next = if self.partial.is_empty() { &self.bytes } else { &self.partial };
        next.as_slices().0
    }

    /// Takes note that the first `count` bytes of [`Queue::chunk`] have been sent. The result is
    /// how many events went out whole.
    pub fn sent(&mut self, count: usize) -> u64 {
        let mut events = 0;
        if !self.partial.is_empty() {
            self.partial.drain(..count);
            return u64::from(self.partial.is_empty() && self.partial_is_event);
        }
        let mut whole = 0;
        while let Some(frame) = self.frames.front().copied() {
            if whole + frame.len() > count {
                break;
            }
            whole += frame.len();
            events += u64::from(!frame.is_lost_record());
            self.forget_front(frame);
        }
        self.bytes.drain(..whole);
        if whole < count
            && let Some(frame) = self.frames.front().copied()
        {
            self.partial.extend(self.bytes.drain(..frame.len()).skip(count - whole));
            self.partial_is_event = !frame.is_lost_record();
            self.forget_front(frame);
        }
        events
    }

    /// How many events wait, for the account of a subscriber that goes away.
    pub fn events(&self) -> u64 {
        let waiting = self.frames.iter().filter(|frame| !frame.is_lost_record()).count();
        waiting as u64 + u64::from(!self.partial.is_empty() && self.partial_is_event)
    }

    fn owes_record(&self) -> bool {
        self.tell && self.lost > 0
    }

    fn fits(&self, len: usize) -> bool {
        self.bytes.len() + len <= self.limit
    }

    fn dropped(&mut self, count: u64) -> Pushed {
        if self.tell {
            self.lost += count;
        }
        Pushed::Dropped(count)
    }

    /// Appends the record of what is lost so far, if it fits with `more` bytes after it.
    fn append_lost_record(&mut self, more: usize) -> bool {
        let mut record = Vec::new();
        (self.lost_record)(self.lost, &mut record);
        if !self.fits(record.len() + more) {
            return false;
        }
        self.append(&record, true);
        self.told.push_back(std::mem::take(&mut self.lost));
        true
    }

    fn append(&mut self, frame: &[u8], lost_record: bool) {
        let needed = self.bytes.len() + frame.len();
        if needed > self.bytes.capacity() {
            // Doubling, but never past the limit.
            let capacity = (self.bytes.capacity() * 2).clamp(Self::FIRST, self.limit.max(Self::FIRST));
            self.bytes.reserve_exact(capacity.max(needed) - self.bytes.len());
        }
        self.bytes.extend(frame);
        let mark = if lost_record { Frame::LOST } else { 0 };
        self.frames.push_back(Frame(frame.len() as u32 | mark));
    }

    /// Drops the oldest frame that has not been touched; how many events the subscriber loses.
    fn drop_oldest(&mut self) -> u64 {
        let Some(frame) = self.frames.front().copied() else {
            return 0;
        };
        self.bytes.drain(..frame.len());
        match self.forget_front(frame) {
            // A lost record that is dropped hands its count on to the one that will stand here.
            Some(told) => {
                self.lost += told;
                0
            }
            None => 1,
        }
    }

    fn forget_front(&mut self, frame: Frame) -> Option<u64> {
        self.frames.pop_front();
        if frame.is_lost_record() { self.told.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame: its length in one byte, then a number; a lost record has length 5, an event more.
    fn record(count: u64, frame: &mut Vec<u8>) {
        frame.push(5);
        frame.extend((count as u32).to_be_bytes());
    }

    fn event(number: u32, padding: usize) -> Vec<u8> {
        let mut frame = vec![6 + padding as u8];
        frame.extend(number.to_be_bytes());
        frame.resize(6 + padding, 0);
        frame
    }

    /// Reads a stream back; every number from 0 on must be there, as an event or within a gap.
    fn accounted(stream: &[u8]) -> (u32, u64) {
        let (mut next, mut lost, mut at) = (0u32, 0u64, 0);
        while at < stream.len() {
            let len = stream[at] as usize;
            let number = u32::from_be_bytes(stream[at + 1..at + 5].try_into().unwrap());
            if len == 5 {
                next += number;
                lost += u64::from(number);
            } else {
                assert_eq!(number, next, "an event out of place");
                next += 1;
            }
            at += len;
        }
        (next, lost)
    }

    fn drop_policy() -> impl Strategy<Value = Overflow> {
        prop_oneof![Just(Overflow::DropNewest), Just(Overflow::DropOldest)]
    }

    proptest! {
        #[test]
        fn every_event_is_delivered_or_told_as_lost_in_its_place(
            overflow in drop_policy(),
            limit in 16usize..200,
            steps in prop::collection::vec((0u8..4, 0usize..40), 0..300),
        ) {
            let mut queue = Queue::new(limit, overflow, record);
            queue.tell_losses(true);
            let mut stream = Vec::new();
            let (mut next, mut delivered, mut dropped) = (0, 0, 0u64);
            let mut send = |queue: &mut Queue, most: usize| {
                let chunk = queue.chunk();
                let count = chunk.len().min(most);
                stream.extend_from_slice(&chunk[..count]);
                delivered += queue.sent(count);
            };
            for (what, amount) in steps {
                match what {
                    0 => send(&mut queue, amount),
                    1 => {
                        dropped += 1 + amount as u64 + queue.lose(1 + amount as u64);
                        next += 1 + amount as u32;
                    }
                    _ => {
                        match queue.push(&event(next, amount % 7)) {
                            Pushed::Dropped(count) => dropped += count,
                            Pushed::Queued => {}
                            Pushed::Disconnect => unreachable!("the policy is to drop"),
                        }
                        next += 1;
                    }
                }
                prop_assert!(queue.bytes.len() <= limit.max(16));
            }
            while !queue.is_empty() {
                send(&mut queue, 1000);
            }
            let (seen, lost) = accounted(&stream);
            prop_assert_eq!(seen, next);
            prop_assert_eq!(lost, dropped);
            prop_assert_eq!(delivered + dropped, u64::from(next));
        }
    }

    #[test]
    fn disconnect_is_asked_for_only_when_nothing_fits() {
        let mut queue = Queue::new(16, Overflow::Disconnect, record);
        assert_eq!(queue.push(&event(0, 0)), Pushed::Queued);
        assert_eq!(queue.push(&event(1, 4)), Pushed::Queued);
        assert_eq!(queue.push(&event(2, 0)), Pushed::Disconnect);
        assert_eq!(queue.events(), 2);
    }

    #[test]
    fn disconnect_is_asked_for_when_the_record_of_a_loss_does_not_fit_either() {
        let mut queue = Queue::new(16, Overflow::Disconnect, record);
        queue.tell_losses(true);
        assert_eq!(queue.push(&event(0, 6)), Pushed::Queued);
        assert_eq!(queue.lose(3), 0);
        assert_eq!(queue.push(&event(4, 0)), Pushed::Disconnect);
    }

    #[test]
    fn a_silent_subscriber_costs_no_memory() {
        let mut queue = Queue::new(1 << 20, Overflow::DropNewest, record);
        assert_eq!(queue.bytes.capacity() + queue.frames.capacity() + queue.partial.capacity(), 0);
        assert!(queue.chunk().is_empty());
    }
}
