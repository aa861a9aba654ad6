//! What a peer may not say to lwIP, since lwIP 2.1.3 would abort the process or read what is not there.
//!
//! Found by fuzzing; each with the assertion that it runs into.

use super::ETHERNET;

/// The least headers.
const IPV4: usize = 20;
const IPV6: usize = 40;

const UDP_LITE: u8 = 136;
const FRAGMENT: u8 = 44;

/// Whether a packet of a netif is one that lwIP can take.
pub(super) fn admits(packet: &[u8], ether: bool) -> bool {
    let ip = match ether {
        true => match packet.get(ETHERNET - 2..ETHERNET) {
            Some([0x08, 0x00] | [0x86, 0xdd]) => packet.get(ETHERNET..),
            _ => return true,
        },
        false => Some(packet),
    };
    match ip {
        // lwIP reads a whole header before it looks at the length.
        Some(ip @ [first, ..]) if first >> 4 == 6 => ip.len() >= IPV6 && admits_ipv6(ip),
        Some(ip) => ip.len() >= IPV4 && admits_ipv4(ip),
        None => false,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn admits_ipv4(ip: &[u8]) -> bool {
    if ip.get(9) != Some(&UDP_LITE) {
        return true;
    }
    let whole = word(ip, 6).is_some_and(|fragment| fragment & 0x3fff == 0);
    let header = ip.first().map_or(0, |first| 4 * usize::from(first & 15));
    let length = word(ip, 2).map_or(0, usize::from);
    whole && admits_udp_lite(ip.get(header..length.min(ip.len())).unwrap_or_default())
}

fn admits_ipv6(ip: &[u8]) -> bool {
    let mut next = ip.get(6).copied().unwrap_or(59);
    let mut at = IPV6;
    let end = word(ip, 4).map_or(0, |length| (IPV6 + usize::from(length)).min(ip.len()));
    loop {
        let Some(rest) = ip.get(at..end) else { return true };
        match (next, rest) {
            (UDP_LITE, _) => return admits_udp_lite(rest),
            // What is behind a fragment's header is seen in the first fragment at best.
            (FRAGMENT, [inner, ..]) => return !matches!(*inner, UDP_LITE | 0 | 43 | 60),
            // Hop-by-hop options, routing, destination options (RFC 8200).
            (0 | 43 | 60, [inner, length, ..]) => {
                next = *inner;
                at += 8 * (1 + usize::from(*length));
            }
            _ => return true,
        }
    }
}

/// A checksum of more than there is: "delete me" in ip_chksum_pseudo_partial(). In fragments it is not seen, so
/// there lwIP gets none of it.
fn admits_udp_lite(datagram: &[u8]) -> bool {
    word(datagram, 4).is_some_and(|covered| usize::from(covered) <= datagram.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ipv4(protocol: u8, fragment: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 20 + data.len() as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend_from_slice(data);
        packet
    }

    fn ipv6(next: u8, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, data.len() as u8, next, 64];
        packet.extend_from_slice(&[0; 32]);
        packet.extend_from_slice(data);
        packet
    }

    const LITE: [u8; 10] = [0, 7, 0, 7, 0, 8, 1, 2, 3, 4];
    const TOO_MUCH: [u8; 10] = [0, 7, 0, 7, 0, 11, 1, 2, 3, 4];

    #[test]
    fn udp_lite_covers_what_there_is() {
        for (data, admitted) in [(&LITE, true), (&TOO_MUCH, false)] {
            assert_eq!(admits(&ipv4(136, 0, data), false), admitted);
            assert_eq!(admits(&ipv6(136, data), false), admitted);
            let behind_options = [[136, 0, 1, 4, 0, 0, 0, 0].as_slice(), data].concat();
            assert_eq!(admits(&ipv6(60, &behind_options), false), admitted);
            let mut frame = vec![0; 12];
            frame.extend_from_slice(&[0x08, 0x00]);
            frame.extend_from_slice(&ipv4(136, 0, data));
            assert_eq!(admits(&frame, true), admitted);
            assert!(admits(&ipv4(17, 0, data), false));
        }
    }

    #[test]
    fn udp_lite_in_fragments_is_not_seen() {
        assert!(!admits(&ipv4(136, 0x2000, &LITE), false));
        assert!(!admits(&ipv4(136, 1, &LITE), false));
        assert!(admits(&ipv4(17, 0x2000, &LITE), false));
        assert!(!admits(&ipv6(44, &[136, 0, 0, 1, 0, 0, 0, 1]), false));
        assert!(!admits(&ipv6(44, &[60, 0, 0, 1, 0, 0, 0, 1]), false));
        assert!(admits(&ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 1]), false));
    }

    #[test]
    fn less_than_a_header_is_nothing() {
        assert!(!admits(&[], false) && !admits(&[0x45; 19], false) && !admits(&[0x60; 39], false));
        assert!(!admits(&[&[0; 12], [0x08, 0x00].as_slice()].concat(), true));
        // lwIP looks at these lengths itself.
        assert!(admits(&[0; 10], true));
    }

    proptest! {
        #[test]
        fn any_bytes(packet in prop::collection::vec(any::<u8>(), 0..100), ether: bool) {
            let _ = admits(&packet, ether);
        }
    }
}
