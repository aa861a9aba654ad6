//! What a program answers to requests, at once, later, or never.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use herald::event::{Param, Value};
use herald::transport::vpp_api::{Handler, Request, publish_fields};
use herald_vpp_api::frame::header;

use super::server::*;

/// A handler that hands its requests out.
fn keep() -> (Handler, Receiver<Request>) {
    let (send, receive) = channel();
    (Box::new(move |request| send.send(request).unwrap()), receive)
}

#[test]
fn handlers_answer_at_once() {
    let set: Handler = Box::new(|mut request| {
        let number = request.fields().unwrap().u64("number").unwrap();
        request.reply(number as i32, [].into_iter()).unwrap();
    });
    let dump: Handler = Box::new(|request| {
        for number in 0..3 {
            let fields =
                [Param { name: "number", value: Value::Uint(number) }, Param::new("name", "lamp")];
            request.details(fields.into_iter()).unwrap();
        }
    });
    let get: Handler = Box::new(|mut request| {
        let details = [Param { name: "number", value: Value::Uint(7) }];
        request.details(details.into_iter()).unwrap();
        let cursor = [Param { name: "cursor", value: Value::Uint(u32::MAX.into()) }];
        request.reply(0, cursor.into_iter()).unwrap();
    });
    let handlers = vec![("light_set", set), ("lights_dump", dump), ("lights_get", get)];
    let server = Server::with(API, |_| {}, handlers);
    let mut client = server.client();
    assert_eq!(client.retval("light_set", &[("number", 12)]), 12);
    // As clients do: a ping says where the dump ends.
    client.ask("lights_dump", &[]);
    client.ask("control_ping", &[]);
    for number in 0..3 {
        assert_eq!(client.field("lights_details", "number"), number);
    }
    assert_eq!(client.field("control_ping_reply", "retval"), 0);
    client.ask("lights_get", &[("context", 33)]);
    assert_eq!(client.field("lights_details", "context"), 33);
    assert_eq!(client.field("lights_get_reply", "cursor"), i64::from(u32::MAX));
}

#[test]
fn what_nobody_answers_is_answered_all_the_same() {
    let server = Server::with(API, |_| {}, vec![("light_set", Box::new(drop) as Handler)]);
    let mut client = server.client();
    assert_eq!(client.retval("light_set", &[]), -1);
    client.ask("lights_get", &[]);
    assert_eq!(client.field("lights_get_reply", "retval"), -9);
    client.ask("lights_dump", &[]);
    client.ping();
    // What VPP does with them, nobody here does.
    assert_eq!(client.retval("sock_init_shm", &[]), -9);
    assert_eq!(client.retval("rpc_call", &[]), -9);
}

/// VPP has requests such as `dhcp_client_config`, which do something and bring events besides.
#[test]
fn a_request_that_brings_events_besides_is_the_programs_to_answer() {
    let api = "service {
            rpc lamp_set returns lamp_set_reply events lamp_event;
            rpc want_lamp_after returns want_lamp_after_reply events lamp_event;
        };
        autoreply define lamp_set { u32 client_index; u32 context; u32 number; u32 pid; };
        autoreply define want_lamp_after { u32 client_index; u32 context; u32 number; };
        define lamp_event { u32 client_index; u32 pid; u32 number; };";
    let set = || -> Handler {
        Box::new(|mut request| {
            let number = request.fields().unwrap().u64("number").unwrap();
            request.reply(number as i32, [].into_iter()).unwrap();
        })
    };
    let server = Server::with(api, |_| {}, vec![("lamp_set", set()), ("want_lamp_after", set())]);
    let mut client = server.client();
    assert_eq!(client.retval("lamp_set", &[("number", 3), ("pid", 42)]), 3);
    assert_eq!(client.retval("lamp_set", &[("number", 4)]), 4);
    assert_eq!(client.retval("want_lamp_after", &[("number", 5)]), 5);
    assert_eq!(client.retval("want_lamp_after", &[("number", 6)]), 6);
    let fields = [Param { name: "number", value: Value::Uint(5) }];
    publish_fields(&server.hub, &server.contract, "lamp_event", &fields).unwrap();
    assert_eq!(client.field("lamp_event", "pid"), 42);

    // Nobody does it here, however often it is asked; a registration goes without.
    let server = Server::with(api, |_| {}, Vec::new());
    let mut client = server.client();
    assert_eq!(client.retval("lamp_set", &[]), -9);
    assert_eq!(client.retval("lamp_set", &[]), -9);
    assert_eq!(server.contract.listeners(server.contract.table().id("lamp_event").unwrap()), 0);
    assert_eq!(client.retval("want_lamp_after", &[]), 0);
    assert_eq!(client.retval("want_lamp_after", &[]), -31);
}

/// As some of VPP's own replies have it.
#[test]
fn a_return_value_may_be_unsigned_or_part_of_details() {
    let api = "define wide_get { u32 client_index; u32 context; };
        define wide_get_reply { u32 context; u32 retval; };
        define small_get { u32 client_index; u32 context; };
        define small_get_reply { u32 context; u8 retval; u32 more; };
        define lamps_dump { u32 client_index; u32 context; };
        define lamps_details { u32 context; i32 retval; };";
    let dump: Handler = Box::new(|request| {
        let fields = [Param { name: "retval", value: Value::Int(-5) }];
        request.details(fields.into_iter()).unwrap();
    });
    let server = Server::with(api, |_| {}, vec![("small_get", Box::new(drop)), ("lamps_dump", dump)]);
    let mut client = server.client();
    assert_eq!(client.retval("wide_get", &[]), i64::from(-9i32 as u32));
    assert_eq!(client.retval("small_get", &[]), 255);
    client.ask("lamps_dump", &[]);
    assert_eq!(client.field("lamps_details", "retval"), -5);
}

