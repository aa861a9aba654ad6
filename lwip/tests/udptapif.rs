//! The promise: udptapif carries Ethernet frames over UDP for clients of both framings and both families,
//! sends to whom it has to, and goes on whatever comes.

#[macro_use]
mod kit;

// The ports are those of a namespace.
cases! { udptapif behind ["unshare", "-n"] => {
    a_stack_at_the_raw_port_ipv4
    a_stack_at_the_raw_port_ipv6
    a_stack_at_the_port_with_lengths
    frames_go_where_their_address_is
    an_empty_datagram_does_not_stop_it
    datagrams_that_are_none_are_counted
    a_datagram_may_hold_several_frames
    the_silent_one_makes_room
    who_is_silent_for_long_is_forgotten
    a_client_does_not_become_us
    what_cannot_be_is_refused
    any_datagram_is_survived
    removal_at_any_time
} }
