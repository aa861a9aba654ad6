//! Every event arrives, waits, or is counted.

use std::process::Command;
use std::sync::mpsc::channel;

use crate::common::{self, SOON, proc, retry};
use crate::stand_in::{JSON, OpenSips, RAISE, from_udp, from_unix, modern, udp, unix};

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
fn a_parameter_s_name_is_any_bytes() {
    let json = "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":{\"\u{fffd}t\u{fffd}\":\"x\"}}";
    for (format, expected) in
        [("format=text", &b"E_X\n\xe9t\xe9::x\n\n"[..]), ("format=json", json.as_bytes())]
    {
        let opensips = modern();
        let mut host = opensips.start(&["-m", format]);
        let (listener, address) = udp();
        host.ok(&format!("subscribe E_X {address}"));
        host.ok(r"raise 0 E_X \xe9t\xe9=x");
        let mut buffer = [0; 100];
        let len = retry(|| listener.recv(&mut buffer)).expect("a datagram");
        assert_eq!(buffer[..len].escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
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
    let queued = host.stat("queued");
    assert!(queued > 0 && host.stat("retried") >= queued);
    assert_eq!((host.stat("raised"), host.stat("dropped")), (400, 0));
}

#[test]
fn what_is_raised_while_a_reader_catches_up_comes_after_what_waits() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    let reading = std::thread::spawn(move || (0..5000).map(|_| from_unix(&reader)).collect::<Vec<_>>());
    host.ok("burst 0 5000 E_X n=\\i");
    for (n, event) in reading.join().expect("every event arrives").iter().enumerate() {
        assert_eq!(*event, format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{{"n":"{n}"}}}}"#));
    }
}

#[test]
fn several_that_wait_leave_in_one_system_call() {
    let opensips = OpenSips::build_with("3.6.8", 184, &["-DCOUNT_SENDS"]);
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    common::wait_for("several in one system call", || {
        // Of these the socket holds about ten, and as many again when they have been read.
        host.ok("burst 0 50 E_X");
        (0..50).for_each(|_| drop(from_unix(&reader)));
        (host.stat("at_once") > 1).then_some(())
    });
}

/// It may have some for others, and in a moment: the event waits for a while, and then no more.
#[test]
fn what_the_system_has_no_buffers_for_holds_up_nobody_for_long() {
    let opensips = OpenSips::build_with("3.6.8", 184, &["-DNO_BUFFERS=2000"]);
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    host.ok("raise 0 E_X v=@2000");
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_unix(&reader), JSON);
    host.wait_for_stat("sent", 1);
    assert_eq!((host.stat("raised"), host.stat("dropped"), host.stat("dropped_error")), (2, 1, 1));
    // The thread that tries again pauses in between.
    assert!(host.stat("retried") < 1000);
}

#[test]
fn what_the_system_refuses_is_counted_and_named() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    // Nobody may send to all without asking for it.
    host.ok("subscribe E_X udp:255.255.255.255:9");
    host.ask("raise 0 E_X");
    assert_eq!((host.stat("raised"), host.stat("dropped"), host.stat("dropped_error")), (1, 1, 1));
    let line = host.logged("255.255.255.255:9");
    assert!(line.starts_with("WARNING") && line.contains("Permission denied"), "{line}");
}

#[test]
fn a_subscriber_of_several_events_gets_all_of_them_in_order() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    let events = ["E_A", "E_B", "E_C"];
    for event in events {
        host.ok(&format!("subscribe {event} unix:{}", opensips.path("s")));
    }
    let raised = || events.into_iter().cycle().take(60);
    for event in raised() {
        host.ok(&format!("raise 0 {event}"));
    }
    for event in raised() {
        assert_eq!(from_unix(&reader), format!(r#"{{"jsonrpc":"2.0","method":"{event}"}}"#));
    }
    host.wait_for_stat("sent", 60);
    assert!(host.stat("queued") > 0);
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

/// What waits in one process is bounded for each subscriber, wherever it waits: what the thread that
/// sends it has no time for, too.
#[test]
fn a_stuck_reader_leaves_room_for_others_while_the_worker_has_no_time() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "queue=67108864"]);
    let (_stuck, slow) = (unix(&opensips.path("stuck")), unix(&opensips.path("slow")));
    // A worker is there, and something waits for both.
    for (event, name) in [("E_STUCK", "stuck"), ("E_SLOW", "slow")] {
        host.ok(&format!("subscribe {event} unix:{}", opensips.path(name)));
        host.ok(&format!("burst 0 50 {event} v=0"));
    }
    let pid = host.pid("0");
    let worker = proc::worker(pid);
    // It runs when nobody else wants to run on the same processor.
    let processors = proc::status(pid, pid, "Cpus_allowed_list");
    let first = processors.split(['-', ',']).next().expect("a processor");
    for thread in [pid, worker].map(|thread| thread.to_string()) {
        assert!(run("taskset", &["-pc", first, &thread]));
    }
    assert!(run("chrt", &["--idle", "-p", "0", &worker.to_string()]));
    // More than there is room for on the way to the worker.
    host.ask("burst 0 700 E_STUCK v=@30000");
    host.ok("burst 0 100 E_SLOW v=@30000");
    // Only root may take that back; for others it runs when the machine has a moment.
    run("chrt", &["--other", "-p", "0", &worker.to_string()]);
    for n in 0..150 {
        assert_eq!(from_unix(&slow).len() > 30_000, n >= 50, "event {n}");
    }
}

