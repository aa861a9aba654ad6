//! Messages out of what a host gives: named fields, or a packed struct.

use herald_vpp_api::codec::{DecodeError, EncodeError, EncodeFault, Encoder, Field, Item, Value};
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

/// Gives a field that has been looked up a value; none if that does not fit.
pub fn give(message: &mut Encoder<'_>, field: Field, value: event::Value<'_>) -> Option<()> {
    item(value).map_or(Some(()), |item| message.set(field, item).ok())
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

#[cfg(test)]
mod tests {
    use super::super::contract::{About, Contract};
    use super::*;
    use crate::event::Value;
    use herald_vpp_api::{Rules, builtin::Builtin, parse};
    use proptest::prelude::*;
    use std::sync::Arc;

    const EVENT: &str = "cu_up_gtp_error_ind_event";

    fn contract() -> Contract {
        let text = include_str!("../../../c_examples/api/testgovpp.api");
        let api = parse::parse("testgovpp.api", text, &Builtin, Rules::default()).unwrap();
        let about = About { program: "test".into(), version: "1".into(), pid: 9 };
        Contract::new(vec![Arc::new(api)], &[], about).unwrap()
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "client_index",
            "pid",
            "type",
            "data.ue_id",
            "data.te_id",
            "data.rb_id",
            "raw_msg_len",
            "raw_msg_data",
            "raw_msg_data[0]",
            "data",
            "data.ue_id.",
            "nothing",
            "",
        ])
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        static LONG: [u8; 300] = [7; 300];
        let number = prop_oneof![0u64..4, 250u64..260, Just(u64::from(u32::MAX)), any::<u64>()];
        prop_oneof![
            4 => number.prop_map(Value::Uint),
            1 => (-3i64..300).prop_map(Value::Int),
            3 => (0usize..300).prop_map(|length| Value::Bytes(&LONG[..length])),
            1 => prop::sample::select(vec![
                Value::Null,
                Value::Bool(true),
                Value::Float(1.0),
                Value::Str(b"CU_UP_EVENT_GTP_ERROR_IND"),
                Value::Str(b"NOTHING"),
                Value::Str(b"\xff"),
            ]),
        ]
    }

    proptest! {
        #[test]
        fn fields_that_are_looked_up_before_make_the_same_event(
            fields in prop::collection::vec((name(), value()), 0..8),
        ) {
            let contract = contract();
            let event = contract.event(EVENT.as_bytes()).unwrap();
            let params: Vec<Param<'_>> =
                fields.into_iter().map(|(name, value)| Param { name, value }).collect();
            let (mut by_name, mut found) = (vec![1], vec![1]);
            let encoded = contract.encode_event(EVENT, &params, &mut by_name);
            let fill = |message: &mut Encoder<'_>| {
                let mut hint = 0;
                params.iter().try_for_each(|param| {
                    let field = event.plan.field(param.name.as_bytes(), &mut hint)?;
                    give(message, field, param.value)
                })
            };
            match contract.encode_found(event, fill, &mut found) {
                Some(()) => prop_assert_eq!(&found, &by_name),
                None => {
                    prop_assert_eq!(&found, &[1]);
                    let elements = params.iter().any(|param| param.name.contains('['));
                    prop_assert!(encoded.is_err() || elements);
                }
            }
        }
    }
}
