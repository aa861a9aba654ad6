//! One client: bytes in, messages out.

use std::fmt;

use herald_vpp_api::codec::{DecodeError, Item, View};
use herald_vpp_api::frame::message_id;
use herald_vpp_api::table::Role;

use super::builtin::{self, BuiltIn};
use super::contract::{Contract, INVALID_REGISTRATION, Kind, Known, UNIMPLEMENTED, Want};
use super::inbox::{Inbox, TooLong};
use super::registrations::Registrations;
use super::replies::Replies;
use crate::wire::Filter;

/// What was wrong with what a client sent: its connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A message that is longer than it may be.
    TooLong {
        /// What its header says, in bytes.
        length: u32,
        /// What it may have.
        longest: usize,
    },
    /// A message too short to have an id.
    NoId,
    /// A message that is not what its id says.
    Malformed(String, DecodeError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooLong { length, longest } => {
                write!(f, "a message of {length} bytes, where {longest} are allowed")
            }
            Fault::NoId => f.write_str("a message without an id"),
            Fault::Malformed(name, error) => write!(f, "{name}: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// A request that the host is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which request of this connection it is, for [`Connection::answer`].
    pub number: u64,
    /// The message's id.
    pub id: u16,
    /// What its replies must say.
    pub context: u32,
    /// The message.
    pub message: Vec<u8>,
}

/// A part of what the host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub number: u64,
    /// Whole frames.
    pub frames: Vec<u8>,
    /// Whether nothing follows.
    pub done: bool,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no whole message.
    Idle,
    /// It was answered, or needs no answer.
    Done,
    /// It was not meant for this server, and was dropped.
    Ignored,
    /// The host must answer it.
    Asked(Asked),
}

/// A client.
#[derive(Debug, Default)]
pub struct Connection {
    inbox: Inbox,
    /// 0 before the client has said `sockclnt_create` and after `sockclnt_delete`.
    index: u32,
    name: String,
    registrations: Registrations,
    replies: Replies,
}

impl Connection {
    /// Takes the next message, or a piece of one, off what the client has sent, and sees to it. A message
    /// has at most `longest` bytes. What it is answered with is appended to `out`.
    ///
    /// # Errors
    /// After an error nothing that follows can be understood.
    pub fn next(
        &mut self,
        contract: &Contract,
        longest: usize,
        bytes: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        let Connection { inbox, index, name, registrations, replies } = self;
        let message = match inbox.next(bytes, longest) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Step::Idle),
            Err(TooLong(length)) => return Err(Fault::TooLong { length, longest }),
        };
        let mut id = message_id(message).ok_or(Fault::NoId)?;
        if Some(id) == contract.table().id("sockclnt_delete_reply") {
            // GoVPP takes its id for that of the request.
            id = contract.table().id("sockclnt_delete").unwrap_or(id);
        }
        let (Some(entry), Some(known)) = (contract.table().entry(id), contract.known(id)) else {
            return Ok(Step::Ignored);
        };
        if matches!(known.kind, Kind::NoRequest) {
            return Ok(Step::Ignored);
        }
        let view = entry.plan.view(message);
        let view = view.map_err(|error| Fault::Malformed(entry.plan.name().to_owned(), error))?;
        let number = |slot| number(&view, slot).unwrap_or(0);
        let context = number(known.context);
        if matches!(known.kind, Kind::BuiltIn(BuiltIn::Create)) {
            if *index == 0 {
                *index = contract.next_index();
            }
            *name = String::from_utf8_lossy(view.bytes("name").unwrap_or_default()).into_owned();
        } else if *index == 0 || known.client_index.is_some() && number(known.client_index) != *index {
            // A client that has not connected, or speaks for another.
            return Ok(Step::Ignored);
        }
        match &known.kind {
            Kind::BuiltIn(what) => {
                replies.append(out, |out| {
                    builtin::answer(contract, *what, *index, context, &view, out);
                });
                if *what == BuiltIn::Delete {
                    *index = 0;
                    registrations.clear(contract);
                }
            }
            Kind::Registration(want) => {
                let done = register(contract, registrations, (id, want, known), &view);
                let retval = if done { 0 } else { INVALID_REGISTRATION };
                if let Role::Registration { reply, .. } = entry.role {
                    replies.append(out, |out| contract.put_retval(reply, context, retval, out));
                }
            }
            Kind::Host => {
                let number = replies.expect();
                return Ok(Step::Asked(Asked { number, id, context, message: message.to_vec() }));
            }
            Kind::Unserved => match entry.role {
                Role::Request { reply: Some(reply) } | Role::Stream { reply, .. } => {
                    replies.append(out, |out| contract.put_retval(reply, context, UNIMPLEMENTED, out));
                }
                // A dump of nothing has no end of its own.
                Role::Dump { .. } => {}
                _ => return Ok(Step::Ignored),
            },
            Kind::NoRequest => return Ok(Step::Ignored),
        }
        Ok(Step::Done)
    }

    /// Takes in a part of what the host answers; what can go out is appended to `out`.
    pub fn answer(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        self.replies.answer(answer.number, &answer.frames, answer.done, out);
    }

    /// Ends the registrations of a client that has gone.
    pub fn leave(&mut self, contract: &Contract) {
        self.registrations.clear(contract);
    }

    /// The client's index; 0 while it is not connected.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The name that it gave itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many replies wait for one before them, and the bytes that they have so far.
    pub fn waiting(&self) -> (usize, usize) {
        (self.replies.waiting(), self.replies.bytes())
    }

    /// The pid that the client wants to see in an event; none if it has not registered for it.
    pub fn pid(&self, event: u16) -> Option<u32> {
        self.registrations.pid(event)
    }

    /// Whether the client has registered for an event, and for a generic one of this name.
    pub fn wants(&self, event: u16, name: Option<&str>) -> bool {
        self.registrations.want(event, name)
    }

    /// Whether the client has registered for anything.
    pub fn wants_any(&self) -> bool {
        !self.registrations.is_empty()
    }
}

/// Carries out a registration; false if it is a duplicate, or there is none to end.
fn register(
    contract: &Contract,
    registrations: &mut Registrations,
    (id, want, known): (u16, &Want, &Known),
    view: &View<'_>,
) -> bool {
    let on = match want.enable.and_then(|slot| view.at(slot)) {
        Some(Item::Bool(on)) => on,
        Some(item) => item.as_int() != Some(0),
        None => true,
    };
    if !on {
        return registrations.disable(contract, id);
    }
    let patterns = |slot| {
        let text = String::from_utf8_lossy(view.at(slot)?.as_bytes()?).into_owned();
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        Some(Filter::new(patterns.map(str::to_owned).collect()))
    };
    let filter = want.filter.and_then(patterns);
    let pid = number(view, known.pid).unwrap_or(0);
    registrations.enable(contract, id, pid, &want.events, filter)
}

fn number(view: &View<'_>, slot: Option<herald_vpp_api::codec::Slot>) -> Option<u32> {
    view.at(slot?)?.as_int()?.try_into().ok()
}
