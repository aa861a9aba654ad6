//! The module in the stand-in for OpenSIPS: every layout, and every promise to its operator.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{SOON, library};

/// The stand-in as one version of OpenSIPS.
struct OpenSips {
    program: PathBuf,
    directory: tempfile::TempDir,
}

impl OpenSips {
    fn build(version: &str, size: usize) -> Self {
        Self::build_with(version, size, &[])
    }

    fn build_with(version: &str, size: usize, definitions: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("opensips_host");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c_examples/opensips_host.c");
        let compiled = Command::new("cc")
            .args(["-std=gnu99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-rdynamic", source, "-o"])
            .arg(&program)
            .arg(format!("-DEXPORTS_SIZE={size}"))
            .arg(format!("-DOPENSIPS_VERSION=\"{version}\""))
            .args(definitions)
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("cc runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        OpenSips { program, directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(options)
            .arg(library())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, options: &[&str]) -> Host {
        let mut child = self.command(options).spawn().expect("the stand-in starts");
        let lines = |reader: Box<dyn std::io::Read + Send>| {
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
            lines
        };
        let stdin = child.stdin.take().expect("piped");
        let answers = lines(Box::new(child.stdout.take().expect("piped")));
        let log = lines(Box::new(child.stderr.take().expect("piped")));
        Host { child, stdin, answers, log }
    }

    /// What it logs when it is told to do nothing, and its exit status.
    fn refused(&self, options: &[&str]) -> (String, i32) {
        let output = self.command(options).stdin(Stdio::null()).output().expect("the stand-in runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (said, output.status.code().unwrap_or(-1))
    }
}

struct Host {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    log: Receiver<String>,
}

impl Host {
    /// Gives a command and returns its list and its answer.
    fn ask(&mut self, command: &str) -> Vec<String> {
        writeln!(self.stdin, "{command}").expect("the stand-in lives");
        let mut said = Vec::new();
        loop {
            let line =
                self.answers.recv_timeout(SOON).unwrap_or_else(|_| panic!("no answer to {command}"));
            let done = line.starts_with("ok ") || line.starts_with("error ");
            said.push(line);
            if done {
                return said;
            }
        }
    }

    fn ok(&mut self, command: &str) -> String {
        let answer = self.ask(command).pop().expect("an answer");
        assert!(answer.starts_with("ok "), "{command}: {answer}");
        answer
    }

    fn stat(&mut self, name: &str) -> u64 {
        let prefix = format!("stat {name} ");
        let lines = self.ask("stats");
        let line = lines.iter().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no statistic {name}: {lines:?}")).parse().expect("a number")
    }

    fn wait_for_stat(&mut self, name: &str, value: u64) {
        common::wait_for(&format!("{name} to be {value}"), || (self.stat(name) == value).then_some(()));
    }

    fn logged(&self, part: &str) -> String {
        loop {
            let line =
                self.log.recv_timeout(SOON).unwrap_or_else(|_| panic!("\"{part}\" is not logged"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn end(mut self) {
        writeln!(self.stdin, "exit").expect("the stand-in lives");
        let status =
            common::wait_for("the end", || self.child.try_wait().expect("it can be waited for"));
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let address = format!("udp:{}", socket.local_addr().unwrap());
    (socket, address)
}

fn unix(path: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

fn text(received: std::io::Result<usize>, buffer: &[u8]) -> String {
    String::from_utf8(buffer[..received.expect("a datagram")].to_vec()).unwrap()
}

fn from_udp(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 70_000];
    text(socket.recv(&mut buffer), &buffer)
}

fn from_unix(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 300_000];
    text(socket.recv(&mut buffer), &buffer)
}

const TEXT: &str = "E_X\nstr::bob\nint::-7\n\n";
const JSON: &str = r#"{"jsonrpc":"2.0","method":"E_X","params":{"str":"bob","int":-7}}"#;
const RAISE: &str = "E_X str=bob int=#-7";

fn modern() -> OpenSips {
    OpenSips::build("3.6.8", 184)
}

#[test]
fn every_version_of_the_table_loads_the_module_and_gets_its_events_out_of_every_process() {
    for (version, size, expected) in [
        ("2.4.0", 144, TEXT),
        ("2.4.5", 144, TEXT),
        ("2.4.6", 152, TEXT),
        ("2.4.7", 160, TEXT),
        ("2.4.11", 160, TEXT),
        ("3.0.0", 160, TEXT),
        ("3.0.1", 168, TEXT),
        ("3.1.17", 168, JSON),
        ("3.2.19", 168, JSON),
        ("3.3.10", 168, JSON),
        ("3.4.0", 184, JSON),
        ("3.5.9", 184, JSON),
        ("3.6.8", 184, JSON),
        ("4.0.1", 184, JSON),
        ("4.1.0-dev", 184, JSON),
    ] {
        let opensips = OpenSips::build(version, size);
        let mut host = opensips.start(&["-c", "2", "-k", "1"]);
        let ((over_udp, address), over_unix) = (udp(), unix(&opensips.path("s")));
        host.ok(&format!("subscribe E_X {address}"));
        host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
        // Child 0 has been through child_init; child 1 and the main process have not.
        for process in ["0", "1", "main"] {
            host.ok(&format!("raise {process} {RAISE}"));
            assert_eq!(from_udp(&over_udp), expected, "{version}, process {process}");
            assert_eq!(from_unix(&over_unix), expected, "{version}, process {process}");
        }
        assert_eq!(
            (host.stat("raised"), host.stat("sent"), host.stat("subscribers")),
            (6, 6, 2),
            "{version}"
        );
        host.end();
    }
}

#[test]
fn every_other_version_is_refused_with_a_message_that_the_host_prints() {
    for (version, size) in [
        ("2.3.6", 136),
        ("2.4.7", 144),
        ("2.4.12", 160),
        ("3.0.0-beta", 160),
        ("3.4.0", 168),
        ("5.0.0", 184),
    ] {
        let (said, _) = OpenSips::build(version, size).refused(&[]);
        let refusal = format!(
            "event_datagram (herald): this OpenSIPS is not supported: opensips {version} \
             (x86_64/linux) with a module description of {size} bytes"
        );
        assert!(said.contains(&refusal), "{version}, {size}: {said}");
    }
}

#[test]
fn the_format_can_be_chosen() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "format=text"]);
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), TEXT);

    let old = OpenSips::build("2.4.11", 160);
    let mut host = old.start(&["-m", "format=json"]);
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), JSON);
}

