//! Events of an API on their way to the hub: encoded, and checked, on the publisher's thread.

use std::cell::Cell;
use std::fmt;

use herald_vpp_api::codec::{DecodeError, EncodeError};

use crate::event::{Encoded, Event, Param};
use crate::hub::{Hub, PublishError};
use crate::wire::vpp_api::{Contract, EventError};

/// Why an event was not published.
#[derive(Debug)]
pub enum Refused {
    /// No module has an event of this name.
    NoEvent(String),
    /// A field does not fit the event of this name.
    Field(String, EncodeError),
    /// The bytes are not an event of this name.
    Packed(String, DecodeError),
    /// The hub does not take it.
    Hub(PublishError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoEvent(name) => {
                write!(f, "no service of a module that is served has an event '{name}'")
            }
            Refused::Field(name, error) => write!(f, "{name}: {error}"),
            Refused::Packed(name, error) => write!(f, "{name}: {error}"),
            Refused::Hub(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

thread_local! {
    /// Where events are encoded. It is taken out meanwhile, so that a publish that is abandoned half-way
    /// loses the buffer and nothing else.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Publishes an event made of named fields to all that have registered for it.
///
/// # Errors
/// What does not fit the event is not cut: nothing is published then.
pub fn publish_fields(
    hub: &Hub,
    contract: &Contract,
    name: &str,
    fields: &[Param<'_>],
) -> Result<(), Refused> {
    publish(hub, contract, name, |frame| contract.encode_event(name, fields, frame))
}

/// Publishes an event that is encoded already: the whole message with its id, which is filled in.
///
/// # Errors
/// If it is not as long as it says, or as its definition wants.
pub fn publish_packed(
    hub: &Hub,
    contract: &Contract,
    name: &str,
    message: &[u8],
) -> Result<(), Refused> {
    publish(hub, contract, name, |frame| contract.frame_event(name, message, frame))
}

fn publish(
    hub: &Hub,
    contract: &Contract,
    name: &str,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EventError>,
) -> Result<(), Refused> {
    let mut frame = SCRATCH.take();
    frame.clear();
    let encoded = encode(&mut frame).map_err(|error| match error {
        EventError::NoEvent => Refused::NoEvent(name.to_owned()),
        EventError::Field(error) => Refused::Field(name.to_owned(), error),
        EventError::Packed(error) => Refused::Packed(name.to_owned(), error),
    });
    let published = encoded.and_then(|()| {
        let encoded = Encoded { schema: contract.schema(), bytes: &frame };
        hub.publish(&Event::encoded(encoded)).map_err(Refused::Hub)
    });
    SCRATCH.set(frame);
    published
}
