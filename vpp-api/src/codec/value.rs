//! A message or a part of one, taken apart.

use std::sync::Arc;

/// The value of a field, a typedef or a whole message.
///
/// | field | decodes to | encodes from |
/// | --- | --- | --- |
/// | u8 … u64, enum of one | `Unsigned` | any whole number; an enum also from the `Text` of an entry |
/// | i8 … i64, enum of one | `Signed` | the same |
/// | f64 | `Float` | any number |
/// | bool | `Bool` | `Bool`, 0 or 1 |
/// | string | `Text`, or `Bytes` if it is not UTF-8 | `Text`, `Bytes` |
/// | array of u8 | `Bytes` | `Bytes`, `Text`; a shorter one is zero-padded if the length is fixed |
/// | other array | `List` | `List` |
/// | typedef, message | `Record` | `Record`; a field that is left out is zero |
/// | union | `Bytes`; with a discriminator, a `Record` of one member | `Bytes`, a `Record` of one member |
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// An unsigned whole number.
    Unsigned(u64),
    /// A signed whole number.
    Signed(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The elements of an array.
    List(Vec<Value>),
    /// Fields by name.
    Record(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// A field of a record.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Record(fields) => fields.iter().find(|(n, _)| **n == *name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A record of these fields.
    pub fn record<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, Value)>) -> Value {
        Value::Record(fields.into_iter().map(|(n, v)| (n.into(), v)).collect())
    }

    /// The whole number that it is.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Value::Unsigned(n) => Some((*n).into()),
            Value::Signed(n) => Some((*n).into()),
            _ => None,
        }
    }

    /// The whole number that it is, if it is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_int().and_then(|n| n.try_into().ok())
    }

    /// The text that it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The bytes that it is; of text, its bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(s) => Some(s.as_bytes()),
            Value::Bytes(b) => Some(b),
            _ => None,
        }
    }

    /// The elements that it has.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl From<$ty> for Value {
            fn from(value: $ty) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}

from!(u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, i8 => Signed, i16 => Signed,
    i32 => Signed, i64 => Signed, f64 => Float, bool => Bool, &str => Text, String => Text,
    &[u8] => Bytes, Vec<u8> => Bytes, Vec<Value> => List);
