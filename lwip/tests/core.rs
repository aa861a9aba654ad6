//! The promise: lwIP lives in a libevent loop of one thread, whoever else calls is told so, and what it
//! sends to itself arrives.

#[macro_use]
mod kit;

cases! { core {
    nothing_before_init
    another_lwip_is_refused
    another_event_base_is_refused
    another_thread_is_refused
    threads_can_take_turns
    a_program_may_end_without_fini
    a_child_that_ends_harms_nothing
    a_thread_that_ends_without_fini_keeps_lwip
    timers
    timeouts_of_lwip
    to_itself_by_ipv4
    to_itself_by_ipv6
    to_itself_by_loopback
    a_storm_to_itself_leaves_the_loop_alive
    tickless_sleeps
    tickless_keeps_connections_going
} }

#[test]
fn ends_without_fini_touch_nothing_freed() {
    if !kit::has("valgrind") {
        return kit::skipped("ends_without_fini_touch_nothing_freed", "there is no valgrind");
    }
    // Without leaks: that is what such an end is.
    let valgrind = ["valgrind", "-q", "--error-exitcode=9"];
    for case in ["a_program_may_end_without_fini", "a_thread_that_ends_without_fini_keeps_lwip"] {
        kit::run_case(&valgrind, &core::PROGRAM, case);
    }
}
