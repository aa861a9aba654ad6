//! What clients do, and what comes of it for them and for the others.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use herald::transport::vpp_api::publish_fields;
use herald_vpp_api::frame::{HEADER, header, message_id, message_len};

use super::server::*;

#[test]
fn nonsense_ends_one_connection() {
    let server = Server::start();
    let mut healthy = server.subscriber();
    let mut number = 0;
    for (bytes, what) in [
        (header(0).to_vec(), "a message without anything"),
        ([&header(1)[..], &[0]].concat(), "half an id"),
        (header(u32::MAX).to_vec(), "a huge length"),
        (header(65_537).to_vec(), "one byte too many"),
        ([&header(6)[..], &[0, 15, 0, 0, 0, 1]].concat(), "a create without a name"),
        ([&header(3)[..], &[0, 23, 0]].concat(), "a short ping"),
        ([&header(80)[..], &[0, 23], &[0; 78]].concat(), "a long ping"),
    ] {
        let mut client = server.stranger();
        client.stream.write_all(&bytes).unwrap();
        client.is_closed();
        number += 1;
        server.wait_for(what, |stats| stats.protocol_errors == number as u64);
        server.publish(number);
        assert_eq!(healthy.number(), i64::from(number));
        healthy.ping();
    }
    server.is_unharmed();
}

#[test]
fn what_is_not_for_this_server_is_dropped_and_counted() {
    let server = Server::start();
    let mut client = server.stranger();
    // Before it has an index, a client is nobody.
    client.ask("control_ping", &[]);
    client.create();
    client.send(&[0xff, 0xff, 1, 2, 3]);
    client.send(&[0, 0]);
    let event = server.contract.table().id("light_event").unwrap().to_be_bytes();
    client.send(&[&event[..], &[0; 14]].concat());
    let other = server.client();
    let foreign = other.message("control_ping", &[]);
    client.send(&foreign);
    let stale = client.message("want_lights", &[("client_index", 0x8000_0777), ("enable_disable", 1)]);
    client.send(&stale);
    client.ping();
    server.wait_for("six are counted", |stats| stats.ignored == 6);
    assert_eq!(server.hub.stats().protocol_errors, 0);
    assert_eq!(server.contract.listeners(server.contract.table().id("light_event").unwrap()), 0);
}

#[test]
fn who_connects_twice_stays_who_it_is() {
    let server = Server::start();
    let mut client = server.subscriber();
    let index = client.index;
    client.create();
    assert_eq!(client.index, index);
    server.publish(3);
    assert_eq!(client.number(), 3);
    client.ping();
}

/// Each registration stands for itself, also where they bring the same event.
#[test]
fn an_event_of_two_registrations_comes_once_and_until_both_have_ended() {
    let api = "service {
            rpc want_one returns want_one_reply events light_event;
            rpc want_other returns want_other_reply events other_event, light_event;
        };
        autoreply define want_one { u32 client_index; u32 context; u32 enable; u32 pid; };
        autoreply define want_other { u32 client_index; u32 context; bool enable_disable; u32 pid; };
        define other_event { u32 pid; };
        define light_event { u32 client_index; u32 pid; u32 number; u16 count; u8 note[count]; };";
    let server = Server::with(api, |_| {}, Vec::new());
    let mut client = server.client();
    assert_eq!(client.retval("want_other", &[("enable_disable", 1), ("pid", 2)]), 0);
    assert_eq!(client.retval("want_one", &[("enable", 7), ("pid", 1)]), 0);
    assert_eq!(client.retval("want_one", &[("enable", 1)]), -31);
    let event = server.contract.table().id("light_event").unwrap();
    assert_eq!(server.contract.listeners(event), 1);
    server.publish(1);
    assert_eq!(client.field("light_event", "pid"), 2);
    assert_eq!(client.retval("want_other", &[("enable_disable", 0)]), 0);
    server.publish(2);
    assert_eq!(client.field("light_event", "pid"), 1);
    assert_eq!(client.retval("want_one", &[("enable", 0)]), 0);
    assert_eq!(client.retval("want_one", &[("enable", 0)]), -31);
    assert_eq!(server.contract.listeners(event), 0);
}

