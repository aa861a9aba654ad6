//! The bytes of the event socket, written down from the protocol's document and from nothing of
//! the library's.

pub const CREATED: u16 = 1;
pub const DELETED: u16 = 1 << 1;
pub const UP: u16 = 1 << 2;
pub const DOWN: u16 = 1 << 3;
pub const MODIFIED: u16 = 1 << 4;
pub const TUNNEL_CREATED: u16 = 1 << 5;
pub const TUNNEL_DELETED: u16 = 1 << 6;
pub const TUNNEL_UP: u16 = 1 << 7;
pub const TUNNEL_DOWN: u16 = 1 << 8;
pub const TUNNEL_MODIFIED: u16 = 1 << 9;
pub const LOST: u16 = 1 << 15;

/// The events of the document.
pub const DOCUMENT: u16 = CREATED | DELETED | UP | DOWN;
/// Every event there is, the extensions included.
pub const ALL: u16 = 0x03ff;

/// A request to amend the mask.
pub fn request(mask: u16, operation: u8) -> Vec<u8> {
    let mut bytes = words(&[mask, 1]);
    bytes.push(operation);
    bytes
}

/// An event, as its bytes.
pub fn frame(event: u16, ids: &[u16]) -> Vec<u8> {
    let mut bytes = words(&[event, 2 * ids.len() as u16]);
    bytes.extend(words(ids));
    bytes
}

/// The frames of a session's whole life, as [`super::Host::life`] brings them about.
pub fn life(tunnel: u16, session: u16) -> Vec<u8> {
    [
        frame(CREATED, &[tunnel, session]),
        frame(UP, &[tunnel, session, 2, 3]),
        frame(DOWN, &[tunnel, session]),
        frame(DELETED, &[tunnel, session]),
    ]
    .concat()
}

/// Numbers in host byte order.
pub fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Splits off the first frame, if it is whole: the event, its data, and what follows.
pub fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(4)?;
    let event = u16::from_ne_bytes([header[0], header[1]]);
    let length = u16::from_ne_bytes([header[2], header[3]]);
    assert!(length <= 8, "an event with {length} bytes: {header:02x?}");
    let (data, rest) = rest.split_at_checked(length.into())?;
    Some((event, data, rest))
}

/// The event that stands at `position` in the stream of a host's `flood` of so many sessions, or
/// of several such floods.
pub fn flood_frame(sessions: u64, position: u64) -> Vec<u8> {
    let session = (position / 4 % sessions % 65535 + 1) as u16;
    match position % 4 {
        0 => frame(CREATED, &[1, session]),
        1 => frame(UP, &[1, session, 2, session]),
        2 => frame(DOWN, &[1, session]),
        _ => frame(DELETED, &[1, session]),
    }
}

/// Checks the stream that floods bring to a client: every event is there in its order, or counted
/// by a lost record at the very place where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// How many sessions are in each flood.
    sessions: u64,
    /// How many events are accounted for.
    pub position: u64,
    /// How many of them were told to be lost.
    pub lost: u64,
    /// Where the first gap is.
    pub first_gap: Option<u64>,
    /// How many gaps there are.
    pub gaps: u64,
}

impl Account {
    pub fn of_floods(sessions: u64) -> Account {
        Account { sessions, position: 0, lost: 0, first_gap: None, gaps: 0 }
    }

    /// Takes whole frames off `bytes` until all the `published` events are accounted for.
    pub fn take(&mut self, bytes: &mut Vec<u8>, published: u64) {
        let mut rest = &bytes[..];
        while self.position < published
            && let Some((event, data, tail)) = split(rest)
        {
            if event == LOST {
                let count = u32::from_ne_bytes(data.try_into().expect("a lost record has 4 bytes"));
                assert_ne!(count, 0, "a lost record that counts nothing");
                self.first_gap.get_or_insert(self.position);
                self.position += u64::from(count);
                self.lost += u64::from(count);
                self.gaps += 1;
            } else {
                let expected = flood_frame(self.sessions, self.position);
                assert_eq!(&rest[..rest.len() - tail.len()], expected, "event {}", self.position);
                self.position += 1;
            }
            rest = tail;
        }
        let torn = rest.len();
        bytes.drain(..bytes.len() - torn);
    }
}
