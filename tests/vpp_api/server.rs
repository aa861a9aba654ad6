//! A server of a small module, and its clients, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use herald::event::{Param, Value};
use herald::hub::{Hub, HubOptions, HubStats, PublishError};
use herald::log::Log;
use herald::transport::vpp_api::{Handler, Refused, VppApi, VppApiOptions, publish_fields};
use herald::wire::vpp_api::Contract;
use herald_vpp_api::codec::View;
use herald_vpp_api::frame::{HEADER, header, message_id, message_len};
use tempfile::TempDir;

/// How long anything that ought to happen may take, on a loaded machine.
pub const SOON: Duration = Duration::from_secs(20);

pub const API: &str = "
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

pub struct Server {
    pub hub: Hub,
    pub contract: Arc<Contract>,
    pub socket: PathBuf,
    _directory: TempDir,
}

impl Server {
    pub fn start() -> Server {
        Self::with(API, |_| {}, Vec::new())
    }

    pub fn with(
        api: &str,
        amend: impl FnOnce(&mut VppApiOptions),
        handlers: Vec<(&str, Handler)>,
    ) -> Server {
        Self::in_hub(HubOptions::default(), api, amend, handlers)
    }

    pub fn in_hub(
        hub: HubOptions,
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
        let hub = Hub::start(hub, Log::silent()).unwrap();
        let handlers = handlers.into_iter().map(|(name, handler)| (name.to_owned(), handler)).collect();
        let (server, contract) = VppApi::listen(options, handlers, &hub, Log::silent()).unwrap();
        hub.add(Box::new(server)).unwrap();
        Server { hub, contract, socket, _directory: directory }
    }

    pub fn stranger(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Client { stream, index: 0, contract: self.contract.clone() }
    }

    pub fn client(&self) -> Client {
        let mut client = self.stranger();
        client.create();
        client
    }

    pub fn subscriber(&self) -> Client {
        let mut client = self.client();
        assert_eq!(client.retval("want_lights", &[("enable_disable", 1), ("pid", 5)]), 0);
        client
    }

    /// Publishes, and waits for room in the ring.
    pub fn publish(&self, number: u32) {
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

    pub fn wait_for(&self, what: &str, look: impl Fn(HubStats) -> bool) {
        let end = Instant::now() + SOON;
        while !look(self.hub.stats()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.hub.stats());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What must be true after any client.
    pub fn is_unharmed(&self) {
        let mut client = self.subscriber();
        self.publish(77);
        assert_eq!(client.number(), 77);
        client.ping();
    }
}

pub struct Client {
    pub stream: UnixStream,
    pub index: u32,
    pub contract: Arc<Contract>,
}

impl Client {
    pub fn create(&mut self) -> Vec<u8> {
        self.send(&[&[0, 15, 0, 0, 0, 1][..], b"raw", &[0; 61]].concat());
        let reply = self.read();
        assert_eq!(message_id(&reply), Some(16), "the reply to create comes first");
        let entry = self.contract.table().entry(16).unwrap();
        self.index = entry.plan.view(&reply).unwrap().u64("index").unwrap() as u32;
        reply
    }

    /// A request; its context is 9 unless it is given.
    pub fn message(&self, name: &str, fields: &[(&str, u64)]) -> Vec<u8> {
        self.message_with(name, fields, &[])
    }

    /// The same with fields that are text.
    fn message_with(&self, name: &str, fields: &[(&str, u64)], texts: &[(&str, &str)]) -> Vec<u8> {
        let entry = self.contract.table().entry_named(name).unwrap();
        let mut out = Vec::new();
        let mut message = entry.plan.encoder(entry.id, &mut out);
        message.put("client_index", self.index).unwrap();
        message.put("context", 9).unwrap();
        for (name, value) in fields {
            message.put(name, *value).unwrap();
        }
        for (name, text) in texts {
            message.put(name, *text).unwrap();
        }
        message.finish().unwrap();
        out
    }

    pub fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&[&header(message.len() as u32)[..], message].concat()).unwrap();
    }

    pub fn ask(&mut self, name: &str, fields: &[(&str, u64)]) {
        let message = self.message(name, fields);
        self.send(&message);
    }

    pub fn ask_with(&mut self, name: &str, fields: &[(&str, u64)], texts: &[(&str, &str)]) {
        let message = self.message_with(name, fields, texts);
        self.send(&message);
    }

    pub fn read(&mut self) -> Vec<u8> {
        let mut head = [0; HEADER];
        self.stream.read_exact(&mut head).unwrap();
        let mut message = vec![0; message_len(&head) as usize];
        self.stream.read_exact(&mut message).unwrap();
        message
    }

    /// A message that was read, which must be this one.
    pub fn view<'m>(&'m self, name: &str, message: &'m [u8]) -> View<'m> {
        let entry = self.contract.table().entry_named(name).unwrap();
        assert_eq!(message_id(message), Some(entry.id), "{name}: {message:?}");
        entry.plan.view(message).unwrap()
    }

    /// Reads a message, which must be this one; its field.
    pub fn field(&mut self, name: &str, field: &str) -> i64 {
        let message = self.read();
        self.view(name, &message).i64(field).unwrap()
    }

    pub fn retval(&mut self, request: &str, fields: &[(&str, u64)]) -> i64 {
        self.ask(request, fields);
        self.field(&format!("{request}_reply"), "retval")
    }

    pub fn number(&mut self) -> i64 {
        self.field("light_event", "number")
    }

    pub fn ping(&mut self) {
        assert_eq!(self.retval("control_ping", &[]), 0);
    }

    /// The connection is closed, and nothing comes before that.
    pub fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{rest:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}
