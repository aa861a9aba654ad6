//! What happened: a name and an ordered list of typed parameters, whoever raised it.

use std::num::NonZeroU32;

/// The value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// An IEEE 754 double.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text: UTF-8 by convention, not by promise; daemons pass on what peers sent them.
    Str(&'a [u8]),
    /// Bytes that are no text.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The value as a 16-bit number, if it is a number in that range.
    pub fn as_u16(&self) -> Option<u16> {
        match *self {
            Value::Int(n) => n.try_into().ok(),
            Value::Uint(n) => n.try_into().ok(),
            _ => None,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Str(text.as_bytes())
    }
}

/// A parameter of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param<'a> {
    /// The name; a parameter whose name is empty is unnamed.
    pub name: &'a str,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Param<'a> {
    /// A named parameter.
    pub fn new(name: &'a str, value: impl Into<Value<'a>>) -> Self {
        Param { name, value: value.into() }
    }
}

/// A name and its parameters, in order.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    name: &'a str,
    params: Params<'a>,
}

impl<'a> Event<'a> {
    /// The longest name, of an event or a parameter, in bytes.
    pub const MAX_NAME: usize = u16::MAX as usize;
    /// The most parameters.
    pub const MAX_PARAMS: usize = u16::MAX as usize;

    /// An event from its parts.
    pub fn new(name: &'a str, params: &'a [Param<'a>]) -> Self {
        Event { name, params: Params::Slice(params) }
    }

    /// A message that its publisher has encoded. It has no name: its bytes say what it is.
    pub fn encoded(message: Encoded<'a>) -> Self {
        Event { name: "", params: Params::Encoded(message, false) }
    }

    /// The message that this is, if its publisher has encoded it. Only a transport that knows the
    /// schema can express it.
    pub fn as_encoded(&self) -> Option<Encoded<'a>> {
        match self.params {
            Params::Encoded(message, _) => Some(message),
            _ => None,
        }
    }

    /// The name, such as `E_L2TP_SESSION_UP`.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The parameters, in order.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The value of the first parameter of that name.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.params().find(|param| param.name == name).map(|param| param.value)
    }
}

/// Two events are equal if a subscriber could not tell them apart.
impl PartialEq for Event<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.params().eq(other.params())
    }
}

/// A message in the encoding of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// Which schema it is encoded by; from 1, unique in the process.
    pub schema: NonZeroU32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The parameters of an event, as an iterator.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Params<'a> {
    /// As the publisher laid them out.
    Slice(&'a [Param<'a>]),
    /// Those of an L2TP event; the number is how many have been taken.
    L2tp(L2tp, usize),
    /// An encoded message as one parameter without a name; whether it has been taken.
    Encoded(Encoded<'a>, bool),
    /// In the form in which they travel through the hub.
    Packed(Packed<'a>),
}

impl Params<'_> {
    /// How many are left.
    fn len(&self) -> usize {
        match self {
            Params::Slice(rest) => rest.len(),
            Params::L2tp(l2tp, taken) => l2tp.kind.param_names().len() - taken,
            Params::Encoded(_, taken) => (!taken).into(),
            Params::Packed(packed) => packed.left.into(),
        }
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        match self {
            Params::Slice(rest) => {
                let (first, tail) = rest.split_first()?;
                *rest = tail;
                Some(*first)
            }
            Params::L2tp(l2tp, taken) => {
                let name = *l2tp.kind.param_names().get(*taken)?;
                *taken += 1;
                Some(Param { name, value: Value::Uint(l2tp.id(name).into()) })
            }
            Params::Encoded(message, taken) => (!std::mem::replace(taken, true))
                .then_some(Param { name: "", value: Value::Bytes(message.bytes) }),
            Params::Packed(packed) => packed.next(),
        }
    }
}

/// What can happen to an L2TP session or tunnel (RFC 2661).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L2tpKind {
    /// `E_L2TP_SESSION_CREATED`
    SessionCreated,
    /// `E_L2TP_SESSION_DELETED`
    SessionDeleted,
    /// `E_L2TP_SESSION_UP`
    SessionUp,
    /// `E_L2TP_SESSION_DOWN`
    SessionDown,
    /// `E_L2TP_SESSION_MODIFIED`
    SessionModified,
    /// `E_L2TP_TUNNEL_CREATED`
    TunnelCreated,
    /// `E_L2TP_TUNNEL_DELETED`
    TunnelDeleted,
    /// `E_L2TP_TUNNEL_UP`
    TunnelUp,
    /// `E_L2TP_TUNNEL_DOWN`
    TunnelDown,
    /// `E_L2TP_TUNNEL_MODIFIED`
    TunnelModified,
}

