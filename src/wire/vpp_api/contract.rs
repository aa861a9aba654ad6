//! What a server speaks.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use herald_vpp_api::builtin::{self, HERALD, MEMCLNT, VPE};
use herald_vpp_api::codec::{DecodeError, EncodeError, Encoder, Item, Slot};
use herald_vpp_api::frame::{HEADER, header};
use herald_vpp_api::schema::Scalar;
use herald_vpp_api::table::{Entry, Role, Table, TableError};
use herald_vpp_api::{Api, ParseError};

use super::builtin::{BuiltIn, Prepared};
use super::fields::{check_packed, encode_fields};
use crate::event::Param;

/// `VNET_API_ERROR_UNSPECIFIED` of VPP (`src/vnet/error.h`).
pub const UNSPECIFIED: i32 = -1;
/// `VNET_API_ERROR_INVALID_VALUE`
pub const INVALID_VALUE: i32 = -7;
/// `VNET_API_ERROR_UNIMPLEMENTED`: a request that nobody here answers.
pub const UNIMPLEMENTED: i32 = -9;
/// `VNET_API_ERROR_INVALID_REGISTRATION`: enabled twice, or disabled without being enabled.
pub const INVALID_REGISTRATION: i32 = -31;

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The program, up to 32 characters, for `show_version`.
    pub program: String,
    /// Its version, up to 32 characters.
    pub version: String,
    /// Its process, for `control_ping`.
    pub pid: u32,
}

/// Why modules cannot be served.
#[derive(Debug)]
pub enum ContractError {
    /// A module that comes with Herald does not parse.
    BuiltIn(ParseError),
    /// The modules do not fit together.
    Table(TableError),
    /// A handler was given for a message that is no request for it to answer.
    Handler(String),
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContractError::BuiltIn(error) => error.fmt(f),
            ContractError::Table(error) => error.fmt(f),
            ContractError::Handler(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ContractError {}

/// What becomes of a message that a client sends.
#[derive(Debug)]
pub(super) enum Kind {
    /// It is answered by the library.
    BuiltIn(BuiltIn),
    /// It registers for events, or ends the registration.
    Registration(Want),
    /// It is answered by the host.
    Host,
    /// It is a request that nobody here answers.
    Unserved,
    /// It is no request.
    NoRequest,
}

/// A `want_…` request.
#[derive(Debug)]
pub(super) struct Want {
    pub events: Vec<u16>,
    /// The field that says whether to register or to end the registration; without it every request
    /// registers.
    pub enable: Option<Slot>,
    pub filter: Option<Slot>,
}

/// What is known of a message beyond its entry in the table.
#[derive(Debug)]
pub(super) struct Known {
    pub kind: Kind,
    pub client_index: Option<Slot>,
    pub context: Option<Slot>,
    pub pid: Option<Slot>,
    pub retval: Option<Slot>,
    pub mine: Mine,
    /// The frame of a message in which all is zero.
    pub blank: Vec<u8>,
}

/// Where the frame of an event has what is its receiver's own: the client's index, and the pid that it
/// registered with. 0 if the event has no such field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mine {
    index_at: u32,
    pid_at: u32,
}

/// Writes what is a client's own into its copy of an event's frame.
pub fn write_mine(mine: Mine, index: u32, pid: u32, frame: &mut [u8]) {
    for (at, value) in [(mine.index_at, index), (mine.pid_at, pid)] {
        if let Some(place) = frame.get_mut(at as usize..).and_then(<[u8]>::first_chunk_mut)
            && at != 0
        {
            *place = value.to_be_bytes();
        }
    }
}

/// Why there is no event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// No service has an event of this name.
    NoEvent,
    /// A field does not fit.
    Field(EncodeError),
}

