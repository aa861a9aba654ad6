//! One client: bytes in, messages out.

use std::fmt;

use herald_vpp_api::codec::{DecodeError, Item, View};
use herald_vpp_api::frame::message_id;
use herald_vpp_api::table::Role;

use super::builtin::{self, BuiltIn};
use super::contract::{Contract, INVALID_REGISTRATION, Kind, Known, UNIMPLEMENTED, Want, write_mine};
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

/// What a client is known by: bit 31, which keeps it apart from VPP's clients in shared memory and from
/// 0, then in 18 bits which of the clients of its slot it is, and in the rest its slot, from 1. So no
/// newcomer is taken for the client that had its slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIndex {
    slot: u16,
    generation: u32,
}

impl ClientIndex {
    const SLOT_BITS: u32 = 13;

    /// Of the first client in a slot below 8191.
    pub fn first(slot: u16) -> Self {
        ClientIndex { slot, generation: 0 }
    }

    /// The index, which is not given again before the slot has had 2^18 clients.
    fn take(&mut self) -> u32 {
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        1 << 31 | generation << Self::SLOT_BITS | (u32::from(self.slot) + 1)
    }
}

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
#[derive(Debug)]
pub struct Connection {
    inbox: Inbox,
    next_index: ClientIndex,
    /// 0 before the client has said `sockclnt_create` and after `sockclnt_delete`.
    index: u32,
    name: String,
    registrations: Registrations,
    replies: Replies,
}

