//! The Python client of the OpenSIPS project works with it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::common::{self, SOON};
use crate::stand_in::{RAISE, modern};

/// The package `opensips` of PyPI, which .ci/setup installs, with the stand-in in place of its MI.
#[test]
fn the_python_client_of_the_opensips_project_receives_events() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    assert!(std::path::Path::new(python).exists(), "{python} is missing: run `make setup`");
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let mut client = Command::new(python)
        .args(["-c", include_str!("client.py"), "E_X"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = client.stdin.take().expect("piped");
    let (sender, lines) = channel();
    let output = BufReader::new(client.stdout.take().expect("piped"));
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let says = || lines.recv_timeout(SOON).expect("the client says something");

    // It asks to be subscribed, and is told that it is.
    host.ok(&says());
    writeln!(input, "OK").expect("the client lives");
    assert_eq!(says(), "subscribed");
    for (raised, params) in [
        (RAISE, r#"{"str": "bob", "int": -7}"#),
        ("E_X =a =#7", r#"["a", 7]"#),
        // What the stock module sends of this ends the client's thread.
        (r"E_X bad=a\xff\xfeb", r#"{"bad": "a\ufffd\ufffdb"}"#),
        ("E_X", "null"),
    ] {
        host.ok(&format!("raise 0 {raised}"));
        let event = match params {
            "null" => r#"{"jsonrpc": "2.0", "method": "E_X"}"#.to_owned(),
            params => format!(r#"{{"jsonrpc": "2.0", "method": "E_X", "params": {params}}}"#),
        };
        assert_eq!(says(), event);
    }
    drop(input);
    common::wait_for("the client to end", || client.try_wait().expect("it can be waited for"));
}
