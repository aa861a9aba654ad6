//! Events that go out together: encoded once, and cut to size for each client.

use super::protocol::Protocol;
use crate::hub::{Pushed, Queue};

/// What stands at a place in a batch.
#[derive(Debug, Clone, Copy)]
enum What {
    /// A frame, by the index of its topic.
    Event(usize),
    /// So many events were dropped here.
    Lost(u64),
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Where its bytes end.
    end: usize,
    what: What,
}

impl Mark {
    /// Of an event, the index of its topic.
    fn topic(&self) -> Option<usize> {
        match self.what {
            What::Event(topic) => Some(topic),
            What::Lost(_) => None,
        }
    }
}

/// Frames one after the other: those that one client gets, or all of a batch.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    events: u64,
}

/// What became of frames that were not sent at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Events that had been sent whole.
    pub delivered: u64,
    /// Events that were dropped, be they from before.
    pub dropped: u64,
    /// There was no room, and the policy is to disconnect.
    pub disconnect: bool,
}

impl Frames {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many of them are events.
    pub fn events(&self) -> u64 {
        self.events
    }

    fn push(&mut self, what: What, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.marks.push(Mark { end: self.bytes.len(), what });
        self.events += u64::from(matches!(what, What::Event(_)));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.events = 0;
    }

    /// Every mark, and where its bytes begin.
    fn places(&self) -> impl Iterator<Item = (usize, Mark)> {
        let begins = std::iter::once(0).chain(self.marks.iter().map(|mark| mark.end));
        begins.zip(self.marks.iter().copied())
    }

    /// Writes the client's own into its frames.
    fn personalise<P: Protocol>(&mut self, client: &P::Client, topics: &[P::Topic]) {
        let mut begin = 0;
        for run in self.marks.chunk_by(|one, next| one.topic() == next.topic()) {
            let topic = run.first().and_then(|mark| mark.topic()).and_then(|topic| topics.get(topic));
            let write = topic.map(|topic| P::personal(client, topic));
            for mark in run {
                if let Some(write) = &write {
                    write(&mut self.bytes[begin..mark.end]);
                }
                begin = mark.end;
            }
        }
    }

    /// Queues what is left after the first `sent` bytes.
    pub fn keep(&self, sent: usize, queue: &mut Queue) -> Kept {
        let mut kept = Kept::default();
        if sent == self.bytes.len() && sent > 0 {
            kept.delivered = self.events;
            return kept;
        }
        for (begin, Mark { end, what }) in self.places() {
            let is_event = matches!(what, What::Event(_));
            if end <= sent {
                kept.delivered += u64::from(is_event);
            } else if begin < sent {
                queue.finish(&self.bytes[sent..end], is_event);
            } else if kept.disconnect {
                kept.dropped += u64::from(is_event);
            } else if let What::Lost(count) = what {
                kept.dropped += queue.lose(count);
            } else {
                match queue.push(&self.bytes[begin..end]) {
                    Pushed::Queued => {}
                    Pushed::Dropped(count) => kept.dropped += count,
                    Pushed::Disconnect => {
                        kept.dropped += 1;
                        kept.disconnect = true;
                    }
                }
            }
        }
        kept
    }
}

/// Encoded events on their way to the clients, in order, each with a topic that decides who gets
/// it.
#[derive(Debug)]
pub struct Batch<T> {
    /// The topics in the batch, each once.
    topics: Vec<T>,
    frames: Frames,
    lost: u64,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch { topics: Vec::new(), frames: Frames::default(), lost: 0 }
    }
}

impl<T: PartialEq> Batch<T> {
    /// As much as a socket of the usual size takes with room to spare, and little enough to stay in
    /// the cache while it is copied to every client.
    const BYTES: usize = 64 * 1024;
    /// So many that looking for one among them costs little.
    const TOPICS: usize = 32;

    /// Appends a frame. Its bytes are the same for every client, but for what
    /// [`Protocol::personal`] changes.
    pub fn push(&mut self, topic: T, frame: &[u8]) {
        if frame.is_empty() {
            return;
        }
        let known = self.topics.iter().position(|known| *known == topic);
        let index = known.unwrap_or_else(|| {
            self.topics.push(topic);
            self.topics.len() - 1
        });
        self.frames.push(What::Event(index), |bytes| bytes.extend_from_slice(frame));
    }