#[test]
fn the_host_is_told_of_each_event_that_is_dropped_since_too_much_waits() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "queue=4096"]);
    let _stuck = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    let said = host.ok("burst 0 200 E_X v=@100");
    let dropped = host.stat("dropped_full");
    assert!(dropped > 100 && said.contains(&format!(" failed {dropped} ")), "{dropped}: {said}");
}

/// Whether a program ends well.
fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().expect(program).status.success()
}

/// What is open for subscribers leaves the host enough of what it may open.
#[test]
fn many_subscribers_use_up_no_descriptors() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    for port in 1..=100 {
        host.ok(&format!("subscribe E_X udp:127.0.0.1:{port}"));
    }
    let pid = host.pid("0");
    assert!(run("prlimit", &["--nofile=64:64", "--pid", &pid.to_string()]));
    host.ok("raise 0 E_X");
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), JSON);
    assert_eq!((host.stat("sent"), host.stat("dropped")), (201, 0));
    let open = descriptors(pid);
    assert!(open < 32, "{open} are open");
}

#[test]
fn subscribers_that_are_none_any_more_leave_nothing_open() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let pid = host.pid("0");
    let mut open = None;
    for port in 1..=50 {
        host.ok(&format!("subscribe E_X udp:127.0.0.1:{port}"));
        host.ok("raise 0 E_X");
        host.ok(&format!("unsubscribe udp:127.0.0.1:{port}"));
        let now = descriptors(pid);
        assert_eq!(*open.get_or_insert(now), now, "after {port}");
    }
}

/// How many descriptors a process has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The thread that sends what had to wait says so, too.
#[test]
fn what_the_worker_drops_is_logged() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("slow");
    let slow = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ok("burst 0 50 E_X v=@100");
    drop(slow);
    common::wait_for("the worker to notice", || (host.stat("dropped_gone") > 0).then_some(()));
    // Its lines wait for the next event.
    host.ask("raise 0 E_Y");
    host.ask("raise 0 E_X");
    let line = host.logged("nobody listens");
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

/// The core may keep it listed for ever.
#[test]
fn what_waits_for_a_subscriber_whose_time_is_over_is_given_up_and_counted() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    let _stuck = unix(&path);
    host.ok("keep 1");
    host.ok(&format!("subscribe E_X unix:{path} 60"));
    host.ok("burst 0 400 E_X v=@100");
    let sent = host.stat("sent");
    host.ok("age 120");
    host.wait_for_stat("dropped_gone", 400 - sent);
    assert_eq!(host.stat("subscribers"), 1);
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

/// As those find it who look the path up for each datagram.
#[test]
fn who_takes_the_path_of_a_reader_that_lives_on_gets_its_events() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    let old = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_unix(&old), JSON);
    std::fs::remove_file(&path).unwrap();
    let new = unix(&path);
    for reader in [&old, &new] {
        reader.set_nonblocking(true).unwrap();
    }
    common::wait_for("an event", || {
        host.ok(&format!("raise 0 {RAISE}"));
        let _ = old.recv(&mut [0; 100]);
        new.recv(&mut [0; 100]).ok()
    });
}

#[test]
fn who_takes_the_path_of_a_reader_that_is_stuck_gets_what_waits_for_it() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = opensips.path("s");
    let stuck = unix(&path);
    host.ok(&format!("subscribe E_X unix:{path}"));
    host.ok("burst 0 50 E_X n=\\i");
    common::wait_for("the worker to have tried", || (host.stat("retried") > 0).then_some(()));
    std::fs::remove_file(&path).unwrap();
    let new = unix(&path);
    let number = |event: String| event.split('"').nth_back(1).unwrap().parse::<usize>().unwrap();
    let first = number(from_unix(&new));
    (first + 1..50).for_each(|n| assert_eq!(number(from_unix(&new)), n));
    stuck.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| stuck.recv(&mut [0; 100]).ok()).count(), first);
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
        ports.push(retry(|| socket.recv_from(&mut buffer)).expect("a datagram").1.port());
    }
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[test]
fn a_process_that_is_born_while_events_wait_sends_its_own() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let reader = unix(&opensips.path("s"));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
    host.ok("burst main 50 E_X n=\\p");
    host.ok("fork");
    host.ok("raise 2 E_X n=\\p");
    let of_main = (0..51).filter(|_| from_unix(&reader).contains("main")).count();
    host.wait_for_stat("sent", 51);
    assert_eq!((of_main, host.stat("dropped")), (50, 0));
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
