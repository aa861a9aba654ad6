//! Sockets: everything between the hub's queues and the kernel.

pub mod datagram;
pub mod event_sock;
pub mod listener;
pub mod stream;
pub mod vpp_api;
