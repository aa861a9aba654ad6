//! The ring between one publishing thread and the worker.
//!
//! A lane has one producer and one consumer, and its words are plain atomics, so that every way
//! of using it wrongly is at worst a wrong event, never undefined behaviour. What a push writes
//! becomes visible with its last store: a host callback that is left by `siglongjmp` at any
//! instruction of a push leaves the lane as if the push had not begun.

use super::sync::{AtomicU64, Ordering};
use crate::event::Event;

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
}

/// Written by the publishing thread alone. Positions count words and never wrap.
struct Producer {
    tail: AtomicU64,
    head_seen: AtomicU64,
    published: AtomicU64,
    lost: AtomicU64,
    woken: AtomicU64,
}

/// Written by the worker alone.
struct Consumer {
    head: AtomicU64,
    lost_told: AtomicU64,
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
    /// No event; how many were lost after the last one.
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
            consumer: Apart(Consumer { head: AtomicU64::new(0), lost_told: AtomicU64::new(0) }),
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

    /// True the first time that it is asked for this `epoch`, once [`Lane::woke`] has said so.
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
        let len = match event.packed_len() {
            Some(words) if (words as u64) < capacity => words as u64,
            _ => return Err(Refused::TooLarge),
        };
        let tail = producer.tail.load(Ordering::Relaxed);
        let end = tail + 1 + len;
        if end - producer.head_seen.load(Ordering::Relaxed) > capacity {
            let head = self.consumer.0.head.load(Ordering::Acquire);
            producer.head_seen.store(head, Ordering::Relaxed);
            if end - head > capacity {
                let lost = producer.lost.load(Ordering::Relaxed);
                // Release, so that who sees the loss also sees every event before it.
                producer.lost.store(lost + 1, Ordering::Release);
                return Err(Refused::Full);
            }
        }
        let lost = producer.lost.load(Ordering::Relaxed);
        let mask = self.words.len() - 1;
        let mut at = tail as usize;
        let mut put = |word| {
            self.words[at & mask].store(word, Ordering::Relaxed);
            at += 1;
        };
        put(len | lost << 32);
        event.pack(put);
        producer.published.store(producer.published.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        producer.tail.store(end, Ordering::Release);
        Ok(())
    }

    /// Whether anything waits here that the worker has not taken. Called by the worker alone.
    pub(super) fn is_empty(&self) -> bool {
        let consumer = &self.consumer.0;
        self.producer.0.lost.load(Ordering::Acquire) == consumer.lost_told.load(Ordering::Relaxed)
            && self.producer.0.tail.load(Ordering::Acquire) == consumer.head.load(Ordering::Relaxed)
    }

    /// The position behind what has been pushed by now.
    pub(super) fn end(&self) -> u64 {
        self.producer.0.tail.load(Ordering::Acquire)
    }

    /// Whether everything before a position has been taken. Called by the worker alone.
    pub(super) fn is_taken(&self, end: u64) -> bool {
        self.consumer.0.head.load(Ordering::Relaxed) >= end
    }

    /// Takes the oldest event, copying it into `buffer`. Called by the worker alone.
    pub(super) fn pop(&self, buffer: &mut Vec<u8>) -> Popped {
        let consumer = &self.consumer.0;
        // Before the tail: every event from before these losses is then seen before them.
        let lost = self.producer.0.lost.load(Ordering::Acquire);
        let tail = self.producer.0.tail.load(Ordering::Acquire);
        let head = consumer.head.load(Ordering::Relaxed);
        let told = consumer.lost_told.load(Ordering::Relaxed);
        if head == tail {
            consumer.lost_told.store(lost, Ordering::Relaxed);
            return Popped::Empty { lost: lost - told };
        }
        let mask = self.words.len() - 1;
        let word = |at: u64| self.words[at as usize & mask].load(Ordering::Relaxed);
        let first = word(head);
        let end = head + 1 + u64::from(first as u32);
        let lost_before = u64::from(((first >> 32) as u32).wrapping_sub(told as u32));
        consumer.lost_told.store(told + lost_before, Ordering::Relaxed);
        buffer.clear();
        buffer.extend((head + 1..end).flat_map(|at| word(at).to_le_bytes()));
        consumer.head.store(end, Ordering::Release);
        Popped::Event { lost_before }
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
                prop_assert_eq!(lane.pop(&mut buffer), Popped::Event { lost_before: 0 });
                prop_assert_eq!(Event::unpack(&buffer), Some(event));
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
                    let number = Event::unpack(&buffer).and_then(|e| e.get("n"));
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
                    take(&lane)?;
                }
            }
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