#[test]
fn a_bad_parameter_keeps_the_module_from_starting_and_is_named() {
    let opensips = modern();
    for (parameter, complaint) in [
        ("format=xml", "modparam format is \"xml\", and must be \"text\" or \"json\""),
        ("queue=1", "modparam queue is 1, and must be from 4096 to 1073741824"),
        ("max_subscribers=0", "modparam max_subscribers is 0, and must be from 1 to 4096"),
        ("send_buffer=-1", "modparam send_buffer is -1, and must be from 0"),
    ] {
        let (said, status) = opensips.refused(&["-m", parameter]);
        assert!(said.contains(complaint), "{parameter}: {said}");
        assert_eq!(status, 255, "{parameter}");
    }
}

#[test]
fn what_cannot_be_an_address_is_refused_with_the_reason_in_the_log() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let long = format!("unix:/{}", "x".repeat(137));
    for (address, reason) in [
        ("udp:", "the port is missing"),
        ("udp:1", "the port is missing"),
        ("udp::5", "the host is missing"),
        ("udp:127.0.0.1:", "from 1 to 65535"),
        ("udp:127.0.0.1:abc", "from 1 to 65535"),
        ("udp:127.0.0.1:0", "from 1 to 65535"),
        ("udp:127.0.0.1:99999", "from 1 to 65535"),
        ("udp:no-such-host.invalid:5", "cannot resolve the host"),
        ("unix:", "the path is missing"),
        (&long, "at most 107 bytes, this one has 138"),
    ] {
        let answer = host.ask(&format!("subscribe E_X {address}")).pop().unwrap();
        assert!(answer.starts_with("error "), "{address}: {answer}");
        let line = host.logged(reason);
        assert!(line.starts_with("ERROR"), "{line}");
    }
    assert_eq!(host.stat("subscribers"), 0);
}

