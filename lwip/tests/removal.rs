//! The promise: everything can be taken away in any order, also by the callbacks of what is taken away, a
//! thousand times, without a leak or a touch of freed memory.

#[macro_use]
mod kit;

cases! { removal {
    any_order
    stacks_come_and_go
    within_its_own_callback
    under_a_connection
} }

const CASES: [&str; 4] =
    ["any_order", "stacks_come_and_go", "within_its_own_callback", "under_a_connection"];

#[test]
fn the_same_under_the_address_sanitizer() {
    if !kit::has("gcc") {
        return kit::skipped("the_same_under_the_address_sanitizer", "there is no gcc");
    }
    let program = kit::program("removal", kit::Compiler::Sanitizing);
    for case in CASES {
        kit::run_case(&[], &program, case);
    }
}

#[test]
fn the_same_under_valgrind() {
    if !kit::has("valgrind") {
        return kit::skipped("the_same_under_valgrind", "there is no valgrind");
    }
    let valgrind = [
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
