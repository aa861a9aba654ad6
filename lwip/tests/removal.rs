//! The promise: everything can be taken away in any order, also by the callbacks of what is taken away, a
//! thousand times, without a leak or a touch of freed memory.

#[macro_use]
mod kit;

// The kernel's interfaces and ports are those of a namespace.
cases! { removal behind ["unshare", "-n"] => {
    any_order
    stacks_come_and_go
    within_its_own_callback
    under_a_connection
    every_kind
} }

const CASES: [&str; 5] =
    ["any_order", "stacks_come_and_go", "within_its_own_callback", "under_a_connection", "every_kind"];

#[test]
fn the_same_under_the_address_sanitizer() {
    if !kit::has("gcc") {
        return kit::skipped("the_same_under_the_address_sanitizer", "there is no gcc");
    }
    if !kit::has_namespaces() {
        return kit::skipped("the_same_under_the_address_sanitizer", "no network namespaces here");
    }
    let program = kit::program("removal", kit::Compiler::Sanitizing);
    for case in CASES {
        kit::run_case(&["unshare", "-n"], &program, case);
    }
}

#[test]
fn the_same_under_valgrind() {
    if !kit::has("valgrind") {
        return kit::skipped("the_same_under_valgrind", "there is no valgrind");
    }
    if !kit::has_namespaces() {
        return kit::skipped("the_same_under_valgrind", "no network namespaces here");
    }
    let valgrind = [
        "unshare",
        "-n",
        "valgrind",
        "-q",
        "--error-exitcode=9",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
    ];
    let divisor = if std::env::var_os("HERALD_LONG").is_some() { "1" } else { "25" };
    for case in CASES {
        let directory = kit::directory();
        let mut command = kit::case(&valgrind, &removal::PROGRAM, case, directory.path());
        kit::run(command.env("HERALD_TEST_DIVISOR", divisor)).well(case);
    }
}
