//! The promise: vdeswitchif is a VDE switch for whatever speaks VDE, and no client of it harms the program,
//! the other clients, or a switch that lives elsewhere.

#[macro_use]
mod kit;

cases! { vdeswitchif {
    clients_of_libvdeplug_talk_ipv4
    clients_of_libvdeplug_talk_ipv6
    a_client_of_libvdeplug_talks_to_us
    clients_of_vde_plug_are_switched
    what_lwip_sends_goes_where_it_belongs
    the_directory_is_left_as_it_was_found
    a_live_switch_is_left_alone
    the_place_of_a_dead_switch_is_taken
    what_is_in_the_way_is_named
    removal_at_any_time
} }

cases! { vdeswitchif_clients {
    requests_that_are_none_are_refused
    who_asks_for_nothing_is_turned_away
    a_client_names_no_socket_of_another_user
    there_are_no_more_clients_than_allowed
    a_client_that_does_not_read_is_bounded
    a_client_that_makes_up_addresses_is_bounded
    a_client_does_not_become_us
    any_frame_is_survived
} }