impl L2tpKind {
    /// Every kind.
    pub const ALL: [L2tpKind; 10] = [
        L2tpKind::SessionCreated,
        L2tpKind::SessionDeleted,
        L2tpKind::SessionUp,
        L2tpKind::SessionDown,
        L2tpKind::SessionModified,
        L2tpKind::TunnelCreated,
        L2tpKind::TunnelDeleted,
        L2tpKind::TunnelUp,
        L2tpKind::TunnelDown,
        L2tpKind::TunnelModified,
    ];

    /// The well-known name of the event.
    pub fn name(self) -> &'static str {
        match self {
            L2tpKind::SessionCreated => "E_L2TP_SESSION_CREATED",
            L2tpKind::SessionDeleted => "E_L2TP_SESSION_DELETED",
            L2tpKind::SessionUp => "E_L2TP_SESSION_UP",
            L2tpKind::SessionDown => "E_L2TP_SESSION_DOWN",
            L2tpKind::SessionModified => "E_L2TP_SESSION_MODIFIED",
            L2tpKind::TunnelCreated => "E_L2TP_TUNNEL_CREATED",
            L2tpKind::TunnelDeleted => "E_L2TP_TUNNEL_DELETED",
            L2tpKind::TunnelUp => "E_L2TP_TUNNEL_UP",
            L2tpKind::TunnelDown => "E_L2TP_TUNNEL_DOWN",
            L2tpKind::TunnelModified => "E_L2TP_TUNNEL_MODIFIED",
        }
    }

    /// The names of the event's parameters, in order.
    pub fn param_names(self) -> &'static [&'static str] {
        match self {
            L2tpKind::SessionUp => &["tunnel_id", "session_id", "peer_tunnel_id", "peer_session_id"],
            L2tpKind::SessionCreated
            | L2tpKind::SessionDeleted
            | L2tpKind::SessionDown
            | L2tpKind::SessionModified => &["tunnel_id", "session_id"],
            L2tpKind::TunnelUp => &["tunnel_id", "peer_tunnel_id"],
            L2tpKind::TunnelCreated
            | L2tpKind::TunnelDeleted
            | L2tpKind::TunnelDown
            | L2tpKind::TunnelModified => &["tunnel_id"],
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An L2TP event. Identifiers that the kind has no parameter for are 0 and not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L2tp {
    /// What happened.
    pub kind: L2tpKind,
    /// Our tunnel's number.
    pub tunnel_id: u16,
    /// Our session's number within the tunnel.
    pub session_id: u16,
    /// The tunnel's number at the peer.
    pub peer_tunnel_id: u16,
    /// The session's number at the peer.
    pub peer_session_id: u16,
}

impl L2tp {
    /// An event without identifiers.
    pub fn new(kind: L2tpKind) -> Self {
        L2tp { kind, tunnel_id: 0, session_id: 0, peer_tunnel_id: 0, peer_session_id: 0 }
    }

    /// The L2TP event that this event is, if its name and parameters say so.
    pub fn from_event(event: &Event<'_>) -> Option<Self> {
        let kind = L2tpKind::from_name(event.name())?;
        let mut l2tp = L2tp::new(kind);
        // In the order in which our own hosts publish them one pass finds all.
        let mut params = event.params();
        for name in kind.param_names() {
            let value = match params.next() {
                Some(param) if param.name == *name => param.value,
                _ => event.get(name)?,
            };
            *l2tp.id_mut(name) = value.as_u16()?;
        }
        Some(l2tp)
    }

    fn id(&self, name: &str) -> u16 {
        match name {
            "tunnel_id" => self.tunnel_id,
            "session_id" => self.session_id,
            "peer_tunnel_id" => self.peer_tunnel_id,
            _ => self.peer_session_id,
        }
    }

    fn id_mut(&mut self, name: &str) -> &mut u16 {
        match name {
            "tunnel_id" => &mut self.tunnel_id,
            "session_id" => &mut self.session_id,
            "peer_tunnel_id" => &mut self.peer_tunnel_id,
            _ => &mut self.peer_session_id,
        }
    }
}

impl From<L2tp> for Event<'static> {
    fn from(l2tp: L2tp) -> Self {
        Event { name: l2tp.kind.name(), params: Params::L2tp(l2tp, 0) }
    }
}

/// What the packed form of an event is written to.
pub(crate) trait Sink {
    /// Appends a word.
    fn word(&mut self, word: u64);
    /// Appends bytes, as many words as they fill, with zeros behind the last.
    fn bytes(&mut self, bytes: &[u8]);
}

impl Param<'_> {
    #[inline(always)]
    fn pack(&self, sink: &mut impl Sink) -> Option<()> {
        let (tag, len) = match self.value {
            Value::Null => (0u64, 0),
            Value::Int(_) => (1, 8),
            Value::Uint(_) => (2, 8),
            Value::Float(_) => (3, 8),
            Value::Bool(_) => (4, 8),
            Value::Str(bytes) => (5, u32::try_from(bytes.len()).ok()?),
            Value::Bytes(bytes) => (6, u32::try_from(bytes.len()).ok()?),
        };
        sink.word(u64::from(name_len(self.name)?) | tag << 16 | u64::from(len) << 32);
        sink.bytes(self.name.as_bytes());
        match self.value {
            Value::Null => {}
            Value::Int(n) => sink.word(n as u64),
            Value::Uint(n) => sink.word(n),
            Value::Float(x) => sink.word(x.to_bits()),
            Value::Bool(b) => sink.word(b.into()),
            Value::Str(bytes) | Value::Bytes(bytes) => sink.bytes(bytes),
        }
        Some(())
    }
}

