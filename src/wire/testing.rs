//! What the tests of both datagram formats feed them.

use crate::event::Value;
use proptest::prelude::*;

/// Strings that are mostly trouble.
pub fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["\"", "\\", ":", "::", "\n", "\r", "\0", "a", "é", "\u{1}"]);
    prop::collection::vec(prop_oneof![9 => piece.prop_map(str::to_owned), 1 => any::<String>()], 0..8)
        .prop_map(|pieces| pieces.concat())
}

#[derive(Debug, Clone)]
pub enum Owned {
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Plain(Value<'static>),
}

impl Owned {
    pub fn value(&self) -> Value<'_> {
        match self {
            Owned::Text(text) => Value::Str(text),
            Owned::Bytes(bytes) => Value::Bytes(bytes),
            Owned::Plain(value) => *value,
        }
    }
}

pub fn values() -> impl Strategy<Value = Owned> {
    prop_oneof![
        6 => hostile().prop_map(|text| Owned::Text(text.into())),
        3 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Text),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Bytes),
        1 => Just(Owned::Plain(Value::Null)),
        1 => any::<i64>().prop_map(|n| Owned::Plain(Value::Int(n))),
        1 => any::<u64>().prop_map(|n| Owned::Plain(Value::Uint(n))),
        1 => any::<u64>().prop_map(|bits| Owned::Plain(Value::Float(f64::from_bits(bits)))),
        1 => any::<bool>().prop_map(|b| Owned::Plain(Value::Bool(b))),
    ]
}
