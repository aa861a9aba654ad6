//! The ring between one publishing thread and the worker.
//!
//! A lane has one producer and one consumer, and its words are plain atomics, so that every way
//! of using it wrongly is at worst a wrong event, never undefined behaviour. What a push writes
//! becomes visible with its last store: a host callback that is left by `siglongjmp` at any
//! instruction of a push leaves the lane as if the push had not begun.

use super::sync::{AtomicU64, Ordering};
use crate::event::{Event, Sink};

/// Keeps what the producer writes off the cache lines that the consumer writes. 128 bytes, since
/// x86-64 prefetches lines in pairs.
#[repr(align(128))]
struct Apart<T>(T);

/// A ring of words. A record is a head word (its length in words, and the low half of the count
/// of events lost before it) and a packed event.
pub(super) struct Lane {
    words: Box<[AtomicU64]>,
    producer: Apart<Producer>,
    consumer: Apart<Consumer>,
    /// Where the record begins that the producer cannot overwrite: what the worker has taken by
    /// then, said now and then.
    head: Apart<AtomicU64>,
}

/// Written by the publishing thread alone. Positions count words and never wrap.
struct Producer {
    tail: AtomicU64,
    head_seen: AtomicU64,
    published: AtomicU64,
    lost: AtomicU64,
    woken: AtomicU64,
}

/// Written, and but for the statistics read, by the worker alone.
struct Consumer {
    taken: AtomicU64,
    lost_told: AtomicU64,
    /// Up to where the worker takes events, and what was lost there, since it looked last.
    tail_seen: AtomicU64,
    lost_seen: AtomicU64,
}

/// Why an event did not enter the lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No room now; counted as lost.
    Full,
    /// Larger than the whole lane, or a name too long.
    TooLarge,
}

/// What the worker finds in a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Popped {
    /// An event, its packed form now in the buffer; first, how many were lost right before it.
    Event { lost_before: u64 },
    /// No event more, when the worker looked last; how many were lost after the last one.
    Empty { lost: u64 },
}

