//! The promise: an lwipevbuf is a TCP connection that loses and corrupts nothing, holds no more than it is
//! told to, says what goes wrong, and may be freed anywhere.

#[macro_use]
mod kit;

cases! { evbuf {
    both_ways_at_once
    more_than_64k_drained_at_once
    nothing_is_corrupted_in_flight
    freed_in_its_callbacks
    free_lingers
    free_with_unread_input_lingers
    abort_resets
    read_max_holds_the_peer_back
    half_close
    errors_are_told
    hosts_by_name
    netif_removed
    stack_stopped
    misuse_is_refused
    a_thousand_times
} }

/// Without `unshare`, since everything stays within lwIP. The transfers are shorter there.
#[test]
fn nothing_of_it_is_wrong_for_the_sanitizers() {
    let program = kit::program("evbuf", kit::Compiler::Sanitizing);
    for name in [
        "both_ways_at_once",
        "freed_in_its_callbacks",
        "free_lingers",
        "stack_stopped",
        "a_thousand_times",
    ] {
        kit::run_case(&["env", "HERALD_TEST_DIVISOR=20"], &program, name);
    }
}

#[test]
fn nothing_of_it_is_wrong_for_valgrind() {
    let program = kit::program("evbuf", kit::Compiler::C);
    for name in ["freed_in_its_callbacks", "free_with_unread_input_lingers", "a_thousand_times"] {
        kit::run_case(&kit::VALGRIND, &program, name);
    }
}
