//! GoVPP, unmodified, as a client: the example runs the whole conversation with a host that is no VPP.
//!
//! Needs Go and the example's modules, and says that it is skipped if they cannot be had.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use herald_vpp_api::{Rules, builtin, json, parse};
use nix::sys::signal::Signal;

use common::{Program, Setup, c_example, govpp, skipped};

/// Everything that a test needs: the example, and a directory of its own.
struct Lab {
    govpp: PathBuf,
    directory: tempfile::TempDir,
}

impl Lab {
    fn new(test: &str) -> Option<Lab> {
        let directory = tempfile::tempdir().unwrap();
        match govpp::program(root(), Path::new(env!("CARGO_TARGET_TMPDIR"))) {
            Ok(govpp) => Some(Lab { govpp, directory }),
            Err(why) => {
                skipped(test, why);
                None
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    fn host(&self, arguments: &[&str]) -> Program {
        let mut command = Command::new(c_example("testgovpp_host"));
        command.arg("--socket").arg(self.socket()).arg("--api").arg(root().join("c_examples/api"));
        Program::start(command.args(arguments))
    }

    fn client(&self, arguments: &[&str]) -> Program {
        Program::start(Command::new(&self.govpp).arg("-socket").arg(self.socket()).args(arguments))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_event(line: &str) -> bool {
    line.starts_with("CU_UP_EVENT_GTP_ERROR_IND pid ")
}

/// The user equipment of each event: the host counts its events there.
fn numbers(lines: &[String]) -> Vec<u64> {
    let number = |line: &String| line.split_once(" ue ")?.1.split(' ').next()?.parse().ok();
    lines.iter().filter(|line| is_event(line)).filter_map(number).collect()
}

fn has_no_trouble(lines: &[String]) {
    for trouble in ["not responding", "disconnected", "failed"] {
        assert!(!lines.iter().any(|line| line == trouble), "{lines:#?}");
    }
}

#[test]
fn a_client_subscribes_prints_each_event_and_unsubscribes() {
    let Some(lab) = Lab::new("a_client_subscribes_prints_each_event_and_unsubscribes") else { return };
    let _host = lab.host(&["--rate", "500"]);
    let client = lab.client(&["-count", "50"]);
    let pid = client.pid();
    let lines = client.finish();
    assert_eq!(lines[..2], ["connected", "subscribed"]);
    assert_eq!(lines.last().unwrap(), "unsubscribed");
    let numbers = numbers(&lines);
    assert_eq!(numbers.len(), 50);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let first = lines.iter().find(|line| is_event(line)).unwrap();
    let expected = format!("pid {pid} ue {} te 0xdeadbeef rb 5 raw 3030303030", numbers[0]);
    assert!(first.ends_with(&expected), "{first}");
}

#[test]
fn registrations_are_checked_and_requests_answered() {
    let Some(lab) = Lab::new("registrations_are_checked_and_requests_answered") else { return };
    let _host = lab.host(&["--rate", "2000"]);
    let mut tests = govpp::go(root());
    let tests = tests.args(["test", "-count=1", "."]).env("HERALD_API_SOCKET", lab.socket());
    let output = tests.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// GoVPP asks once a second, and gives the connection up after three answers that it did not have within
/// 250 ms. Here it asks every 10 ms: 600 times is ten minutes' worth.
#[test]
fn health_checks_are_answered_for_ten_minutes_worth() {
    let Some(lab) = Lab::new("health_checks_are_answered_for_ten_minutes_worth") else { return };
    let _host = lab.host(&["--rate", "2000"]);
    let lines = lab.client(&["-probe", "10ms", "-count", "12000", "-quiet"]).finish();
    has_no_trouble(&lines);
    assert!(lines.iter().any(|line| line.starts_with("12000 events")), "{lines:#?}");
}

#[test]
fn health_checks_are_answered_in_a_flood_of_events() {
    let Some(lab) = Lab::new("health_checks_are_answered_in_a_flood_of_events") else { return };
    let _host = lab.host(&["--rate", "0"]);
    let lines = lab.client(&["-probe", "10ms", "-count", "500000", "-quiet"]).finish();
    has_no_trouble(&lines);
}

#[test]
fn a_client_with_large_buffers_loses_nothing() {
    let Some(lab) = Lab::new("a_client_with_large_buffers_loses_nothing") else { return };
    let _host = lab.host(&["--rate", "30000"]);
    let lines = lab.client(&["-count", "20000", "-quiet"]).finish();
    has_no_trouble(&lines);
    assert!(lines.iter().any(|line| line.ends_with(", 0 missing")), "{lines:#?}");
}

#[test]
fn a_client_comes_back_after_the_server_has_been_started_again() {
    let Some(lab) = Lab::new("a_client_comes_back_after_the_server_has_been_started_again") else {
        return;
    };
    let host = lab.host(&["--rate", "100"]);
    let client = lab.client(&["-probe", "20ms", "-attempts", "100"]);
    let events = |more_than: usize| {
        let enough = |lines: &[String]| lines.iter().filter(|line| is_event(line)).count() > more_than;
        client.expect_that("more events", enough);
    };
    events(3);
    host.signal(Signal::SIGTERM);
    host.finish();
    client.expect("disconnected");
    // One that leaves in order takes its socket with it; one that is killed does not.
    for restart in 2..=3 {
        let host = lab.host(&["--rate", "100"]);
        client.expect_times("subscribed", restart);
        client.expect_that("an event after the restart", |lines| {
            let again =
                lines.iter().enumerate().filter(|(_, line)| *line == "subscribed").nth(restart - 1);
            again.is_some_and(|(at, _)| lines[at..].iter().any(|line| is_event(line)))
        });
        if restart == 2 {
            host.kill();
            client.expect_times("disconnected", 2);
        } else {
            client.signal(Signal::SIGTERM);
            client.expect("unsubscribed");
        }
    }
    client.finish();
}

#[test]
fn a_client_watches_the_sessions_of_an_openl2tpd() {
    let Some(lab) = Lab::new("a_client_watches_the_sessions_of_an_openl2tpd") else { return };
    let config = format!("[vpp_api]\npath = \"{}\"\n", lab.socket().display());
    let mut host = Setup::new().config(&config).start();
    let mut sessions = Command::new(lab.govpp.with_file_name("sessions"));
    let client = Program::start(sessions.arg("-socket").arg(lab.socket()));
    client.expect("watching");
    host.life(1, 2);
    for (number, what) in ["CREATED", "UP", "DOWN", "DELETED"].iter().enumerate() {
        client.expect(&format!("{} L2TP_EVENT_SESSION_{what} tunnel 1 session 2", number + 1));
    }
    client.signal(Signal::SIGTERM);
    assert_eq!(client.finish().len(), 5);
    host.exit();
}

#[test]
fn the_bindings_are_what_the_generator_makes_of_the_api() {
    let Some(lab) = Lab::new("the_bindings_are_what_the_generator_makes_of_the_api") else { return };
    let (api, generated) = (lab.directory.path().join("api"), lab.directory.path().join("binapi"));
    fs::create_dir(&api).unwrap();
    let text = fs::read_to_string(root().join("c_examples/api/testgovpp.api")).unwrap();
    let testgovpp = parse::parse("testgovpp.api", &text, &builtin::Builtin, Rules::default()).unwrap();
    let modules = ["vnet/interface_types.api", builtin::MEMCLNT, builtin::HERALD]
        .map(|path| builtin::module(path).unwrap());
    for module in modules.iter().chain([&testgovpp]) {
        fs::write(api.join(format!("{}.api.json", module.name())), json::write(module)).unwrap();
    }
    // Of Herald's own there are messages only: its client would need bindings of memclnt.
    for (module, parts) in [("testgovpp", "rpc"), ("herald", "")] {
        let output = govpp::go(root())
            .args(["tool", "binapi-generator", "--no-version-info", "--no-source-path-info"])
            .arg(format!("--input={}", api.display()))
            .arg(format!("--output-dir={}", generated.display()))
            .arg(format!("--gen={parts}"))
            .args(["--import-prefix=herald/examples/govpp/binapi", module])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for file in [
        "herald/herald.ba.go",
        "testgovpp/testgovpp.ba.go",
        "testgovpp/testgovpp_rpc.ba.go",
        "interface_types/interface_types.ba.go",
    ] {
        let [committed, now] = [root().join("examples/govpp/binapi"), generated.clone()]
            .map(|at| fs::read_to_string(at.join(file)));
        assert_eq!(committed.unwrap(), now.unwrap(), "{file}: run `go generate` in examples/govpp");
    }
}
