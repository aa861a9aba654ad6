//! The promise: `libherald_lwip.so` brings the documented names and no others, and its header is the one
//! that was generated from it and compiles as C and C++.

mod kit;

use std::fs;
use std::process::Command;

use kit::Compiler;

#[test]
fn the_header_is_current() {
    let committed = fs::read_to_string(kit::root().join("../include/herald_lwip.h")).unwrap();
    let generated = fs::read_to_string(env!("HERALD_LWIP_GENERATED_HEADER")).unwrap();
    assert!(committed == generated, "include/herald_lwip.h is not current: run `make header-lwip`");
}

#[test]
fn the_header_compiles_as_c_and_cxx() {
    let directory = kit::directory();
    let source = directory.path().join("header.c");
    // Twice, since programs do.
    let text = "#include <herald_lwip.h>\n#include <herald_lwip.h>\nint main(void) { return 0; }\n";
    fs::write(&source, text).unwrap();
    for compiler in [Compiler::C, Compiler::Cxx] {
        kit::compile(&source, compiler);
    }
}

#[test]
fn exactly_the_documented_names_are_exported() {
    let mut command = Command::new("nm");
    command.args(["-D", "--defined-only", "--format=posix"]).arg(kit::library());
    let listed = kit::run(&mut command).well("nm").out;
    let found: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let header = fs::read_to_string(kit::root().join("../include/herald_lwip.h")).unwrap();
    for name in &found {
        assert!(header.contains(&format!("{name}(")), "{name} is exported, and not in the header");
    }
    let expected = fs::read_to_string(kit::root().join("tests/exports.txt")).unwrap();
    assert_eq!(found, expected.lines().collect::<Vec<_>>(), "tests/exports.txt is the contract");
}