/// What a server speaks: a table of modules, and what is known of each message. Shared by all its
/// connections, and by whoever publishes or answers.
#[derive(Debug)]
pub struct Contract {
    table: Table,
    known: Vec<Option<Known>>,
    prepared: Prepared,
    about: About,
    schema: NonZeroU32,
    /// How many clients have registered for each event, by its id.
    listeners: Vec<AtomicU32>,
}

impl Contract {
    /// Longest message that is taken from a client by default, in bytes.
    pub const LONGEST: usize = 65_536;

    /// A contract of these modules, and of `memclnt`, `vpe` and Herald's own; of those, editions that
    /// are among the modules are left out. The host answers the requests in `handled`.
    ///
    /// # Errors
    /// Modules that do not fit together, or a handler for what is no request.
    pub fn new(modules: Vec<Arc<Api>>, handled: &[&str], about: About) -> Result<Self, ContractError> {
        let own = [MEMCLNT, VPE, HERALD].map(|path| builtin::module(path).map(Arc::new));
        let mut all: Vec<Arc<Api>> =
            own.into_iter().collect::<Result<_, _>>().map_err(ContractError::BuiltIn)?;
        let names: HashSet<String> = all.iter().map(|api| api.name().to_owned()).collect();
        all.extend(modules.into_iter().filter(|api| !names.contains(api.name())));
        Contract::with_table(Table::new(all).map_err(ContractError::Table)?, handled, about)
    }

    /// A contract of the modules in a table, `memclnt` among them.
    ///
    /// # Errors
    /// A handler for what is no request.
    pub fn with_table(table: Table, handled: &[&str], about: About) -> Result<Self, ContractError> {
        static SCHEMAS: AtomicU32 = AtomicU32::new(1);
        let mut contract = Contract {
            known: (0..=table.max_id()).map(|id| table.entry(id).map(|e| known(e, handled))).collect(),
            prepared: Prepared::default(),
            about,
            schema: NonZeroU32::new(SCHEMAS.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX),
            listeners: (0..=table.max_id()).map(|_| AtomicU32::new(0)).collect(),
            table,
        };
        for name in handled {
            let id = contract.table.id(name);
            match id.and_then(|id| contract.known(id)).map(|known| &known.kind) {
                Some(Kind::Host) => {}
                Some(_) => {
                    let text = format!("'{name}' is no request that a handler can answer");
                    return Err(ContractError::Handler(text));
                }
                None => {
                    let text = format!("no module has a message '{name}'");
                    return Err(ContractError::Handler(text));
                }
            }
        }
        contract.prepared = Prepared::new(&contract);
        Ok(contract)
    }

    /// The table of modules and messages.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A number that no other contract of this process has.
    pub fn schema(&self) -> NonZeroU32 {
        self.schema
    }

