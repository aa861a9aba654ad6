//! The protocol of openl2tpd's event socket (`doc/README.event_sock` of openl2tp 1.8).
//!
//! Both ways a message is a header, `u16` event mask and `u16` data length, and then the data,
//! all in host byte order. A client's data is one byte: zero takes the events in the mask off its
//! own mask, anything else puts them on. An event's data is its identifiers, `u16` each.

use crate::event::{Event, L2tp, L2tpKind};

/// The bit of a lost record: its data is a `u32`, how many events were dropped here.
pub const EVENTS_LOST: u16 = 1 << 15;

/// The longest frame: a header, and four identifiers.
pub const MAX_FRAME: usize = 12;

/// The bit of an event in a client's mask. Bits 0 to 3 are the document's; 4 to 9 are Herald's
/// extensions, which no client of the document's protocol sets.
pub fn mask_bit(kind: L2tpKind) -> u16 {
    1 << match kind {
        L2tpKind::SessionCreated => 0,
        L2tpKind::SessionDeleted => 1,
        L2tpKind::SessionUp => 2,
        L2tpKind::SessionDown => 3,
        L2tpKind::SessionModified => 4,
        L2tpKind::TunnelCreated => 5,
        L2tpKind::TunnelDeleted => 6,
        L2tpKind::TunnelUp => 7,
        L2tpKind::TunnelDown => 8,
        L2tpKind::TunnelModified => 9,
    }
}

/// An encoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    bit: u16,
    len: usize,
    bytes: [u8; MAX_FRAME],
}

impl Frame {
    /// Encodes an event; none if the protocol cannot express it.
    pub fn encode(event: &Event<'_>) -> Option<Self> {
        let l2tp = L2tp::from_event(event)?;
        let bit = mask_bit(l2tp.kind);
        let ids: &[u16] = match l2tp.kind {
            L2tpKind::SessionUp => {
                &[l2tp.tunnel_id, l2tp.session_id, l2tp.peer_tunnel_id, l2tp.peer_session_id]
            }
            L2tpKind::SessionCreated
            | L2tpKind::SessionDeleted
            | L2tpKind::SessionDown
            | L2tpKind::SessionModified => &[l2tp.tunnel_id, l2tp.session_id],
            L2tpKind::TunnelUp => &[l2tp.tunnel_id, l2tp.peer_tunnel_id],
            L2tpKind::TunnelCreated
            | L2tpKind::TunnelDeleted
            | L2tpKind::TunnelDown
            | L2tpKind::TunnelModified => &[l2tp.tunnel_id],
        };
        let mut bytes = [0; MAX_FRAME];
        let words = [bit, 2 * ids.len() as u16].into_iter().chain(ids.iter().copied());
        for (to, word) in bytes.chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Some(Frame { bit, len: 4 + 2 * ids.len(), bytes })
    }

