//! Starting, stopping, and what is configured wrongly.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::proc;
use crate::event::Raise;
use crate::listener::Listener;
use crate::opensips::{Opensips, eventually, holds};
use crate::tree::{each_tree, each_unsupported_tree};

#[test]
fn a_wrong_parameter_is_said_and_nothing_starts() {
    each_tree("a_wrong_parameter_is_said_and_nothing_starts", |lab| {
        for (name, value, said) in [
            ("no_such", "1", "Parameter <no_such> not found in module <event_datagram>"),
            ("format", "1", "type mismatch for parameter <format> in module <event_datagram>"),
            ("queue", "\"1\"", "type mismatch for parameter <queue> in module <event_datagram>"),
            ("format", "\"xml\"", "modparam format is \"xml\", and must be \"text\" or \"json\""),
            ("format", "\"\"", "modparam format is \"\", and must be"),
            ("queue", "4095", "modparam queue is 4095, and must be from 4096 to 1073741824"),
            ("queue", "-1", "modparam queue is -1, and must be from 4096 to 1073741824"),
            ("max_subscribers", "0", "modparam max_subscribers is 0, and must be from 1 to 4096"),
            ("max_subscribers", "4097", "modparam max_subscribers is 4097, and must be from 1 to 4096"),
            ("send_buffer", "-1", "modparam send_buffer is -1, and must be from 0 to 1073741824"),
        ] {
            let (status, log) = lab.herald().modparam(name, value).end();
            let wrong = format!("OpenSIPS {}: {name} = {value}: {status}\n{log}", lab.version());
            assert_eq!(status.code(), Some(255), "{wrong}");
            assert!(log.lines().any(|line| line.contains(said)), "{said}\n{wrong}");
        }
    });
}

#[test]
fn the_ends_of_what_is_permitted_work() {
    each_tree("the_ends_of_what_is_permitted_work", |lab| {
        for (queue, subscribers, buffer) in
            [("4096", "1", "1"), ("1073741824", "4096", "1073741824"), ("8192", "2", "0")]
        {
            let host = lab
                .herald()
                .modparam("queue", queue)
                .modparam("max_subscribers", subscribers)
                .modparam("send_buffer", buffer)
                .start();
            let listener = Listener::udp();
            host.subscribe("E_SCRIPT", &listener);
            host.raise(&Raise::plain());
            assert!(holds(&listener.next(), "E_SCRIPT"));
        }
    });
}

#[test]
fn a_configuration_can_be_checked() {
    each_tree("a_configuration_can_be_checked", |lab| {
        let (status, log) = lab.herald().modparam("format", "\"text\"").arg("-c").end();
        assert_eq!(status.code(), Some(0), "OpenSIPS {}: {log}", lab.version());
        assert!(log.contains("config file ok"), "OpenSIPS {}: {log}", lab.version());
        let (status, log) = lab.herald().modparam("no_such", "1").arg("-c").end();
        assert_eq!(status.code(), Some(255), "OpenSIPS {}: {log}", lab.version());
    });
}

#[test]
fn another_version_is_refused() {
    each_unsupported_tree("another_version_is_refused", |lab| {
        let (status, log) = lab.herald().end();
        let version = lab.version();
        let said = format!(
            "event_datagram (herald): this OpenSIPS is not supported: opensips {version} (x86_64/linux)"
        );
        assert!(log.contains("module version mismatch"), "OpenSIPS {version}: {log}");
        assert!(log.contains(&said), "OpenSIPS {version}: {log}");
        assert!(log.contains("supported are 2.4.0 to 2.4.11, and 3.0.0 to 4.0.x"), "{log}");
        // Up to 3.3 this is a success to OpenSIPS.
        let code = if version.since(3, 4) { 1 } else { 0 };
        assert_eq!(status.code(), Some(code), "OpenSIPS {version}: {log}");
    });
}

#[test]
fn two_event_datagrams_are_one_too_many() {
    each_tree("two_event_datagrams_are_one_too_many", |lab| {
        let (status, log) = lab.herald().module("event_datagram").end();
        assert_ne!(status.code(), Some(0), "OpenSIPS {}: {log}", lab.version());
        let mut other = lab.stock();
        other.config.modules += &format!("loadmodule \"{}\"\n", lab.herald.display());
        let (status, log) = other.end();
        assert_ne!(status.code(), Some(0), "OpenSIPS {}: {log}", lab.version());
        assert!(log.contains("is another event_datagram loaded?"), "OpenSIPS {}: {log}", lab.version());
    });
}