#[test]
fn addresses_that_begin_alike_are_subscribers_of_their_own() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let (ab, a) = (unix(&opensips.path("ab")), unix(&opensips.path("a")));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("ab")));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("a")));
    assert_eq!(host.stat("subscribers"), 2);
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!((from_unix(&a), from_unix(&ab)), (JSON.into(), JSON.into()));
    // The same one again is the same one.
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("a")));
    assert_eq!(host.stat("subscribers"), 2);
}

#[test]
fn ipv6_works() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        return println!("skipped: ipv6_works: this machine has no IPv6");
    };
    socket.set_read_timeout(Some(SOON)).unwrap();
    let opensips = modern();
    let mut host = opensips.start(&[]);
    host.ok(&format!("subscribe E_X udp:{}", socket.local_addr().unwrap()));
    host.ok(&format!("raise main {RAISE}"));
    assert_eq!(from_udp(&socket), JSON);
}

#[test]
fn parameters_of_any_length_arrive_and_what_udp_cannot_carry_is_refused_and_counted() {
    let opensips = OpenSips::build("2.4.11", 160);
    let mut host = opensips.start(&["-m", "send_buffer=400000"]);
    let ((over_udp, address), over_unix) = (udp(), unix(&opensips.path("s")));
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    host.ok("raise 0 E_X v=@20000");
    assert_eq!((from_udp(&over_udp).len(), from_unix(&over_unix).len()), (20_009, 20_009));
    // 65457 is the documented limit.
    host.ok(&format!("raise 0 E_X v=@{}", 65_457 - 9));
    assert_eq!((from_udp(&over_udp).len(), from_unix(&over_unix).len()), (65_457, 65_457));
    host.ask(&format!("raise 0 E_X v=@{}", 65_457 - 8));
    host.logged("an event of 65458 bytes is too large for a UDP subscriber");
    assert_eq!(from_unix(&over_unix).len(), 65_458);
    assert_eq!(host.stat("dropped_too_large"), 1);
    host.ask("raise 0 E_X v=@200000");
    assert_eq!(from_unix(&over_unix).len(), 200_009);
}

#[test]
fn a_slow_unix_reader_gets_every_event_in_order() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    host.ok("burst 0 400 E_X n=\\i");
    for n in 0..400 {
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{{"n":"{n}"}}}}"#);
        assert_eq!(from_unix(&reader), expected);
    }
    host.wait_for_stat("sent", 400);
    assert!(host.stat("queued") > 0);
    assert_eq!(host.stat("dropped"), 0);
}

#[test]
fn a_stuck_reader_costs_only_its_own_events_and_every_one_is_counted() {
    let opensips = modern();
    let mut host = opensips.start(&["-c", "4", "-m", "queue=262144"]);
    let _stuck = unix(&opensips.path("stuck"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("stuck")));
    let (sender, read) = channel();
    for n in 0..3 {
        let path = opensips.path(&format!("r{n}"));
        let socket = unix(&path);
        host.ok(&format!("subscribe E_X unix:{path}"));
        let sender = sender.clone();
        std::thread::spawn(move || while sender.send(from_unix(&socket).len()).is_ok() {});
    }
    // Each burst is well within a queue; what the stuck reader leaves of them is not.
    for burst in 0..4 {
        for process in 0..4 {
            host.ok(&format!("burst {process} 1000 E_X v=@100"));
            for _ in 0..3000 {
                assert!(read.recv_timeout(SOON).is_ok(), "burst {burst} of process {process}");
            }
        }
    }
    let raised = host.stat("raised");
    assert_eq!(raised, 64_000);
    // What waits for the stuck reader is neither sent nor dropped: at most the queues' bound.
    let (sent, dropped) = (host.stat("sent"), host.stat("dropped"));
    assert!(sent >= 48_000 && dropped > 0 && dropped == host.stat("dropped_full"), "{sent} {dropped}");
    assert!(raised - sent - dropped <= 4 * 262_144 / 100, "{raised} {sent} {dropped}");
}