#[test]
fn handlers_answer_later_from_another_thread_and_in_order() {
    let (set, sets) = keep();
    let (dump, dumps) = keep();
    let server = Server::with(API, |_| {}, vec![("light_set", set), ("lights_dump", dump)]);
    let mut client = server.subscriber();
    client.ask("light_set", &[("context", 1)]);
    client.ask("lights_dump", &[("context", 2)]);
    client.ask("control_ping", &[("context", 3)]);
    let (mut set, dump) = (sets.recv_timeout(SOON).unwrap(), dumps.recv_timeout(SOON).unwrap());
    // Events do not wait for replies, nor do other clients.
    server.publish(5);
    assert_eq!(client.number(), 5);
    server.client().ping();
    thread::spawn(move || {
        dump.details([Param { name: "number", value: Value::Uint(6) }].into_iter()).unwrap();
        drop(dump);
        let wrong = set.reply(0, [Param::new("nothing", "x")].into_iter()).unwrap_err();
        assert!(wrong.to_string().contains("nothing"), "{wrong}");
        set.reply(4, [].into_iter()).unwrap();
        set.reply(4, [].into_iter()).unwrap_err();
    })
    .join()
    .unwrap();
    assert_eq!(client.field("light_set_reply", "retval"), 4);
    assert_eq!(client.field("lights_details", "number"), 6);
    assert_eq!(client.field("control_ping_reply", "context"), 3);
}

#[test]
fn an_answer_to_a_client_that_has_gone_harms_nobody() {
    let (set, sets) = keep();
    let server = Server::with(API, |_| {}, vec![("light_set", set)]);
    let mut gone = server.client();
    gone.ask("light_set", &[]);
    let mut request = sets.recv_timeout(SOON).unwrap();
    drop(gone);
    server.wait_for("it has left", |stats| stats.subscribers == 0);
    let mut newcomer = server.client();
    request.reply(3, [].into_iter()).unwrap();
    newcomer.ping();

    // Nor does one after the end of the hub.
    let mut client = server.client();
    client.ask("light_set", &[]);
    let mut request = sets.recv_timeout(SOON).unwrap();
    drop(server);
    request.reply(3, [].into_iter()).unwrap();
}

/// Each dump has 35 kB; whoever reads none of them cannot have them all made.
#[test]
fn dumps_that_are_not_read_are_not_made() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let dump: Handler = Box::new(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        for number in 0..1000 {
            let fields = [Param { name: "number", value: Value::Uint(number) }];
            request.details(fields.into_iter()).unwrap();
        }
    });
    let server = Server::with(API, |_| {}, vec![("lights_dump", dump)]);
    let mut client = server.client();
    let dump = client.message("lights_dump", &[]);
    let dumps = [&header(dump.len() as u32)[..], &dump].concat().repeat(150);
    client.stream.write_all(&dumps).unwrap();
    server.client().ping();
    server.client().ping();
    let made = made.load(Ordering::SeqCst);
    assert!((1..50).contains(&made), "{made}");
    for _ in 0..150 {
        for number in 0..1000 {
            assert_eq!(client.field("lights_details", "number"), number);
        }
    }
    client.ping();
}

#[test]
fn long_requests_are_not_stored_without_end_either() {
    let api =
        "autoreply define light_show { u32 client_index; u32 context; u16 count; u8 scene[count]; };";
    let (show, shows) = keep();
    let server = Server::with(api, |_| {}, vec![("light_show", show)]);
    let mut client = server.client();
    let mut show = client.message("light_show", &[]);
    show.splice(10..12, 60_000u16.to_be_bytes());
    show.resize(12 + 60_000, b'x');
    let frame = [&header(show.len() as u32)[..], &show].concat();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || (0..50).for_each(|_| writer.write_all(&frame).unwrap()));
    let first = shows.recv_timeout(SOON).unwrap();
    let mut kept = vec![first, shows.recv_timeout(SOON).unwrap()];
    for number in 0..50 {
        server.client().ping();
        kept.extend(shows.try_iter());
        assert!(kept.len() <= 2, "{} at once", kept.len());
        if kept.is_empty() {
            kept.push(shows.recv_timeout(SOON).unwrap());
        }
        kept.remove(0).reply(number, [].into_iter()).unwrap();
        assert_eq!(client.field("light_show_reply", "retval"), i64::from(number));
    }
    writing.join().unwrap();
}

#[test]
fn requests_without_end_are_not_stored_without_end() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = kept.clone();
    let set: Handler = Box::new(move |request| keeper.lock().unwrap().push(request));
    let server = Server::with(API, |_| {}, vec![("light_set", set)]);
    let mut client = server.client();
    let count = 5000;
    let mut writer = Client { stream: client.stream.try_clone().unwrap(), ..server.client() };
    writer.index = client.index;
    let writing = thread::spawn(move || {
        for _ in 0..count {
            writer.ask("light_set", &[]);
        }
    });
    let (mut answered, mut most) = (0, 0);
    let end = Instant::now() + SOON;
    while answered < count {
        let requests = std::mem::take(&mut *kept.lock().unwrap());
        most = most.max(requests.len());
        for mut request in requests {
            request.reply(0, [].into_iter()).unwrap();
            assert_eq!(client.field("light_set_reply", "retval"), 0);
            answered += 1;
        }
        assert!(Instant::now() < end, "{answered} of {count} were answered");
        thread::yield_now();
    }
    assert!(most <= 1024, "{most} requests waited at once");
    writing.join().unwrap();
}
