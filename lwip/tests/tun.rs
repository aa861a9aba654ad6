//! The promise: over tunif lwIP and the kernel talk to each other, by TCP, UDP and ICMP, IPv4 and IPv6, in
//! both directions, over TUN and TAP, with and without offload.

#[macro_use]
mod kit;

cases! { tun behind ["unshare", "-n"] => {
    tun
    tun_with_offload
    tap
    tap_with_offload
    bursts
    names
    options
    the_interface_vanishes
    the_interface_is_down_for_a_while
} }
