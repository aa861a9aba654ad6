//! A message compiled for encoding and decoding.

use std::collections::HashMap;
use std::sync::Arc;

use super::decode::{self, Cursor};
use super::encode;
use super::encoder::{self, Encoder};
use super::error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
use super::node::{self, Node, Record};
use super::scalar::{self, Item, Plain};
use super::value::Value;
use super::view::View;
use crate::schema::{Api, Enum, Message, Scalar};

/// Bytes of the message id.
pub(super) const ID: u32 = 2;

/// Most fields that are listed by name (VPP's longest message has 151). Further fields of a
/// message are looked up level by level each time; further fields of an array's element are not found by
/// name.
const SLOTS: usize = 1024;

/// Up to so many names it is faster to compare them than to compute a hash.
const FEW: usize = 24;

/// How many names are compared before it is looked up: those that a publisher leaves out, such as
/// `client_index` and `pid`, and counts.
const AHEAD: usize = 3;

/// Whether two names are the same. Most are short: a call to compare them would cost more than that.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    // Both ends, which may overlap.
    fn ends<const N: usize>(name: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        Some((name.first_chunk()?, name.last_chunk()?))
    }
    one.len() == other.len()
        && match one.len() {
            16..=32 => ends::<16>(one) == ends(other),
            8..16 => ends::<8>(one) == ends(other),
            4..8 => ends::<4>(one) == ends(other),
            _ => one == other,
        }
}

/// Where a field lies in a message and what it is. Valid for the plan that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// From the beginning of the message (its id included) or of an array's element.
    pub(super) offset: u32,
    pub(super) kind: SlotKind,
}

impl Slot {
    /// Where it begins, from the beginning of the message, its id included, or of an array's element.
    pub fn offset(self) -> usize {
        self.offset as usize
    }

    /// The scalar that it is on the wire, if it is one.
    pub fn scalar(self) -> Option<Scalar> {
        match self.kind {
            SlotKind::Scalar(scalar) => Some(scalar),
            SlotKind::Text(_) | SlotKind::Bytes(_) | SlotKind::Tail => None,
        }
    }
}

/// A field that has been looked up by its name. Valid for the plan that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Which of the plan's named fields it is.
    at: u32,
    pub(super) offset: u32,
    pub(super) plain: Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotKind {
    Scalar(Scalar),
    /// NUL-padded text of so many bytes.
    Text(u32),
    /// So many bytes: an array of u8 or a union.
    Bytes(u32),
    /// The part of variable length.
    Tail,
}

/// A field by its name, such as `data.ue_id`.
#[derive(Debug)]
pub(super) struct Named {
    pub path: Box<str>,
    pub slot: Slot,
    /// Of an enum, its entries.
    pub entries: Option<Arc<Enum>>,
    pub plain: Plain,
}

impl Named {
    fn new(path: &str, slot: Slot, node: &Node) -> Named {
        let plain = slot.scalar().map_or(Plain::No, Plain::from);
        Named { path: path.into(), slot, entries: entries(node), plain }
    }

    #[inline(always)]
    fn is(&self, path: &[u8]) -> bool {
        same(self.path.as_bytes(), path)
    }
}

/// The part of variable length.
#[derive(Debug)]
pub(super) struct Tail {
    pub path: Box<str>,
    /// The field that holds the count, if one does.
    pub count: Option<(u32, Scalar)>,
    pub kind: TailKind,
}

#[derive(Debug)]
pub(super) enum TailKind {
    /// `string x[]`
    Text,
    /// `u8 x[len]`
    Bytes,
    /// An array of elements of known size, whose fields are these.
    Elements(u32, Layout),
    /// An array of elements that are of variable length themselves: only for [`Plan::encode`].
    Open,
}

/// The fields of a message or of an array's element.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub named: Vec<Named>,
    index: HashMap<Box<[u8]>, usize>,
}

