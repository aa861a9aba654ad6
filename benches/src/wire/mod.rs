//! The bytes of wires that both ends of this program speak.

pub mod event_sock;
pub mod redis;