    /// The bit that a client's mask must have for this event.
    pub fn bit(&self) -> u16 {
        self.bit
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes a lost record. A count that does not fit is written as the largest that does.
pub fn encode_lost(count: u64, frame: &mut Vec<u8>) {
    frame.extend(EVENTS_LOST.to_ne_bytes());
    frame.extend(4u16.to_ne_bytes());
    frame.extend(u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes());
}

/// A client's wish to amend its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The events that it names.
    pub mask: u16,
    /// Whether they are put on, or taken off.
    pub set: bool,
}

impl Request {
    /// The mask that follows from `mask`.
    pub fn amend(self, mask: u16) -> u16 {
        if self.set { mask | self.mask } else { mask & !self.mask }
    }
}

/// A request whose data length is not 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLength(pub u16);

/// Puts requests together from whatever pieces they arrive in. It never holds more than one
/// request.
#[derive(Debug, Clone, Default)]
pub struct RequestParser {
    head: [u8; 4],
    have: usize,
}

impl RequestParser {
    /// Takes the first request off `bytes`; none when they end within one, which the parser then
    /// remembers. After an error nothing that follows can be understood.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Request>, BadLength> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if self.have == self.head.len() {
                self.have = 0;
                let mask = u16::from_ne_bytes([self.head[0], self.head[1]]);
                return Ok(Some(Request { mask, set: byte != 0 }));
            }
            self.head[self.have] = byte;
            self.have += 1;
            if self.have == self.head.len() {
                let length = u16::from_ne_bytes([self.head[2], self.head[3]]);
                if length != 1 {
                    return Err(BadLength(length));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Param, Value};
    use proptest::prelude::*;

    fn requests(mut bytes: &[u8], parser: &mut RequestParser) -> Result<Vec<Request>, BadLength> {
        let mut found = Vec::new();
        while let Some(request) = parser.next(&mut bytes)? {
            found.push(request);
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn requests_mean_the_same_in_any_fragmentation(
            wanted in prop::collection::vec((any::<u16>(), any::<u8>()), 0..20),
            cuts in prop::collection::vec(0usize..8, 0..60),
        ) {
            let mut bytes = Vec::new();
            for (mask, op) in &wanted {
                bytes.extend(mask.to_ne_bytes());
                bytes.extend(1u16.to_ne_bytes());
                bytes.push(*op);
            }
            let mut parser = RequestParser::default();
            let (mut found, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                rest = tail;
                found.extend(requests(piece, &mut parser).unwrap());
            }
            found.extend(requests(rest, &mut parser).unwrap());
            let wanted: Vec<Request> =
                wanted.iter().map(|&(mask, op)| Request { mask, set: op != 0 }).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn arbitrary_bytes_are_requests_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = requests(&bytes, &mut RequestParser::default());
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_stock_plugin() {
        let encode = |kind| {
            let l2tp = L2tp {
                kind,
                tunnel_id: 0x04ce,
                session_id: 0xd956,
                peer_tunnel_id: 0x597e,
                peer_session_id: 0xfc11,
            };
            Frame::encode(&l2tp.into()).unwrap().bytes().to_vec()
        };
        // Measured on openl2tpd 1.8, little-endian.
        if cfg!(target_endian = "little") {
            assert_eq!(encode(L2tpKind::SessionCreated), b"\x01\0\x04\0\xce\x04\x56\xd9");
            assert_eq!(encode(L2tpKind::SessionUp), b"\x04\0\x08\0\xce\x04\x56\xd9\x7e\x59\x11\xfc");
            assert_eq!(encode(L2tpKind::SessionDown), b"\x08\0\x04\0\xce\x04\x56\xd9");
            assert_eq!(encode(L2tpKind::SessionDeleted), b"\x02\0\x04\0\xce\x04\x56\xd9");
        }
        for kind in L2tpKind::ALL {
            assert!(encode(kind).len() <= MAX_FRAME);
        }
    }

    #[test]
    fn an_l2tp_event_is_one_whoever_spells_it_and_in_whatever_order() {
        let params = [
            Param { name: "session_id", value: Value::Int(2) },
            Param { name: "note", value: "x".into() },
            Param { name: "tunnel_id", value: Value::Uint(1) },
        ];
        let frame = Frame::encode(&Event::new("E_L2TP_SESSION_DOWN", &params)).unwrap();
        let l2tp = L2tp {
            kind: L2tpKind::SessionDown,
            tunnel_id: 1,
            session_id: 2,
            peer_tunnel_id: 0,
            peer_session_id: 0,
        };
        assert_eq!(Some(frame), Frame::encode(&l2tp.into()));
    }

    #[test]
    fn what_the_protocol_cannot_express_is_skipped() {
        let too_big = [
            Param { name: "tunnel_id", value: Value::Uint(70_000) },
            Param { name: "session_id", value: Value::Uint(1) },
        ];
        assert_eq!(Frame::encode(&Event::new("E_L2TP_SESSION_DOWN", &too_big)), None);
        assert_eq!(Frame::encode(&Event::new("E_L2TP_SESSION_DOWN", &too_big[1..])), None);
        assert_eq!(Frame::encode(&Event::new("E_PIKE_BLOCKED", &[])), None);
    }
}