impl Layout {
    /// Which field has this name. `hint` is where to look first and is set to what follows: whoever gives
    /// fields in the order of definition pays for a few short comparisons.
    #[inline(always)]
    pub fn find(&self, path: &[u8], hint: &mut usize) -> Option<usize> {
        for at in *hint..*hint + AHEAD {
            if self.named.get(at).is_some_and(|named| named.is(path)) {
                *hint = at + 1;
                return Some(at);
            }
        }
        let at = self.find_anywhere(path)?;
        *hint = at + 1;
        Some(at)
    }

    /// The field of this name.
    pub fn get(&self, path: &str) -> Option<&Named> {
        self.named.get(self.find(path.as_bytes(), &mut 0)?)
    }

    fn find_anywhere(&self, path: &[u8]) -> Option<usize> {
        if self.named.len() <= FEW {
            return self.named.iter().position(|named| named.is(path));
        }
        self.index.get(path).copied()
    }

    fn push(&mut self, named: Named) {
        self.index.insert(named.path.as_bytes().into(), self.named.len());
        self.named.push(named);
    }

    /// Adds the fields of a record, nested ones as `outer.inner`.
    fn add(&mut self, record: &Record, prefix: &str, base: u32) {
        for member in &record.members {
            if self.named.len() >= SLOTS {
                return;
            }
            let path = join(prefix, &member.name);
            let offset = base + member.offset;
            if let Some(slot) = slot(&member.node, offset) {
                self.push(Named::new(&path, slot, &member.node));
            }
            if let Node::Record(inner) | Node::Union(inner) = &member.node {
                self.add(inner, &path, offset);
            }
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn entries(node: &Node) -> Option<Arc<Enum>> {
    match node {
        Node::Enum(e) => Some(e.clone()),
        _ => None,
    }
}

fn slot(node: &Node, offset: u32) -> Option<Slot> {
    let kind = match node {
        Node::Scalar(s) => SlotKind::Scalar(*s),
        Node::Enum(e) => SlotKind::Scalar(e.base),
        Node::Text(n) => SlotKind::Text(*n),
        Node::Fixed(element, n) if element.is_byte() => SlotKind::Bytes(*n),
        Node::Union(u) => SlotKind::Bytes(u.fixed),
        Node::OpenText | Node::Counted(_) | Node::Rest(_) => SlotKind::Tail,
        Node::Fixed(..) | Node::Record(_) => return None,
    };
    Some(Slot { offset, kind })
}

/// The part of variable length, which is the last field or the last of the last.
fn tail(record: &Record, prefix: &str, base: u32) -> Option<Tail> {
    let member = record.members.last()?;
    let path = join(prefix, &member.name);
    let count = member.count.and_then(|i| record.members.get(i));
    let kind = match &member.node {
        Node::Record(inner) => return tail(inner, &path, base + member.offset),
        Node::OpenText => TailKind::Text,
        Node::Counted(element) | Node::Rest(element) => elements(element),
        _ => return None,
    };
    let count = count.and_then(|m| Some((base + m.offset, m.node.scalar()?)));
    Some(Tail { path: path.into(), count, kind })
}

fn elements(element: &Node) -> TailKind {
    let mut layout = Layout::default();
    match element {
        element if element.is_byte() => return TailKind::Bytes,
        element if element.open() => return TailKind::Open,
        Node::Record(r) | Node::Union(r) => layout.add(r, "", 0),
        element => {
            if let Some(slot) = slot(element, 0) {
                layout.push(Named::new("", slot, element));
            }
        }
    }
    TailKind::Elements(element.fixed(), layout)
}

/// A message compiled for encoding and decoding. Cheap to keep, one per message; `Send` and `Sync`.
#[derive(Debug)]
pub struct Plan {
    name: Arc<str>,
    crc: u32,
    record: Record,
    pub(super) layout: Layout,
    pub(super) tail: Option<Tail>,
    /// Where the count of the part of variable length lies; 0, where no field can, if there is none.
    pub(super) count_at: u32,
}

/// The plans of a module, made together because they share its types.
#[derive(Debug)]
pub struct Plans<'a> {
    api: &'a Api,
    types: Vec<Node>,
}

impl<'a> Plans<'a> {
    /// Compiles the types of a module.
    pub fn new(api: &'a Api) -> Plans<'a> {
        Plans { api, types: node::types(api) }
    }

    /// Compiles a message of the module.
    pub fn plan(&self, message: &Message) -> Plan {
        let record = node::record(self.api, &self.types, &message.fields);
        let tail = tail(&record, "", ID);
        let mut layout = Layout::default();
        layout.add(&record, "", ID);
        let count_at = tail.as_ref().and_then(|t| t.count).map_or(0, |(offset, _)| offset);
        // What is given for the count is compared with it in the end.
        layout.named.iter_mut().filter(|n| n.slot.offset == count_at).for_each(|n| n.plain = Plain::No);
        Plan { name: message.name.clone(), crc: message.crc, record, layout, tail, count_at }
    }
}

impl Plan {
    /// Compiles one message; of several from one module, [`Plans`] saves work. `None` if the module does
    /// not have it.
    pub fn new(api: &Api, message: &str) -> Option<Plan> {
        Some(Plans::new(api).plan(api.message(message)?))
    }

    /// The message's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the message's name.
    #[inline]
    pub fn is_named(&self, name: &[u8]) -> bool {
        same(self.name.as_bytes(), name)
    }

    /// The message's CRC.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Bytes of the message, its id included, without the part of variable length.
    pub fn fixed_len(&self) -> usize {
        (ID + self.record.fixed) as usize
    }

    /// Whether a part of variable length follows the fixed part.
    pub fn is_open(&self) -> bool {
        self.record.open
    }

    /// The field of variable length, such as `raw_msg_data`.
    pub fn open_field(&self) -> Option<&str> {
        self.tail.as_ref().map(|t| &*t.path)
    }

    /// Where a field lies, by its name; of nested ones such as `data.ue_id` or `address.un.ip4`. `None`
    /// if there is none, or if it is an array of anything but u8, or a typedef as a whole.
    pub fn slot(&self, path: &str) -> Option<Slot> {
        match self.layout.get(path) {
            Some(named) => Some(named.slot),
            None if self.layout.named.len() >= SLOTS => self.walk(path),
            None => None,
        }
    }

    /// Looks a field up by its name, for [`Encoder::set`]. `hint` is where to look first, at first 0, and
    /// is set to what follows: in the order of definition it is fastest. `None` where [`slot`](Self::slot) has
    /// none, and for fields beyond the first 1024.
    #[inline(always)]
    pub fn field(&self, path: &[u8], hint: &mut usize) -> Option<Field> {
        let at = self.layout.find(path, hint)?;
        let named = self.layout.named.get(at)?;
        Some(Field { at: at as u32, offset: named.slot.offset, plain: named.plain })
    }

    #[inline]
    pub(super) fn named(&self, field: Field) -> Option<&Named> {
        self.layout.named.get(field.at as usize)
    }

    /// Looks a field up level by level, for messages of very many.
    fn walk(&self, path: &str) -> Option<Slot> {
        let (mut record, mut offset) = (&self.record, ID);
        let mut names = path.split('.').peekable();
        loop {
            let name = names.next()?;
            let member = record.members.iter().find(|m| *m.name == *name)?;
            offset += member.offset;
            match (&member.node, names.peek()) {
                (node, None) => return slot(node, offset),
                (Node::Record(inner) | Node::Union(inner), Some(_)) => record = inner,
                _ => return None,
            }
        }
    }

    /// Changes a field of a message of this kind that is encoded already, such as the client's index
    /// when one event goes to many.
    ///
    /// # Errors
    /// If the value does not fit, or the field is of variable length or says how many elements follow.
    pub fn patch<'v>(
        &self,
        message: &mut [u8],
        slot: Slot,
        item: impl Into<Item<'v>>,
    ) -> Result<(), EncodeError> {
        if slot.offset == self.count_at {
            return Err(EncodeFault::UnknownField.into());
        }
        Ok(encoder::put_slot(message, slot, item.into())?)
    }

    /// Begins a message with this id at the end of `out`.
    pub fn encoder<'a>(&'a self, id: u16, out: &'a mut Vec<u8>) -> Encoder<'a> {
        let start = out.len();
        out.resize(start + self.fixed_len(), 0);
        if let Some([a, b, ..]) = out.get_mut(start..) {
            [*a, *b] = id.to_be_bytes();
        }
        Encoder::new(self, out, start)
    }

    /// Goes on with a message that begins at `start` of `out`, ends there, and has its fixed part only: for
    /// those who make many of one kind and copy what is the same in each.
    ///
    /// # Errors
    /// If what follows `start` is not as long as the fixed part.
    pub fn encoder_at<'a>(
        &'a self,
        start: usize,
        out: &'a mut Vec<u8>,
    ) -> Result<Encoder<'a>, EncodeError> {
        let given = out.len().saturating_sub(start);
        match self.fixed_len() {
            needed if needed != given => Err(EncodeFault::WrongCount { given, needed }.into()),
            _ => Ok(Encoder::new(self, out, start)),
        }
    }

