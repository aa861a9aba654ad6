//! The promise: fdif carries Ethernet frames or IP packets over descriptors, and both families over
//! either.

#[macro_use]
mod kit;

cases! { fdif {
    ethernet_ipv4
    ethernet_ipv6
    ip_ipv4
    ip_ipv6
} }
