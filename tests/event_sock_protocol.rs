//! The promise: the event socket speaks the protocol of openl2tp's `README.event_sock` to the
//! byte, and Herald's extensions are on bits that no client of that document sets.

mod common;

use std::cell::RefCell;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What the host is told, and what a client that wants it sees.
const EVENTS: [(&str, u16, &[u16]); 10] = [
    ("created 1001 1002", CREATED, &[1001, 1002]),
    ("up 1003 1004 1005 1006", UP, &[1003, 1004, 1005, 1006]),
    ("down 1007 1008", DOWN, &[1007, 1008]),
    ("deleted 1009 1010", DELETED, &[1009, 1010]),
    ("modified 1011 1012", MODIFIED, &[1011, 1012]),
    ("tunnel-created 1013", TUNNEL_CREATED, &[1013]),
    ("tunnel-deleted 1014", TUNNEL_DELETED, &[1014]),
    ("tunnel-up 1015 1016", TUNNEL_UP, &[1015, 1016]),
    ("tunnel-down 1017", TUNNEL_DOWN, &[1017]),
    ("tunnel-modified 1018", TUNNEL_MODIFIED, &[1018]),
];

/// Makes each event happen once.
fn publish_each(host: &mut Host) {
    for (command, ..) in EVENTS {
        assert_eq!(host.ok(command), "0");
    }
}

/// The frames of those of [`EVENTS`] that are on the mask.
fn frames(mask: u16) -> Vec<u8> {
    let wanted = EVENTS.iter().filter(|(_, event, _)| mask & event != 0);
    wanted.flat_map(|(_, event, ids)| frame(*event, ids)).collect()
}

/// A host and a client that does not read before it has been [overfilled](overfill).
fn never_reading(config: &str, mask: u16) -> (Host, Client, Fence) {
    let host = Host::with(config);
    let client = host.subscriber(mask);
    let fence = Fence::new(&host);
    (host, client, fence)
}

/// Publishes more than a socket's buffer holds, and little enough at a time for the ring. All of
/// it is where it belongs when this returns: sent, queued or dropped.
fn overfill(host: &mut Host, fence: &mut Fence) -> u64 {
    let mut published = 0;
    for _ in 0..12 {
        published += host.flood(1000);
        fence.pass(host);
    }
    published
}

/// What a client that was overfilled is to receive.
fn overfilled() -> Account {
    Account::of_floods(1000)
}

#[test]
fn the_four_events_have_the_bytes_of_the_stock_plugin() {
    let mut host = Host::start();
    let mut client = host.client();
    if cfg!(target_endian = "big") {
        client.send(b"\x00\x0f\x00\x01\x01");
    } else {
        client.send(b"\x0f\x00\x01\x00\x01");
    }
    for command in
        ["created 1230 55638", "up 1230 55638 22910 64529", "down 1230 55638", "deleted 1230 55638"]
    {
        host.ok(command);
    }
    if cfg!(target_endian = "big") {
        client.expect(b"\x00\x01\x00\x04\x04\xce\xd9\x56");
        client.expect(b"\x00\x04\x00\x08\x04\xce\xd9\x56\x59\x7e\xfc\x11");
        client.expect(b"\x00\x08\x00\x04\x04\xce\xd9\x56");
        client.expect(b"\x00\x02\x00\x04\x04\xce\xd9\x56");
    } else {
        client.expect(b"\x01\x00\x04\x00\xce\x04\x56\xd9");
        client.expect(b"\x04\x00\x08\x00\xce\x04\x56\xd9\x7e\x59\x11\xfc");
        client.expect(b"\x08\x00\x04\x00\xce\x04\x56\xd9");
        client.expect(b"\x02\x00\x04\x00\xce\x04\x56\xd9");
    }
    client.expect_nothing();
}

#[test]
fn the_extensions_have_their_bits_and_at_most_8_bytes_of_data() {
    let mut host = Host::start();
    let mut client = host.subscriber(ALL);
    publish_each(&mut host);
    for (command, event, ids) in EVENTS {
        let (found, data) = client.next().unwrap();
        assert_eq!((found, data), (event, words(ids)), "{command}");
    }
    let numbers = [MODIFIED, TUNNEL_CREATED, TUNNEL_DELETED, TUNNEL_UP, TUNNEL_DOWN, TUNNEL_MODIFIED];
    assert_eq!(numbers, [0x10, 0x20, 0x40, 0x80, 0x100, 0x200], "bits 4 to 9");
}

