//! The promise: the server of the VPP API keeps to its protocol whatever its clients do: replies come in
//! order and always, events go to whoever registered, and nonsense ends one connection at most.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use herald::event::{Event, Param, Value};
use herald::hub::{Hub, HubOptions, HubStats, PublishError};
use herald::log::Log;
use herald::transport::vpp_api::{Handler, Refused, Request, VppApi, VppApiOptions, publish_fields};
use herald::wire::vpp_api::Contract;
use herald_vpp_api::frame::{HEADER, header, message_id, message_len};
use tempfile::TempDir;

/// How long anything that ought to happen may take, on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

const API: &str = "
    service {
        rpc want_lights returns want_lights_reply events light_event;
        rpc lights_get returns lights_get_reply stream lights_details;
    };
    autoreply define want_lights { u32 client_index; u32 context; bool enable_disable; u32 pid; };
    define light_event { u32 client_index; u32 pid; u32 number; u16 count; u8 note[count]; };
    autoreply define light_set { u32 client_index; u32 context; u32 number; };
    define lights_dump { u32 client_index; u32 context; };
    define lights_details { u32 context; u32 number; string name[8]; };
    define lights_get { u32 client_index; u32 context; u32 cursor; };
    define lights_get_reply { u32 context; i32 retval; u32 cursor; };
";

struct Server {
    hub: Hub,
    contract: Arc<Contract>,
    socket: PathBuf,
    _directory: TempDir,
}

impl Server {
    fn start() -> Server {
        Self::with(API, |_| {}, Vec::new())
    }

    fn with(
        api: &str,
        amend: impl FnOnce(&mut VppApiOptions),
        handlers: Vec<(&str, Handler)>,
    ) -> Server {
        let directory = tempfile::Builder::new().prefix("herald").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("api")).unwrap();
        std::fs::write(directory.path().join("api/lights.api"), api).unwrap();
        let socket = directory.path().join("api.sock");
        let mut options = VppApiOptions::default();
        options.stream.listen.path = socket.clone();
        options.directories.push(directory.path().join("api"));
        amend(&mut options);
        let hub = Hub::start(HubOptions::default(), Log::silent()).unwrap();
        let handlers = handlers.into_iter().map(|(name, handler)| (name.to_owned(), handler)).collect();
        let (server, contract) = VppApi::listen(options, handlers, &hub, Log::silent()).unwrap();
        hub.add(Box::new(server)).unwrap();
        Server { hub, contract, socket, _directory: directory }
    }

    fn stranger(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Client { stream, index: 0, contract: self.contract.clone() }
    }

    fn client(&self) -> Client {
        let mut client = self.stranger();
        client.create();
        client
    }

    fn subscriber(&self) -> Client {
        let mut client = self.client();
        assert_eq!(client.retval("want_lights", &[("enable_disable", 1), ("pid", 5)]), 0);
        client
    }

    /// Publishes, and waits for room in the ring.
    fn publish(&self, number: u32) {
        let fields = [
            Param { name: "number", value: Value::Uint(number.into()) },
            Param { name: "note", value: Value::Bytes(&[b'x'; 30]) },
        ];
        let end = Instant::now() + SOON;
        loop {
            match publish_fields(&self.hub, &self.contract, "light_event", &fields) {
                Ok(()) => return,
                Err(Refused::Hub(PublishError::RingFull)) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < end, "the ring stays full");
        }
    }

    fn wait_for(&self, what: &str, look: impl Fn(HubStats) -> bool) {
        let end = Instant::now() + SOON;
        while !look(self.hub.stats()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.hub.stats());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What must be true after any client.
    fn is_unharmed(&self) {
        let mut client = self.subscriber();
        self.publish(77);
        assert_eq!(client.number(), 77);
        client.ping();
    }
}

struct Client {
    stream: UnixStream,
    index: u32,
    contract: Arc<Contract>,
}

