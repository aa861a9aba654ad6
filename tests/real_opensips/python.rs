//! The Python client of the OpenSIPS project works with it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::event::Raise;
use crate::opensips::{LONG, Opensips};
use crate::tree::each_tree;

/// The program `subscriber.py`; killed when dropped.
struct Subscriber {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Subscriber {
    fn start(python: &str, host: &Opensips) -> Subscriber {
        let (ip, port) = host.mi.address.rsplit_once(':').unwrap();
        let mut child = Command::new(python)
            .args(["-c", include_str!("subscriber.py"), ip, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("HERALD_PYTHON: {python}: {e}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Subscriber { input: child.stdin.take(), child, lines }
    }

    fn says(&self) -> Value {
        self.lines.recv_timeout(LONG).expect("the subscriber says something")
    }

    fn ask(&mut self, line: &str, answer: &str) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        assert_eq!(self.says(), answer);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_python_client_receives_events() {
    let test = "the_python_client_receives_events";
    // The one that .ci/setup has given the package to.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    let python = std::env::var("HERALD_PYTHON").unwrap_or_else(|_| own.to_owned());
    each_tree(test, |lab| {
        if !lab.since(3, 4, "the package wants 3.4") {
            return;
        }
        let host = lab.herald().start();
        let mut subscriber = Subscriber::start(&python, &host);
        let event = |name, params| match params {
            Value::Null => json!({"jsonrpc": "2.0", "method": name}),
            params => json!({"jsonrpc": "2.0", "method": name, "params": params}),
        };
        subscriber.ask("E_SCRIPT", "subscribed");
        subscriber.ask("E_OTHER", "subscribed");
        host.raise(&Raise::plain());
        assert_eq!(subscriber.says(), event("E_SCRIPT", Value::Null));
        host.raise(&Raise::plain().event("E_OTHER").unnamed("a").unnamed(-7));
        assert_eq!(subscriber.says(), event("E_OTHER", json!(["a", -7])));
        host.raise(&Raise::plain().named("text", "é \"q\"\n\\").named("number", 42).named("empty", ""));
        let params = json!({"text": "é \"q\"\n\\", "number": 42, "empty": ""});
        assert_eq!(subscriber.says(), event("E_SCRIPT", params));
        // This ends the thread that reads, if the stock module sends it.
        host.raise(&Raise::plain().named("bad", &b"a\xff\xfeb"[..]));
        assert_eq!(subscriber.says(), event("E_SCRIPT", json!({"bad": "a\u{fffd}\u{fffd}b"})));
        host.raise(&Raise::plain().named("zero", &b"a\0b"[..]));
        assert_eq!(subscriber.says(), event("E_SCRIPT", json!({"zero": "a\0b"})));
        for n in 0..200 {
            host.raise(&Raise::plain().named("n", n));
            assert_eq!(subscriber.says(), event("E_SCRIPT", json!({"n": n})));
        }
        let addresses = host.mi.subscribers("E_SCRIPT");
        assert!(addresses.len() == 1 && addresses[0].expire == "3600", "{addresses:?}");
        subscriber.ask("-E_SCRIPT", "unsubscribed");
        // Events of the other may come for a second; they are not its any more.
        host.raise(&Raise::plain());
        host.raise(&Raise::plain().event("E_OTHER").unnamed("last"));
        assert_eq!(subscriber.says(), event("E_OTHER", json!(["last"])));
        drop(subscriber.input.take());
        assert!(subscriber.child.wait().unwrap().success());
    });
}