#[test]
fn a_client_starts_with_no_events() {
    let mut host = Host::start();
    let mut client = host.client();
    let mut fence = Fence::new(&host);
    publish_each(&mut host);
    fence.pass(&mut host);
    client.expect_nothing();
}

#[test]
fn each_event_is_chosen_by_its_own_bit() {
    let mut host = Host::with("max_clients = 12");
    let mut clients: Vec<_> =
        EVENTS.iter().map(|&(_, event, _)| (event, host.subscriber(event))).collect();
    let mut fence = Fence::new(&host);
    publish_each(&mut host);
    let more = fence.pass(&mut host);
    for (event, client) in &mut clients {
        client.expect(&frames(*event));
        if *event == TUNNEL_MODIFIED {
            client.expect(&more);
        }
        client.expect_nothing();
    }
}

#[test]
fn zero_takes_events_off_the_mask_and_any_other_operation_puts_them_on() {
    let mut host = Host::start();
    let mut client = host.client();
    let mut fence = Fence::new(&host);
    let mut mask = 0;
    for (bits, operation) in
        [(DOCUMENT, 1), (UP | DOWN, 0), (UP, 0xff), (ALL, 0), (MODIFIED, 2), (0, 1), (0, 0), (ALL, 0x80)]
    {
        client.send(&request(bits, operation));
        mask = if operation == 0 { mask & !bits } else { mask | bits };
        publish_each(&mut host);
        client.expect(&frames(mask));
        let more = fence.pass(&mut host);
        if mask & TUNNEL_MODIFIED != 0 {
            client.expect(&more);
        }
        client.expect_nothing();
    }
}

