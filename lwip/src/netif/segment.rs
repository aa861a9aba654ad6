//! TCP segments that go out together: what the kernel's network cards do for it, done for lwIP.
//!
//! Segments of one connection that follow each other become one packet with one set of headers, and the
//! kernel treats it as a burst of its own. What is here only looks at bytes.

use super::checksum;

const TCP: u8 = 6;
const IPV6: usize = 40;

/// The TCP flags (RFC 9293) that two segments may differ in, or have.
const FIN_SYN_RST_URG: u8 = 0x01 | 0x02 | 0x04 | 0x20;
const PSH: u8 = 0x08;

/// Where things are in a TCP segment with data and nothing unusual about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub ipv6: bool,
    /// Where the TCP header begins.
    pub tcp: usize,
    /// Where the data begins.
    pub data: usize,
    /// The length of the data.
    pub length: usize,
    sequence: u32,
    push: bool,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl Segment {
    /// Looks at a packet that begins with its link header of `link` bytes and lies in one piece. None if it
    /// is to be left alone.
    pub fn find(packet: &[u8], link: usize) -> Option<Segment> {
        let (ipv6, ip_length, tcp) = match packet.get(link)? {
            // Version 4 without options, and not a fragment.
            0x45 => {
                let plain = packet.get(link + 9) == Some(&TCP) && word(packet, link + 6)? & 0x3fff == 0;
                (false, plain.then_some(usize::from(word(packet, link + 2)?))?, link + 20)
            }
            first if first >> 4 == 6 => {
                let plain = packet.get(link + 6) == Some(&TCP);
                (true, plain.then_some(IPV6 + usize::from(word(packet, link + 4)?))?, link + IPV6)
            }
            _ => return None,
        };
        let data = tcp + 4 * usize::from(packet.get(tcp + 12)? >> 4);
        let flags = *packet.get(tcp + 13)?;
        let end = link + ip_length;
        let sequence = packet.get(tcp + 4..tcp + 8)?;
        // All that follows the IP packet would be lost.
        if flags & FIN_SYN_RST_URG != 0 || data < tcp + 20 || data >= end || end != packet.len() {
            return None;
        }
        Some(Segment {
            ipv6,
            tcp,
            data,
            length: end - data,
            sequence: u32::from_be_bytes(sequence.try_into().ok()?),
            push: flags & PSH != 0,
        })
    }

    /// Whether nothing can follow in the same burst.
    pub fn ends_burst(&self) -> bool {
        self.push
    }

    /// Whether `next`, in `next_packet`, continues a burst that begins with this segment and has
    /// `burst` bytes of data.
    pub fn continues(
        &self,
        packet: &[u8],
        burst: usize,
        link: usize,
        next: &Segment,
        next_packet: &[u8],
    ) -> bool {
        let same = |from: usize, to: usize| {
            packet.get(from..to).is_some_and(|bytes| next_packet.get(from..to) == Some(bytes))
        };
        let ip = if self.ipv6 {
            // All but the length.
            same(link, link + 4) && same(link + 6, link + IPV6)
        } else {
            // All but the length, the identification and the checksum.
            same(link, link + 2) && same(link + 6, link + 10) && same(link + 12, link + 20)
        };
        self.ipv6 == next.ipv6
            && self.data == next.data
            && next.length <= self.length
            && next.sequence == self.sequence.wrapping_add(burst as u32)
            && same(0, link)
            && ip
            // Ports; the acknowledgement and the header's length; the window; options.
            && same(self.tcp, self.tcp + 4)
            && same(self.tcp + 8, self.tcp + 13)
            && same(self.tcp + 14, self.tcp + 16)
            && same(self.tcp + 20, self.data)
    }

    /// Makes the headers those of a burst of `burst` bytes of data: lengths, IPv4's checksum, PSH if the
    /// last has it, and of TCP's checksum the part of the pseudo-header, as the kernel expects it.
    pub fn make_burst(&self, headers: &mut [u8], link: usize, burst: usize, push: bool) {
        let tcp_length = self.data - self.tcp + burst;
        let mut put = |at: usize, value: u16| {
            if let Some(place) = headers.get_mut(at..at + 2) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        };
        if self.ipv6 {
            put(link + 4, tcp_length as u16);
        } else {
            put(link + 2, (20 + tcp_length) as u16);
            put(link + 10, 0);
        }
        if !self.ipv6 {
            let sum = checksum::fold(checksum::add(0, headers.get(link..link + 20).unwrap_or_default()));
            if let Some(place) = headers.get_mut(link + 10..link + 12) {
                place.copy_from_slice(&(!sum).to_be_bytes());
            }
        }
        let addresses = if self.ipv6 { link + 8..link + 40 } else { link + 12..link + 20 };
        let pseudo = checksum::add(
            u64::from(TCP) + tcp_length as u64,
            headers.get(addresses).unwrap_or_default(),
        );
        if let Some(place) = headers.get_mut(self.tcp + 16..self.tcp + 18) {
            place.copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
        }
        if let Some(flags) = headers.get_mut(self.tcp + 13).filter(|_| push) {
            *flags |= PSH;
        }
    }
}
