//! Herald: the real hub, queues and stream server, with a protocol of 64-byte frames, or as is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use herald::event::{Event, L2tp, L2tpKind, Param, Value};
use herald::hub::{Hub, HubOptions, LostRecord, SubscriberStats, Transport};
use herald::log::Log;
use herald::transport::event_sock;
use herald::transport::stream::{Batch, ClientId, Protocol, Received, StreamOptions, StreamServer};

use super::Contestant;
use crate::clock;
use crate::frame::{Frame, SIZE, TEXT};
use crate::wire;

/// Bytes that may wait for one client: the default.
pub const QUEUE_BYTES: usize = 262_144;

/// When a publisher waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Never: what does not fit is lost and told.
    Never,
    /// For 50 µs, when the hub refuses an event.
    RingFull,
    /// Until the slowest subscriber has all but the last 2000 events, as the statistics say. Then
    /// nothing is ever lost.
    Slowest,
}

/// How many events the slowest subscriber may be behind: half a queue.
const WINDOW: u64 = 2000;

const PAUSE: u64 = 50_000;

/// Frames of 64 bytes to whoever has sent a byte. Losses are told.
struct FrameProtocol;

impl Protocol for FrameProtocol {
    /// Whether it has subscribed.
    type Client = bool;
    type Topic = ();

    const NAME: &'static str = "frames";

    fn connected(&mut self, _id: ClientId) -> bool {
        false
    }

    fn encode(&mut self, event: &Event<'_>, batch: &mut Batch<()>) {
        let mut params = event.params().map(|param| param.value);
        if let (Some(Value::Uint(number)), Some(Value::Uint(stamp)), Some(Value::Bytes(text))) =
            (params.next(), params.next(), params.next())
        {
            let mut bytes = Frame::Event { number, stamp }.bytes();
            bytes[SIZE - TEXT.len()..].copy_from_slice(text);
            batch.push((), &bytes);
        }
    }

    fn wants(client: &bool, _topic: &()) -> bool {
        *client
    }

    fn wants_any(client: &bool) -> bool {
        *client
    }

    fn lost_record(&self, client: &bool) -> Option<LostRecord> {
        client.then(|| {
            Box::new(|count, frame: &mut Vec<u8>| frame.extend(Frame::Lost(count).bytes())) as LostRecord
        })
    }

    fn receive(
        &mut self,
        client: &mut bool,
        bytes: &mut &[u8],
        _replies: &mut Vec<u8>,
    ) -> Result<Received, String> {
        *bytes = &[];
        *client = true;
        Ok(Received::Understood)
    }
}

/// The options of the event socket, but for a path of our own and more clients.
fn options(path: &Path) -> StreamOptions {
    let mut options = event_sock::EventSock::default_options();
    options.listen.path = path.to_path_buf();
    options.max_clients = StreamOptions::MAX_CLIENTS;
    options.queue_bytes = QUEUE_BYTES;
    options
}

fn log() -> Log {
    Log::new(|level, message| {
        if level < herald::log::Level::Info {
            eprintln!("{message}");
        }
    })
}

fn serve(transport: impl Transport + 'static) -> Result<Arc<Hub>> {
    let hub = Hub::start(HubOptions::default(), log())?;
    hub.add(Box::new(transport))?;
    hub.attach_thread()?;
    Ok(Arc::new(hub))
}

/// The hub with a server of 64-byte frames.
pub(super) struct Frames {
    hub: Arc<Hub>,
    waiting: Waiting,
    subscribers: Vec<Arc<SubscriberStats>>,
    /// Accounts of the subscribers when all of them were there.
    base: Vec<u64>,
    published: u64,
    /// How many events the slowest subscriber is known to have got.
    got: u64,
}

impl Frames {
    pub(super) fn start(path: &Path, waiting: Waiting) -> Result<Self> {
        let hub = serve(StreamServer::bind(FrameProtocol, options(path), log())?)?;
        Ok(Frames { hub, waiting, subscribers: Vec::new(), base: Vec::new(), published: 0, got: 0 })
    }

    fn wait_for_slowest(&mut self) {
        while self.published - self.got >= WINDOW && !self.subscribers.is_empty() {
            let got = self
                .subscribers
                .iter()
                .zip(&self.base)
                .map(|(subscriber, base)| account(subscriber) - base);
            self.got = got.min().unwrap_or(self.published);
            if self.published - self.got >= WINDOW {
                clock::sleep_until(clock::now() + PAUSE);
            }
        }
    }
}

fn account(subscriber: &SubscriberStats) -> u64 {
    subscriber.delivered.get() + subscriber.dropped.get()
}

impl Contestant for Frames {
    #[inline]
    fn publish(&mut self, number: u64, stamp: u64) -> bool {
        if self.waiting == Waiting::Slowest {
            self.wait_for_slowest();
        }
        let params = [
            Param { name: "number", value: Value::Uint(number) },
            Param { name: "stamp", value: Value::Uint(stamp) },
            Param { name: "text", value: Value::Bytes(TEXT) },
        ];
        let published = self.hub.publish(&Event::new("E_BENCH", &params)).is_ok();
        self.published += 1;
        if !published && self.waiting == Waiting::RingFull {
            clock::sleep_until(clock::now() + PAUSE);
        }
        published
    }

    /// Called when nothing is under way.
    fn complete(&mut self) {
        // The worker counts after it has written: what is on its way is counted by then.
        std::thread::sleep(Duration::from_millis(5));
        self.subscribers = self.hub.subscribers();
        self.base = self.subscribers.iter().map(|subscriber| account(subscriber)).collect();
        self.published = 0;
        self.got = 0;
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        Some(self.hub.clone())
    }
}

/// The event socket, as openl2tpd's clients use it.
pub(super) struct EventSock {
    hub: Arc<Hub>,
}

impl EventSock {
    pub(super) fn start(path: &Path) -> Result<Self> {
        let hub = serve(event_sock::EventSock::listen(options(path), log())?)?;
        Ok(EventSock { hub })
    }
}

impl Contestant for EventSock {
    #[inline]
    fn publish(&mut self, number: u64, stamp: u64) -> bool {
        let [tunnel_id, session_id, peer_tunnel_id, peer_session_id] =
            wire::event_sock::identifiers(number, stamp);
        let kind = L2tpKind::SessionUp;
        let event = L2tp { kind, tunnel_id, session_id, peer_tunnel_id, peer_session_id };
        self.hub.publish(&event.into()).is_ok()
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        Some(self.hub.clone())
    }
}
