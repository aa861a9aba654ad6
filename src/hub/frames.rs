//! Frames one after the other, as bytes that can be sent in one piece.

use std::collections::VecDeque;

/// What a frame says, which decides what may become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event: it may be dropped, and is then accounted for.
    Event,
    /// That events are missing.
    LostRecord,
}

/// A frame, by what is kept beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    pub len: usize,
    /// Bytes of its mark.
    width: usize,
}

/// Whole frames. Beside the bytes there is a mark for each frame, since no frame is to be sent in
/// part and then dropped: kind and length as a number in groups of seven bits, the lowest first,
/// the top bit set on all but the last. That is one byte for a frame of up to 63 bytes.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: VecDeque<u8>,
    marks: VecDeque<u8>,
    events: u64,
}

impl Frames {
    /// The first allocation.
    const FIRST: usize = 2048;

    /// Bytes of all frames.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many events there are.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// As many of the first bytes as lie in one piece.
    pub fn chunk(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// The first frame.
    pub fn front(&self) -> Option<Frame> {
        let mut number = 0;
        for (width, byte) in self.marks.iter().enumerate() {
            number |= usize::from(byte & 0x7f) << (7 * width);
            if byte & 0x80 == 0 {
                let kind = if number & 1 == 0 { Kind::Event } else { Kind::LostRecord };
                return Some(Frame { kind, len: number >> 1, width: width + 1 });
            }
        }
        None
    }

    /// Appends a frame. The allocation doubles, but never past `limit`, if that is enough.
    pub fn push(&mut self, kind: Kind, frame: &[u8], limit: usize) {
        grow(&mut self.bytes, frame.len(), limit.max(Self::FIRST));
        self.bytes.extend(frame);
        let mut number = frame.len() << 1 | kind as usize;
        while number > 0x7f {
            self.marks.push_back(number as u8 | 0x80);
            number >>= 7;
        }
        self.marks.push_back(number as u8);
        self.events += u64::from(kind == Kind::Event);
    }

    /// Takes the first frame, which is `frame`, out; its bytes.
    pub fn pop(&mut self, frame: Frame) -> impl Iterator<Item = u8> + '_ {
        self.forget(frame);
        self.bytes.drain(..frame.len)
    }

    /// Forgets the first frame, which is `frame`, but leaves its bytes.
    pub fn forget(&mut self, frame: Frame) {
        self.marks.drain(..frame.width);
        self.events -= u64::from(frame.kind == Kind::Event);
    }

    /// Takes out the bytes of frames that have been forgotten.
    pub fn skip(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
    }

    /// What is allocated, in bytes.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity()
    }
}

/// Makes room for `more` bytes.
fn grow(bytes: &mut VecDeque<u8>, more: usize, limit: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let capacity = (bytes.capacity() * 2).clamp(Frames::FIRST.min(limit), limit);
        bytes.reserve_exact(capacity.max(needed) - bytes.len());
    }
}
