//! Events of an API on their way to the hub: encoded, and checked, on the publisher's thread.

use std::cell::Cell;
use std::fmt;

use herald_vpp_api::codec::{DecodeError, EncodeError, EncodeFault, Encoder, Field};
use herald_vpp_api::table::Entry;

use crate::event::{Encoded, Event, Param, Value};
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

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Refused::Hub(error)
    }
}

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
    let encode = |frame: &mut Vec<u8>| contract.encode_event(name, fields, frame);
    let refused = |error| match error {
        EventError::NoEvent => Refused::NoEvent(name.to_owned()),
        EventError::Field(error) => Refused::Field(name.to_owned(), error),
    };
    Ok(publish(hub, contract, encode).map_err(refused)??)
}

/// The same, and faster, for what is published most often: fields that have been looked up already are
/// given values that fit. None if `fill` says that it is not that, and then nothing is published:
/// [`publish_fields`] sees to it.
#[inline(always)]
pub fn publish_found(
    hub: &Hub,
    contract: &Contract,
    event: &Entry,
    fill: impl FnOnce(&mut Encoder<'_>) -> Option<()>,
) -> Option<Result<(), PublishError>> {
    let encode = |frame: &mut Vec<u8>| contract.encode_found(event, fill, frame).ok_or(());
    publish(hub, contract, encode).ok()
}

/// An event and the fields that it is to be given, looked up once: for what is published often.
#[derive(Debug)]
pub struct PreparedEvent {
    id: u16,
    name: Box<str>,
    /// By their names; none that is looked up each time.
    fields: Vec<(Box<str>, Option<Field>)>,
}

impl PreparedEvent {
    /// Looks the fields up.
    ///
    /// # Errors
    /// One that the event does not have. Elements of arrays have no place that could be looked up.
    pub fn new(event: &Entry, fields: &[&str]) -> Result<Self, Refused> {
        let name = event.plan.name();
        let mut hint = 0;
        let mut found = Vec::with_capacity(fields.len());
        for field in fields {
            if event.plan.slot(field).is_none() {
                let error = EncodeError { field: (*field).to_owned(), fault: EncodeFault::UnknownField };
                return Err(Refused::Field(name.to_owned(), error));
            }
            found.push(((*field).into(), event.plan.field(field.as_bytes(), &mut hint)));
        }
        Ok(PreparedEvent { id: event.id, name: name.into(), fields: found })
    }

    /// How many fields it is given.
    pub fn count(&self) -> usize {
        self.fields.len()
    }

    /// Publishes the event if `give` can give each of its fields, in order, its value; none if not, and
    /// then nothing is published: [`publish`](Self::publish) sees to it.
    #[inline(always)]
    pub fn publish_found(
        &self,
        hub: &Hub,
        contract: &Contract,
        mut give: impl FnMut(&mut Encoder<'_>, usize, Field) -> Option<()>,
    ) -> Option<Result<(), PublishError>> {
        publish_found(hub, contract, contract.table().entry(self.id)?, |message| {
            for (number, (_, field)) in self.fields.iter().enumerate() {
                give(message, number, (*field)?)?;
            }
            Some(())
        })
    }

    /// Publishes the event with these values for its fields, in order.
    ///
    /// # Errors
    /// Those of [`publish_fields`].
    pub fn publish(&self, hub: &Hub, contract: &Contract, values: &[Value<'_>]) -> Result<(), Refused> {
        let fields = self.fields.iter().zip(values);
        let fields: Vec<_> = fields.map(|((name, _), value)| Param { name, value: *value }).collect();
        publish_fields(hub, contract, &self.name, &fields)
    }
}

/// Publishes an event that is encoded already: the whole message with its id, which is filled in.
///
/// # Errors
/// If it is not as long as it says, or as its definition wants.
pub fn publish_packed(
    hub: &Hub,
    contract: &Contract,
    event: &Entry,
    message: &[u8],
) -> Result<(), Refused> {
    let encode = |frame: &mut Vec<u8>| contract.frame_event(event, message, frame);
    let refused = |error| Refused::Packed(event.plan.name().to_owned(), error);
    Ok(publish(hub, contract, encode).map_err(refused)??)
}

#[inline(always)]
fn publish<E>(
    hub: &Hub,
    contract: &Contract,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Result<(), PublishError>, E> {
    SCRATCH.with(|scratch| {
        let mut frame = scratch.take();
        frame.clear();
        let published = encode(&mut frame).map(|()| {
            let encoded = Encoded { schema: contract.schema(), bytes: &frame };
            hub.publish(&Event::encoded(encoded))
        });
        scratch.set(frame);
        published
    })
}