#[test]
fn clients_are_told_where_modules_begin_and_what_version_this_is() {
    let version = "1.2.3-with-more-than-thirty-one-characters";
    let server = Server::with(API, |options| options.version = version.to_owned(), Vec::new());
    let mut client = server.client();
    for module in server.contract.table().modules() {
        for name in [module.api.name(), &module.name_crc()] {
            client.ask_with("get_first_msg_id", &[], &[("name", name)]);
            assert_eq!(client.field("get_first_msg_id_reply", "first_msg_id"), i64::from(module.base));
        }
    }
    client.ask_with("get_first_msg_id", &[], &[("name", "lights_00000000")]);
    assert_eq!(client.field("get_first_msg_id_reply", "retval"), -7);
    client.ask("show_version", &[]);
    let message = client.read();
    let view = client.view("show_version_reply", &message);
    assert_eq!((view.text("program"), view.text("version")), (Some("herald"), version.get(..31)));
}

/// Their events have the same ids.
#[test]
fn servers_of_one_hub_keep_their_events_apart() {
    let (server, other) = (Server::start(), Server::start());
    let mut client = server.subscriber();
    publish_fields(&server.hub, &other.contract, "light_event", &[]).unwrap();
    server.publish(2);
    assert_eq!(client.number(), 2);
}

#[test]
fn what_clients_choke_on_is_named() {
    let api = "service { rpc want_lights returns want_lights_reply events tiny_event, odd_event; };
        autoreply define want_lights { u32 client_index; u32 context; bool enable_disable; };
        define tiny_event { u8 number; };
        define odd_event { u32 client_index; u32 context; };
        define light_get { u32 client_index; u32 context; };
        define light_get_reply { u32 context; bool on; };";
    assert_eq!(
        Server::with(api, |_| {}, Vec::new()).contract.misgivings(),
        [
            "tiny_event: a message of 3 bytes ends the connection of GoVPP",
            "odd_event: vpp_papi takes an event with a field context for a reply",
            "light_get_reply: vpp_papi does not see a reply of 7 bytes",
        ]
    );
    assert!(Server::start().contract.misgivings().is_empty());
}

