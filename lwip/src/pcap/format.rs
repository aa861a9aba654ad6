//! The bytes of capture files: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), in
//! this machine's byte order, as both allow.

use std::time::Duration;

/// Link types of both formats.
const LINKTYPE_ETHERNET: u16 = 1;
const LINKTYPE_RAW: u16 = 101;

/// What is in a packet's record.
pub(super) struct Record<'a> {
    /// Since 1970.
    pub time: Duration,
    pub outgoing: bool,
    /// Of the packet on the link.
    pub length: usize,
    /// Its beginning, as much as is kept.
    pub pieces: &'a [&'a [u8]],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Pcap,
    Pcapng,
}

impl Format {
    /// What the file begins with.
    pub fn header(self, ether: bool, snaplen: u32, name: &str, out: &mut Vec<u8>) {
        let link = if ether { LINKTYPE_ETHERNET } else { LINKTYPE_RAW };
        match self {
            Format::Pcap => {
                // The magic number says microseconds; version 2.4; no time zone, no accuracy.
                for word in [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, snaplen, u32::from(link)] {
                    put(out, word);
                }
            }
            Format::Pcapng => {
                // Section header: byte order, version 1.0, unknown length.
                block(out, 0x0a0d_0d0a, |out| {
                    put(out, 0x1a2b_3c4d);
                    put(out, 1);
                    put(out, u32::MAX);
                    put(out, u32::MAX);
                });
                // Interface description: if_name, and if_tsresol in nanoseconds.
                block(out, 1, |out| {
                    put(out, u32::from(link));
                    put(out, snaplen);
                    option(out, 2, name.as_bytes());
                    option(out, 9, &[9]);
                    option(out, 0, &[]);
                });
            }
        }
    }

    pub fn record(self, record: &Record<'_>, out: &mut Vec<u8>) {
        let kept: usize = record.pieces.iter().map(|piece| piece.len()).sum();
        let bytes =
            |out: &mut Vec<u8>| record.pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        match self {
            Format::Pcap => {
                // Seconds are 32 bits here, until 2106.
                put(out, record.time.as_secs() as u32);
                put(out, record.time.subsec_micros());
                put(out, kept as u32);
                put(out, record.length as u32);
                bytes(out);
            }
            // Enhanced packet of interface 0, with epb_flags: inbound or outbound.
            Format::Pcapng => block(out, 6, |out| {
                let time = record.time.as_nanos() as u64;
                put(out, 0);
                put(out, (time >> 32) as u32);
                put(out, time as u32);
                put(out, kept as u32);
                put(out, record.length as u32);
                bytes(out);
                pad(out, kept);
                option(out, 2, &(if record.outgoing { 2u32 } else { 1 }).to_ne_bytes());
                option(out, 0, &[]);
            }),
        }
    }
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_ne_bytes());
}

/// Fills up to a multiple of four bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend(std::iter::repeat_n(0, length.next_multiple_of(4) - length));
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_ne_bytes());
    out.extend_from_slice(&(value.len() as u16).to_ne_bytes());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// A block says its length before and after.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out, kind);
    put(out, 0);
    body(out);
    let length = (out.len() + 4 - start) as u32;
    put(out, length);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}
