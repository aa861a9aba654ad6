//! Redis's protocol, RESP 2, as far as publishing and subscribing on one channel go.

use crate::frame::SIZE;

/// A subscriber's request.
pub const SUBSCRIBE: &[u8] = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\ne\r\n";

/// The answer to it.
pub const SUBSCRIBED: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\ne\r\n:1\r\n";

/// What is before the event in a message to a subscriber.
pub const MESSAGE_HEAD: &[u8] = b"*3\r\n$7\r\nmessage\r\n$1\r\ne\r\n$64\r\n";

/// A whole message to a subscriber.
pub const MESSAGE: usize = MESSAGE_HEAD.len() + SIZE + 2;

/// What is before the event in a publisher's request.
pub const PUBLISH_HEAD: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\ne\r\n$64\r\n";
