//! Which subscriptions there can be, and when they end.

use std::net::UdpSocket;
use std::time::Duration;

use crate::common::SOON;
use crate::stand_in::{JSON, RAISE, from_udp, from_unix, modern, udp, unix};

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
fn what_is_an_address_is_parsed_printed_and_found_again() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let path = format!("/{}", "x".repeat(106));
    for (address, flags, port, kept) in [
        ("udp:127.0.0.1:9000", "4000010e", 9000, "127.0.0.1"),
        ("udp:localhost:65535", "4000010e", 65535, "localhost"),
        ("udp:[::1]:1", "4000010e", 1, "[::1]"),
        ("unix:/tmp/a", "2000010a", 0, "/tmp/a"),
        ("unix:relative", "2000010a", 0, "relative"),
        (&format!("unix:{path}"), "2000010a", 0, &path),
    ] {
        // ADDRESS, SOCKET and EXPIRE, for UDP PORT, and the transport's own flag.
        let parsed = format!("ok parse {address} flags {flags} port {port} address {kept}");
        assert_eq!(host.ok(&format!("parse {address}")), parsed);
        assert_eq!(host.ok(&format!("lookup {address}")), "ok lookup none");
        host.ok(&format!("subscribe E_X {address} 60"));
        assert_eq!(host.ask("list")[0], format!("subscriber E_X {address} expire 60"));
        assert_eq!(host.ok(&format!("lookup {address}")), "ok lookup found");
        assert_eq!(host.ok(&format!("unsubscribe {address}")), "ok unsubscribe found");
        assert_eq!(host.stat("subscribers"), 0);
    }
}

#[test]
fn a_host_name_is_looked_up() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let (socket, _) = udp();
    host.ok(&format!("subscribe E_X udp:localhost:{}", socket.local_addr().unwrap().port()));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), JSON);
}

#[test]
fn addresses_that_begin_alike_are_subscribers_of_their_own() {
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let (ab, a) = (unix(&opensips.path("ab")), unix(&opensips.path("a")));
    host.ok(&format!("subscribe E_X unix:{}", opensips.path("ab")));
    assert_eq!(host.ok(&format!("subscribe E_X unix:{}", opensips.path("a"))), "ok subscribe new");
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!((from_unix(&a), from_unix(&ab)), (JSON.into(), JSON.into()));
    // The same one again is the same one.
    assert_eq!(host.ok(&format!("subscribe E_X unix:{}", opensips.path("a"))), "ok subscribe same");
    for address in ["127.0.0.11:9", "127.0.0.1:9", "127.0.0.1:90", "localhost:9"] {
        assert_eq!(host.ok(&format!("subscribe E_X udp:{address}")), "ok subscribe new", "{address}");
    }
    assert_eq!(host.stat("subscribers"), 6);
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
fn lookups_do_not_use_up_the_members_of_a_group() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "max_subscribers=8"]);
    let members = [udp(), udp(), udp()];
    let addresses = members.each_ref().map(|(_, address)| address.as_str());
    host.ok(&format!("virtual E_X 60 PARALLEL {}", addresses.join(" ")));
    for _ in 0..2 {
        host.ok(&format!("raise 0 {RAISE}"));
        members.iter().for_each(|(member, _)| assert_eq!(from_udp(member), JSON));
        for port in 1..=100 {
            host.ask(&format!("lookup udp:127.0.0.1:{port}"));
        }
    }
    assert_eq!(host.stat("subscribers"), 3);
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
