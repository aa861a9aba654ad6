//! Bytes only, no I/O: what subscribers say and what they are sent.

pub mod event_sock;
mod filter;
pub mod jsonrpc;
#[cfg(test)]
mod testing;
pub mod text;
pub mod vpp_api;

pub use filter::Filter;
