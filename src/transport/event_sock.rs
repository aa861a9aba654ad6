//! The server of openl2tpd's event socket.

use super::listener::{ListenError, ListenOptions};
use super::stream::{Batch, ClientId, Protocol, Received, StreamOptions, StreamServer};
use crate::event::Event;
use crate::hub::{LostRecord, Overflow};
use crate::log::Log;
use crate::wire::event_sock::{EVENTS_LOST, Frame, RequestParser, encode_lost};

/// The server: clients of the event socket's protocol.
pub type EventSock = StreamServer<EventSockProtocol>;

impl EventSock {
    /// Where openl2tpd's clients look for the socket.
    pub const DEFAULT_PATH: &'static str = "/tmp/openl2tpd.evt";

    /// The options that a drop-in replacement for openl2tpd's own plugin has.
    pub fn default_options() -> StreamOptions {
        StreamOptions {
            listen: ListenOptions::at(Self::DEFAULT_PATH),
            max_clients: 5,
            queue_bytes: 262_144,
            overflow: Overflow::DropNewest,
        }
    }

    /// Binds the socket; clients are served once the server has been added to a hub.
    pub fn listen(options: StreamOptions, log: Log) -> Result<Self, ListenError> {
        StreamServer::bind(EventSockProtocol, options, log)
    }
}

/// The protocol, as [`StreamServer`] needs it.
#[derive(Debug, Default)]
pub struct EventSockProtocol;

/// What is remembered of a client: its mask, and the request that it is in the middle of.
#[derive(Debug, Default)]
pub struct EventSockClient {
    mask: u16,
    parser: RequestParser,
}

impl Protocol for EventSockProtocol {
    type Client = EventSockClient;
    /// A bit of the masks.
    type Topic = u16;

    const NAME: &'static str = "event_sock";

    fn connected(&mut self, _id: ClientId) -> EventSockClient {
        EventSockClient::default()
    }

    fn encode(&mut self, event: &Event<'_>, batch: &mut Batch<u16>) {
        if let Some(frame) = Frame::encode(event) {
            batch.push(frame.bit(), frame.bytes());
        }
    }

    fn wants(client: &EventSockClient, bit: &u16) -> bool {
        client.mask & bit != 0
    }

    fn wants_any(client: &EventSockClient) -> bool {
        client.mask & !EVENTS_LOST != 0
    }

    fn lost_record(&self, client: &EventSockClient) -> Option<LostRecord> {
        (client.mask & EVENTS_LOST != 0).then(|| Box::new(encode_lost) as LostRecord)
    }

    fn receive(
        &mut self,
        client: &mut EventSockClient,
        bytes: &mut &[u8],
        _replies: &mut Vec<u8>,
    ) -> Result<Received, String> {
        match client.parser.next(bytes) {
            Ok(Some(request)) => client.mask = request.amend(client.mask),
            Ok(None) => {}
            Err(bad) => return Err(format!("a request's length is 1, this one's is {}", bad.0)),
        }
        Ok(Received::Understood)
    }
}
