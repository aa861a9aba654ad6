//! The promise: vpp_papi, as the Python package index has it, works with Herald as it does with VPP.
//!
//! What is said is in `vpp_papi/conversation.py`; here the hosts are started that it is said to.

mod common;

#[path = "c/kit.rs"]
mod kit;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use common::{Setup, wait_for};
use herald_vpp_api::{Rules, builtin, json, parse};
use kit::Compiler;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The interpreter that .ci/setup has given vpp_papi to.
fn python() -> PathBuf {
    let python = kit::root().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    python
}

/// The folder of api.json files that a program of VPP's has.
fn api_json() -> TempDir {
    let directory = kit::directory();
    let own = fs::read_to_string(kit::root().join("c_examples/api/testgovpp.api")).unwrap();
    let files = builtin::FILES.into_iter().chain([("testgovpp.api", own.as_str())]);
    for (name, text) in files {
        let api = parse::parse(name, text, &builtin::Builtin, Rules::default()).unwrap();
        let file = format!("{}.api.json", name.rsplit('/').next().unwrap().trim_end_matches(".api"));
        fs::write(directory.path().join(file), json::write(&api)).unwrap();
    }
    directory
}

/// `c_examples/testgovpp_host`.
struct GtpHost {
    child: Child,
    socket: PathBuf,
    options: Vec<String>,
    _directory: TempDir,
}

impl GtpHost {
    fn start(options: &[&str]) -> GtpHost {
        let directory = kit::directory();
        let socket = directory.path().join("api.sock");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let child = Self::spawn(&socket, &options);
        GtpHost { child, socket, options, _directory: directory }
    }

    fn spawn(socket: &Path, options: &Vec<String>) -> Child {
        static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
            kit::compile(&kit::root().join("c_examples/testgovpp_host.c"), Compiler::C, &["-std=gnu99"])
        });
        let mut command = Command::new(&*PROGRAM);
        command.arg("--socket").arg(socket).arg("--api").arg(kit::root().join("c_examples/api"));
        let child = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
        wait_for("the socket", || socket.exists().then_some(()));
        child
    }

    /// Ends it as an operator would; what it says at last.
    fn stop(&mut self) -> String {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let said = std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap();
        assert!(self.child.wait().unwrap().success());
        said
    }

    fn restart(&mut self) {
        self.stop();
        self.child = Self::spawn(&self.socket, &self.options);
    }

    /// Has a conversation with it, by the client's own api.json and without.
    fn talks(&self, name: &str) {
        let json = api_json();
        kit::run(talk(name, &self.socket).arg(json.path())).well(name);
        kit::run(&mut talk(name, &self.socket)).well(name);
    }
}

impl Drop for GtpHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn talk(name: &str, socket: &Path) -> Command {
    let mut command = Command::new(python());
    command.arg(kit::root().join("tests/vpp_papi/conversation.py")).arg(name).arg(socket);
    command
}

#[test]
fn the_whole_conversation() {
    let mut host = GtpHost::start(&["--rate", "2000", "--size", "9"]);
    host.talks("whole");
    let said = host.stop();
    assert!(said.starts_with("published "), "{said}");
}

#[test]
fn clients_come_again_and_so_does_the_server() {
    let mut host = GtpHost::start(&["--rate", "1000"]);
    host.talks("again");
    host.restart();
    host.talks("again");
}

#[test]
fn every_ping_is_answered_also_during_a_burst() {
    let host = GtpHost::start(&["--rate", "1000"]);
    kit::run(&mut talk("health", &host.socket)).well("health");
    let host = GtpHost::start(&["--rate", "0", "--size", "255"]);
    kit::run(&mut talk("burst", &host.socket)).well("burst");
}

#[test]
fn a_client_that_asks_is_told_what_it_missed() {
    let host = GtpHost::start(&["--rate", "0", "--size", "255"]);
    kit::run(&mut talk("losses", &host.socket)).well("losses");
}

#[test]
fn the_example_prints_and_unsubscribes() {
    let host = GtpHost::start(&["--rate", "100"]);
    let listen = |more: &[&str]| {
        let mut command = Command::new(python());
        command.arg(kit::root().join("examples/vpp_papi/listen.py")).arg("--socket").arg(&host.socket);
        kit::run(command.args(more)).well("listen.py").out
    };
    let said = listen(&["--count", "3"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[4]), ("subscribed", "unsubscribed"), "{said}");
    assert!(
        lines[1].contains("CU_UP_EVENT_GTP_ERROR_IND") && lines[1].ends_with("raw 3030303030"),
        "{said}"
    );
    assert!(listen(&["--pings", "10"]).starts_with("10 pings, "));
}

/// What a conversation says while it goes on.
fn says(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) {
    let line = lines.next().unwrap_or_else(|| panic!("it ended before it said {wanted}")).unwrap();
    assert_eq!(line, wanted);
}

#[test]
fn the_sessions_of_an_openl2tpd() {
    let directory = kit::directory();
    let socket = directory.path().join("api.sock");
    let config = format!("[vpp_api]\npath = \"{}\"\nmode = \"0600\"\n", socket.display());
    let mut host = Setup::new().config(&config).start();
    let mut talk = talk("l2tp", &socket).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(talk.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        says(&mut lines, "ready");
        host.life(1, 2);
    }
    assert!(talk.wait().unwrap().success());
    host.exit();
    assert!(!socket.exists());
}