    /// What the server says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    pub(super) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    pub(super) fn known(&self, id: u16) -> Option<&Known> {
        self.known.get(usize::from(id))?.as_ref()
    }

    /// How many clients have registered for an event. Can be asked from any thread.
    pub fn listeners(&self, event: u16) -> u32 {
        self.listeners.get(usize::from(event)).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Takes note that a client has registered for an event, or no longer is.
    pub(super) fn note(&self, event: u16, registered: bool) {
        if let Some(count) = self.listeners.get(usize::from(event)) {
            count.fetch_add(if registered { 1 } else { u32::MAX }, Ordering::Relaxed);
        }
    }

    /// What clients would choke on in the modules beyond Herald's own: one line each.
    pub fn misgivings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in self.table.entries() {
            let (name, least) = (entry.plan.name(), entry.plan.fixed_len());
            match entry.role {
                Role::Event { .. } if entry.plan.slot("context").is_some() => {
                    found.push(format!(
                        "{name}: vpp_papi takes an event with a field context for a reply"
                    ));
                }
                Role::Event { .. } if least < 6 => {
                    found.push(format!(
                        "{name}: a message of {least} bytes ends the connection of GoVPP"
                    ));
                }
                Role::Answer { .. } if least < 10 => {
                    found.push(format!("{name}: vpp_papi does not see a reply of {least} bytes"));
                }
                _ => {}
            }
        }
        found
    }

    /// Appends the frame of a message: zeros but for what `fill` puts in. A message that does not fit
    /// its schema is left out, which the built-in ones never are.
    pub(super) fn put(
        &self,
        id: u16,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) {
        let Some(entry) = self.table.entry(id) else { return };
        let _ = frame(out, |out| {
            let mut message = entry.plan.encoder(id, out);
            fill(&mut message)?;
            message.finish()
        });
    }

    /// Appends the frame of an event made of named fields.
    ///
    /// # Errors
    /// No such event, or a field that does not fit; then nothing is appended.
    pub fn encode_event(
        &self,
        name: &str,
        fields: &[Param<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), EventError> {
        let entry = self.event(name.as_bytes()).ok_or(EventError::NoEvent)?;
        let known = self.known(entry.id).ok_or(EventError::NoEvent)?;
        let start = out.len();
        out.extend_from_slice(&known.blank);
        let length =
            encode_fields(entry, fields.iter().copied(), start + HEADER, out).map_err(EventError::Field);
        finish_frame(out, start, length)
    }

    /// The same for what is published most often: fields that have been looked up already are given values
    /// that fit. None if `fill` says that it is not that, and then nothing is appended:
    /// [`encode_event`](Self::encode_event) sees to it.
    #[inline(always)]
    pub fn encode_found(
        &self,
        event: &Entry,
        fill: impl FnOnce(&mut Encoder<'_>) -> Option<()>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let start = out.len();
        out.extend_from_slice(&self.known(event.id)?.blank);
        let message = event.plan.encoder_at(start + HEADER, out).ok();
        let length = message.and_then(|mut message| {
            fill(&mut message)?;
            message.finish().ok()
        });
        finish_frame(out, start, length.ok_or(())).ok()
    }

    /// Appends the frame of an event that is encoded already, but for its id.
    ///
    /// # Errors
    /// Bytes that are not one; then nothing is appended.
    pub fn frame_event(
        &self,
        event: &Entry,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        check_packed(event, message)?;
        out.reserve(HEADER + message.len());
        out.extend_from_slice(&header(message.len() as u32));
        out.extend_from_slice(&event.id.to_be_bytes());
        out.extend_from_slice(message.get(2..).unwrap_or_default());
        Ok(())
    }

    /// Appends the frame of a reply, which has a return value, or of details, which have none but what is
    /// among their fields, to a request with this context.
    ///
    /// # Errors
    /// A field that does not fit; then nothing is appended.
    pub fn encode_answer<'a>(
        &self,
        id: u16,
        context: u32,
        retval: Option<i32>,
        fields: impl Iterator<Item = Param<'a>> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let (Some(entry), Some(known)) = (self.table.entry(id), self.known(id)) else { return Ok(()) };
        frame(out, |out| {
            let start = out.len();
            out.extend_from_slice(known.blank.get(HEADER..).unwrap_or_default());
            let length = encode_fields(entry, fields, start, out)?;
            let message = out.get_mut(start..).unwrap_or_default();
            if let Some(slot) = known.context {
                entry.plan.patch(message, slot, context)?;
            }
            if let (Some(slot), Some(retval)) = (known.retval, retval) {
                entry.plan.patch(message, slot, as_in_c(retval, slot))?;
            }
            Ok(length)
        })
    }

    /// Where the frame of an event has what is its receiver's own.
    pub fn mine(&self, event: u16) -> Mine {
        self.known(event).map_or(Mine::default(), |known| known.mine)
    }

    /// An event, by its name.
    #[inline]
    pub fn event(&self, name: &[u8]) -> Option<&Entry> {
        thread_local! {
            /// The event that this thread asked for last, which is often the next one, too: comparing
            /// is faster than looking up.
            static LAST: Cell<(u32, u16)> = const { Cell::new((0, 0)) };
        }
        let (schema, id) = LAST.get();
        if schema == self.schema.get()
            && let Some(entry) = self.table.entry(id)
            && entry.plan.is_named(name)
        {
            return Some(entry);
        }
        let entry = self.table.entry_named(std::str::from_utf8(name).ok()?)?;
        if !matches!(entry.role, Role::Event { .. }) {
            return None;
        }
        LAST.set((self.schema.get(), entry.id));
        Some(entry)
    }

    /// Appends the reply that says no more than how it went, to a request with this context.
    pub fn put_retval(&self, reply: u16, context: u32, retval: i32, out: &mut Vec<u8>) {
        let Some(known) = self.known(reply) else { return };
        self.put(reply, out, |message| {
            if let Some(slot) = known.context {
                message.put_at(slot, context)?;
            }
            match known.retval {
                Some(slot) => message.put_at(slot, as_in_c(retval, slot)),
                None => Ok(()),
            }
        });
    }
}