impl Client {
    fn create(&mut self) -> Vec<u8> {
        self.send(&[&[0, 15, 0, 0, 0, 1][..], b"raw", &[0; 61]].concat());
        let reply = self.read();
        assert_eq!(message_id(&reply), Some(16), "the reply to create comes first");
        let entry = self.contract.table().entry(16).unwrap();
        self.index = entry.plan.view(&reply).unwrap().u64("index").unwrap() as u32;
        reply
    }

    /// A request; its context is 9 unless it is given.
    fn message(&self, name: &str, fields: &[(&str, u64)]) -> Vec<u8> {
        let entry = self.contract.table().entry_named(name).unwrap();
        let mut out = Vec::new();
        let mut message = entry.plan.encoder(entry.id, &mut out);
        message.put("client_index", self.index).unwrap();
        message.put("context", 9).unwrap();
        for (name, value) in fields {
            message.put(name, *value).unwrap();
        }
        message.finish().unwrap();
        out
    }

    fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&[&header(message.len() as u32)[..], message].concat()).unwrap();
    }

    fn ask(&mut self, name: &str, fields: &[(&str, u64)]) {
        let message = self.message(name, fields);
        self.send(&message);
    }

    fn read(&mut self) -> Vec<u8> {
        let mut head = [0; HEADER];
        self.stream.read_exact(&mut head).unwrap();
        let mut message = vec![0; message_len(&head) as usize];
        self.stream.read_exact(&mut message).unwrap();
        message
    }

    /// Reads a message, which must be this one; its field.
    fn field(&mut self, name: &str, field: &str) -> i64 {
        let (message, entry) = (self.read(), self.contract.table().entry_named(name).unwrap());
        assert_eq!(message_id(&message), Some(entry.id), "{name}: {message:?}");
        entry.plan.view(&message).unwrap().i64(field).unwrap()
    }

    fn retval(&mut self, request: &str, fields: &[(&str, u64)]) -> i64 {
        self.ask(request, fields);
        self.field(&format!("{request}_reply"), "retval")
    }

    fn number(&mut self) -> i64 {
        self.field("light_event", "number")
    }

    fn ping(&mut self) {
        assert_eq!(self.retval("control_ping", &[]), 0);
    }

    /// The connection is closed, and nothing comes before that.
    fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{rest:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

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
/// `first`, and comes or is among those that are lost in its place.
fn is_told_what_it_missed(
    server: &Server,
    client: &mut Client,
    (event, number): (&str, &str),
    first: u64,
    publish: impl Fn(&[Param<'_>]),
) {
    let (mut published, end) = (0, Instant::now() + SOON);
    while server.hub.stats().dropped == 0 {
        for number in published..published + 5000 {
            // One that finds the ring full is lost, too.
            publish(&[Param { name: "number", value: Value::Uint(number) }]);
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

fn small_queues() -> Server {
    Server::with(API, |options| options.stream.queue_bytes = 65_536, Vec::new())
}

#[test]
fn losses_are_told_in_their_place_among_the_events_of_any_module() {
    let server = small_queues();
    let mut client = server.subscriber();
    let want = [("enable_disable", 1), ("pid", 6)];
    assert_eq!(client.retval("want_herald_events_lost", &want), 0);
    assert_eq!(client.retval("want_herald_events_lost", &want), -31);
    is_told_what_it_missed(&server, &mut client, ("light_event", "number"), 0, |fields| {
        let _ = publish_fields(&server.hub, &server.contract, "light_event", fields);
    });
}

#[test]
fn losses_agree_with_the_numbers_of_events() {
    let server = small_queues();
    let mut client = server.client();
    assert_eq!(client.retval("want_herald_events", &[("enable_disable", 1), ("pid", 6)]), 0);
    is_told_what_it_missed(&server, &mut client, ("herald_event", "sequence"), 1, |params| {
        let _ = server.hub.publish(&Event::new("E_LIGHT", params));
    });
}

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