/// Subscribes these, and raises until every worker has something that waits for the one at which
/// nobody reads.
fn keep_waiting(host: &Opensips, stuck: &Listener, udp: &Listener) {
    for listener in [stuck, udp] {
        host.subscribe("E_SCRIPT", listener);
    }
    host.raise(&Raise::plain().times(1000));
    eventually("a thread waits", || {
        host.raise_together(&Raise::plain().busy(), 2);
        udp.waiting();
        host.receivers().iter().all(|pid| !proc::workers(*pid).is_empty()).then_some(())
    });
}

#[test]
fn it_stops_whatever_waits_and_starts_again() {
    each_tree("it_stops_whatever_waits_and_starts_again", |lab| {
        let (stuck, udp, unix) = (Listener::unix(), Listener::udp(), Listener::unix());
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut host = lab.herald().start();
            keep_waiting(&host, &stuck, &udp);
            host.subscribe("E_OTHER", &unix);
            host.raise(&Raise::plain().event("E_OTHER"));
            assert!(holds(&unix.next(), "E_OTHER"));
            host.stop(signal);
            assert!(stuck.path().exists(), "a subscriber's path is its own");
        }
    });
}

#[test]
fn it_stops_while_events_are_raised() {
    each_tree("it_stops_while_events_are_raised", |lab| {
        let (stuck, udp, dir) = (Listener::unix(), Listener::udp(), tempfile::tempdir().unwrap());
        let gone = format!("unix:{}", dir.path().join("gone").display());
        for _ in 0..3 {
            let mut host = lab.herald().modparam("queue", "65536").start();
            for listener in [&stuck, &udp] {
                host.subscribe("E_SCRIPT", listener);
            }
            host.mi.try_subscribe("E_SCRIPT", &gone, None).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    // The host is told to stop long before the end of it.
                    let sip = host.sip().to_owned();
                    let endless = Raise::plain().named("k", "v").times(50_000);
                    scope.spawn(move || endless.send(&sip, std::time::Duration::from_millis(1)));
                }
            });
            eventually("events are raised", || (host.mi.statistics()["raised"] > 1000).then_some(()));
            host.stop(Signal::SIGTERM);
            udp.waiting();
        }
    });
}

#[test]
fn a_worker_that_dies_takes_all_with_it_and_nothing_hangs() {
    each_tree("a_worker_that_dies_takes_all_with_it_and_nothing_hangs", |lab| {
        let (stuck, udp) = (Listener::unix(), Listener::udp());
        let mut host = lab.herald().start();
        keep_waiting(&host, &stuck, &udp);
        let processes = host.mi.processes().unwrap();
        let worker = host.receivers()[0];
        kill(Pid::from_raw(worker as i32), Signal::SIGKILL).unwrap();
        host.exit();
        for (pid, what) in processes {
            eventually(&format!("{what} exits"), || (!proc::lives(pid)).then_some(()));
        }
    });
}

#[test]
fn a_restart_is_seen_by_the_same_readers() {
    each_tree("a_restart_is_seen_by_the_same_readers", |lab| {
        let (udp, unix) = (Listener::udp(), Listener::unix());
        for _ in 0..3 {
            let mut host = lab.herald().start();
            for listener in [&udp, &unix] {
                host.subscribe("E_SCRIPT", listener);
            }
            host.raise(&Raise::plain());
            for listener in [&udp, &unix] {
                assert!(holds(&listener.next(), "E_SCRIPT"));
            }
            host.stop(Signal::SIGTERM);
            assert!(host.log().contains("Thank you for"), "{}", host.log());
            assert_eq!(host.logged("CRITICAL"), 0, "{}", host.log());
        }
    });
}

#[test]
fn a_timer_raises_events() {
    each_tree("a_timer_raises_events", |lab| {
        let (udp, unix) = (Listener::udp(), Listener::unix());
        let startup = format!(
            "subscribe_event(\"E_OTHER\", \"{}\"); subscribe_event(\"E_OTHER\", \"{}\");",
            udp.address, unix.address
        );
        let route = "timer_route[tick, 1] { raise_event(\"E_OTHER\"); }\n";
        let _host = lab.herald().startup(&startup).routes(route).start();
        for _ in 0..2 {
            let event = udp.next();
            assert!(holds(&event, "E_OTHER"), "{}", event.escape_ascii());
            unix.expect(&event);
        }
    });
}