/// Appends a header and the message that `write` appends. After an error `out` is as it was.
pub(super) fn frame<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let length = write(out);
    finish_frame(out, start, length)
}

/// Writes the header of the frame that begins at `start`, or takes it out after an error.
fn finish_frame<E>(out: &mut Vec<u8>, start: usize, length: Result<usize, E>) -> Result<(), E> {
    match length {
        Ok(length) => {
            if let Some(place) = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut()) {
                // An id and the fields of a schema: far below 4 GiB.
                *place = header(length as u32);
            }
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn known(entry: &Entry, handled: &[&str]) -> Known {
    let slot = |name: &str| entry.plan.slot(name);
    // A field of another type than VPP gives it is the publisher's.
    let place = |name: &str| {
        let slot = slot(name).filter(|slot| slot.scalar() == Some(Scalar::U32));
        slot.map_or(0, |slot| (HEADER + slot.offset()) as u32)
    };
    let name = entry.plan.name();
    let enable = slot("enable_disable").or_else(|| slot("enable"));
    let kind = match &entry.role {
        _ if BuiltIn::of(name).is_some() => BuiltIn::of(name).map_or(Kind::Unserved, Kind::BuiltIn),
        // What cannot be ended does something else besides, which only the host can.
        Role::Registration { events, .. }
            if enable.is_some() || name.starts_with("want_") && !handled.contains(&name) =>
        {
            let filter = slot("filter").filter(|_| name == super::herald::WANT_EVENTS);
            Kind::Registration(Want { events: events.clone(), enable, filter })
        }
        Role::Registration { .. } | Role::Request { .. } | Role::Dump { .. } | Role::Stream { .. } => {
            if handled.contains(&name) {
                Kind::Host
            } else {
                Kind::Unserved
            }
        }
        Role::Answer { .. } | Role::Event { .. } | Role::Other => Kind::NoRequest,
    };
    Known {
        kind,
        client_index: slot("client_index"),
        context: slot("context"),
        pid: slot("pid"),
        retval: slot("retval"),
        mine: Mine { index_at: place("client_index"), pid_at: place("pid") },
        blank: blank(entry),
    }
}

/// A return value for a field that may be unsigned: VPP, too, has some of these.
fn as_in_c(retval: i32, slot: Slot) -> Item<'static> {
    match slot.scalar() {
        Some(scalar) if scalar.range().is_some() && !scalar.signed() => {
            Item::Unsigned(i64::from(retval) as u64 & u64::MAX >> (64 - 8 * scalar.size()))
        }
        _ => Item::Signed(retval.into()),
    }
}

fn blank(entry: &Entry) -> Vec<u8> {
    let mut message = vec![0; entry.plan.fixed_len()];
    message.splice(..2, entry.id.to_be_bytes());
    [&header(message.len() as u32)[..], &message].concat()
}
