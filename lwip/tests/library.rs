//! The promise: `libherald_lwip.so` brings the documented names and no others, and its header is the one
//! that was generated from it and compiles as C and C++.

mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
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

/// A program for lwip-libevent is written with these.
#[test]
fn the_signatures_are_the_originals() {
    for compiler in [Compiler::C, Compiler::Cxx] {
        kit::program("signatures", compiler);
    }
}

fn exported(library: &Path) -> Vec<String> {
    let mut command = Command::new("nm");
    command.args(["-D", "--defined-only", "--format=posix"]).arg(library);
    let listed = kit::run(&mut command).well("nm").out;
    listed.lines().filter_map(|line| line.split([' ', '@']).next()).map(str::to_owned).collect()
}

/// Installs into a tree of its own, builds an example as its users do, and runs it there.
#[test]
fn what_is_installed_is_enough_to_build_with() {
    let directory = kit::directory();
    let (target, tree) = (directory.path().join("target"), directory.path().join("tree"));
    fs::create_dir_all(target.join("release")).unwrap();
    fs::copy(kit::library(), target.join("release/libherald_lwip.so")).unwrap();
    let mut make = Command::new("make");
    make.current_dir(kit::root().join("..")).arg("install-lwip");
    make.arg(format!("PREFIX={}", tree.display())).env("CARGO_TARGET_DIR", &target);
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "LIBDIR", "DESTDIR"] {
        make.env_remove(variable);
    }
    kit::run(&mut make).well("make install-lwip");
    for file in ["lib/libherald_lwip.so", "include/herald_lwip.h", "share/man/man7/herald-lwip.7"] {
        assert!(tree.join(file).exists(), "{file}");
    }
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "herald-lwip"]);
    pkg_config.env("PKG_CONFIG_PATH", tree.join("lib/pkgconfig"));
    let flags = kit::run(&mut pkg_config).well("pkg-config").out;
    let example = directory.path().join("lwip_gateway");
    let mut cc = Command::new("cc");
    cc.arg("-std=gnu99").arg(kit::root().join("../c_examples/lwip_gateway.c"));
    cc.args(flags.split_whitespace()).arg("-o").arg(&example);
    kit::run(&mut cc).well("cc");
    let mut run = Command::new(&example);
    run.env("LD_LIBRARY_PATH", tree.join("lib"));
    let said = kit::run(&mut run);
    assert!(said.err.contains("usage"), "{said:?}");
}

/// The original has defined some of lwIP's anew.
#[test]
fn no_name_of_lwip_is_taken() {
    let theirs = Path::new("/usr/lib").join(format!("{}-linux-gnu/liblwip.so", std::env::consts::ARCH));
    if !theirs.exists() {
        return kit::skipped("no_name_of_lwip_is_taken", &format!("there is no {}", theirs.display()));
    }
    let theirs: BTreeSet<String> = exported(&theirs).into_iter().collect();
    assert!(theirs.contains("tcp_write"));
    let taken: Vec<_> = exported(&kit::library()).into_iter().filter(|n| theirs.contains(n)).collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn exactly_the_documented_names_are_exported() {
    let found = exported(&kit::library());
    let header = fs::read_to_string(kit::root().join("../include/herald_lwip.h")).unwrap();
    for name in &found {
        assert!(header.contains(&format!("{name}(")), "{name} is exported, and not in the header");
    }
    let expected = fs::read_to_string(kit::root().join("tests/exports.txt")).unwrap();
    assert_eq!(found, expected.lines().collect::<Vec<_>>(), "tests/exports.txt is the contract");
}