/// What waits for a reader that was never fast enough: the thread that sends it says so, too.
#[test]
fn what_the_worker_drops_is_logged() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "queue=4096"]);
    let path = opensips.path("slow");
    let _slow = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    common::wait_for("the queue to be full", || {
        host.ok("burst 0 10 E_X v=@100");
        (host.stat("dropped_full") > 0).then_some(())
    });
    // Its lines wait for the next event.
    host.ask("raise 0 E_X v=@100");
    let line = host.logged("too much waits already");
    assert!(line.starts_with("WARNING") && line.contains(&path), "{line}");
}

#[test]
fn what_waits_for_a_subscriber_that_is_none_any_more_is_given_up_and_counted() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    let _stuck = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ok("burst 0 400 E_X v=@100");
    let sent = host.stat("sent");
    host.ok(&format!("unsubscribe unix:{path}"));
    host.wait_for_stat("dropped_gone", 400 - sent);
}

#[test]
fn raising_allocates_nothing_once_it_has_all_it_needs() {
    for (version, size) in [("2.4.11", 160), ("3.6.8", 184)] {
        let opensips = OpenSips::build_with(version, size, &["-DCOUNT_ALLOCATIONS"]);
        let mut host = opensips.start(&[]);
        let ((_udp, address), _unix) = (udp(), unix(&opensips.path("s")));
        host.ok(&format!("subscribe E_X {address}"));
        host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
        // Nobody reads: what is raised to the unix subscriber waits, from some event on.
        let burst = r#"burst 0 200 E_X str=bob quoted="a\n\"b" int=#-7 =unnamed v=@300"#;
        let first = host.ok(burst);
        assert!(!first.ends_with(" allocations 0"), "nothing is counted: {first}");
        let then = host.ok(burst);
        assert!(then.ends_with(" allocations 0"), "{version}: {then}");
        common::wait_for("most to wait", || (host.stat("queued") > 200).then_some(()));
    }
}

#[test]
fn a_reader_that_is_gone_is_counted_and_one_that_comes_back_is_served() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ask(&format!("raise 0 {RAISE}"));
    assert_eq!(host.stat("dropped_gone"), 1);
    for _ in 0..2 {
        let reader = unix(&path);
        host.ok(&format!("raise 0 {RAISE}"));
        assert_eq!(from_unix(&reader), JSON);
        drop(reader);
        std::fs::remove_file(&path).unwrap();
    }
}

/// The package `opensips` of PyPI, which .ci/setup installs, with the stand-in in place of its MI.
#[test]
fn the_python_client_of_the_opensips_project_receives_events() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    assert!(std::path::Path::new(python).exists(), "{python} is missing: run `make setup`");
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let mut client = Command::new(python)
        .args(["-c", include_str!("opensips_client.py"), "E_X"])
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

