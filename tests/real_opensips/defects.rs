//! Everything that the stock module is known to do wrong, provoked and survived.

use std::net::SocketAddr;

use serde_json::json;

use crate::delivery::number;
use crate::event::{Raise, Value};
use crate::listener::Listener;
use crate::opensips::{Launch, Opensips, eventually, holds};
use crate::tree::{Format, Version, each_tree};

#[test]
fn a_parameter_may_be_long() {
    each_tree("a_parameter_may_be_long", |lab| {
        let mut host = lab.herald().start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        host.subscribe("E_SCRIPT", &udp);
        host.subscribe("E_SCRIPT", &unix);
        for len in [16_383, 16_384, 20_000, 60_000] {
            let body = vec![b'z'; len];
            host.raise(&Raise::plain().named("s", Value::Body).body(body.clone()));
            let mut wanted = match lab.version().format() {
                Format::Text => b"E_SCRIPT\ns::".to_vec(),
                Format::Json => br#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"s":""#.to_vec(),
            };
            wanted.extend(&body);
            wanted.extend(match lab.version().format() {
                Format::Text => &b"\n\n"[..],
                Format::Json => &br#""}}"#[..],
            });
            assert!(udp.next() == wanted, "{len} bytes over UDP");
            assert!(unix.next() == wanted, "{len} bytes over a unix socket");
            assert!(host.lives());
        }
    });
}

#[test]
fn a_group_may_expire() {
    each_tree("a_group_may_expire", |lab| {
        if !lab.has("event_virtual") {
            return;
        }
        let mut host = lab.herald().module("event_virtual").start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        for listener in [&udp, &unix] {
            host.subscribe("E_FENCE", listener);
        }
        for kind in ["PARALLEL", "FAILOVER", "ROUND-ROBIN"] {
            let group = format!("virtual:{kind} {} {}", udp.address, unix.address);
            let subscribe = |seconds| host.mi.try_subscribe("E_SCRIPT", &group, Some(seconds)).unwrap();
            subscribe(3600);
            host.raise(&Raise::plain());
            host.raise(&Raise::plain());
            let got = (host.sent_to(&udp).len(), host.sent_to(&unix).len());
            let wanted = match kind {
                "PARALLEL" => (2, 2),
                "FAILOVER" => (2, 0),
                _ => (1, 1),
            };
            assert_eq!(got, wanted, "{kind}");
            subscribe(1);
            eventually("the group expires", || {
                host.raise(&Raise::plain());
                let sent = host.sent_to(&udp).len() + host.sent_to(&unix).len();
                (sent == 0).then_some(())
            });
            if lab.version().lists_subscribers() {
                assert_eq!(host.mi.subscribers("E_SCRIPT"), []);
            }
            assert!(host.lives());
        }
        // The groups' members are gone with them.
        host.counts("only the fences", &[("subscribers", 2)]);
    });
}

#[test]
fn a_group_fails_over_from_a_member_that_is_gone() {
    each_tree("a_group_fails_over_from_a_member_that_is_gone", |lab| {
        if !lab.has("event_virtual") {
            return;
        }
        let host = lab.herald().module("event_virtual").start();
        let (dir, live) = (tempfile::tempdir().unwrap(), Listener::unix());
        let gone = dir.path().join("gone");
        let group = format!("virtual:FAILOVER unix:{} {}", gone.display(), live.address);
        host.mi.try_subscribe("E_SCRIPT", &group, Some(3600)).unwrap();
        host.raise(&Raise::plain());
        assert!(holds(&live.next(), "E_SCRIPT"));
    });
}

/// Both subscribe in this order; each must get its events, once.
fn assert_both_get(host: &Opensips, first: &Listener, second: &Listener) {
    for listener in [first, second] {
        host.subscribe("E_SCRIPT", listener);
        host.subscribe("E_FENCE", listener);
    }
    host.raise(&Raise::plain());
    for listener in [first, second] {
        assert_eq!(host.sent_to(listener).len(), 1, "{}", listener.address);
    }
    host.counts("two and their fences", &[("subscribers", 4)]);
}

#[test]
fn a_path_that_begins_like_another_is_another() {
    each_tree("a_path_that_begins_like_another_is_another", |lab| {
        for (first, second) in [("ab", "a"), ("a", "ab")] {
            let dir = tempfile::tempdir().unwrap();
            let [first, second] = [first, second].map(|name| Listener::unix_at(&dir.path().join(name)));
            assert_both_get(&lab.herald().start(), &first, &second);
        }
    });
}

