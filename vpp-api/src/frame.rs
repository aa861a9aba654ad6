//! The header before each message on a socket.
//!
//! | bytes | field | here |
//! | --- | --- | --- |
//! | 0–7 | queue, a pointer of VPP's own | 0, ignored |
//! | 8–11 | length of the message, big-endian, the header excluded | |
//! | 12–15 | mark of VPP's garbage collector | 0, ignored |

/// Bytes of a header.
pub const HEADER: usize = 16;

/// The header of a message of this length.
pub const fn header(message_len: u32) -> [u8; HEADER] {
    let [a, b, c, d] = message_len.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]
}

/// The length of the message that follows a header.
pub const fn message_len(header: &[u8; HEADER]) -> u32 {
    u32::from_be_bytes([header[8], header[9], header[10], header[11]])
}

/// The id of a message; `None` if it is shorter than one.
pub fn message_id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*message.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_and_back() {
        let bytes = header(0x0000_1d05);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1d, 5, 0, 0, 0, 0]);
        assert_eq!(message_len(&bytes), 0x1d05);
        assert_eq!(message_id(&[0, 106, 9]), Some(106));
        assert_eq!(message_id(&[0]), None);
    }
}