#[test]
fn half_a_header_keeps_nobody_waiting() {
    let server = Server::start();
    let mut slow = server.stranger();
    slow.stream.write_all(&header(70)[..9]).unwrap();
    server.is_unharmed();
    slow.stream.write_all(&header(70)[9..]).unwrap();
    let create = [&[0, 15, 0, 0, 0, 1][..], &[b'n'; 64]].concat();
    for byte in &create {
        slow.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(message_id(&slow.read()), Some(16));
    server.is_unharmed();
}

#[test]
fn a_flood_of_connects_leaves_room_for_those_who_were_first() {
    let server = Server::with(API, |options| options.stream.max_clients = 8, Vec::new());
    let mut first: Vec<Client> = (0..8).map(|_| server.subscriber()).collect();
    for _ in 0..500 {
        server.stranger().is_closed();
    }
    server.publish(1);
    for client in &mut first {
        assert_eq!(client.number(), 1);
        client.ping();
    }
    server.wait_for("they are counted", |stats| stats.refused == 500);
    drop(first);
    server.wait_for("they have left", |stats| stats.subscribers == 0);
    server.is_unharmed();
}

#[test]
fn a_subscriber_that_never_reads_costs_nobody_anything() {
    let server = Server::with(API, |options| options.stream.queue_bytes = 65_536, Vec::new());
    let _stuck = server.subscriber();
    let mut healthy = server.subscriber();
    for number in 0..20_000 {
        server.publish(number);
        if number % 100 == 99 {
            for expected in number - 99..=number {
                assert_eq!(healthy.number(), i64::from(expected));
            }
        }
    }
    healthy.ping();
    let subscribers = server.hub.subscribers();
    let dropped: Vec<u64> = subscribers.iter().map(|subscriber| subscriber.dropped.get()).collect();
    assert!(dropped[0] > 10_000 && dropped[1] == 0, "{dropped:?}");
    assert_eq!(subscribers[0].name(), "raw");
}

#[test]
fn who_does_not_read_replies_is_not_read_from_and_gets_all_of_them_later() {
    let server = Server::start();
    let mut client = server.client();
    client.stream.set_nonblocking(true).unwrap();
    let ping = client.message("control_ping", &[]);
    let frame = [&header(ping.len() as u32)[..], &ping].concat();
    let (mut asked, mut rest) = (0u64, Vec::new());
    let end = Instant::now() + SOON;
    // Until the kernel's buffers are full in both directions, and stay so.
    let mut idle = 0;
    while idle < 100 {
        assert!(
            Instant::now() < end,
            "the server takes {asked} requests of a client that does not read"
        );
        if rest.is_empty() {
            rest = frame.clone();
            asked += 1;
        }
        match client.stream.write(&rest) {
            Ok(count) => {
                rest.drain(..count);
                idle = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                idle += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    server.is_unharmed();
    client.stream.set_nonblocking(false).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&rest).unwrap());
    for _ in 0..asked {
        assert_eq!(client.field("control_ping_reply", "retval"), 0);
    }
    writing.join().unwrap();
    client.ping();
}

#[test]
fn a_large_table_arrives_whole_however_slowly_it_is_read() {
    let api: String = (0..2000)
        .map(|n| format!("autoreply define a_message_with_a_rather_long_name_{n} {{ u32 client_index; u32 context; }};\n"))
        .collect();
    let server = Server::with(&api, |_| {}, Vec::new());
    let mut client = server.stranger();
    client.send(&[&[0, 15, 0, 0, 0, 1][..], &[b'n'; 64]].concat());
    let mut head = [0; HEADER];
    client.stream.read_exact(&mut head).unwrap();
    let length = message_len(&head) as usize;
    assert!(length > 100_000, "{length}");
    let mut message = Vec::new();
    while message.len() < length {
        let mut piece = [0; 777];
        let most = piece.len().min(length - message.len());
        let count = client.stream.read(&mut piece[..most]).unwrap();
        message.extend_from_slice(&piece[..count]);
    }
    let entry = server.contract.table().entry(16).unwrap();
    let view = entry.plan.view(&message).unwrap();
    assert_eq!(view.elements().unwrap().len(), server.contract.table().entries().len());
    client.index = view.u64("index").unwrap() as u32;
    client.ping();

    // All of it for whoever has no api.json.
    client.ask("get_api_json", &[]);
    let reply = client.read();
    let entry = server.contract.table().entry_named("get_api_json_reply").unwrap();
    let modules: serde_json::Value =
        serde_json::from_str(entry.plan.view(&reply).unwrap().text("json").unwrap()).unwrap();
    assert_eq!(modules.as_array().unwrap().len(), 4);
}

#[test]
fn ids_are_the_same_after_a_restart_and_an_index_is_new() {
    let (one, other) = (Server::start(), Server::start());
    let tables = [&one, &other].map(|server| {
        let reply = server.stranger().create();
        reply[server.contract.table().entry(16).unwrap().plan.fixed_len()..].to_vec()
    });
    assert!(tables[0] == tables[1]);
    let mut seen: Vec<u32> = (0..100).map(|_| one.client().index).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100, "an index is given twice");
}

#[test]
fn the_index_of_a_client_that_has_gone_reaches_no_newcomer() {
    let server = Server::with(API, |options| options.stream.max_clients = 1, Vec::new());
    let mut stale: Vec<Vec<u8>> = Vec::new();
    for number in 0..50u64 {
        let mut client = server.client();
        // All in the one slot that there is.
        assert_eq!(client.index & 0x8000_1fff, 0x8000_0001);
        for request in &stale {
            client.send(request);
        }
        client.ping();
        server
            .wait_for("the stale ones are counted", |stats| stats.ignored == number * (number + 1) / 2);
        stale.push(client.message("want_lights", &[("enable_disable", 1)]));
        // As its own, it is good.
        client.send(&stale[number as usize]);
        assert_eq!(client.field("want_lights_reply", "retval"), 0);
        drop(client);
        server.wait_for("it has left", |stats| stats.subscribers == 0);
    }
}