#[test]
fn all_processes_send_from_one_source_port() {
    let opensips = modern();
    let mut host = opensips.start(&["-c", "3", "-k", "1"]);
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    host.ok("fork");
    let mut ports = Vec::new();
    for process in ["main", "0", "1", "2", "3"] {
        host.ok(&format!("raise {process} {RAISE}"));
        let mut buffer = [0; 1000];
        ports.push(socket.recv_from(&mut buffer).expect("a datagram").1.port());
    }
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[test]
fn an_expired_subscription_gets_nothing_even_while_the_host_keeps_it() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let ((socket, address), (fence, fence_address)) = (udp(), udp());
    host.ok(&format!("subscribe E_X {address} 60"));
    host.ok("keep 1");
    host.ok("age 120");
    host.ok(&format!("subscribe E_X {fence_address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&fence), JSON);
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(socket.recv(&mut [0; 10]).is_err(), "an expired subscriber got an event");
    host.ok("keep 0");
    host.ok("expire");
    assert_eq!(host.stat("subscribers"), 1);
}

#[test]
fn a_group_of_event_virtual_is_served_and_expires_without_harm() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let ((a, a_address), (b, b_address)) = (udp(), udp());
    host.ok(&format!("virtual E_X 60 PARALLEL {a_address} {b_address}"));
    for process in ["0", "main"] {
        host.ok(&format!("raise {process} {RAISE}"));
        assert_eq!((from_udp(&a), from_udp(&b)), (JSON.into(), JSON.into()));
    }
    host.ok("age 120");
    host.ok("expire");
    assert_eq!(host.stat("subscribers"), 0);
    host.end();
}

#[test]
fn lookups_that_the_core_never_gives_back_do_not_use_up_the_subscriptions() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "max_subscribers=8"]);
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    for port in 1..=100 {
        host.ask(&format!("lookup udp:127.0.0.1:{port}"));
    }
    let (second, second_address) = udp();
    host.ok(&format!("subscribe E_X {second_address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!((from_udp(&socket), from_udp(&second)), (JSON.into(), JSON.into()));
    assert_eq!(host.stat("subscribers"), 2);
}

#[test]
fn one_subscription_too_many_is_refused_with_the_remedy() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "max_subscribers=2"]);
    for port in 1..=2 {
        host.ok(&format!("subscribe E_X udp:127.0.0.1:{port}"));
    }
    assert!(host.ask("subscribe E_X udp:127.0.0.1:3")[0].starts_with("error "));
    host.logged("there are 2 subscriptions already; raise max_subscribers");
    host.ok("unsubscribe udp:127.0.0.1:1");
    host.ok("subscribe E_X udp:127.0.0.1:3");
}

#[test]
fn what_waits_in_a_process_that_is_terminated_is_sent() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    let reader = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ok("burst 0 60 E_X n=\\i");
    assert!(host.stat("sent") < 60, "nothing waits");
    let reading = std::thread::spawn(move || (0..60).map(|_| from_unix(&reader)).collect::<Vec<_>>());
    host.ok("kill 0 15");
    for (n, event) in reading.join().expect("every event arrives").iter().enumerate() {
        assert_eq!(*event, format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{{"n":"{n}"}}}}"#));
    }
    assert_eq!((host.stat("sent"), host.stat("dropped")), (60, 0));
}

#[test]
fn the_host_ends_well_while_events_wait() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let _stuck = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    for process in ["main", "0", "1"] {
        host.ok(&format!("burst {process} 200 E_X v=@1000"));
    }
    host.end();
}

/// A life with every kind of subscriber, for the tools that look for errors of memory.
fn life(mut command: Command, directory: &std::path::Path) {
    let path = directory.join("s").display().to_string();
    let (_reader, (_socket, address)) = (unix(&path), udp());
    let script = format!(
        "subscribe E_X {address}\nsubscribe E_X unix:{path}\nsubscribe E_X unix:{path}.gone\n\
         raise 0 {RAISE}\nburst 1 50 E_X v=@300 bad=a\\xff\nlookup udp:127.0.0.1:77\n\
         virtual E_X 60 PARALLEL {address}\nraise main E_X =a\nage 120\nexpire\nkill 1 15\nstats\nexit\n"
    );
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool starts");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("the stand-in reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Sanitizer"), "{}: {said}", output.status);
}

#[test]
fn the_module_is_clean_under_valgrind() {
    let opensips = OpenSips::build_with("3.6.8", 184, &["-g"]);
    let mut command = Command::new("valgrind");
    let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/valgrind.supp");
    command.args(["-q", "--error-exitcode=9", &format!("--suppressions={suppressions}")]);
    command.arg(&opensips.program).arg(library());
    life(command, opensips.directory.path());
}

#[test]
fn the_module_is_clean_under_sanitizers() {
    let opensips = OpenSips::build_with("2.4.11", 160, &["-g", "-fsanitize=address,undefined"]);
    let mut command = Command::new(&opensips.program);
    command.arg(library());
    life(command, opensips.directory.path());
}
