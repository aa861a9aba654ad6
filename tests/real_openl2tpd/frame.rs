//! The frames of the event socket, from the protocol's document.

/// A session, as l2tpconfig shows it.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    pub tunnel: u16,
    pub session: u16,
    pub peer_tunnel: u16,
    pub peer_session: u16,
    pub established: bool,
}

pub const CREATED: u16 = 0x0001;
pub const DELETED: u16 = 0x0002;
pub const UP: u16 = 0x0004;
pub const DOWN: u16 = 0x0008;

impl Session {
    pub fn created(&self) -> Vec<u8> {
        words(&[CREATED, 4, self.tunnel, self.session])
    }

    pub fn deleted(&self) -> Vec<u8> {
        words(&[DELETED, 4, self.tunnel, self.session])
    }

    pub fn up(&self) -> Vec<u8> {
        words(&[UP, 8, self.tunnel, self.session, self.peer_tunnel, self.peer_session])
    }

    pub fn down(&self) -> Vec<u8> {
        words(&[DOWN, 4, self.tunnel, self.session])
    }

    /// The whole life of a session that came up, in order.
    pub fn life(&self) -> Vec<u8> {
        [self.created(), self.up(), self.down(), self.deleted()].concat()
    }

    /// The same session as the other daemon sees it.
    pub fn mirrored(&self) -> Session {
        Session {
            tunnel: self.peer_tunnel,
            session: self.peer_session,
            peer_tunnel: self.tunnel,
            peer_session: self.session,
            established: self.established,
        }
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Splits off the first frame of `bytes`, if it is whole; panics if it is none of the four.
pub fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(4)?;
    let event = u16::from_ne_bytes([header[0], header[1]]);
    let length = u16::from_ne_bytes([header[2], header[3]]);
    let expected = match event {
        CREATED | DELETED | DOWN => 4,
        UP => 8,
        _ => panic!("no such event: {bytes:02x?}"),
    };
    assert_eq!(length, expected, "length of event {event:#06x}");
    let (data, rest) = rest.split_at_checked(expected.into())?;
    Some((event, data, rest))
}
