//! Values into bytes.

use super::error::{EncodeError, EncodeFault};
use super::node::{Member, Node, Record};
use super::scalar::{self, Item};
use super::value::Value;
use crate::schema::{Enum, Scalar};

/// Appends a record. On an error what was appended is of no use.
pub(super) fn record(record: &Record, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let Value::Record(fields) = value else {
        return Err(EncodeFault::WrongKind("a record").into());
    };
    for (name, _) in fields {
        if record.position(name).is_none() {
            return Err(EncodeError::new(&**name, EncodeFault::UnknownField));
        }
    }
    let start = out.len();
    for member in &record.members {
        let within = |e: EncodeError| e.within(&member.name);
        let value = value.get(&member.name);
        match &member.node {
            Node::Counted(element) => {
                let given = counted(element, value, out).map_err(within)?;
                put_count(record, member, fields, given, start, out)?;
            }
            node => match value {
                Some(value) => append(node, value, out).map_err(within)?,
                None => out.resize(out.len() + node.fixed() as usize, 0),
            },
        }
    }
    Ok(())
}

/// Writes the count of an array where it belongs, in front of it.
fn put_count(
    record: &Record,
    array: &Member,
    fields: &[(std::sync::Arc<str>, Value)],
    given: u64,
    start: usize,
    out: &mut [u8],
) -> Result<(), EncodeError> {
    let Some(count) = array.count.and_then(|i| record.members.get(i)) else { return Ok(()) };
    let stated = fields.iter().find(|(n, _)| *n == count.name).and_then(|(_, v)| v.as_int());
    if let Some(stated) = stated.filter(|n| *n != i128::from(given)) {
        return Err(EncodeError::new(&*array.name, mismatch(stated, given)));
    }
    let Some(scalar) = count.node.scalar() else { return Ok(()) };
    let place = out.get_mut(start + count.offset as usize..).unwrap_or(&mut []);
    scalar::put(place, scalar, Item::Unsigned(given))
        .map_err(|_| EncodeError::new(&*array.name, too_many(scalar, given)))
}

pub(super) fn mismatch(count: i128, given: u64) -> EncodeFault {
    EncodeFault::CountMismatch { count: count.try_into().unwrap_or(i64::MAX), given }
}

pub(super) fn too_many(count: Scalar, given: u64) -> EncodeFault {
    let max = count.range().map_or(0, |(_, max)| max as u64);
    EncodeFault::TooMany { given, max }
}

/// Appends the elements of an array of variable length and says how many there are.
fn counted(node: &Node, value: Option<&Value>, out: &mut Vec<u8>) -> Result<u64, EncodeError> {
    match value {
        None => Ok(0),
        Some(value) if node.is_byte() && value.as_bytes().is_some() => {
            let bytes = value.as_bytes().unwrap_or_default();
            out.extend_from_slice(bytes);
            Ok(bytes.len() as u64)
        }
        Some(Value::List(list)) => {
            elements(node, list, out)?;
            Ok(list.len() as u64)
        }
        Some(_) => Err(EncodeFault::WrongKind(array_kind(node)).into()),
    }
}

fn elements(node: &Node, list: &[Value], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    for (i, value) in list.iter().enumerate() {
        append(node, value, out).map_err(|e| e.within(&format!("[{i}]")))?;
    }
    Ok(())
}

fn array_kind(node: &Node) -> &'static str {
    if node.is_byte() { "bytes or a list" } else { "a list" }
}

/// Appends a value.
pub(super) fn append(node: &Node, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match node {
        Node::Scalar(s) => {
            let item: Option<Item<'_>> = value.into();
            let item = item.ok_or(EncodeFault::WrongKind("a single value"))?;
            scalar::push(out, *s, item)?;
        }
        Node::Enum(e) => {
            let item: Option<Item<'_>> = value.into();
            let item = item.ok_or(EncodeFault::WrongKind("a number or the name of an entry"))?;
            scalar::push(out, e.base, entry(e, item)?)?;
        }
        Node::Text(max) => {
            let bytes = value.as_bytes().ok_or(EncodeFault::WrongKind("text"))?;
            padded(bytes, *max, out)?;
        }
        Node::OpenText => {
            let bytes = value.as_bytes().ok_or(EncodeFault::WrongKind("text"))?;
            let len = text_len(bytes)?;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Node::Fixed(node, needed) => match value {
            Value::List(list) if list.len() == *needed as usize => elements(node, list, out)?,
            Value::List(list) => {
                let (given, needed) = (list.len(), *needed as usize);
                return Err(EncodeFault::WrongCount { given, needed }.into());
            }
            value => match value.as_bytes().filter(|_| node.is_byte()) {
                Some(bytes) => padded(bytes, *needed, out)?,
                None => return Err(EncodeFault::WrongKind(array_kind(node)).into()),
            },
        },
        Node::Counted(node) | Node::Rest(node) => {
            counted(node, Some(value), out)?;
        }
        Node::Record(r) => record(r, value, out)?,
        Node::Union(u) => union(u, value, out)?,
    }
    Ok(())
}

/// An entry named by its text as its number.
pub(super) fn entry<'a>(e: &Enum, item: Item<'a>) -> Result<Item<'a>, EncodeFault> {
    match item {
        Item::Text(name) => match e.entries.iter().find(|entry| *entry.name == *name) {
            Some(entry) => Ok(Item::Signed(entry.value)),
            None => Err(EncodeFault::UnknownEntry(name.into())),
        },
        item => Ok(item),
    }
}

/// The length that goes before the bytes of a `string x[]`.
pub(super) fn text_len(bytes: &[u8]) -> Result<u32, EncodeFault> {
    let too_long = EncodeFault::TooLong { len: bytes.len(), max: u32::MAX as usize };
    u32::try_from(bytes.len()).map_err(|_| too_long)
}

fn padded(bytes: &[u8], max: u32, out: &mut Vec<u8>) -> Result<(), EncodeFault> {
    let max = max as usize;
    if bytes.len() > max {
        return Err(EncodeFault::TooLong { len: bytes.len(), max });
    }
    out.extend_from_slice(bytes);
    out.resize(out.len() + (max - bytes.len()), 0);
    Ok(())
}

fn union(union: &Record, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Value::Bytes(bytes) => padded(bytes, union.fixed, out)?,
        Value::Record(fields) => {
            let [(name, value)] = fields.as_slice() else {
                return Err(EncodeFault::WrongKind("bytes or a record of one member").into());
            };
            let Some(member) = union.members.iter().find(|m| m.name == *name) else {
                return Err(EncodeError::new(&**name, EncodeFault::UnknownField));
            };
            let start = out.len();
            append(&member.node, value, out).map_err(|e| e.within(name))?;
            out.resize(start + union.fixed as usize, 0);
        }
        _ => return Err(EncodeFault::WrongKind("bytes or a record of one member").into()),
    }
    Ok(())
}
