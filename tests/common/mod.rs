//! What the tests share: the stand-in host with the plugin, clients, and a look into `/proc`.
//!
//! Nothing here waits for a time to pass: everything waits for something to happen, and fails
//! when it does not happen [soon](SOON).

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod govpp;
pub mod host;
pub mod proc;
pub mod program;
pub mod wire;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use client::{Client, EventClient, Fence};
pub use host::{Host, Setup};
pub use program::Program;
pub use wire::*;

/// How long anything that ought to happen may take, on a loaded machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Polls until `look` has an answer; panics if it has none soon.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        sleep(Duration::from_millis(1));
    }
}

/// Calls again what was interrupted. A call with a timeout is, whenever its thread is stopped and goes
/// on, as when the whole machine is frozen for a moment.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The directory that cargo builds into.
fn target() -> PathBuf {
    // TARGET/debug/deps/TEST
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_path_buf()
}

/// `libherald.so`, unless the environment variable `HERALD_LIB` names another build of it.
pub fn library() -> PathBuf {
    if let Some(named) = std::env::var_os("HERALD_LIB") {
        return named.into();
    }
    let library = target().join("debug/libherald.so");
    assert!(library.exists(), "{} is missing: run `cargo build`", library.display());
    library
}

/// One of the programs in `c_examples/`.
pub fn c_example(name: &str) -> PathBuf {
    let program = target().join("c_examples").join(name);
    assert!(program.exists(), "{} is missing: run `make c_examples`", program.display());
    program
}

/// The text of a file in `c_examples/`.
pub fn c_source(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("c_examples").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Compiles C into `to`.
pub fn compile(text: &str, to: &Path, options: &[&str]) {
    let source = to.with_extension("c");
    std::fs::write(&source, text).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-std=gnu99", "-g", "-o"]).arg(to).arg(&source).args(options);
    let output = command.output().expect("a C compiler");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this test may become other users and enter other namespaces. If not it says that it
/// is skipped, past the test harness, which keeps what a test that passes says to itself.
pub fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped(test, "it needs root");
    }
    root
}

/// Says that a test is skipped, and why.
pub fn skipped(test: &str, why: impl AsRef<OsStr>) {
    use std::io::Write;
    let line = format!("skipped: {test}: {}\n", why.as_ref().to_string_lossy());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
