//! What lwIP sends in one turn of the loop, in as few frames as can be: libslirp makes a system call for
//! each segment of TCP that it gets, and takes segments of any size.

use crate::netif::segment::Segment;
use crate::netif::{ETHERNET, checksum};

/// The most bytes of IP in a frame for libslirp (its IF_MTU_MAX).
pub(super) const LONGEST: usize = 65521;

/// Where a TCP header has its checksum.
const CHECKSUM: usize = 16;

/// Segments of a connection that follow each other, as one.
#[derive(Default)]
pub(super) struct Burst {
    frame: Vec<u8>,
    first: Option<Segment>,
    segments: usize,
    push: bool,
}

impl Burst {
    /// Adds a frame. False if it is nothing that waits, or does not follow what does: then what waits goes
    /// first, and the frame is to be added again, or to go by itself if the burst is empty.
    pub fn add(&mut self, frame: &[u8]) -> bool {
        let Some(segment) = Segment::find(frame, ETHERNET) else { return false };
        match &self.first {
            None => {
                self.frame.extend_from_slice(frame);
                self.first = Some(segment);
            }
            Some(first) => {
                let bytes = self.frame.len() - first.data;
                if self.frame.len() + segment.length - ETHERNET > LONGEST
                    || !first.continues(&self.frame, bytes, ETHERNET, &segment, frame)
                {
                    return false;
                }
                self.frame.extend_from_slice(frame.get(segment.data..).unwrap_or_default());
            }
        }
        self.segments += 1;
        self.push |= segment.ends_burst();
        true
    }

    /// All that was added, as one frame; none if there is nothing.
    pub fn finish(&mut self) -> Option<&[u8]> {
        let first = self.first?;
        if self.segments > 1 {
            let bytes = self.frame.len() - first.data;
            first.make_burst(&mut self.frame, ETHERNET, bytes, self.push);
            // Of the checksum there is the part of the pseudo-header.
            let rest = self.frame.get(first.tcp..).unwrap_or_default();
            let sum = !checksum::fold(checksum::add(0, rest));
            if let Some(place) = self.frame.get_mut(first.tcp + CHECKSUM..first.tcp + CHECKSUM + 2) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
        }
        Some(&self.frame)
    }

    /// Makes room for the next.
    pub fn clear(&mut self) {
        self.frame.clear();
        (self.first, self.segments, self.push) = (None, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of IPv4 with data at a place of the stream.
    fn segment(sequence: u32, data: &[u8], flags: u8) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET];
        frame[12] = 8;
        frame.extend([0x45, 0]);
        frame.extend((40 + data.len() as u16).to_be_bytes());
        frame.extend([0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, 0, 80, 0, 81]);
        frame.extend(sequence.to_be_bytes());
        frame.extend([0, 0, 0, 7, 0x50, flags, 16, 0, 0, 0, 0, 0]);
        frame.extend(data);
        frame
    }

    /// The sum of a TCP segment with its pseudo-header, which is 0xffff if its checksum is right.
    fn sum(frame: &[u8]) -> u16 {
        let length = (frame.len() - ETHERNET - 20) as u64;
        let addresses = checksum::add(6 + length, &frame[ETHERNET + 12..ETHERNET + 20]);
        checksum::fold(checksum::add(addresses, &frame[ETHERNET + 20..]))
    }

    #[test]
    fn segments_that_follow_each_other_are_one() {
        let mut burst = Burst::default();
        assert!(burst.finish().is_none());
        assert!(burst.add(&segment(100, b"abcd", 0x10)));
        assert!(burst.add(&segment(104, b"efgh", 0x18)));
        assert!(burst.add(&segment(108, b"i", 0x10)));
        // A gap, a FIN, another kind.
        assert!(!burst.add(&segment(110, b"k", 0x10)));
        assert!(!burst.add(&segment(109, b"j", 0x11)));
        assert!(!burst.add(b"x"));
        let whole = burst.finish().unwrap();
        assert_eq!(whole[ETHERNET + 40..], *b"abcdefghi");
        assert_eq!(whole[ETHERNET + 3], 49);
        assert_eq!(whole[ETHERNET + 33], 0x18);
        assert_eq!(checksum::fold(checksum::add(0, &whole[ETHERNET..ETHERNET + 20])), 0xffff);
        assert_eq!(sum(whole), 0xffff);
        burst.clear();
        assert!(burst.finish().is_none());
    }

    #[test]
    fn one_alone_is_left_as_it_is() {
        let mut burst = Burst::default();
        let alone = segment(1, b"abc", 0x18);
        assert!(burst.add(&alone));
        assert_eq!(burst.finish().unwrap(), alone);
    }

    #[test]
    fn no_burst_is_longer_than_a_packet_can_be() {
        let mut burst = Burst::default();
        let data = [7; 1460];
        let fit = (0..100).take_while(|at| burst.add(&segment(at * 1460, &data, 0x10))).count();
        assert_eq!(fit, (LONGEST - 40) / 1460);
        assert_eq!(sum(burst.finish().unwrap()), 0xffff);
    }
}
