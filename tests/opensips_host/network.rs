//! What changes in the network below it.

use std::net::UdpSocket;
use std::process::Command;

use crate::common::{SOON, skipped};
use crate::stand_in::{JSON, RAISE, from_udp, modern};

/// Gives this test's thread, and the programs that it starts from now on, a network of their own, if
/// it may have one.
fn own_network(test: &str) -> bool {
    // SAFETY: the flag changes nothing of the process but the thread's network.
    let own = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
    if !own {
        skipped(test, "it may not make a network");
    }
    own
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip (iproute2)");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

fn listen(address: &str) -> (UdpSocket, String) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let address = format!("udp:{}", socket.local_addr().unwrap());
    (socket, address)
}

#[test]
fn a_subscriber_over_udp_outlives_the_address_that_its_events_come_from() {
    if !own_network("a_subscriber_over_udp_outlives_the_address_that_its_events_come_from") {
        return;
    }
    for command in ["link set lo up", "addr add 10.0.0.1/32 dev lo", "addr add 10.0.0.2/32 dev lo"] {
        ip(command);
    }
    let route = "route change local 10.0.0.1 dev lo table local src";
    ip(&format!("{route} 10.0.0.2"));
    let opensips = modern();
    let mut host = opensips.start(&[]);
    let (listener, address) = listen("10.0.0.1");
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&listener), JSON);
    ip("addr add 10.0.0.3/32 dev lo");
    ip(&format!("{route} 10.0.0.3"));
    ip("addr del 10.0.0.2/32 dev lo");
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&listener), JSON);
    assert_eq!((host.stat("sent"), host.stat("dropped")), (2, 0));
}

#[test]
fn a_small_send_buffer_bounds_no_event_over_udp() {
    if !own_network("a_small_send_buffer_bounds_no_event_over_udp") {
        return;
    }
    // As most networks: the event is sent in pieces, for which a buffer must have room.
    ip("link set lo up mtu 1500");
    let opensips = modern();
    let mut host = opensips.start(&["-m", "send_buffer=4096"]);
    let (listener, address) = listen("127.0.0.1");
    host.ok(&format!("subscribe E_X {address}"));
    host.ok("raise 0 E_X v=@60000");
    assert!(from_udp(&listener).len() > 60_000);
    assert_eq!(host.stat("queued"), 0);
}
