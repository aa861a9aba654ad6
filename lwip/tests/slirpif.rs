//! The promise: slirpif reaches the host's network by TCP and UDP, of IPv4 and IPv6, in both directions;
//! what is refused there is refused here at once, and a half-closed connection goes on half.

#[macro_use]
mod kit;

// The host's loopback is that of a namespace, so that ports can be named.
cases! { slirpif behind ["unshare", "-n"] => {
    tcp_ipv4
    tcp_ipv6
    a_refused_connection_is_refused_at_once
    one_connection_after_the_other
    what_comes_at_once_waits_in_the_host
    our_end_closes_first
    the_far_end_closes_first
    udp_ipv4_takes_one_socket
    udp_ipv6_takes_one_socket
    the_network_can_be_another
    what_cannot_be_is_refused
    without_host_loopback
    restricted_lets_in_what_is_forwarded_and_nothing_out
    removal_at_any_time
    any_frame_is_survived
} }

cases! { slirpif_forward behind ["unshare", "-n"] => {
    forwarded_tcp_ipv4
    forwarded_tcp_ipv6
    forwarded_udp
    both_families_of_a_port_are_forwarded
    who_does_not_read_holds_the_host_back
} }
