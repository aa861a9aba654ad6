//! The server of openl2tpd's event socket.

use std::path::PathBuf;

use super::listener::{Allow, ListenError, ListenOptions};
use super::stream::{Protocol, StreamOptions, StreamServer};
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
            listen: ListenOptions {
                path: PathBuf::from(Self::DEFAULT_PATH),
                mode: 0o660,
                owner: None,
                group: None,
                allow: Allow::default(),
            },
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
    type Frame = Frame;

    const NAME: &'static str = "event_sock";
    const LOST_RECORD: LostRecord = encode_lost;

    fn encode(&mut self, event: &Event<'_>) -> Option<Frame> {
        Frame::encode(event)
    }

    fn bytes(frame: &Frame) -> &[u8] {
        frame.bytes()
    }

    fn wants(client: &EventSockClient, frame: &Frame) -> bool {
        client.mask & frame.bit() != 0
    }

    fn wants_any(client: &EventSockClient) -> bool {
        client.mask & !EVENTS_LOST != 0
    }

    fn wants_losses(client: &EventSockClient) -> bool {
        client.mask & EVENTS_LOST != 0
    }

    fn receive(&mut self, client: &mut EventSockClient, mut bytes: &[u8]) -> Result<(), String> {
        loop {
            match client.parser.next(&mut bytes) {
                Ok(Some(request)) => client.mask = request.amend(client.mask),
                Ok(None) => return Ok(()),
                Err(bad) => return Err(format!("a request's length is 1, this one's is {}", bad.0)),
            }
        }
    }
}
