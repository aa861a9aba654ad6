//! What every contestant carries: an event of 64 bytes with its number and its time of birth.

/// How long an event is.
pub const SIZE: usize = 64;

/// The part that only fills an event up.
pub const TEXT: &[u8; 40] = b"tunnel 1230, session 55638: it came up.\n";

/// On an event's number: the subscribers take its time.
pub const TIMED: u64 = 1 << 63;

const EVENT: u64 = 1;
const LOST: u64 = 2;

/// A frame, as a subscriber reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// An event: its number, perhaps with [`TIMED`] on it, and when it was published.
    Event { number: u64, stamp: u64 },
    /// So many events are missing here.
    Lost(u64),
}

impl Frame {
    /// The bytes: what it is, number or count, stamp, text.
    pub fn bytes(self) -> [u8; SIZE] {
        let words = match self {
            Frame::Event { number, stamp } => [EVENT, number, stamp],
            Frame::Lost(count) => [LOST, count, 0],
        };
        let mut bytes = [0; SIZE];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[24..].copy_from_slice(TEXT);
        bytes
    }

    /// Reads the bytes.
    #[inline]
    pub fn read(bytes: &[u8; SIZE]) -> Option<Self> {
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        match word(0) {
            EVENT => Some(Frame::Event { number: word(8), stamp: word(16) }),
            LOST => Some(Frame::Lost(word(8))),
            _ => None,
        }
    }
}
