//! The messages of openl2tpd's event socket. An event's number and stamp travel in place of the
//! four identifiers of E_L2TP_SESSION_UP.

use crate::frame::TIMED;

/// How long SESSION_UP is.
pub const EVENT: usize = 12;

const SESSION_UP: u16 = 1 << 2;
const EVENTS_LOST: u16 = 1 << 15;
const TIMED_HERE: u32 = 1 << 31;

/// A message, as a subscriber reads it.
pub enum Message {
    /// SESSION_UP with a number, perhaps with [`TIMED`] on it, and the low half of a stamp.
    Event { number: u64, stamp: u32 },
    /// EVENTS_LOST.
    Lost(u32),
    /// Anything else.
    Other,
}

/// A subscriber's request: the events here, and to be told of losses.
pub fn subscribe() -> Vec<u8> {
    let mut request = Vec::new();
    request.extend((SESSION_UP | EVENTS_LOST).to_ne_bytes());
    request.extend(1u16.to_ne_bytes());
    request.push(1);
    request
}

/// The four identifiers that carry a number and a stamp.
pub fn identifiers(number: u64, stamp: u64) -> [u16; 4] {
    let mut low = number as u32 & !TIMED_HERE;
    if number & TIMED != 0 {
        low |= TIMED_HERE;
    }
    let stamp = stamp as u32;
    [(low >> 16) as u16, low as u16, (stamp >> 16) as u16, stamp as u16]
}

/// The frame of an event.
pub fn frame(number: u64, stamp: u64) -> [u8; EVENT] {
    let [a, b, c, d] = identifiers(number, stamp);
    let mut frame = [0; EVENT];
    for (to, word) in frame.chunks_exact_mut(2).zip([SESSION_UP, 8, a, b, c, d]) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    frame
}

/// The first message of `bytes` and what follows it; none if it is not there whole.
pub fn split(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    if bytes.len() < 4 || bytes.len() < 4 + usize::from(word(2)) {
        return None;
    }
    let wide = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
    let message = match (word(0), word(2)) {
        (SESSION_UP, 8) => {
            let timed = if wide(4) & TIMED_HERE != 0 { TIMED } else { 0 };
            Message::Event { number: u64::from(wide(4) & !TIMED_HERE) | timed, stamp: wide(8) }
        }
        (EVENTS_LOST, 4) => Message::Lost(u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
        _ => Message::Other,
    };
    Some((message, &bytes[4 + usize::from(word(2))..]))
}
