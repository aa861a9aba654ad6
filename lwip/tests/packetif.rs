//! The promise: over packetif lwIP is a host of its own on a network that the kernel is on.

#[macro_use]
mod kit;

cases! { packetif behind ["unshare", "-n"] => {
    a_host_on_a_network
    errors
} }
