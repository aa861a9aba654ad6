//! The promise: fdif carries Ethernet frames or IP packets over descriptors, and both families over
//! either; a peer that ends or does not read is noticed and costs no more than it may.

#[macro_use]
mod kit;

cases! { fdif {
    ethernet_ipv4
    ethernet_ipv6
    ip_ipv4
    ip_ipv6
    a_peer_that_ends_is_told_of
    a_peer_that_does_not_read_is_bounded
    what_cannot_be_is_refused
} }