    /// Notes that `count` events were dropped here.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost += count;
        if let Some(Mark { what: What::Lost(before), .. }) = self.frames.marks.last_mut() {
            *before += count;
        } else {
            self.frames.push(What::Lost(count), |_| {});
        }
    }

    /// Events that were dropped within this batch, before they had a frame.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.marks.is_empty()
    }

    /// Whether it is to go out before more is put in.
    pub(super) fn is_full(&self) -> bool {
        self.frames.bytes.len() >= Self::BYTES || self.topics.len() >= Self::TOPICS
    }

    pub(super) fn clear(&mut self) {
        self.topics.clear();
        self.frames.clear();
        self.lost = 0;
    }
}

/// What is cut out of a batch for clients that do not get all of it, once for all that get the
/// same.
#[derive(Debug, Default)]
pub(super) struct Cuttings {
    /// Which topics the client at hand wants, by their index, and last whether it is told of losses.
    wanted: Vec<bool>,
    cut: Vec<(Vec<bool>, Frames)>,
    /// How many of them are of this batch; the others keep their memory for the next.
    used: usize,
}

impl Cuttings {
    /// How many are kept: with more different selections than this, those beyond share one place.
    const KEPT: usize = 16;

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The frames of the batch that a client gets; none if it gets none of them.
    pub fn select<'a, P: Protocol>(
        &'a mut self,
        batch: &'a mut Batch<P::Topic>,
        client: &P::Client,
        queue: &Queue,
    ) -> Option<&'a Frames> {
        self.wanted.clear();
        self.wanted.extend(batch.topics.iter().map(|topic| P::wants(client, topic)));
        let tells = batch.lost > 0 && queue.tells_losses() && P::wants_any(client);
        let all = self.wanted.iter().all(|wanted| *wanted);
        if !tells && !self.wanted.iter().any(|wanted| *wanted) {
            return None;
        }
        // Losses have no bytes in a batch, and to a queue that does not tell them they say nothing.
        let frames = if all && !tells {
            &mut batch.frames
        } else {
            self.wanted.push(tells);
            self.cut::<P>(batch, queue)
        };
        if P::PERSONAL {
            frames.personalise::<P>(client, &batch.topics);
        }
        Some(frames)
    }

    /// The frames that are wanted, as they were cut for another or are cut now.
    fn cut<P: Protocol>(&mut self, batch: &Batch<P::Topic>, queue: &Queue) -> &mut Frames {
        let tells = self.wanted.last() == Some(&true);
        let known = self.cut[..self.used].iter().position(|(wanted, _)| *wanted == self.wanted);
        // A lost record is the client's own as a whole.
        if let Some(known) = known.filter(|_| !(P::PERSONAL && tells)) {
            return &mut self.cut[known].1;
        }
        let place = known.unwrap_or(self.used.min(Self::KEPT - 1));
        self.used = self.used.max(place + 1);
        if self.cut.len() == place {
            self.cut.push(Default::default());
        }
        let (wanted, frames) = &mut self.cut[place];
        wanted.clone_from(&self.wanted);
        frames.clear();
        for (begin, Mark { end, what }) in batch.frames.places() {
            match what {
                What::Event(topic) if self.wanted[topic] => {
                    frames.push(what, |bytes| bytes.extend_from_slice(&batch.frames.bytes[begin..end]));
                }
                What::Lost(count) if tells => {
                    frames.push(what, |bytes| queue.write_lost_record(count, bytes));
                }
                _ => {}
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::hub::{LostRecord, Overflow};
    use crate::transport::stream::{ClientId, Received};
    use proptest::prelude::*;

    /// A frame: its length in one byte, then a number; an event, of 6 bytes or more, has its
    /// client's byte at the end, if it is personal, and a lost record has length 5.
    struct Numbers<const PERSONAL: bool>;

    #[derive(Clone, Copy)]
    struct Subscriber {
        mask: u8,
        own: u8,
    }

    impl<const PERSONAL: bool> Protocol for Numbers<PERSONAL> {
        type Client = Subscriber;
        type Topic = u8;

        const NAME: &'static str = "numbers";
        const PERSONAL: bool = PERSONAL;

        fn connected(&mut self, _id: ClientId) -> Subscriber {
            Subscriber { mask: 0, own: 0 }
        }

        fn encode(&mut self, _event: &Event<'_>, _batch: &mut Batch<u8>) {}

        fn wants(client: &Subscriber, bit: &u8) -> bool {
            client.mask & bit != 0
        }

        fn wants_any(client: &Subscriber) -> bool {
            client.mask != 0
        }

        fn lost_record(&self, _client: &Subscriber) -> Option<LostRecord> {
            None
        }

        fn personal(client: &Subscriber, bit: &u8) -> impl Fn(&mut [u8]) {
            assert!(client.mask & bit != 0, "a frame for somebody else");
            let own = client.own;
            move |frame: &mut [u8]| frame[frame.len() - 1] = own
        }

        fn receive(
            &mut self,
            _client: &mut Subscriber,
            _bytes: &mut &[u8],
            _replies: &mut Vec<u8>,
        ) -> Result<Received, String> {
            Ok(Received::Understood)
        }
    }

    /// What happens in a test.
    #[derive(Debug, Clone)]
    enum Step {
        /// An event with a topic and a length.
        Event(u8, usize),
        Lost(u64),
        /// The batch goes out, and each socket takes this many bytes of it.
        Deliver(usize),
        /// Each socket takes this many bytes of what waits.
        Send(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..4, 6usize..12).prop_map(|(topic, len)| Step::Event(1 << topic, len)),
            1 => (1u64..9).prop_map(Step::Lost),
            2 => (0usize..80).prop_map(Step::Deliver),
            2 => (0usize..80).prop_map(Step::Send),
        ]
    }

    struct Case {
        subscriber: Subscriber,
        tells: bool,
        queue: Queue,
        /// What it is to see: numbers of events, and losses.
        wanted: Vec<Option<u32>>,
        stream: Vec<u8>,
        delivered: u64,
        dropped: u64,
    }

    impl Case {
        fn new(mask: u8, own: u8, tells: bool, limit: usize, overflow: Overflow) -> Self {
            let mut queue = Queue::new(limit, overflow);
            let record: LostRecord = Box::new(|count, frame| {
                frame.push(5);
                frame.extend((count as u32).to_be_bytes());
            });
            queue.tell_losses(tells.then_some(record));
            Case {
                subscriber: Subscriber { mask, own },
                tells,
                queue,
                wanted: Vec::new(),
                stream: Vec::new(),
                delivered: 0,
                dropped: 0,
            }
        }

        /// As a client does, with a socket that takes `most` bytes.
        fn deliver<const PERSONAL: bool>(
            &mut self,
            batch: &mut Batch<u8>,
            cuttings: &mut Cuttings,
            most: usize,
        ) {
            if self.subscriber.mask != 0 {
                self.dropped += batch.lost();
            }
            let selected = cuttings.select::<Numbers<PERSONAL>>(batch, &self.subscriber, &self.queue);
            let Some(frames) = selected else { return };
            let sent = if self.queue.is_empty() { most.min(frames.bytes().len()) } else { 0 };
            self.stream.extend_from_slice(&frames.bytes()[..sent]);
            let kept = frames.keep(sent, &mut self.queue);
            self.delivered += kept.delivered;
            self.dropped += kept.dropped;
            assert!(!kept.disconnect);
        }

        fn send(&mut self, most: usize) {
            let chunk = self.queue.chunk();
            let count = chunk.len().min(most);
            self.stream.extend_from_slice(&chunk[..count]);
            self.delivered += self.queue.sent(count);
        }

        /// Every event is in the stream or told as lost in its place, and counted.
        fn check(&self, personal: bool) -> Result<(), TestCaseError> {
            let mut wanted = self.wanted.iter().copied();
            let (mut seen, mut at) = (0, 0);
            while at < self.stream.len() {
                let len = usize::from(self.stream[at]);
                let frame = &self.stream[at..at + len];
                let number = u32::from_be_bytes(frame[1..5].try_into().unwrap());
                if len == 5 {
                    wanted.nth(number as usize - 1);
                } else if self.tells {
                    prop_assert_eq!(wanted.next(), Some(Some(number)));
                    seen += 1;
                } else {
                    prop_assert!(wanted.any(|next| next == Some(number)));
                    seen += 1;
                }
                if personal && len > 5 {
                    prop_assert_eq!(frame[len - 1], self.subscriber.own);
                }
                at += len;
            }
            if self.tells {
                prop_assert_eq!(wanted.next(), None);
            }
            prop_assert_eq!(seen, self.delivered);
            prop_assert_eq!(self.delivered + self.dropped, self.wanted.len() as u64);
            Ok(())
        }
    }

    fn run<const PERSONAL: bool>(
        steps: &[Step],
        limit: usize,
        overflow: Overflow,
    ) -> Result<(), TestCaseError> {
        let mut cases: Vec<Case> =
            [(15, true), (15, false), (5, true), (5, true), (2, false), (0, true)]
                .iter()
                .zip(0..)
                .map(|(&(mask, tells), own)| Case::new(mask, own, tells, limit, overflow))
                .collect();
        let (mut batch, mut cuttings) = (Batch::default(), Cuttings::default());
        let mut number = 0u32;
        let finish = [Step::Deliver(0), Step::Send(usize::MAX)];
        for step in steps.iter().chain(&finish) {
            match *step {
                Step::Event(topic, len) => {
                    let mut frame = vec![len as u8];
                    frame.extend(number.to_be_bytes());
                    frame.resize(len, 0);
                    batch.push(topic, &frame);
                    for case in cases.iter_mut().filter(|case| case.subscriber.mask & topic != 0) {
                        case.wanted.push(Some(number));
                    }
                    number += 1;
                }
                Step::Lost(count) => {
                    batch.lose(count);
                    for case in cases.iter_mut().filter(|case| case.subscriber.mask != 0) {
                        case.wanted.extend((0..count).map(|_| None));
                    }
                }
                Step::Deliver(most) => {
                    for case in &mut cases {
                        case.deliver::<PERSONAL>(&mut batch, &mut cuttings, most);
                    }
                    batch.clear();
                    cuttings.clear();
                }
                Step::Send(most) => cases.iter_mut().for_each(|case| case.send(most)),
            }
        }
        for case in &mut cases {
            while !case.queue.is_empty() {
                case.send(usize::MAX);
            }
            case.check(PERSONAL)?;
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_client_gets_what_it_wants_or_is_told_of_it_in_its_place(
            steps in prop::collection::vec(step(), 0..200),
            limit in 16usize..200,
            overflow in prop_oneof![Just(Overflow::DropNewest), Just(Overflow::DropOldest)],
        ) {
            run::<false>(&steps, limit, overflow)?;
            run::<true>(&steps, limit, overflow)?;
        }
    }

    #[test]
    fn what_does_not_fit_before_a_disconnection_is_counted() {
        let mut case = Case::new(1, 0, true, 16, Overflow::Disconnect);
        let mut batch = Batch::default();
        for number in 0u8..6 {
            batch.push(1u8, &[6, 0, 0, 0, number, 0]);
        }
        let mut cuttings = Cuttings::default();
        let frames =
            cuttings.select::<Numbers<false>>(&mut batch, &case.subscriber, &case.queue).unwrap();
        // One goes out, one in part, two fit, and two do not.
        let kept = frames.keep(8, &mut case.queue);
        assert_eq!(kept, Kept { delivered: 1, dropped: 2, disconnect: true });
        assert_eq!(case.queue.events(), 3);
    }

    #[test]
    fn more_selections_than_are_kept_are_cut_one_by_one() {
        let mut batch = Batch::default();
        for bit in 0..6 {
            batch.push(1u8 << bit, &[6, 0, 0, 0, bit, 0]);
        }
        let mut cuttings = Cuttings::default();
        for mask in (1..63).chain(1..63) {
            let case = Case::new(mask, 0, false, 100, Overflow::DropNewest);
            let frames = cuttings.select::<Numbers<false>>(&mut batch, &case.subscriber, &case.queue);
            let bits = frames.unwrap().bytes().chunks(6).map(|frame| 1 << frame[4]);
            assert_eq!(bits.sum::<u8>(), mask);
            assert!(cuttings.cut.len() <= Cuttings::KEPT);
        }
    }
}