    /// Appends the message with this id to `out`.
    ///
    /// # Errors
    /// What does not fit, and then `out` is as it was.
    pub fn encode(&self, id: u16, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.reserve(self.fixed_len());
        out.extend_from_slice(&id.to_be_bytes());
        encode::record(&self.record, value, out).inspect_err(|_| out.truncate(start))
    }

    /// Takes apart a message, id included; which id it is does not matter.
    ///
    /// # Errors
    /// What is missing or left over.
    pub fn decode(&self, message: &[u8]) -> Result<Value, DecodeError> {
        let (value, used) = self.decode_prefix(message)?;
        match message.len().saturating_sub(used) {
            0 => Ok(value),
            extra => Err(DecodeFault::Trailing { extra: extra as u64 }.into()),
        }
    }

    /// Takes apart the message at the beginning of `message` and says how many bytes it had.
    ///
    /// # Errors
    /// What is missing.
    pub fn decode_prefix(&self, message: &[u8]) -> Result<(Value, usize), DecodeError> {
        let mut cursor = Cursor { rest: body(message)? };
        let value = decode::record(&self.record, &mut cursor)?;
        Ok((value, message.len() - cursor.rest.len()))
    }

    /// Checks that the bytes are a whole message of this kind, and makes its fields readable by name.
    ///
    /// # Errors
    /// What is missing or left over.
    #[inline]
    pub fn view<'a>(&'a self, message: &'a [u8]) -> Result<View<'a>, DecodeError> {
        if !self.is_whole(message) {
            self.look_through(message)?;
        }
        Ok(View::new(self, message))
    }

