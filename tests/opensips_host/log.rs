//! What the module says, and where.

use crate::stand_in::{OpenSips, RAISE, from_udp, modern, udp};

/// Has an event dropped, and a subscription refused.
fn provoke(opensips: &OpenSips, options: &[&str]) -> Vec<String> {
    let mut host = opensips.start(options);
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("gone")));
    host.ask(&format!("raise main {RAISE}"));
    host.ask("subscribe E_X udp:");
    host.end()
}

fn holds(log: &[String], part: &str) -> bool {
    log.iter().any(|line| line.contains(part))
}

#[test]
fn it_goes_where_the_host_s_log_goes_at_the_host_s_level() {
    let opensips = modern();
    let (warning, error) = ("nobody listens", "the port is missing");
    let log = provoke(&opensips, &[]);
    assert!(log.iter().any(|line| line.starts_with("WARNING ") && line.contains(warning)), "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("ERROR ") && line.contains(error)), "{log:?}");
    let log = provoke(&opensips, &["-l", "-1"]);
    assert!(!holds(&log, warning) && holds(&log, error), "{log:?}");
    let log = provoke(&opensips, &["-l", "-2"]);
    assert!(!holds(&log, warning) && !holds(&log, error), "{log:?}");
}

#[test]
fn a_host_without_a_log_of_that_name_has_it_on_standard_error() {
    for (version, size) in [("2.4.11", 160), ("3.6.8", 184)] {
        let log = provoke(&OpenSips::build_with(version, size, &["-DDPRINT=static"]), &[]);
        for line in ["WARNING:event_datagram:herald: dropped an event", "ERROR:event_datagram:herald: "]
        {
            assert!(log.iter().any(|said| said.starts_with(line)), "{version}: {line}: {log:?}");
        }
    }
}

/// From 3.4 on the core raises its log lines as events.
#[test]
fn a_line_about_an_event_is_an_event_in_its_place() {
    let opensips = modern();
    let mut host = opensips.start(&["-e"]);
    let (socket, address) = udp();
    let gone = format!("unix:{}", opensips.path("gone"));
    for (event, to) in
        [("E_CORE_LOG", &gone), ("E_CORE_LOG", &address), ("E_X", &gone), ("E_X", &address)]
    {
        host.ok(&format!("subscribe {event} {to}"));
    }
    host.ask(&format!("raise 0 {RAISE}"));
    let events = [from_udp(&socket), from_udp(&socket)];
    let logged = events.iter().find(|event| event.contains("E_CORE_LOG")).expect("a log line");
    assert!(logged.contains("nobody listens"), "{logged}");
    assert!(events.iter().any(|event| event.contains(r#""method":"E_X""#)), "{events:?}");
    // E_X to both; the line about the one that is gone, to both; its own line is none.
    assert_eq!((host.stat("raised"), host.stat("sent"), host.stat("dropped_gone")), (4, 2, 2));
}
