//! The promise: a bufferevent and an lwipevbuf that are joined are a pipe: all bytes in order, in bounded memory, each
//! direction ends for itself, and a failure is not taken for an end.

#[macro_use]
mod kit;

cases! { join {
    both_directions
    half_close_of_the_bufferevent
    half_close_of_the_lwipevbuf
    what_is_there_before_is_passed_on
    a_slow_bufferevent_holds_the_peer_back
    a_slow_peer_holds_the_bufferevent_back
    failures_are_passed_on
    ended_early
    frees_both_if_nobody_is_told
    a_pair_of_bufferevents
    misuse_is_refused
    many_streams
} }

#[test]
fn nothing_of_it_is_wrong_for_the_sanitizers() {
    let program = kit::program("join", kit::Compiler::Sanitizing);
    for name in
        ["both_directions", "failures_are_passed_on", "ended_early", "frees_both_if_nobody_is_told"]
    {
        kit::run_case(&["env", "HERALD_TEST_DIVISOR=20"], &program, name);
    }
}

#[test]
fn nothing_of_it_is_wrong_for_valgrind() {
    let program = kit::program("join", kit::Compiler::C);
    for name in ["failures_are_passed_on", "ended_early", "frees_both_if_nobody_is_told"] {
        kit::run_case(&kit::VALGRIND, &program, name);
    }
}