#[test]
fn an_address_that_begins_like_another_is_another() {
    each_tree("an_address_that_begins_like_another_is_another", |lab| {
        // The same port of both, which must be free.
        let (long, short) = eventually("a port of two addresses", || {
            let long = Listener::try_udp("127.0.0.11:0".parse().unwrap()).unwrap();
            let short = Listener::try_udp(SocketAddr::from(([127, 0, 0, 1], long.port()))).ok()?;
            Some((long, short))
        });
        assert_both_get(&lab.herald().start(), &long, &short);
        assert_both_get(&lab.herald().start(), &short, &long);
    });
}

#[test]
fn a_path_is_not_cut() {
    each_tree("a_path_is_not_cut", |lab| {
        let host = lab.herald().start();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(138 - dir.path().to_str().unwrap().len() - 1));
        let address = format!("unix:{}", path.display());
        // Where the stock module sends instead.
        let cuts = [106, 107].map(|len| Listener::unix_at(path.to_str().unwrap()[..len].as_ref()));
        host.mi.try_subscribe("E_SCRIPT", &address, None).unwrap_err();
        host.logs(&["ERROR", path.to_str().unwrap(), "at most 107 bytes, this one has 138"]);
        host.raise(&Raise::plain());
        for cut in &cuts {
            host.subscribe("E_FENCE", cut);
            assert_eq!(host.sent_to(cut), Vec::<Vec<u8>>::new());
        }
    });
}

#[test]
fn a_port_does_not_wrap() {
    each_tree("a_port_does_not_wrap", |lab| {
        let launch = lab.herald();
        // Where the stock module sends instead; the address is this OpenSIPS's own.
        let ip = launch.config.ip().parse().unwrap();
        let wrapped = Listener::try_udp(SocketAddr::new(ip, (99_999 - 65_536) as u16)).unwrap();
        let host = launch.start();
        host.mi.try_subscribe("E_SCRIPT", &format!("udp:{ip}:99999"), None).unwrap_err();
        host.logs(&["ERROR", ":99999>", "from 1 to 65535"]);
        host.subscribe("E_FENCE", &wrapped);
        host.raise(&Raise::plain());
        assert_eq!(host.sent_to(&wrapped), Vec::<Vec<u8>>::new());
    });
}

/// Makes an OpenSIPS so busy that it forks more workers.
const SCALING: &str = "auto_scaling_profile = PF
 scale up to 4 on 10% for 1 cycles within 2
 scale down to 1 on 5% for 20 cycles
auto_scaling_cycle = 1
";

#[test]
fn a_process_that_was_not_told_of_itself_raises() {
    each_tree("a_process_that_was_not_told_of_itself_raises", |lab| {
        // In 2.4 the handler of asynchronous event routes.
        if !lab.version().since(3, 0) && lab.has("event_route") {
            let route = "event_route[E_OTHER, async] { raise_event(\"E_SCRIPT\"); }\n";
            let host = lab.herald().module("event_route").routes(route).start();
            let (udp, unix) = (Listener::udp(), Listener::unix());
            for listener in [&udp, &unix] {
                host.subscribe("E_SCRIPT", listener);
            }
            host.raise(&Raise::plain().event("E_OTHER"));
            assert!(holds(&udp.next(), "E_SCRIPT"));
            assert!(holds(&unix.next(), "E_SCRIPT"));
        }
        // From 3.0 on the main process, and workers that it forks later.
        if lab.version().since(3, 0) {
            late_forks(lab.version(), lab.herald());
        }
    });
}

fn late_forks(version: Version, launch: Launch) {
    let mut launch = launch.globals(SCALING).workers(1);
    launch.config.scaling = " use_auto_scaling_profile PF";
    let logs = version.since(3, 4);
    if logs {
        launch = launch.globals("log_event_enabled=yes\n");
    }
    let host = launch.start();
    let (scales, lines, events) = (Listener::udp(), Listener::unix(), Listener::udp());
    host.subscribe("E_CORE_PROC_AUTO_SCALE", &scales);
    host.subscribe("E_SCRIPT", &events);
    let first = host.receivers();
    let raise = Raise::plain().named("pid", Value::Pid).busy();
    if logs {
        host.subscribe("E_CORE_LOG", &lines);
    }
    // Busy until a worker that is forked late has raised an event.
    let late = eventually("an event of a worker that was forked late", || {
        host.raise_together(&raise, 3);
        let mut pids = events.waiting().into_iter().filter_map(|event| number(&event, "pid"));
        pids.find(|pid| !first.contains(pid))
    });
    assert!(host.receivers().contains(&late));
    // This one the main process raises itself, up to 3.4.
    let scale = scales.next();
    assert!(holds(&scale, "E_CORE_PROC_AUTO_SCALE") && holds(&scale, "up"), "{}", scale.escape_ascii());
    if logs {
        // It logs that it forks, and so raises an event.
        eventually("a log line of the main process", || {
            let line = lines.next();
            (number(&line, "\"pid\"") == Some(host.pid()) && holds(&line, "forking new proc"))
                .then_some(())
        });
    }
    host.counts("nothing is dropped", &[("dropped", 0)]);
}

