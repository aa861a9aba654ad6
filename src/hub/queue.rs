//! The bounded queue of one subscriber: bytes that wait for its socket, whole frames at a time,
//! and an honest account of what did not fit.

use std::collections::VecDeque;

use super::frames::{Frame, Frames, Kind};

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

/// Writes the lost record that says "this many events were dropped here" to the buffer, in the words
/// of one subscriber.
pub type LostRecord = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

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

/// Frames on their way to one subscriber.
///
/// The lost record stands in the stream exactly where the events are missing: under
/// [`Overflow::DropNewest`] before the next event that fits, or after the last one once all has
/// been sent; under [`Overflow::DropOldest`] before the oldest that is left.
///
/// Replies to the subscriber's own requests always fit, and go out before the events that wait: a
/// client takes a server for dead that answers only when the client has caught up.
pub struct Queue {
    frames: Frames,
    /// The counts in the lost records among `frames`, in order.
    told: VecDeque<u64>,
    /// What goes out before `frames` and can no longer be dropped: the rest of a frame that has been
    /// sent in part, and then replies.
    ahead: VecDeque<u8>,
    /// How many of the first bytes of `ahead` are the rest of a frame.
    rest: usize,
    /// Whether that frame is an event.
    rest_is_event: bool,
    /// Dropped and not yet told.
    lost: u64,
    limit: usize,
    overflow: Overflow,
    /// None for a subscriber that does not want lost records.
    record: Option<LostRecord>,
}

impl Queue {
    /// An empty queue for at most `limit` bytes. It allocates nothing until something is queued.
    pub fn new(limit: usize, overflow: Overflow) -> Self {
        Queue {
            frames: Frames::default(),
            told: VecDeque::new(),
            ahead: VecDeque::new(),
            rest: 0,
            rest_is_event: false,
            lost: 0,
            limit,
            overflow,
            record: None,
        }
    }

    /// How the subscriber is told of losses; none if it does not want to be. What was dropped before
    /// it asked is not told.
    pub fn tell_losses(&mut self, record: Option<LostRecord>) {
        if record.is_none() {
            self.lost = 0;
        }
        self.record = record;
    }

    /// Writes a lost record to the buffer; nothing for a subscriber that does not want it.
    pub fn write_lost_record(&self, count: u64, frame: &mut Vec<u8>) {
        if let Some(write) = &self.record {
            write(count, frame);
        }
    }

    /// Whether the subscriber wants lost records.
    pub fn tells_losses(&self) -> bool {
        self.record.is_some()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.frames.len() + self.ahead.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.owes_record()
    }

    /// Whether `len` bytes of events fit.
    pub fn has_room(&self, len: usize) -> bool {
        self.frames.len() + len <= self.limit
    }

    /// Bytes of replies that wait.
    pub fn replies(&self) -> usize {
        self.ahead.len() - self.rest
    }

    /// Appends the frame of an event.
    pub fn push(&mut self, frame: &[u8]) -> Pushed {
        let told = self.lost == 0
            || self.overflow == Overflow::DropOldest
            || self.append_lost_record(frame.len());
        if told && self.has_room(frame.len()) {
            self.append(Kind::Event, frame);
            return Pushed::Queued;
        }
        match self.overflow {
            Overflow::DropNewest => self.dropped(1),
            Overflow::Disconnect => Pushed::Disconnect,
            Overflow::DropOldest if frame.len() > self.limit => self.dropped(1),
            Overflow::DropOldest => {
                let mut dropped = 0;
                while !self.has_room(frame.len()) {
                    dropped += self.drop_oldest();
                }
                self.append(Kind::Event, frame);
                if dropped == 0 { Pushed::Queued } else { self.dropped(dropped) }
            }
        }
    }

    /// Queues a reply, whatever the limit, behind those that wait.
    pub fn reply(&mut self, bytes: &[u8]) {
        self.ahead.extend(bytes);
    }

    /// Takes over the rest of a frame that was sent in part past this queue, which is empty. The
    /// rest always fits.
    pub fn finish(&mut self, rest: &[u8], is_event: bool) {
        debug_assert!(self.is_empty());
        self.ahead.extend(rest);
        (self.rest, self.rest_is_event) = (rest.len(), is_event);
    }

