//! Slow readers, readers that are gone, and what is counted of them.

use std::collections::BTreeMap;

use crate::common::proc;
use crate::event::{Raise, Value};
use crate::listener::Listener;
use crate::opensips::{Opensips, eventually, holds};
use crate::tree::{Lab, each_tree};

/// The number that follows a parameter's name, in either format.
pub fn number(datagram: &[u8], name: &str) -> Option<u32> {
    let at = datagram.windows(name.len()).position(|part| part == name.as_bytes())?;
    let rest = String::from_utf8_lossy(&datagram[at + name.len()..]);
    let digits = rest.trim_start_matches(|byte: char| !byte.is_ascii_digit());
    let end = digits.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// An event with a number in it.
fn numbered(number: u32) -> Raise {
    Raise::plain().named("count", number as i32)
}

/// The next events must be these, in this order.
fn assert_next(listener: &Listener, numbers: std::ops::Range<u32>) {
    for wanted in numbers {
        assert_eq!(number(&listener.next(), "count"), Some(wanted), "{}", listener.address);
    }
}

/// Starts with one worker, whose events are in order.
fn one_worker(lab: &Lab) -> Opensips {
    lab.herald().workers(1).start()
}

#[test]
fn a_slow_reader_gets_all_in_order() {
    each_tree("a_slow_reader_gets_all_in_order", |lab| {
        let host = one_worker(lab);
        let (slow, live) = (Listener::unix(), Listener::unix());
        host.subscribe("E_SCRIPT", &slow);
        host.subscribe("E_SCRIPT", &live);
        for n in 0..40 {
            host.raise(&numbered(n));
            // Who reads has each event at once, whatever the other does.
            assert_next(&live, n..n + 1);
        }
        assert_next(&slow, 0..40);
        let all = host.settled();
        assert_eq!((all["raised"], all["sent"], all["dropped"]), (80, 80, 0), "{all:?}");
        assert!(all["queued"] > 0 && all["queued"] < 40, "{all:?}");
        assert!(all["retried"] >= all["queued"], "{all:?}");
        // It has caught up: what comes now is sent at once.
        host.raise(&numbered(40));
        assert_next(&slow, 40..41);
        assert_next(&live, 40..41);
        assert_eq!(host.settled()["queued"], all["queued"]);
        assert_eq!(slow.waiting(), Vec::<Vec<u8>>::new(), "none arrives twice");
    });
}

#[test]
fn one_request_may_raise_more_than_a_reader_takes() {
    each_tree("one_request_may_raise_more_than_a_reader_takes", |lab| {
        let host = lab.herald().start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        host.subscribe("E_SCRIPT", &udp);
        host.subscribe("E_SCRIPT", &unix);
        // Answered although nobody reads.
        host.raise(&Raise::plain().named("k", "v").times(1000));
        for listener in [&udp, &unix] {
            for _ in 0..1000 {
                assert!(holds(&listener.next(), "E_SCRIPT"), "{}", listener.address);
            }
        }
        let all = host.settled();
        assert_eq!((all["sent"], all["dropped"]), (2000, 0), "{all:?}");
    });
}

#[test]
fn a_reader_that_is_too_slow_loses_only_its_own() {
    each_tree("a_reader_that_is_too_slow_loses_only_its_own", |lab| {
        let host = lab.herald().workers(1).modparam("queue", "4096").start();
        let (slow, udp, unix) = (Listener::unix(), Listener::udp(), Listener::unix());
        for listener in [&slow, &udp, &unix] {
            host.subscribe("E_SCRIPT", listener);
        }
        for n in 0..500 {
            host.raise(&numbered(n));
            assert_next(&udp, n..n + 1);
            assert_next(&unix, n..n + 1);
        }
        eventually("the queue is full", || (host.mi.statistics()["dropped_full"] > 0).then_some(()));
        // The oldest are kept, in order, as many as fit.
        let mut kept = 0;
        let all = eventually("all that is kept arrives", || {
            for event in slow.waiting() {
                assert_eq!(number(&event, "count"), Some(kept));
                kept += 1;
            }
            let all = host.mi.statistics();
            (u64::from(kept) + all["dropped_full"] == 500).then_some(all)
        });
        assert_eq!(all["dropped"], all["dropped_full"], "{all:?}");
        assert_eq!(all["sent"], 1000 + u64::from(kept), "{all:?}");
        assert!(kept > 50, "{kept} events of about 70 bytes, of which 4096 bytes may wait");
        host.logs(&["WARNING", slow.path().to_str().unwrap()]);
        // And it goes on with the next.
        host.raise(&numbered(500));
        for listener in [&slow, &udp, &unix] {
            assert_next(listener, 500..501);
        }
    });
}

#[test]
fn a_reader_that_is_gone_is_counted_and_may_come_back() {
    each_tree("a_reader_that_is_gone_is_counted_and_may_come_back", |lab| {
        let mut host = one_worker(lab);
        let (dir, other) = (tempfile::tempdir().unwrap(), Listener::udp());
        let path = dir.path().join("events");
        host.mi.try_subscribe("E_SCRIPT", &format!("unix:{}", path.display()), None).unwrap();
        host.subscribe("E_SCRIPT", &other);
        let mut gone = 0;
        for round in 0..3 {
            // It has never been there; then it has gone.
            for n in 0..5 {
                host.raise(&numbered(n));
                assert_next(&other, n..n + 1);
                gone += 1;
            }
            host.counts("nobody listens", &[("dropped", gone), ("dropped_gone", gone)]);
            host.logs(&["WARNING", path.to_str().unwrap(), "nobody listens"]);
            let reader = Listener::unix_at(&path);
            for n in 0..5 {
                host.raise(&numbered(n));
                assert_next(&other, n..n + 1);
                assert_next(&reader, n..n + 1);
            }
            if round == 1 {
                // It goes and leaves its path behind.
                drop(reader);
                host.raise(&numbered(0));
                assert_next(&other, 0..1);
                gone += 1;
            } else {
                // Another takes its place at once, while it lives on, or when it has gone.
                std::fs::remove_file(&path).unwrap();
                let first = (round == 0).then_some(reader);
                let next = Listener::unix_at(&path);
                drop(first);
                host.raise(&numbered(0));
                assert_next(&other, 0..1);
                assert_next(&next, 0..1);
            }
            std::fs::remove_file(&path).unwrap();
            assert!(host.lives());
        }
    });
}

#[test]
fn a_slow_reader_that_leaves_costs_only_its_own() {
    each_tree("a_slow_reader_that_leaves_costs_only_its_own", |lab| {
        let host = one_worker(lab);
        let (slow, other) = (Listener::unix(), Listener::unix());
        for listener in [&slow, &other] {
            host.subscribe("E_SCRIPT", listener);
        }
        for n in 0..100 {
            host.raise(&numbered(n));
        }
        drop(slow);
        assert_next(&other, 0..100);
        let all = host.settled();
        assert_eq!(all["raised"], 200, "{all:?}");
        assert!(all["dropped_gone"] >= 80 && all["dropped_gone"] < 100, "{all:?}");
        assert_eq!(all["dropped"], all["dropped_gone"], "{all:?}");
    });
}

#[test]
fn what_the_system_refuses_is_counted() {
    each_tree("what_the_system_refuses_is_counted", |lab| {
        let host = lab.herald().modparam("send_buffer", "4096").start();
        // Nobody may send to all without asking for it.
        host.mi.try_subscribe("E_SCRIPT", "udp:255.255.255.255:9", None).unwrap();
        host.raise(&Raise::plain());
        host.counts("an error", &[("raised", 1), ("dropped", 1), ("dropped_error", 1)]);
        host.logs(&["WARNING", "255.255.255.255:9", "Permission denied"]);
        // And no unix datagram is larger than the send buffer.
        let unix = Listener::unix();
        host.subscribe("E_OTHER", &unix);
        let large = Raise::plain().event("E_OTHER").named("s", Value::Body).body(vec![b'z'; 30_000]);
        host.raise(&large);
        host.counts("too large", &[("raised", 2), ("dropped", 2), ("dropped_too_large", 1)]);
        host.logs(&["WARNING", unix.path().to_str().unwrap(), "send_buffer"]);
        host.raise(&Raise::plain().event("E_OTHER"));
        assert!(holds(&unix.next(), "E_OTHER"));
        let all = host.settled();
        assert_eq!((all["raised"], all["sent"], all["dropped"]), (3, 1, 2), "{all:?}");
    });
}

#[test]
fn all_processes_send_from_one_port() {
    each_tree("all_processes_send_from_one_port", |lab| {
        let host = lab.herald().workers(4).start();
        let udp = Listener::udp();
        host.subscribe("E_SCRIPT", &udp);
        let raise = Raise::plain().named("process", Value::Pid).busy();
        let mut ports = BTreeMap::new();
        eventually("three processes raise", || {
            host.raise_together(&raise, 4);
            for _ in 0..4 {
                let (event, from) = udp.next_from();
                ports.insert(number(&event, "process").unwrap(), from);
            }
            (ports.len() >= 3).then_some(())
        });
        let receivers = host.receivers();
        assert!(ports.keys().all(|pid| receivers.contains(pid)), "{ports:?}, {receivers:?}");
        let first = ports.values().next().unwrap();
        assert!(ports.values().all(|port| port == first), "{ports:?}");
    });
}

#[test]
fn a_thread_is_started_only_where_something_waits() {
    each_tree("a_thread_is_started_only_where_something_waits", |lab| {
        let host = lab.herald().start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        host.subscribe("E_SCRIPT", &udp);
        host.raise(&Raise::plain().times(100));
        let workers = || -> usize {
            let processes = host.mi.processes().unwrap();
            processes.iter().map(|(pid, _)| proc::workers(*pid).len()).sum()
        };
        assert_eq!(workers(), 0, "whoever reads needs no thread");
        host.subscribe("E_SCRIPT", &unix);
        host.raise(&Raise::plain().times(100));
        assert_eq!(workers(), 1);
    });
}