impl Connection {
    /// A client that has not said anything yet, and the index that it gets when it says
    /// `sockclnt_create`.
    pub fn new(next_index: ClientIndex) -> Self {
        Connection {
            inbox: Inbox::default(),
            next_index,
            index: 0,
            name: String::new(),
            registrations: Registrations::default(),
            replies: Replies::default(),
        }
    }

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
        let Connection { inbox, next_index, index, name, registrations, replies } = self;
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
                *index = next_index.take();
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
                if let Role::Registration { events, .. } = &entry.role {
                    // Whoever asks for it gets the events that come of it; asking again is no error.
                    registrations.enable(contract, id, number(known.pid), events, None);
                }
                let number = replies.expect(message.len());
                return Ok(Step::Asked(Asked { number, id, context, message: message.to_vec() }));
            }
            Kind::Unserved => match entry.role {
                Role::Request { reply: Some(reply) }
                | Role::Stream { reply, .. }
                | Role::Registration { reply, .. } => {
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

    /// Ends the registrations of a client that has gone. The result is the index for whoever comes to
    /// its slot next.
    pub fn leave(mut self, contract: &Contract) -> ClientIndex {
        self.registrations.clear(contract);
        self.next_index
    }

    /// The client's index; 0 while it is not connected.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The name that it gave itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many replies wait for one before them or for the host, and the bytes that they and the requests for
    /// the host have.
    pub fn waiting(&self) -> (usize, usize) {
        (self.replies.waiting(), self.replies.bytes())
    }

    /// The pid that the client wants to see in an event; none if it has not registered for it.
    pub fn pid(&self, event: u16) -> Option<u32> {
        self.registrations.pid(event)
    }

    /// What writes the client's own, its index and its pid, into an event's frame; none if it has not
    /// registered for it.
    pub fn personal(&self, event: u16) -> Option<impl Fn(&mut [u8]) + use<>> {
        let index = self.index;
        let (pid, mine) = self.registrations.own(event)?;
        Some(move |frame: &mut [u8]| write_mine(mine, index, pid, frame))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contract::About;
    use super::*;
    use crate::event::{Param, Value};
    use herald_vpp_api::builtin::{self, Builtin, MEMCLNT};
    use herald_vpp_api::frame::header;
    use herald_vpp_api::table::Table;
    use herald_vpp_api::{Rules, parse};
    use proptest::prelude::*;

    /// A server of the seed's API, which begins where it did in the VPP that was measured.
    fn contract(handled: &[&str]) -> Contract {
        let text = include_str!("../../../c_examples/api/testgovpp.api");
        let api = parse::parse("testgovpp.api", text, &Builtin, Rules::default()).unwrap();
        let memclnt = builtin::module(MEMCLNT).unwrap();
        let table = Table::with_bases([(Arc::new(memclnt), 1), (Arc::new(api), 105)]).unwrap();
        let about = About { program: "test".into(), version: "1".into(), pid: 9 };
        Contract::with_table(table, handled, about).unwrap()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| byte.is_ascii_hexdigit()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&header(message.len() as u32)[..], message].concat()
    }

    /// Says all of it; what is answered, and what is asked of the host.
    fn say(connection: &mut Connection, contract: &Contract, mut bytes: &[u8]) -> (Vec<u8>, Vec<Asked>) {
        let (mut out, mut asked) = (Vec::new(), Vec::new());
        while !bytes.is_empty() {
            match connection.next(contract, 1000, &mut bytes, &mut out).unwrap() {
                Step::Asked(request) => asked.push(request),
                Step::Idle | Step::Done | Step::Ignored => {}
            }
        }
        (out, asked)
    }

    fn stranger(slot: u16) -> Connection {
        Connection::new(ClientIndex::first(slot))
    }

    /// A client that has connected.
    fn connected(contract: &Contract, slot: u16) -> Connection {
        let mut connection = stranger(slot);
        let create = [&[0, 15, 0, 0, 0, 124][..], b"test", &[0; 60]].concat();
        let (out, _) = say(&mut connection, contract, &framed(&create));
        assert_eq!(out[16..18], [0, 16]);
        assert_eq!(connection.name(), "test");
        connection
    }

    const WANT: &str = "0000000000000000 0000000f 00000000 | 006a 80000001 00010006 01 00004cf3";
    const REPLY: &str = "0000000000000000 0000000a 00000000 | 006b 00010006 00000000";
    const EVENT: &str = "0000000000000000 0000001d 00000000 | \
        0069 80000001 00004cf3 00000002 000003e8 deadbeef 05 05 3030303030";

    #[test]
    fn the_frames_are_those_of_vpp_to_the_byte() {
        let contract = contract(&[]);
        let mut connection = connected(&contract, 0);
        assert_eq!(connection.index(), 0x8000_0001);
        let (out, _) = say(&mut connection, &contract, &bytes(WANT));
        assert_eq!(out, bytes(REPLY));

        let fields = [
            Param::new("type", "CU_UP_EVENT_GTP_ERROR_IND"),
            Param { name: "data.ue_id", value: Value::Uint(1000) },
            Param { name: "data.te_id", value: Value::Uint(0xdead_beef) },
            Param { name: "data.rb_id", value: Value::Int(5) },
            Param { name: "raw_msg_data", value: Value::Bytes(b"00000") },
        ];
        let mut frame = Vec::new();
        let name = "cu_up_gtp_error_ind_event";
        contract.encode_event(name, &fields, &mut frame).unwrap();
        connection.personal(105).unwrap()(&mut frame);
        assert_eq!(frame, bytes(EVENT));

        // The same from a packed struct, whatever id, index and pid it has.
        let mut packed = bytes(EVENT)[16..].to_vec();
        packed[..10].fill(0xff);
        frame.clear();
        contract.frame_event(contract.event(name.as_bytes()).unwrap(), &packed, &mut frame).unwrap();
        connection.personal(105).unwrap()(&mut frame);
        assert_eq!(frame, bytes(EVENT));
    }

    #[test]
    fn a_registration_is_the_clients_own_and_ends_with_it() {
        let contract = contract(&[]);
        let (mut one, mut other) = (connected(&contract, 0), connected(&contract, 1));
        let retval = |connection: &mut Connection, message: &[u8]| {
            let (out, _) = say(connection, &contract, &framed(message));
            out.last_chunk().map(|bytes| i32::from_be_bytes(*bytes))
        };
        let want = |connection: &Connection, enable: u8| {
            let index = connection.index().to_be_bytes();
            [&[0, 106][..], &index, &[0, 0, 0, 7], &[enable], &[0, 0, 0, 42]].concat()
        };
        let (on, off) = (want(&one, 1), want(&one, 0));
        assert_eq!(retval(&mut one, &off), Some(INVALID_REGISTRATION));
        assert_eq!(retval(&mut one, &on), Some(0));
        assert_eq!(retval(&mut one, &on), Some(INVALID_REGISTRATION));
        // Nobody speaks for another.
        assert_eq!(retval(&mut other, &on), None);
        let on_other = want(&other, 1);
        assert_eq!(retval(&mut other, &on_other), Some(0));
        assert_eq!((one.pid(105), other.pid(105), contract.listeners(105)), (Some(42), Some(42), 2));
        assert_eq!(retval(&mut one, &off), Some(0));
        assert_eq!((one.pid(105), contract.listeners(105)), (None, 1));
        let mut next = Connection::new(other.leave(&contract));
        assert_eq!(contract.listeners(105), 0);
        // Nor does a newcomer to a slot take over from the client before.
        say(&mut next, &contract, &framed(&[&[0, 15][..], &[0; 68]].concat()));
        assert_eq!(next.index() & 0x1fff, 2);
        assert_eq!(retval(&mut next, &on_other), None);

        // A deleted client is none, whichever of the two ids it gives the request.
        for id in [17, 18] {
            let mut client = connected(&contract, 0);
            let on = want(&client, 1);
            assert_eq!(retval(&mut client, &on), Some(0));
            let index = client.index().to_be_bytes();
            let delete = [&[0, id][..], &index, &[0, 0, 0, 7], &index].concat();
            assert_eq!(retval(&mut client, &delete), Some(1));
            assert_eq!((client.pid(105), contract.listeners(105)), (None, 0));
            assert_eq!(retval(&mut client, &on), None);
            // Nor by its old index when it has come back.
            say(&mut client, &contract, &framed(&[&[0, 15][..], &[0; 68]].concat()));
            assert_eq!(retval(&mut client, &on), None);
            assert_ne!(client.index().to_be_bytes(), index);
        }
    }

    #[test]
    fn pings_wait_for_the_replies_before_them() {
        let contract = contract(&["testgovpp_enable_disable"]);
        let mut connection = connected(&contract, 0);
        let index = connection.index().to_be_bytes();
        let request = [&[0, 108][..], &index, &[0, 0, 0, 7], &[1], &[0, 0, 0, 3]].concat();
        let ping = [&[0, 23][..], &index, &[0, 0, 0, 8]].concat();
        let (out, asked) = say(&mut connection, &contract, &[framed(&request), framed(&ping)].concat());
        assert_eq!((out.len(), asked.len(), connection.waiting().0), (0, 1, 2));
        assert_eq!((asked[0].id, asked[0].context), (108, 7));
        let mut frames = Vec::new();
        contract.put_retval(109, asked[0].context, 0, &mut frames);
        let mut out = Vec::new();
        connection.answer(&Answer { number: asked[0].number, frames, done: true }, &mut out);
        let ids: Vec<u8> = vec![out[17], out[26 + 17]];
        assert_eq!(ids, [109, 24]);
        assert_eq!(connection.waiting(), (0, 0));
    }

    #[test]
    fn go_vpp_finds_the_id_of_the_delete_request() {
        let contract = contract(&[]);
        let create = [&[0, 15, 0, 0, 0, 124][..], &[0; 64]].concat();
        let (out, _) = say(&mut stranger(0), &contract, &framed(&create));
        let reply = contract.table().entry(16).unwrap().plan.view(&out[16..]).unwrap();
        assert_eq!(reply.i64("response"), Some(0));
        assert!(reply.u64("index").unwrap() >= 0x8000_0000);
        let names: Vec<&str> =
            reply.elements().unwrap().map(|entry| entry.text("name").unwrap()).collect();
        assert_eq!(names.len(), contract.table().entries().len());
        let last = names.iter().rfind(|name| name.starts_with("sockclnt_delete_")).unwrap();
        assert!(!last.starts_with("sockclnt_delete_reply"));
        assert!(names.contains(&"cu_up_gtp_error_ind_event_6ce619fe"));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_not_a_cut() {
        let contract = contract(&[]);
        let name = "cu_up_gtp_error_ind_event";
        let refused = |param: Param<'_>| {
            let mut out = vec![1, 2, 3];
            let error = contract.encode_event(name, &[param], &mut out).unwrap_err();
            assert_eq!(out, [1, 2, 3]);
            match error {
                super::super::EventError::Field(error) => error.to_string(),
                other => panic!("{other:?}"),
            }
        };
        let long = [0; 256];
        assert!(
            refused(Param { name: "raw_msg_data", value: Value::Bytes(&long) }).contains("255 at most")
        );
        assert!(refused(Param { name: "data.rb_id", value: Value::Int(-1) }).contains("data.rb_id"));
        assert!(refused(Param { name: "data.rb_id", value: Value::Int(256) }).contains("u8"));
        assert!(refused(Param { name: "data.nothing", value: Value::Null }).contains("no such field"));
        assert!(refused(Param::new("type", "NOTHING")).contains("NOTHING"));
        let mut out = Vec::new();
        let packed = |length: usize, out: &mut Vec<u8>| {
            let mut message = vec![0; length];
            message[23] = 5;
            contract.frame_event(contract.event(name.as_bytes()).unwrap(), &message, out)
        };
        assert!(packed(28, &mut out).is_err() && packed(30, &mut out).is_err() && out.is_empty());
        assert!(packed(29, &mut out).is_ok());
        assert!(contract.event(b"testgovpp_enable_disable").is_none());
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_is_answered_with_whole_frames(
            messages in prop::collection::vec(
                (0u16..120, any::<bool>(), prop::collection::vec(any::<u8>(), 0..90)), 0..30),
            cuts in prop::collection::vec(0usize..60, 0..30),
        ) {
            let contract = contract(&["testgovpp_enable_disable"]);
            let mut connection = connected(&contract, 0);
            let mut sent = Vec::new();
            for (id, own, mut body) in messages {
                if own && body.len() >= 4 {
                    body[..4].copy_from_slice(&connection.index().to_be_bytes());
                }
                if let Some(entry) = contract.table().entry(id).filter(|entry| !entry.plan.is_open()) {
                    body.resize(entry.plan.fixed_len() - 2, 0);
                }
                sent.extend(framed(&[&id.to_be_bytes()[..], &body].concat()));
            }
            let (mut out, mut rest) = (Vec::new(), &sent[..]);
            'said: for cut in cuts.into_iter().chain([usize::MAX]) {
                let (mut piece, tail) = rest.split_at(cut.min(rest.len()));
                rest = tail;
                while !piece.is_empty() {
                    match connection.next(&contract, 1000, &mut piece, &mut out) {
                        Ok(Step::Asked(Asked { number, .. })) => {
                            connection.answer(&Answer { number, frames: Vec::new(), done: true }, &mut out);
                        }
                        Ok(_) => {}
                        Err(_) => break 'said,
                    }
                }
            }
            let (mut inbox, mut out) = (Inbox::default(), &out[..]);
            while let Some(message) = inbox.next(&mut out, usize::MAX).unwrap() {
                let id = message_id(message).unwrap();
                prop_assert!(contract.table().entry(id).unwrap().plan.view(message).is_ok());
            }
            prop_assert!(out.is_empty());
        }
    }
}
