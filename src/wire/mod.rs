//! Bytes only, no I/O: what subscribers say and what they are sent.

pub mod event_sock;
pub mod jsonrpc;
pub mod text;