impl Lane {
    /// A lane of at least `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(8).next_power_of_two().max(16);
        Lane {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            producer: Apart(Producer {
                tail: AtomicU64::new(0),
                head_seen: AtomicU64::new(0),
                published: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                woken: AtomicU64::new(0),
            }),
            consumer: Apart(Consumer {
                taken: AtomicU64::new(0),
                lost_told: AtomicU64::new(0),
                tail_seen: AtomicU64::new(0),
                lost_seen: AtomicU64::new(0),
            }),
            head: Apart(AtomicU64::new(0)),
        }
    }

    /// How many events went in since the beginning.
    pub(super) fn published(&self) -> u64 {
        self.producer.0.published.load(Ordering::Relaxed)
    }

    /// How many events found no room since the beginning.
    pub(super) fn lost(&self) -> u64 {
        self.producer.0.lost.load(Ordering::Relaxed)
    }

    /// Whether the producer has woken the worker from its sleep number `epoch`.
    pub(super) fn has_woken(&self, epoch: u64) -> bool {
        self.producer.0.woken.load(Ordering::Relaxed) == epoch
    }

    /// Remembers that the producer woke the worker from its sleep number `epoch`.
    pub(super) fn woke(&self, epoch: u64) {
        self.producer.0.woken.store(epoch, Ordering::Relaxed);
    }

    /// Appends an event. Called by the publishing thread alone.
    pub(super) fn push(&self, event: &Event<'_>) -> Result<(), Refused> {
        let producer = &self.producer.0;
        let capacity = self.words.len() as u64;
        let tail = producer.tail.load(Ordering::Relaxed);
        let lost = producer.lost.load(Ordering::Relaxed);
        let mut head = producer.head_seen.load(Ordering::Relaxed);
        let end = loop {
            // Its length is known once it is written: what does not fit is not written, but counted.
            let mut record = Record { words: &self.words, at: tail + 1, limit: head + capacity };
            event.pack(&mut record).ok_or(Refused::TooLarge)?;
            let end = record.at;
            if end - tail > capacity {
                return Err(Refused::TooLarge);
            }
            if end <= head + capacity {
                break end;
            }
            let now = self.head.0.load(Ordering::Acquire);
            if end > now + capacity {
                // Release, so that who sees the loss also sees every event before it.
                producer.lost.store(lost + 1, Ordering::Release);
                return Err(Refused::Full);
            }
            head = now;
            producer.head_seen.store(head, Ordering::Relaxed);
        };
        let first = &self.words[tail as usize & (self.words.len() - 1)];
        first.store((end - tail - 1) | lost << 32, Ordering::Relaxed);
        producer.published.store(producer.published.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        producer.tail.store(end, Ordering::Release);
        Ok(())
    }

    /// Whether anything waits here that the worker has not taken. Called by the worker alone.
    pub(super) fn is_empty(&self) -> bool {
        let consumer = &self.consumer.0;
        self.producer.0.lost.load(Ordering::Acquire) == consumer.lost_told.load(Ordering::Relaxed)
            && self.producer.0.tail.load(Ordering::Acquire) == consumer.taken.load(Ordering::Relaxed)
    }

    /// Looks how much has been pushed: [`Lane::pop`] takes that and no more. Called by the worker
    /// alone, which so reads what the producer writes once for many events.
    pub(super) fn look(&self) {
        let consumer = &self.consumer.0;
        // Before the tail: every event from before these losses is then seen before them.
        consumer.lost_seen.store(self.producer.0.lost.load(Ordering::Acquire), Ordering::Relaxed);
        consumer.tail_seen.store(self.producer.0.tail.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// Takes the oldest event, copying its words into `buffer`. Called by the worker alone.
    pub(super) fn pop(&self, buffer: &mut Vec<[u8; 8]>) -> Popped {
        let consumer = &self.consumer.0;
        let taken = consumer.taken.load(Ordering::Relaxed);
        let told = consumer.lost_told.load(Ordering::Relaxed);
        if taken == consumer.tail_seen.load(Ordering::Relaxed) {
            self.release();
            // An event that was pushed during the look may have told of more than that saw.
            let lost = consumer.lost_seen.load(Ordering::Relaxed).max(told);
            consumer.lost_told.store(lost, Ordering::Relaxed);
            return Popped::Empty { lost: lost - told };
        }
        let place = |at: u64| at as usize & (self.words.len() - 1);
        let first = self.words[place(taken)].load(Ordering::Relaxed);
        let length = first as u32;
        let end = taken + 1 + u64::from(length);
        let lost_before = u64::from(((first >> 32) as u32).wrapping_sub(told as u32));
        consumer.lost_told.store(told + lost_before, Ordering::Relaxed);
        buffer.clear();
        let (wrapped, straight) = self.words.split_at(place(taken + 1));
        for piece in [straight, wrapped] {
            let words = piece.iter().take(length as usize - buffer.len());
            buffer.extend(words.map(|word| word.load(Ordering::Relaxed).to_le_bytes()));
        }
        consumer.taken.store(end, Ordering::Relaxed);
        if end - self.head.0.load(Ordering::Relaxed) > self.words.len() as u64 / 16 {
            self.release();
        }
        Popped::Event { lost_before }
    }

    /// Gives the room of what has been taken back to the producer: not for every event, so that one
    /// that finds the ring full and goes on publishing loses many events in few places. Called by
    /// the worker alone.
    pub(super) fn release(&self) {
        self.head.0.store(self.consumer.0.taken.load(Ordering::Relaxed), Ordering::Release);
    }
}

/// A record that is written, as far as there is room.
struct Record<'a> {
    words: &'a [AtomicU64],
    at: u64,
    limit: u64,
}

impl Sink for Record<'_> {
    #[inline]
    fn word(&mut self, word: u64) {
        if self.at < self.limit {
            self.words[self.at as usize & (self.words.len() - 1)].store(word, Ordering::Relaxed);
        }
        self.at += 1;
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        let room = self.limit.saturating_sub(self.at).min(words.len() as u64) as usize;
        let mask = self.words.len() - 1;
        for (at, word) in (self.at as usize..).zip(&words[..room]) {
            self.words[at & mask].store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
        self.at += words.len() as u64;
        if !rest.is_empty() {
            // In a register: a copy through memory would be read back before it has arrived there.
            self.word(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::{Param, Value};
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = OwnedValue> {
        prop_oneof![
            Just(OwnedValue::Null),
            any::<i64>().prop_map(OwnedValue::Int),
            any::<u64>().prop_map(OwnedValue::Uint),
            any::<bool>().prop_map(OwnedValue::Bool),
            (-1e300..1e300f64).prop_map(OwnedValue::Float),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(OwnedValue::Str),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(OwnedValue::Bytes),
        ]
    }

    #[derive(Debug, Clone)]
    enum OwnedValue {
        Null,
        Int(i64),
        Uint(u64),
        Bool(bool),
        Float(f64),
        Str(Vec<u8>),
        Bytes(Vec<u8>),
    }

    impl OwnedValue {
        fn borrow(&self) -> Value<'_> {
            match self {
                OwnedValue::Null => Value::Null,
                OwnedValue::Int(n) => Value::Int(*n),
                OwnedValue::Uint(n) => Value::Uint(*n),
                OwnedValue::Bool(b) => Value::Bool(*b),
                OwnedValue::Float(x) => Value::Float(*x),
                OwnedValue::Str(s) => Value::Str(s),
                OwnedValue::Bytes(s) => Value::Bytes(s),
            }
        }
    }

    proptest! {
        #[test]
        fn every_event_comes_out_as_it_went_in(
            events in prop::collection::vec(
                (".{0,20}", prop::collection::vec((".{0,12}", value()), 0..6)), 1..40),
        ) {
            let lane = Lane::new(4096);
            let mut buffer = Vec::new();
            for (name, params) in &events {
                let params: Vec<Param> =
                    params.iter().map(|(name, value)| Param { name, value: value.borrow() }).collect();
                let event = Event::new(name, &params);
                prop_assert_eq!(lane.push(&event), Ok(()));
                lane.look();
                prop_assert_eq!(lane.pop(&mut buffer), Popped::Event { lost_before: 0 });
                prop_assert_eq!(Event::unpack(buffer.as_flattened()), Some(event));
                prop_assert_eq!(lane.pop(&mut buffer), Popped::Empty { lost: 0 });
            }
        }

        #[test]
        fn arbitrary_words_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(event) = Event::unpack(&bytes) {
                event.params().for_each(drop);
            }
        }

        #[test]
        fn every_loss_is_told_where_it_happened(steps in prop::collection::vec(any::<bool>(), 0..400)) {
            let lane = Lane::new(256);
            let mut buffer = Vec::new();
            let (mut next, mut expected) = (0u64, 0u64);
            let mut take = |lane: &Lane| match lane.pop(&mut buffer) {
                Popped::Event { lost_before } => {
                    let number = Event::unpack(buffer.as_flattened()).and_then(|e| e.get("n"));
                    expected += lost_before;
                    prop_assert_eq!(number, Some(Value::Uint(expected)));
                    expected += 1;
                    Ok(true)
                }
                Popped::Empty { lost } => {
                    expected += lost;
                    Ok(false)
                }
            };
            for push in steps {
                if push {
                    let params = [Param { name: "n", value: Value::Uint(next) }];
                    let _ = lane.push(&Event::new("E", &params));
                    next += 1;
                } else {
                    lane.look();
                    take(&lane)?;
                }
            }
            lane.look();
            while take(&lane)? {}
            prop_assert_eq!(expected, next);
        }
    }

    #[test]
    fn what_no_lane_can_hold_is_refused_and_not_counted_as_lost() {
        let lane = Lane::new(256);
        let long = "x".repeat(300);
        assert_eq!(lane.push(&Event::new(&long, &[])), Err(Refused::TooLarge));
        assert_eq!(lane.push(&Event::new(&"x".repeat(70_000), &[])), Err(Refused::TooLarge));
        assert_eq!(lane.lost(), 0);
    }
}
