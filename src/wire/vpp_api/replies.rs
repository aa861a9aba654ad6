//! Replies in the order of their requests.

use std::collections::VecDeque;

/// The replies of one client. Clients find the end of a dump by a `control_ping` that they send after
/// it, so nothing overtakes a request that the host has not answered yet.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Requests that are not answered in full, the oldest first, and what was answered after them.
    waiting: VecDeque<Waiting>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How long the request is, which the host holds meanwhile.
    request: usize,
    bytes: Vec<u8>,
    done: bool,
}

impl Replies {
    /// Takes note of a request of so many bytes that the host will answer, and gives it a number.
    pub fn expect(&mut self, request: usize) -> u64 {
        self.waiting.push_back(Waiting { request, ..Waiting::default() });
        self.bytes += request;
        self.first + self.waiting.len() as u64 - 1
    }

    /// Lets a request be answered at once: appends to `out` if nothing is before it.
    pub fn append(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.is_empty() {
            return write(out);
        }
        let mut reply = Waiting { done: true, ..Waiting::default() };
        write(&mut reply.bytes);
        self.bytes += reply.bytes.len();
        self.waiting.push_back(reply);
    }

    /// Takes in a part of what the host answers to request `number`, and appends to `out` what can go.
    pub fn answer(&mut self, number: u64, bytes: &[u8], done: bool, out: &mut Vec<u8>) {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) else { return };
        if waiting.done {
            return;
        }
        waiting.bytes.extend_from_slice(bytes);
        waiting.done = done;
        self.bytes += bytes.len();
        if done {
            self.bytes -= waiting.request;
        }
        while let Some(waiting) = self.waiting.front_mut() {
            self.bytes -= waiting.bytes.len();
            out.append(&mut waiting.bytes);
            if !waiting.done {
                break;
            }
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    /// How many replies wait for one before them.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes they have so far, and the requests that are not answered in full.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn replies_keep_the_order_of_requests_whenever_the_host_answers(
            requests in prop::collection::vec(0u8..3, 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let (mut replies, mut out, mut open) = (Replies::default(), Vec::new(), Vec::new());
            let (mut expected, mut held) = (Vec::new(), 0);
            for (at, kind) in requests.iter().enumerate() {
                let name = at as u8;
                if *kind == 0 {
                    replies.append(&mut out, |out| out.push(name));
                    expected.push(name);
                } else {
                    // One part, or two.
                    expected.extend(std::iter::repeat_n(name, usize::from(*kind)));
                    open.push((replies.expect(at), name, *kind));
                }
                held = held.max(replies.waiting());
            }
            for pick in order {
                if open.is_empty() {
                    break;
                }
                let at = pick.index(open.len());
                let (number, name, left) = open[at];
                replies.answer(number, &[name], left == 1, &mut out);
                if left == 1 { open.remove(at); } else { open[at].2 -= 1; }
                prop_assert!(expected.starts_with(&out));
            }
            for (number, name, left) in open {
                for left in (1..=left).rev() {
                    replies.answer(number, &[name], left == 1, &mut out);
                }
                // An answer too many changes nothing.
                replies.answer(number, b"?", true, &mut out);
            }
            prop_assert_eq!(out, expected);
            prop_assert_eq!((replies.waiting(), replies.bytes()), (0, 0));
        }
    }
}
