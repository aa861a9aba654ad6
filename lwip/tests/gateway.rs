//! The promise: the examples of the user-space network work as their first lines say, with the kernel's TCP and
//! Debian's VDE on the other side.

mod kit;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kit::Compiler;

fn example(name: &str) -> PathBuf {
    kit::compile(&kit::root().join("../c_examples").join(name).with_extension("c"), Compiler::C)
}

static ECHO: LazyLock<PathBuf> = LazyLock::new(|| example("lwip_echo"));
static GATEWAY: LazyLock<PathBuf> = LazyLock::new(|| example("lwip_gateway"));
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| kit::program("gateway", Compiler::C));

fn run(name: &str, example: &Path) {
    if !kit::has_namespaces() {
        return kit::skipped(name, "no network namespaces here");
    }
    let example = format!("EXAMPLE={}", example.display());
    kit::run_case(&["env", &example, "unshare", "-n"], &PROGRAM, name);
}

#[test]
fn echo() {
    run("echo", &ECHO);
}

#[test]
fn over_tun() {
    run("over_tun", &GATEWAY);
}

#[test]
fn over_a_bad_network() {
    run("over_a_bad_network", &GATEWAY);
}

#[test]
fn at_debians_switch() {
    run("at_debians_switch", &GATEWAY);
}

#[test]
fn as_a_switch() {
    run("as_a_switch", &GATEWAY);
}

#[test]
fn nobody_serves_the_socket() {
    run("nobody_serves_the_socket", &GATEWAY);
}