#[test]
fn any_requests_in_any_fragmentation_amend_the_mask() {
    let host = RefCell::new(Host::start());
    let requests = prop::collection::vec((any::<u16>(), prop_oneof![Just(0), any::<u8>()]), 1..12);
    // How long each write is; the last takes what is left.
    let pieces = prop::collection::vec(1usize..12, 0..30);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(requests, pieces), |(requests, pieces)| {
        let mut host = host.borrow_mut();
        let mut client = host_client_after_others(&mut host);
        let bytes: Vec<u8> = requests.iter().flat_map(|&(mask, op)| request(mask, op)).collect();
        let mut rest = &bytes[..];
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            client.send(now);
            rest = later;
        }
        client.send(rest);
        let mask = requests.iter().fold(
            0,
            |mask, &(bits, operation)| {
                if operation == 0 { mask & !bits } else { mask | bits }
            },
        );
        // What tells the end: always on.
        client.subscribe(TUNNEL_MODIFIED);
        publish_each(&mut host);
        client.expect(&frames(mask | TUNNEL_MODIFIED));
        client.expect_nothing();
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A new client, although the one of the last round may not have been noticed to be gone.
fn host_client_after_others(host: &mut Host) -> Client {
    let mut client = host.subscriber_when_there_is_room(ALL);
    client.unsubscribe(0xffff);
    client
}

#[test]
fn the_mask_can_be_amended_at_any_time() {
    let mut host = Host::start();
    let mut client = host.subscriber(CREATED);
    let mut fence = Fence::new(&host);
    for session in 1..=200 {
        let (now, then) = if session % 2 == 0 { (CREATED, DELETED) } else { (DELETED, CREATED) };
        client.send(&[request(then, 0), request(now, 1)].concat());
        host.life(1, session);
        client.expect(&frame(now, &[1, session]));
        fence.pass(&mut host);
    }
    client.expect_nothing();
}

#[test]
fn unknown_bits_are_accepted_and_mean_nothing() {
    let mut host = Host::start();
    let mut client = host.client();
    let mut fence = Fence::new(&host);
    client.subscribe(!ALL);
    publish_each(&mut host);
    fence.pass(&mut host);
    client.expect_nothing();
    client.subscribe(0xffff);
    publish_each(&mut host);
    client.expect(&frames(ALL));
    client.send(&request(!ALL, 0));
    publish_each(&mut host);
    client.expect(&frames(ALL));
}

#[test]
fn nothing_of_a_client_survives_its_disconnection() {
    let mut host = Host::with("max_clients = 2");
    let mut fence = Fence::new(&host);
    for _ in 0..10 {
        let mut gone = host.subscriber_when_there_is_room(ALL);
        // Half of a request, too.
        gone.send(&request(ALL, 1)[..3]);
        drop(gone);
        // The same place is taken by the next.
        let mut next = host.subscriber_when_there_is_room(0);
        publish_each(&mut host);
        fence.pass(&mut host);
        next.expect_nothing();
        next.subscribe(UP);
        host.life(1, 1);
        next.expect(&frame(UP, &[1, 1, 2, 3]));
    }
}

#[test]
fn a_new_client_does_not_receive_what_happened_before_it_came() {
    let mut host = Host::with("max_clients = 20");
    let mut clients = Vec::new();
    for session in 1..=20 {
        // The worker is still behind this when the client comes.
        host.flood(5000);
        let mut client = host.subscriber(ALL);
        host.ok(&format!("modified 1 {session}"));
        client.expect(&frame(MODIFIED, &[1, session]));
        clients.push(client);
    }
}

#[test]
fn five_clients_are_served_unless_configured_otherwise() {
    for (config, most) in [("", 5), ("max_clients = 1", 1), ("max_clients = 9", 9)] {
        let mut host = Host::with(config);
        let mut clients: Vec<_> = (0..most).map(|_| host.subscriber(DOCUMENT)).collect();
        let mut one_more = host.client();
        one_more.expect_end();
        host.wait_for_log(&format!("there are {most} clients already"));
        host.life(5, 6);
        for client in &mut clients {
            client.expect(&life(5, 6));
        }
        clients.pop();
        host.serves_a_fresh_client();
    }
}

#[test]
fn every_client_gets_its_own_events_in_their_order() {
    let mut host = Host::start();
    let masks = [DOCUMENT, UP | DOWN, CREATED, MODIFIED | DELETED, ALL];
    let mut clients: Vec<_> = masks.iter().map(|&mask| host.subscriber(mask)).collect();
    for _ in 0..50 {
        publish_each(&mut host);
    }
    for (mask, client) in masks.iter().zip(&mut clients) {
        client.expect(&frames(*mask).repeat(50));
        client.expect_nothing();
    }
}

#[test]
fn a_length_other_than_1_closes_that_client_only() {
    for length in [0u16, 2, 5, 0x0100, 0xffff] {
        let mut host = Host::start();
        let mut good = host.subscriber(DOCUMENT);
        let mut bad = host.subscriber(DOCUMENT);
        host.life(1, 2);
        bad.expect(&life(1, 2));
        bad.send_only(&words(&[DOCUMENT, length]));
        bad.expect_end();
        let line = host.wait_for_log("protocol error");
        assert!(line.starts_with("WARNING") && line.contains(&length.to_string()), "{line}");
        assert!(line.contains(&std::process::id().to_string()), "the client's pid: {line}");
        host.life(3, 4);
        good.expect(&[life(1, 2), life(3, 4)].concat());
    }
}

#[test]
fn a_client_that_half_closes_keeps_receiving() {
    let mut host = Host::start();
    let mut client = host.subscriber(DOCUMENT);
    client.half_close();
    for session in 1..=20 {
        host.life(1, session);
        client.expect(&life(1, session));
    }
    assert_eq!(host.exit(), 0);
    client.expect_end();
}

#[test]
fn drop_newest_is_the_default_and_keeps_what_came_first() {
    for config in ["queue_bytes = 16384", "queue_bytes = 16384\noverflow = \"drop-newest\""] {
        let (mut host, mut client, mut fence) = never_reading(config, DOCUMENT | LOST);
        let published = overfill(&mut host, &mut fence);
        let account = client.account(overfilled(), published);
        // One gap, from where the queue was full to the end.
        let gap = account.first_gap.expect("something was lost");
        assert_eq!(account.lost, published - gap);
        host.life(7, 8);
        client.expect(&life(7, 8));
    }
}

#[test]
fn drop_oldest_keeps_what_came_last() {
    let config = "queue_bytes = 16384\noverflow = \"drop-oldest\"";
    let (mut host, mut client, mut fence) = never_reading(config, DOCUMENT | LOST);
    let published = overfill(&mut host, &mut fence);
    // Into the full queue.
    host.life(7, 8);
    fence.pass(&mut host);
    let account = client.account(overfilled(), published);
    assert!(account.lost > 0, "{account:?}");
    // One gap, between what the socket held and what the queue holds: more than 1000 events.
    assert!(account.first_gap.unwrap() + account.lost < published - 1000, "{account:?}");
    client.expect(&life(7, 8));
    client.expect_nothing();
}

#[test]
fn each_gap_of_a_client_that_reads_now_and_then_is_told_in_its_place() {
    for overflow in ["drop-newest", "drop-oldest"] {
        let config = format!("overflow = \"{overflow}\"");
        let (mut host, mut client, mut fence) = never_reading(&config, DOCUMENT | LOST);
        let mut published = overfill(&mut host, &mut fence) + overfill(&mut host, &mut fence);
        // A part of what the socket held. Now it holds a part of the queue, which has room again, but
        // not for all that comes.
        client.read_some(1 << 17);
        fence.pass(&mut host);
        published += overfill(&mut host, &mut fence);
        let account = client.account(overfilled(), published);
        assert!(account.gaps >= 2, "{overflow}: {account:?}");
    }
}

#[test]
fn disconnect_ends_the_stream_of_a_client_that_does_not_read() {
    let config = "queue_bytes = 16384\noverflow = \"disconnect\"";
    let (mut host, mut client, mut fence) = never_reading(config, DOCUMENT | LOST);
    let published = overfill(&mut host, &mut fence);
    let account = client.account_to_end(overfilled());
    assert!(account.position < published && account.lost == 0, "{account:?}");
    let line = host.wait_for_log("it does not read its events");
    assert!(line.contains(&std::process::id().to_string()), "the client's pid: {line}");
    host.serves_a_fresh_client();
}

#[test]
fn a_flood_beyond_the_ring_is_received_or_told_as_lost_in_its_place() {
    for overflow in ["drop-newest", "drop-oldest"] {
        let mut host = Host::with(&format!("overflow = \"{overflow}\""));
        let mut clients: Vec<_> = (0..3).map(|_| host.subscriber(DOCUMENT | LOST)).collect();
        let published = host.flood(30_000);
        for client in &mut clients {
            let account = client.account(Account::of_floods(30_000), published);
            assert!(account.lost > 0, "{account:?}");
        }
        host.life(7, 8);
        for client in &mut clients {
            client.expect(&life(7, 8));
            client.expect_nothing();
        }
    }
}

#[test]
fn losses_are_told_only_to_those_who_ask_for_them() {
    for overflow in ["drop-newest", "drop-oldest"] {
        let config = format!("queue_bytes = 16384\noverflow = \"{overflow}\"");
        let (mut host, mut client, mut fence) = never_reading(&config, DOCUMENT);
        let published = overfill(&mut host, &mut fence);
        client.subscribe(TUNNEL_DOWN);
        let mut received = 0;
        let mut at_end = false;
        while !at_end {
            // The first of these finds the queue full.
            host.ok("tunnel-down 1");
            fence.pass(&mut host);
            for (event, _) in client.events_so_far() {
                assert_ne!(event, LOST, "{overflow}");
                at_end = event == TUNNEL_DOWN;
                received += 1;
            }
        }
        assert!(received < published, "something was lost");
    }
}

#[test]
fn a_client_whose_socket_has_room_loses_nothing_whatever_its_queue_holds() {
    let mut host = Host::with("queue_bytes = 4096");
    let mut client = host.subscriber(DOCUMENT | LOST);
    let published = host.flood(1000);
    let account = client.account(Account::of_floods(1000), published);
    assert_eq!(account.lost, 0, "{account:?}");
}

#[test]
fn what_is_queued_at_shutdown_arrives_before_the_end() {
    // The worker is behind the flood when the host ends: it drains the ring, and the sockets hold
    // all of it.
    let mut host = Host::start();
    let mut clients: Vec<_> = (0..5).map(|_| host.subscriber(DOCUMENT | LOST)).collect();
    host.command("flood 1000");
    host.command("exit");
    assert_eq!(host.wait(), 0);
    for client in &mut clients {
        let account = client.account_to_end(Account::of_floods(1000));
        assert_eq!((account.position, account.lost), (4000, 0));
    }
}

#[test]
fn a_client_that_reads_gets_its_queue_at_shutdown() {
    // More than the socket's buffer holds. The client has 200 ms to read it; on a machine that
    // does not let it, there is another try.
    let all_came = (0..5).any(|_| {
        let (mut host, mut client, mut fence) = never_reading("queue_bytes = 1048576", DOCUMENT | LOST);
        let published = overfill(&mut host, &mut fence);
        host.command("exit");
        let account = client.account_to_end(overfilled());
        assert_eq!(host.wait(), 0);
        account.position == published && account.lost == 0
    });
    assert!(all_came);
}

#[test]
fn shutdown_does_not_wait_for_a_client_that_never_reads() {
    for overflow in ["drop-newest", "drop-oldest"] {
        let config = format!("queue_bytes = 16384\noverflow = \"{overflow}\"");
        let (mut host, mut client, mut fence) = never_reading(&config, DOCUMENT | LOST);
        let published = overfill(&mut host, &mut fence);
        assert_eq!(host.exit(), 0);
        host.wait_for_log("events unsent");
        let account = client.account_to_end(overfilled());
        assert!(account.position < published, "{account:?}");
    }
}
