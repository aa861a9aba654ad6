//! The promise: vdeportif is a client of VDE switches, Debian's and ours, with libvdeplug and without, and a
//! switch that fails does no harm and is told of.

#[macro_use]
mod kit;

cases! { vdeportif {
    over_debians_switch_ipv4
    over_debians_switch_ipv6
    libvdeplug_and_we_meet
    a_switch_of_the_same_program
    through_vde_plug_between_two_switches
    a_switch_that_ends_is_told_of
    a_network_of_libvdeplug_that_ends_is_told_of
    a_switch_that_refuses_is_told_of
    an_answer_that_is_none_is_told_of
    what_waits_for_the_answer_is_bounded
    no_switch_is_an_error
    nothing_is_left_behind
    any_frame_is_survived
    removal_at_any_time
} }