#[test]
fn ipv6_works() {
    each_tree("ipv6_works", |lab| {
        let listener = match Listener::try_udp("[::1]:0".parse().unwrap()) {
            Ok(listener) => listener,
            Err(error) => return lab.skip(&format!("no IPv6: {error}")),
        };
        let host = lab.herald().start();
        host.subscribe("E_SCRIPT", &listener);
        for n in 0..3 {
            host.raise(&Raise::plain().named("count", n));
            assert_eq!(number(&listener.next(), "count"), Some(n as u32));
        }
        host.counts("sent", &[("raised", 3), ("sent", 3), ("dropped", 0)]);
    });
}

/// An event of so many bytes.
fn event_of(format: Format, size: usize) -> Raise {
    let overhead = match format {
        Format::Text => "E_SCRIPT\ns::\nt::\n\n".len(),
        Format::Json => r#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"s":"","t":""}}"#.len(),
    };
    // Two bodies, since a request is bounded, too, and a longer name if that does not come out even.
    let values = size - overhead;
    let name = if values.is_multiple_of(2) { "s" } else { "ss" };
    Raise::plain().named(name, Value::Body).named("t", Value::Body).body(vec![b'z'; values / 2])
}

#[test]
fn what_exceeds_the_documented_limit_is_refused_and_said() {
    each_tree("what_exceeds_the_documented_limit_is_refused_and_said", |lab| {
        let host = lab.herald().start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        for listener in [&udp, &unix] {
            host.subscribe("E_SCRIPT", listener);
            host.subscribe("E_FENCE", listener);
        }
        let format = lab.version().format();
        let sizes = |sent: Vec<Vec<u8>>| sent.iter().map(Vec::len).collect::<Vec<_>>();
        for size in [65_456, 65_457] {
            host.raise(&event_of(format, size));
            assert_eq!(sizes(host.sent_to(&udp)), [size]);
            assert_eq!(sizes(host.sent_to(&unix)), [size]);
        }
        host.counts("all are sent", &[("dropped", 0)]);
        for (n, size) in [65_458, 65_507, 65_508, 100_000].into_iter().enumerate() {
            host.raise(&event_of(format, size));
            assert_eq!(sizes(host.sent_to(&udp)), [0; 0]);
            assert_eq!(sizes(host.sent_to(&unix)), [size]);
            let dropped = n as u64 + 1;
            host.counts("too large", &[("dropped", dropped), ("dropped_too_large", dropped)]);
        }
        host.logs(&["WARNING", "65458 bytes is too large for a UDP subscriber", "at most 65457"]);
        // Nothing is wrong with the subscriber.
        host.raise(&Raise::plain());
        assert_eq!(host.sent_to(&udp).len(), 1);
    });
}

#[test]
fn a_log_line_about_an_event_raises_no_flood_of_events() {
    each_tree("a_log_line_about_an_event_raises_no_flood_of_events", |lab| {
        if !lab.since(3, 4, "its log raises no events") {
            return;
        }
        let mut host = lab.herald().globals("log_event_enabled=yes\n").start();
        let (udp, dir) = (Listener::udp(), tempfile::tempdir().unwrap());
        let gone = format!("unix:{}", dir.path().join("gone").display());
        host.subscribe("E_CORE_LOG", &udp);
        // The core raises none of its log lines before the main process has started all others.
        eventually("a log line as an event", || {
            host.mi.try_subscribe("E_SCRIPT", "udp:", None).unwrap_err();
            udp.waiting().iter().any(|event| holds(event, "the port is missing")).then_some(())
        });
        for event in ["E_CORE_LOG", "E_SCRIPT"] {
            host.mi.try_subscribe(event, &gone, None).unwrap();
        }
        let about = |event: &Vec<u8>| holds(event, "nobody listens");
        host.raise(&Raise::plain());
        while !about(&udp.next()) {}
        for _ in 0..9 {
            host.raise(&Raise::plain());
        }
        let more = udp.waiting().iter().filter(|event| about(event)).count();
        assert!(more <= 9, "{more} events about 9");
        assert!(host.lives());
        host.mi.command("events_list", &[]).unwrap();
        host.mi.command("subscribers_list", &[json!("E_CORE_LOG")]).unwrap();
    });
}