    /// Tells the subscriber that `count` events were dropped, here, before they got to it. The
    /// result is how many more had to be dropped to make room for the record.
    pub fn lose(&mut self, count: u64) -> u64 {
        if !self.tells_losses() {
            return 0;
        }
        let mut dropped = 0;
        match self.overflow {
            Overflow::DropOldest => {
                let record = self.lost_record(count);
                while !self.has_room(record.len()) && !self.frames.is_empty() {
                    dropped += self.drop_oldest();
                }
                self.lost += dropped;
                self.append(Kind::LostRecord, &record);
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
        if self.ahead.is_empty() && self.owes_record() {
            match self.overflow {
                Overflow::DropOldest => {
                    let record = self.lost_record(self.lost);
                    self.lost = 0;
                    (self.rest, self.rest_is_event) = (record.len(), false);
                    self.ahead.extend(record);
                }
                Overflow::DropNewest | Overflow::Disconnect if self.frames.is_empty() => {
                    self.append_lost_record(0);
                }
                Overflow::DropNewest | Overflow::Disconnect => {}
            }
        }
        if self.ahead.is_empty() { self.frames.chunk() } else { self.ahead.as_slices().0 }
    }

    /// Takes note that the first `count` bytes of [`Queue::chunk`] have been sent. The result is
    /// how many events went out whole.
    pub fn sent(&mut self, count: usize) -> u64 {
        if !self.ahead.is_empty() {
            self.ahead.drain(..count);
            let finished = self.rest > 0 && self.rest <= count;
            self.rest = self.rest.saturating_sub(count);
            return u64::from(finished && self.rest_is_event);
        }
        let (mut whole, mut events) = (0, 0);
        while let Some(frame) = self.frames.front() {
            if whole + frame.len > count {
                break;
            }
            whole += frame.len;
            events += u64::from(frame.kind == Kind::Event);
            self.forget(frame);
        }
        self.frames.skip(whole);
        if whole < count
            && let Some(frame) = self.frames.front()
        {
            self.ahead.extend(self.frames.pop(frame).skip(count - whole));
            (self.rest, self.rest_is_event) = (self.ahead.len(), frame.kind == Kind::Event);
            self.forget_record(frame);
        }
        events
    }

    /// Drops what waits, but for replies and a frame that has been sent in part; how many events that
    /// are. The subscriber, which no longer wants them, is told nothing.
    pub fn forget_events(&mut self) -> u64 {
        self.lost = 0;
        self.told = VecDeque::new();
        std::mem::take(&mut self.frames).events()
    }

    /// How many events wait, for the account of a subscriber that goes away.
    pub fn events(&self) -> u64 {
        self.frames.events() + u64::from(self.rest > 0 && self.rest_is_event)
    }

    fn owes_record(&self) -> bool {
        self.tells_losses() && self.lost > 0
    }

    fn dropped(&mut self, count: u64) -> Pushed {
        if self.tells_losses() {
            self.lost += count;
        }
        Pushed::Dropped(count)
    }

    fn lost_record(&self, count: u64) -> Vec<u8> {
        let mut record = Vec::new();
        self.write_lost_record(count, &mut record);
        record
    }

    /// Appends the record of what is lost so far, if it fits with `more` bytes after it.
    fn append_lost_record(&mut self, more: usize) -> bool {
        let record = self.lost_record(self.lost);
        if !self.has_room(record.len() + more) {
            return false;
        }
        self.append(Kind::LostRecord, &record);
        self.told.push_back(std::mem::take(&mut self.lost));
        true
    }

    fn append(&mut self, kind: Kind, frame: &[u8]) {
        self.frames.push(kind, frame, self.limit);
    }

    /// Drops the oldest frame that has not been touched; how many events the subscriber loses.
    fn drop_oldest(&mut self) -> u64 {
        let Some(frame) = self.frames.front() else { return 0 };
        drop(self.frames.pop(frame));
        match frame.kind {
            Kind::Event => 1,
            Kind::LostRecord => {
                // It hands its count on to the one that will stand here.
                self.lost += self.told.pop_front().unwrap_or(0);
                0
            }
        }
    }

    fn forget(&mut self, frame: Frame) {
        self.frames.forget(frame);
        self.forget_record(frame);
    }

    fn forget_record(&mut self, frame: Frame) {
        if frame.kind == Kind::LostRecord {
            self.told.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame: its length in one byte, then a number; a lost record has length 5, an event more. A
    /// reply has length 2.
    fn record() -> Option<LostRecord> {
        Some(Box::new(|count, frame| {
            frame.push(5);
            frame.extend((count as u32).to_be_bytes());
        }))
    }

    fn queue(limit: usize, overflow: Overflow) -> Queue {
        let mut queue = Queue::new(limit, overflow);
        queue.tell_losses(record());
        queue
    }

    fn event(number: u32, padding: usize) -> Vec<u8> {
        let mut frame = vec![6 + padding as u8];
        frame.extend(number.to_be_bytes());
        frame.resize(6 + padding, 0);
        frame
    }

    /// Reads a stream back; every number from 0 on must be there, as an event or within a gap, and
    /// every reply. The result is how many events, losses and replies there are.
    fn accounted(stream: &[u8]) -> (u32, u64, u8) {
        let (mut next, mut lost, mut replies, mut at) = (0u32, 0u64, 0, 0);
        while at < stream.len() {
            let len = stream[at] as usize;
            if len == 2 {
                assert_eq!(stream[at + 1], replies, "a reply out of place");
                replies += 1;
                at += 2;
                continue;
            }
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
        (next, lost, replies)
    }

    fn drop_policy() -> impl Strategy<Value = Overflow> {
        prop_oneof![Just(Overflow::DropNewest), Just(Overflow::DropOldest)]
    }

    proptest! {
        #[test]
        fn every_event_is_delivered_or_told_as_lost_in_its_place(
            overflow in drop_policy(),
            limit in 16usize..200,
            steps in prop::collection::vec((0u8..5, 0usize..40), 0..250),
        ) {
            let mut queue = queue(limit, overflow);
            let mut stream = Vec::new();
            let (mut next, mut delivered, mut dropped, mut answered) = (0, 0, 0u64, 0);
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
                    2 => {
                        queue.reply(&[2, answered]);
                        answered += 1;
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
                prop_assert!(queue.frames.len() <= limit.max(16));
            }
            while !queue.is_empty() {
                send(&mut queue, 1000);
            }
            let (seen, lost, replies) = accounted(&stream);
            prop_assert_eq!(replies, answered);
            prop_assert_eq!(seen, next);
            prop_assert_eq!(lost, dropped);
            prop_assert_eq!(delivered + dropped, u64::from(next));
        }
    }

    #[test]
    fn a_reply_does_not_wait_for_events() {
        let mut queue = queue(100, Overflow::DropNewest);
        for number in 0..3 {
            assert_eq!(queue.push(&event(number, 0)), Pushed::Queued);
        }
        // The first is half out already.
        assert_eq!(queue.sent(4), 0);
        queue.reply(&[2, 0]);
        queue.reply(&[2, 1]);
        assert_eq!((queue.replies(), queue.events()), (4, 3));
        assert_eq!(queue.chunk(), [&event(0, 0)[4..], &[2, 0, 2, 1]].concat());
        assert_eq!(queue.sent(6), 1);
        assert_eq!((queue.replies(), queue.events()), (0, 2));
        assert_eq!(queue.chunk()[..6], event(1, 0));
    }

    #[test]
    fn who_wants_no_more_gets_the_rest_of_a_frame_and_replies() {
        let mut queue = queue(20, Overflow::DropNewest);
        for number in 0..5 {
            let _ = queue.push(&event(number, 0));
        }
        assert_eq!((queue.sent(4), queue.events()), (0, 3));
        queue.reply(&[2, 0]);
        assert_eq!((queue.forget_events(), queue.events()), (2, 1));
        assert_eq!(queue.chunk(), [&event(0, 0)[4..], &[2, 0]].concat());
        assert_eq!(queue.sent(4), 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn disconnect_is_asked_for_only_when_nothing_fits() {
        let mut queue = queue(16, Overflow::Disconnect);
        assert_eq!(queue.push(&event(0, 0)), Pushed::Queued);
        assert_eq!(queue.push(&event(1, 4)), Pushed::Queued);
        assert_eq!(queue.push(&event(2, 0)), Pushed::Disconnect);
        assert_eq!(queue.events(), 2);
    }

    #[test]
    fn disconnect_is_asked_for_when_the_record_of_a_loss_does_not_fit_either() {
        let mut queue = queue(16, Overflow::Disconnect);
        assert_eq!(queue.push(&event(0, 6)), Pushed::Queued);
        assert_eq!(queue.lose(3), 0);
        assert_eq!(queue.push(&event(4, 0)), Pushed::Disconnect);
    }

    #[test]
    fn a_silent_subscriber_costs_no_memory() {
        let mut queue = queue(1 << 20, Overflow::DropNewest);
        assert_eq!(queue.frames.capacity() + queue.told.capacity() + queue.ahead.capacity(), 0);
        assert!(queue.chunk().is_empty());
    }
}