/// The form in which an event travels through the hub: whole words, so that it is written and
/// read without a single unaligned access.
///
/// ```text
/// event:  u16 name length, u16 parameter count, u32 schema | name, padded to 8 | parameters
/// param:  u16 name length, u8 type, u8 0, u32 value length | name, padded | value, padded
/// ```
///
/// The schema is that of an encoded message, which is then the value of the only parameter; else 0.
impl<'a> Event<'a> {
    /// Writes the packed form; none if there are more parameters, or a name or a value is longer, than
    /// it can express. What has been written then is to be forgotten.
    pub(crate) fn pack(&self, sink: &mut impl Sink) -> Option<()> {
        let count = u16::try_from(self.params.len()).ok()?;
        let schema = self.as_encoded().map_or(0, |message| message.schema.get());
        sink.word(u64::from(name_len(self.name)?) | u64::from(count) << 16 | u64::from(schema) << 32);
        sink.bytes(self.name.as_bytes());
        // What a host makes itself is gone through without the iterator that knows every form.
        match self.params {
            Params::Slice(params) => params.iter().try_for_each(|param| param.pack(sink)),
            Params::Encoded(message, false) => {
                Param { name: "", value: Value::Bytes(message.bytes) }.pack(sink)
            }
            mut params => params.try_for_each(|param| param.pack(sink)),
        }
    }

    /// Reads the packed form. Nothing that the bytes can hold makes it panic.
    pub(crate) fn unpack(bytes: &'a [u8]) -> Option<Self> {
        let mut packed = Packed { bytes, left: 0 };
        let head = packed.word()?;
        let name = packed.text(head as u16 as usize)?;
        packed.left = (head >> 16) as u16;
        if let Some(schema) = NonZeroU32::new((head >> 32) as u32) {
            let Value::Bytes(bytes) = packed.next()?.value else { return None };
            return Some(Event::encoded(Encoded { schema, bytes }));
        }
        Some(Event { name, params: Params::Packed(packed) })
    }
}

/// Parameters in the packed form.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    left: u16,
}

impl<'a> Packed<'a> {
    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(words_of(len) * 8)?;
        self.bytes = rest;
        taken.get(..len)
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        if len == 0 {
            return Some("");
        }
        std::str::from_utf8(self.take(len)?).ok()
    }
}

impl<'a> Iterator for Packed<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        self.left = self.left.checked_sub(1)?;
        let head = self.word()?;
        let name = self.text(head as u16 as usize)?;
        let value = match (head >> 16) as u8 {
            0 => Value::Null,
            1 => Value::Int(self.word()? as i64),
            2 => Value::Uint(self.word()?),
            3 => Value::Float(f64::from_bits(self.word()?)),
            4 => Value::Bool(self.word()? != 0),
            5 => Value::Str(self.take((head >> 32) as usize)?),
            6 => Value::Bytes(self.take((head >> 32) as usize)?),
            _ => return None,
        };
        Some(Param { name, value })
    }
}

fn name_len(name: &str) -> Option<u16> {
    u16::try_from(name.len()).ok()
}

fn words_of(bytes: usize) -> usize {
    bytes.div_ceil(8)
}
