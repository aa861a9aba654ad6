//! Messages out of what a host gives: named fields, or a packed struct.

use herald_vpp_api::codec::{DecodeError, EncodeError, EncodeFault, Item, Value};
use herald_vpp_api::table::Entry;

use crate::event::{self, Param};

/// Goes on with a message of which the fixed part stands at the end of `out`, from `start`, zero but for its
/// id: gives fields the values of the parameters of their names, and returns its length. Fields that are
/// not given stay zero, and so does one whose value is none.
///
/// A field of a typedef is named `data.ue_id`; an element of an array `ports[0]`, or `ports[0].name`,
/// elements in their order. Arrays of `u8` take bytes. The count of an array is filled in.
///
/// # Errors
/// A field that the message does not have, or a value that does not fit. Nothing is cut.
pub(super) fn encode_fields<'a>(
    entry: &Entry,
    fields: impl Iterator<Item = Param<'a>> + Clone,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    let mut message = entry.plan.encoder_at(start, out)?;
    for Param { name, value } in fields.clone() {
        let put = match item(value) {
            // Most are numbers, which need no more than a comparison and a store.
            Some(Item::Unsigned(number)) => message.put(name, number),
            Some(item) => message.put(name, item),
            None if entry.plan.slot(name).is_some() => Ok(()),
            None => Err(error(name, EncodeFault::UnknownField)),
        };
        match put {
            Ok(()) => {}
            Err(_) if name.contains('[') => {
                drop(message);
                return encode_tree(entry, fields, out);
            }
            Err(error) => return Err(error),
        }
    }
    message.finish()
}

/// Checks that the bytes are a whole message of this kind, its id excepted.
///
/// # Errors
/// What is missing or left over.
#[inline]
pub(super) fn check_packed(entry: &Entry, message: &[u8]) -> Result<(), DecodeError> {
    entry.plan.view(message).map(drop)
}

/// The value without an allocation; none for no value.
fn item(value: event::Value<'_>) -> Option<Item<'_>> {
    Some(match value {
        event::Value::Null => return None,
        event::Value::Int(n) => Item::Signed(n),
        event::Value::Uint(n) => Item::Unsigned(n),
        event::Value::Float(x) => Item::Float(x),
        event::Value::Bool(b) => Item::Bool(b),
        // An enum takes the name of an entry, which is text.
        event::Value::Str(text) => match std::str::from_utf8(text) {
            Ok(text) => Item::Text(text),
            Err(_) => Item::Bytes(text),
        },
        event::Value::Bytes(bytes) => Item::Bytes(bytes),
    })
}

/// The same for messages with elements of arrays, which have no place of their own until all is known.
fn encode_tree<'a>(
    entry: &Entry,
    fields: impl Iterator<Item = Param<'a>>,
    out: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    let mut root = Value::Record(Vec::new());
    for Param { name, value } in fields {
        let place = place(&mut root, name).map_err(|fault| error(name, fault))?;
        if let Some(item) = item(value) {
            *place = item.into();
        }
    }
    let start = out.len();
    entry.plan.encode(entry.id, &root, out)?;
    Ok(out.len() - start)
}

/// Where the value of a path belongs.
fn place<'v>(root: &'v mut Value, path: &str) -> Result<&'v mut Value, EncodeFault> {
    let mut at = root;
    for part in path.split('.') {
        let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        at = member(at, name)?;
        for index in indexes.split_inclusive(']') {
            let index = index.strip_prefix('[').and_then(|index| index.strip_suffix(']'));
            let index = index.and_then(|index| index.parse().ok()).ok_or(EncodeFault::UnknownField)?;
            at = element(at, index)?;
        }
    }
    Ok(at)
}

fn member<'v>(value: &'v mut Value, name: &str) -> Result<&'v mut Value, EncodeFault> {
    let Value::Record(fields) = value else { return Err(EncodeFault::UnknownField) };
    let at = match fields.iter().position(|(known, _)| **known == *name) {
        Some(at) => at,
        None => {
            fields.push((name.into(), Value::Record(Vec::new())));
            fields.len() - 1
        }
    };
    fields.get_mut(at).map(|(_, value)| value).ok_or(EncodeFault::UnknownField)
}

fn element(value: &mut Value, index: usize) -> Result<&mut Value, EncodeFault> {
    if matches!(value, Value::Record(fields) if fields.is_empty()) {
        *value = Value::List(Vec::new());
    }
    let Value::List(list) = value else { return Err(EncodeFault::UnknownField) };
    if index == list.len() {
        list.push(Value::Record(Vec::new()));
    }
    list.get_mut(index).ok_or(EncodeFault::WrongKind("elements in their order, from [0]"))
}

fn error(name: &str, fault: EncodeFault) -> EncodeError {
    EncodeError { field: name.into(), fault }
}
