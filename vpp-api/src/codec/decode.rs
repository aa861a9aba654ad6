//! Bytes into values, and bytes checked without making values of them.

use super::error::{DecodeError, DecodeFault};
use super::node::{Member, Node, Record};
use super::scalar::{self, Item};
use super::value::Value;
use crate::schema::Scalar;

/// Bytes and how far they have been read.
pub(super) struct Cursor<'a> {
    pub rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: u64) -> Result<&'a [u8], DecodeFault> {
        let left = self.rest.len() as u64;
        let split = usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n));
        let (taken, rest) = split.ok_or(DecodeFault::Truncated { needed: n, left })?;
        self.rest = rest;
        Ok(taken)
    }

    fn scalar(&mut self, scalar: Scalar) -> Result<Item<'a>, DecodeFault> {
        let size = u64::from(scalar.size());
        let bytes = self.take(size)?;
        scalar::get(bytes, scalar).ok_or(DecodeFault::Truncated { needed: size, left: 0 })
    }

    /// Makes sure that `n` elements can be there before any room is made for them.
    fn room_for(&self, n: u64, node: &Node) -> Result<(), DecodeFault> {
        let needed = n.saturating_mul(u64::from(node.fixed().max(1)));
        let left = self.rest.len() as u64;
        if needed > left { Err(DecodeFault::Truncated { needed, left }) } else { Ok(()) }
    }
}

/// Reads a record.
pub(super) fn record(record: &Record, cursor: &mut Cursor<'_>) -> Result<Value, DecodeError> {
    let mut fields: Vec<(std::sync::Arc<str>, Value)> = Vec::with_capacity(record.members.len());
    for member in &record.members {
        let int = |i: usize| fields.get(i).and_then(|(_, v)| v.as_int());
        let value = match (&member.node, &member.tag) {
            (Node::Counted(element), _) => {
                let count = count_of(member.count.and_then(int));
                count.map_err(DecodeError::from).and_then(|n| elements(element, n, cursor))
            }
            (Node::Union(union), Some(tag)) => {
                let by = int(tag.by);
                let case = tag.cases.iter().find(|(v, _)| Some(i128::from(*v)) == by);
                union_member(union, case.and_then(|(_, i)| union.members.get(*i)), cursor)
            }
            (node, _) => any(node, cursor),
        };
        fields.push((member.name.clone(), value.map_err(|e| e.within(&member.name))?));
    }
    Ok(Value::Record(fields))
}

/// A count as found in its field.
pub(super) fn count_of(found: Option<i128>) -> Result<u64, DecodeFault> {
    found.map_or(Ok(0), |n| u64::try_from(n).map_err(|_| DecodeFault::NegativeCount))
}

fn any(node: &Node, cursor: &mut Cursor<'_>) -> Result<Value, DecodeError> {
    Ok(match node {
        Node::Scalar(s) => cursor.scalar(*s)?.into(),
        Node::Enum(e) => cursor.scalar(e.base)?.into(),
        Node::Text(n) => text(until_nul(cursor.take((*n).into())?)),
        Node::OpenText => {
            let len = cursor.scalar(Scalar::U32)?.as_int().unwrap_or(0) as u64;
            text(cursor.take(len)?)
        }
        Node::Fixed(node, n) => elements(node, (*n).into(), cursor)?,
        // Counted arrays are read by `record`, which knows their count.
        Node::Counted(_) => Value::List(Vec::new()),
        Node::Rest(node) => {
            let left = cursor.rest.len() as u64;
            let size = u64::from(node.fixed().max(1));
            if node.open() {
                let mut list = Vec::new();
                while !cursor.rest.is_empty() {
                    list.push(any(node, cursor).map_err(|e| e.within(&format!("[{}]", list.len())))?);
                }
                Value::List(list)
            } else {
                whole(size, left)?;
                elements(node, left / size, cursor)?
            }
        }
        Node::Record(r) => record(r, cursor)?,
        Node::Union(u) => Value::Bytes(cursor.take(u.fixed.into())?.to_vec()),
    })
}

/// Makes sure that what is left is a whole number of elements.
fn whole(size: u64, left: u64) -> Result<(), DecodeFault> {
    match left % size {
        0 => Ok(()),
        left => Err(DecodeFault::Truncated { needed: size, left }),
    }
}

fn elements(node: &Node, n: u64, cursor: &mut Cursor<'_>) -> Result<Value, DecodeError> {
    if node.is_byte() {
        return Ok(Value::Bytes(cursor.take(n)?.to_vec()));
    }
    cursor.room_for(n, node)?;
    let mut list = Vec::with_capacity(n as usize);
    for i in 0..n {
        list.push(any(node, cursor).map_err(|e| e.within(&format!("[{i}]")))?);
    }
    Ok(Value::List(list))
}

/// A union of which it is known which member it holds.
fn union_member(
    union: &Record,
    member: Option<&Member>,
    cursor: &mut Cursor<'_>,
) -> Result<Value, DecodeError> {
    let bytes = cursor.take(union.fixed.into())?;
    let Some(member) = member else { return Ok(Value::Bytes(bytes.to_vec())) };
    let value = any(&member.node, &mut Cursor { rest: bytes }).map_err(|e| e.within(&member.name))?;
    Ok(Value::Record(vec![(member.name.clone(), value)]))
}

/// The bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

/// Goes past a record without reading what it does not need to.
pub(super) fn skip_record(record: &Record, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    let start = cursor.rest;
    if !record.open {
        cursor.take(record.fixed.into())?;
        return Ok(());
    }
    let Some((last, _)) = record.members.split_last() else { return Ok(()) };
    let within = |e: DecodeError| e.within(&last.name);
    cursor.take(last.offset.into())?;
    let count = last.count.and_then(|i| record.members.get(i)).and_then(|m| {
        let bytes = start.get(m.offset as usize..)?;
        scalar::get(bytes, m.node.scalar()?)?.as_int()
    });
    match &last.node {
        Node::Counted(node) => {
            let n = count_of(count).map_err(|f| within(f.into()))?;
            skip_elements(node, n, cursor).map_err(within)
        }
        node => skip(node, cursor).map_err(within),
    }
}

fn skip_elements(node: &Node, n: u64, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    if !node.open() {
        cursor.take(n.saturating_mul(node.fixed().into()))?;
        return Ok(());
    }
    cursor.room_for(n, node)?;
    for i in 0..n {
        skip(node, cursor).map_err(|e| e.within(&format!("[{i}]")))?;
    }
    Ok(())
}

fn skip(node: &Node, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    match node {
        Node::OpenText => {
            let len = cursor.scalar(Scalar::U32)?.as_int().unwrap_or(0) as u64;
            cursor.take(len)?;
        }
        Node::Record(r) => skip_record(r, cursor)?,
        Node::Fixed(node, n) => skip_elements(node, (*n).into(), cursor)?,
        Node::Rest(element) if !element.open() => {
            whole(element.fixed().max(1).into(), cursor.rest.len() as u64)?;
            cursor.rest = &[];
        }
        Node::Rest(element) => {
            while !cursor.rest.is_empty() {
                skip(element, cursor)?;
            }
        }
        // Counted arrays are skipped by `skip_record`, which knows their count.
        Node::Counted(_) => {}
        Node::Scalar(_) | Node::Enum(_) | Node::Text(_) | Node::Union(_) => {
            cursor.take(node.fixed().into())?;
        }
    }
    Ok(())
}
