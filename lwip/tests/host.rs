//! The promise: a look-up finds what a name server says, by whatever way it says it, is not misled by
//! anybody else, and can be ended at any time.

#[macro_use]
mod kit;

cases! { host behind ["unshare", "-n"] => {
    names_and_families
    aliases
    what_is_truncated_comes_over_tcp
    servers_that_mean_no_good
    servers_are_asked_in_turn
    search_domains
    answers_are_kept
    aborted_at_any_time
    ends_with_the_stack
    misuse_is_refused
    debians_dnsmasq_answers
} }

#[test]
fn nothing_of_it_is_wrong_for_the_sanitizers() {
    let program = kit::program("host", kit::Compiler::Sanitizing);
    for name in
        ["names_and_families", "servers_that_mean_no_good", "aborted_at_any_time", "ends_with_the_stack"]
    {
        kit::run_case(&[], &program, name);
    }
}

#[test]
fn nothing_of_it_is_wrong_for_valgrind() {
    let program = kit::program("host", kit::Compiler::C);
    for name in ["servers_that_mean_no_good", "aborted_at_any_time", "ends_with_the_stack"] {
        kit::run_case(&kit::VALGRIND, &program, name);
    }
}
