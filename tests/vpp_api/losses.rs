//! No client is left believing that it saw everything when it did not.

use std::time::Instant;

use herald::event::{Event, Param, Value};
use herald::hub::{HubOptions, HubStats};
use herald::transport::vpp_api::publish_fields;
use herald_vpp_api::frame::message_id;

use super::server::*;

#[test]
fn no_event_follows_the_reply_that_ends_the_last_registration() {
    let server = Server::start();
    let mut client = server.subscriber();
    let published = 10_000;
    for number in 0..published {
        // One that finds the ring full is lost, and counted.
        let fields = [Param { name: "number", value: Value::Uint(number) }];
        let _ = publish_fields(&server.hub, &server.contract, "light_event", &fields);
    }
    let account = |stats: &HubStats| stats.delivered + stats.dropped;
    let waits = || server.hub.subscribers()[0].queued_bytes.get() > 0;
    server.wait_for("events wait", |_| waits());
    client.ask("want_lights", &[("enable_disable", 0)]);
    server.wait_for("every event is accounted for", |stats| account(&stats) == published);
    client.ask("control_ping", &[]);
    let reply = server.contract.table().id("want_lights_reply");
    let mut seen = 0;
    while message_id(&client.read()) != reply {
        seen += 1;
    }
    assert_eq!(client.field("control_ping_reply", "retval"), 0);
    assert_eq!(seen, server.hub.stats().delivered);
    server.publish(7);
    client.ping();
}

/// Events faster than the client reads, and what it is told of them: each is numbered, the first
/// `first`, and comes or is among those that are lost in its place, be it in the ring (`publish` is
/// false) or in the queue.
fn is_told_what_it_missed(
    server: &Server,
    client: &mut Client,
    (event, number): (&str, &str),
    first: u64,
    publish: impl Fn(&[Param<'_>]) -> bool,
) {
    let (mut published, mut refused, end) = (0, 0, Instant::now() + SOON);
    while refused == 0 || server.hub.stats().dropped <= refused {
        for number in published..published + 5000 {
            refused += u64::from(!publish(&[Param { name: "number", value: Value::Uint(number) }]));
        }
        published += 5000;
        assert!(Instant::now() < end, "nothing is lost of {published} events");
    }
    let entry = |name| server.contract.table().entry_named(name).unwrap();
    let (event, lost) = (entry(event), entry("herald_events_lost"));
    let (mut next, mut gaps) = (first, 0);
    while next < first + published {
        let message = client.read();
        if message_id(&message) == Some(lost.id) {
            let record = lost.plan.view(&message).unwrap();
            assert_eq!(record.u64("pid"), Some(6));
            next += record.u64("count").unwrap();
            gaps += 1;
        } else {
            assert_eq!(event.plan.view(&message).unwrap().u64(number), Some(next));
            next += 1;
        }
    }
    assert_eq!(next, first + published);
    assert!(gaps > 0, "nothing was lost");
}

fn little_room() -> Server {
    let hub = HubOptions { ring_bytes: 4096, ..HubOptions::default() };
    Server::in_hub(hub, API, |options| options.stream.queue_bytes = 65_536, Vec::new())
}

#[test]
fn losses_are_told_in_their_place_among_the_events_of_any_module() {
    let server = little_room();
    let mut client = server.subscriber();
    let want = [("enable_disable", 1), ("pid", 6)];
    assert_eq!(client.retval("want_herald_events_lost", &want), 0);
    assert_eq!(client.retval("want_herald_events_lost", &want), -31);
    is_told_what_it_missed(&server, &mut client, ("light_event", "number"), 0, |fields| {
        publish_fields(&server.hub, &server.contract, "light_event", fields).is_ok()
    });
}

#[test]
fn losses_agree_with_the_numbers_of_events() {
    let server = little_room();
    let mut client = server.client();
    assert_eq!(client.retval("want_herald_events", &[("enable_disable", 1), ("pid", 6)]), 0);
    is_told_what_it_missed(&server, &mut client, ("herald_event", "sequence"), 1, |params| {
        server.hub.publish(&Event::new("E_LIGHT", params)).is_ok()
    });
}