    /// Whether the bytes are a whole message, if that is easily seen.
    #[inline]
    fn is_whole(&self, message: &[u8]) -> bool {
        let unit = match self.tail.as_ref().map(|tail| &tail.kind) {
            None => return !self.record.open && message.len() == self.fixed_len(),
            Some(TailKind::Bytes) => 1,
            Some(TailKind::Elements(size, _)) => u64::from(*size),
            Some(TailKind::Text | TailKind::Open) => return false,
        };
        let Some((offset, scalar)) = self.tail.as_ref().and_then(|tail| tail.count) else {
            return false;
        };
        let count = message.get(offset as usize..).and_then(|place| scalar::get(place, scalar));
        let Some(Item::Unsigned(count)) = count else { return false };
        Some(message.len() as u64)
            == count.checked_mul(unit).and_then(|bytes| bytes.checked_add(self.fixed_len() as u64))
    }

    /// Finds the end of a message, which must be that of the bytes.
    fn look_through(&self, message: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor { rest: body(message)? };
        decode::skip_record(&self.record, &mut cursor)?;
        match cursor.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeFault::Trailing { extra: extra as u64 }.into()),
        }
    }
}

/// The message without its id.
fn body(message: &[u8]) -> Result<&[u8], DecodeFault> {
    let left = message.len() as u64;
    message.get(ID as usize..).ok_or(DecodeFault::Truncated { needed: ID.into(), left })
}
