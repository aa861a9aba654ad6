//! Herald's own module: any event, by name and typed parameters, and those of L2TP by their fields.

use herald::event::{Event, L2tp, L2tpKind, Param, Value};
use herald_vpp_api::builtin::{self, HERALD};
use herald_vpp_api::schema::TypeKind;

use super::server::*;

fn watcher(server: &Server, filter: &str) -> Client {
    let mut client = server.client();
    let want = [("enable_disable", 1), ("pid", 6)];
    client.ask_with("want_herald_events", &want, &[("filter", filter)]);
    assert_eq!(client.field("want_herald_events_reply", "retval"), 0);
    client
}

fn publish(server: &Server, name: &str) {
    server.hub.publish(&Event::new(name, &[])).unwrap();
}

/// The name and the number of the event that comes next.
fn next(client: &mut Client) -> (String, u64) {
    let message = client.read();
    let view = client.view("herald_event", &message);
    (view.text("name").unwrap().to_owned(), view.u64("sequence").unwrap())
}

#[test]
fn parameters_of_every_type_come_whole() {
    let server = Server::start();
    let mut client = watcher(&server, "");
    let long: Vec<u8> = (0..150).collect();
    let values = [
        Value::Null,
        Value::Int(-5),
        Value::Uint(u64::MAX),
        Value::Float(-0.5),
        Value::Bool(true),
        Value::Str(b"no UTF-8: \xff"),
        Value::Str(b""),
        Value::Bytes(&long),
    ];
    let params: Vec<Param> = values.map(|value| Param { name: "p", value }).to_vec();
    server.hub.publish(&Event::new("E_ALL", &params)).unwrap();
    let message = client.read();
    let view = client.view("herald_event", &message);
    let params: Vec<(u64, u64, &[u8])> = view
        .elements()
        .unwrap()
        .map(|param| {
            assert_eq!(param.text("name"), Some("p"));
            let length = param.u64("length").unwrap() as usize;
            let data = &param.bytes("data").unwrap()[..length];
            (param.u64("type").unwrap(), param.u64("number").unwrap(), data)
        })
        .collect();
    let expected: [(u64, u64, &[u8]); 10] = [
        (0, 0, b""),
        (1, -5i64 as u64, b""),
        (2, u64::MAX, b""),
        (3, (-0.5f64).to_bits(), b""),
        (4, 1, b""),
        (5, 0, b"no UTF-8: \xff"),
        (5, 0, b""),
        (6, 0, &long[..64]),
        (7, 0, &long[64..128]),
        (7, 0, &long[128..]),
    ];
    assert_eq!(params, expected);
}

#[test]
fn names_that_vpp_papi_would_stop_on_are_left_out_and_counted() {
    let server = Server::start();
    let mut client = watcher(&server, "");
    publish(&server, "E_\u{e9}");
    publish(&server, &"E".repeat(64));
    server.hub.publish(&Event::new("E_X", &[Param::new("\u{e9}", "x")])).unwrap();
    publish(&server, &"E".repeat(63));
    assert_eq!(next(&mut client), ("E".repeat(63), 4));
}

#[test]
fn a_filter_chooses_by_name() {
    let server = Server::start();
    let mut client = watcher(&server, "E_A_*, *_UP ,E_ONLY,");
    for name in ["E_B", "E_A_1", "E_A", "E_B_UP", "E_ONLY_X", "E_ONLY", "*"] {
        publish(&server, name);
    }
    let came: Vec<(String, u64)> = (0..3).map(|_| next(&mut client)).collect();
    assert_eq!(came, [("E_A_1".into(), 2), ("E_B_UP".into(), 4), ("E_ONLY".into(), 6)]);
    client.ping();
}

#[test]
fn l2tp_events_of_every_kind_have_their_fields() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.retval("want_l2tp_session_events", &[("enable_disable", 1), ("pid", 6)]), 0);
    let module = builtin::module(HERALD).unwrap();
    let TypeKind::Enum(kinds) = &module.type_named("l2tp_event_kind").unwrap().1.kind else { panic!() };
    for (kind, number) in L2tpKind::ALL.into_iter().zip(1..) {
        let l2tp = L2tp { tunnel_id: 1, session_id: 2, peer_tunnel_id: 3, peer_session_id: 4, kind };
        server.hub.publish(&l2tp.into()).unwrap();
        let message = client.read();
        let view = client.view("l2tp_session_event", &message);
        let entry = kinds.entries.iter().find(|entry| entry.value == view.i64("kind").unwrap());
        let name = entry.unwrap().name.replace("L2TP_EVENT", "E_L2TP");
        assert_eq!(name, kind.name());
        assert_eq!((view.u64("sequence"), view.u64("pid")), (Some(number), Some(6)));
        for (field, value) in
            [("tunnel_id", 1), ("session_id", 2), ("peer_tunnel_id", 3), ("peer_session_id", 4)]
        {
            let published = kind.param_names().contains(&field);
            assert_eq!(view.u64(field), Some(if published { value } else { 0 }), "{name}: {field}");
        }
    }
    // What is called like one, but is none, is a generic event at most.
    publish(&server, "E_L2TP_SESSION_UP");
    client.ping();
}

#[test]
fn statistics_name_clients_in_ascii() {
    let server = Server::start();
    let mut client = server.stranger();
    let mut create = [&[0, 15, 0, 0, 0, 1][..], "caf\u{e9} \u{2603}".as_bytes()].concat();
    create.resize(70, 0);
    client.send(&create);
    let message = client.read();
    client.index = client.view("sockclnt_create_reply", &message).u64("index").unwrap() as u32;
    client.ask("herald_stats_dump", &[]);
    let message = client.read();
    let view = client.view("herald_stats_details", &message);
    assert_eq!((view.text("transport"), view.text("subscriber")), (Some("vpp_api"), Some("caf")));
}
