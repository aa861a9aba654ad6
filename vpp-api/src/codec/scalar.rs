//! Scalars on the wire.

use super::error::EncodeFault;
use super::value::Value;
use crate::schema::Scalar;

/// A value that needs no allocation: what [`Encoder::put`](super::Encoder::put) takes and
/// [`View::get`](super::View::get) gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// True or false.
    Bool(bool),
    /// An unsigned whole number.
    Unsigned(u64),
    /// A signed whole number.
    Signed(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The whole number that it is.
    pub fn as_int(self) -> Option<i128> {
        match self {
            Item::Unsigned(n) => Some(n.into()),
            Item::Signed(n) => Some(n.into()),
            _ => None,
        }
    }

    /// The bytes that it is; of text, its bytes.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Item::Text(s) => Some(s.as_bytes()),
            Item::Bytes(b) => Some(b),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl<'a> From<$ty> for Item<'a> {
            #[inline]
            fn from(value: $ty) -> Item<'a> {
                Item::$variant(value.into())
            }
        }
    )*};
}

from!(u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, i8 => Signed, i16 => Signed,
    i32 => Signed, i64 => Signed, f64 => Float, bool => Bool, &'a str => Text, &'a [u8] => Bytes);

impl<'a> From<&'a String> for Item<'a> {
    #[inline]
    fn from(text: &'a String) -> Item<'a> {
        Item::Text(text)
    }
}

impl<'a> From<&'a Vec<u8>> for Item<'a> {
    #[inline]
    fn from(bytes: &'a Vec<u8>) -> Item<'a> {
        Item::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Item<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Item<'a> {
        Item::Bytes(bytes)
    }
}

impl<'a> From<&'a Value> for Option<Item<'a>> {
    fn from(value: &'a Value) -> Option<Item<'a>> {
        Some(match value {
            Value::Bool(b) => Item::Bool(*b),
            Value::Unsigned(n) => Item::Unsigned(*n),
            Value::Signed(n) => Item::Signed(*n),
            Value::Float(x) => Item::Float(*x),
            Value::Text(s) => Item::Text(s),
            Value::Bytes(b) => Item::Bytes(b),
            Value::List(_) | Value::Record(_) => return None,
        })
    }
}

/// The eight bytes that a scalar is made of: its wire form stands in the last [`Scalar::size`] of them,
/// but `f64`, little-endian, in all.
#[inline]
fn wire(scalar: Scalar, item: Item<'_>) -> Result<[u8; 8], EncodeFault> {
    let bits = match (scalar, item) {
        (Scalar::F64, Item::Float(x)) => return Ok(x.to_le_bytes()),
        (Scalar::F64, Item::Unsigned(n)) => return Ok((n as f64).to_le_bytes()),
        (Scalar::F64, Item::Signed(n)) => return Ok((n as f64).to_le_bytes()),
        (Scalar::F64, _) => return Err(EncodeFault::WrongKind("a number")),
        (Scalar::Bool, Item::Bool(b)) => u64::from(b),
        (Scalar::Bool, Item::Unsigned(n @ 0..=1)) => n,
        (Scalar::Bool, Item::Signed(n @ 0..=1)) => n as u64,
        (Scalar::Bool, _) => return Err(EncodeFault::WrongKind("true or false")),
        (_, Item::Unsigned(n)) => {
            let width = 8 * scalar.size() - u32::from(scalar.signed());
            if width < 64 && n >> width != 0 {
                return Err(EncodeFault::OutOfRange(scalar.name()));
            }
            n
        }
        (_, Item::Signed(n)) => {
            let fits = match scalar.range() {
                Some((min, max)) => (min..=max).contains(&i128::from(n)),
                None => false,
            };
            if !fits {
                return Err(EncodeFault::OutOfRange(scalar.name()));
            }
            n as u64
        }
        _ => return Err(EncodeFault::WrongKind("a whole number")),
    };
    Ok(bits.to_be_bytes())
}

/// Writes a scalar over the beginning of `out`, which is at least as long.
#[inline]
pub(super) fn put(out: &mut [u8], scalar: Scalar, item: Item<'_>) -> Result<(), EncodeFault> {
    let bytes = wire(scalar, item)?;
    // A copy whose length is known when compiled, for each of the four lengths.
    match (scalar.size(), out) {
        (1, [a, ..]) => *a = bytes[7],
        (2, [a, b, ..]) => [*a, *b] = [bytes[6], bytes[7]],
        (4, [a, b, c, d, ..]) => [*a, *b, *c, *d] = [bytes[4], bytes[5], bytes[6], bytes[7]],
        (8, out) if out.len() >= 8 => out[..8].copy_from_slice(&bytes),
        _ => return Err(EncodeFault::UnknownField),
    }
    Ok(())
}

/// An unsigned number, which needs no more than a look at its range and a store; or whatever else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    No,
    U8,
    U16,
    U32,
    U64,
}

impl From<Scalar> for Plain {
    #[inline]
    fn from(scalar: Scalar) -> Plain {
        match scalar {
            Scalar::U8 => Plain::U8,
            Scalar::U16 => Plain::U16,
            Scalar::U32 => Plain::U32,
            Scalar::U64 => Plain::U64,
            _ => Plain::No,
        }
    }
}

/// Writes a whole number over what is at `at` of `out`; false, and nothing is written, if [`put`] must see
/// to it.
#[inline(always)]
pub(super) fn put_plain(out: &mut [u8], at: usize, plain: Plain, number: u64) -> bool {
    let Some(place) = out.get_mut(at..) else { return false };
    match plain {
        Plain::U8 if number <= u8::MAX.into() => store(place, [number as u8]),
        Plain::U16 if number <= u16::MAX.into() => store(place, (number as u16).to_be_bytes()),
        Plain::U32 if number <= u32::MAX.into() => store(place, (number as u32).to_be_bytes()),
        Plain::U64 => store(place, number.to_be_bytes()),
        _ => false,
    }
}

#[inline(always)]
fn store<const N: usize>(place: &mut [u8], bytes: [u8; N]) -> bool {
    place.first_chunk_mut().map(|place| *place = bytes).is_some()
}

/// Appends a scalar.
pub(super) fn push(out: &mut Vec<u8>, scalar: Scalar, item: Item<'_>) -> Result<(), EncodeFault> {
    let bytes = wire(scalar, item)?;
    out.extend_from_slice(&bytes[8 - scalar.size() as usize..]);
    Ok(())
}

/// Reads a scalar from the beginning of `bytes`; `None` if they are too few.
#[inline]
pub(super) fn get<'a>(bytes: &[u8], scalar: Scalar) -> Option<Item<'a>> {
    let size = scalar.size() as usize;
    let bytes = bytes.get(..size)?;
    let mut wide = [0u8; 8];
    wide[8 - size..].copy_from_slice(bytes);
    let bits = u64::from_be_bytes(wide);
    Some(match scalar {
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => Item::Unsigned(bits),
        Scalar::I8 => Item::Signed((bits as i8).into()),
        Scalar::I16 => Item::Signed((bits as i16).into()),
        Scalar::I32 => Item::Signed((bits as i32).into()),
        Scalar::I64 => Item::Signed(bits as i64),
        Scalar::F64 => Item::Float(f64::from_le_bytes(wide)),
        Scalar::Bool => Item::Bool(bits != 0),
    })
}

impl From<Item<'_>> for Value {
    fn from(item: Item<'_>) -> Value {
        match item {
            Item::Bool(b) => Value::Bool(b),
            Item::Unsigned(n) => Value::Unsigned(n),
            Item::Signed(n) => Value::Signed(n),
            Item::Float(x) => Value::Float(x),
            Item::Text(s) => Value::Text(s.to_owned()),
            Item::Bytes(b) => Value::Bytes(b.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(scalar: Scalar, item: Item<'_>) -> Result<Vec<u8>, EncodeFault> {
        let mut pushed = Vec::new();
        push(&mut pushed, scalar, item)?;
        let mut written = [0xAA; 8];
        put(&mut written, scalar, item)?;
        assert_eq!(pushed, written[..scalar.size() as usize]);
        Ok(pushed)
    }

    #[test]
    fn every_scalar_at_its_ends() {
        for scalar in Scalar::ALL {
            let Some((min, max)) = scalar.range() else { continue };
            for n in [min, 0, 1, max] {
                let item = match u64::try_from(n) {
                    Ok(n) => Item::Unsigned(n),
                    Err(_) => Item::Signed(n as i64),
                };
                let wire = bytes(scalar, item).unwrap();
                assert_eq!(get(&wire, scalar).and_then(Item::as_int), Some(n), "{scalar:?}");
                assert_eq!(get(&wire[1..], scalar), None);
            }
            for n in [min - 1, max + 1] {
                let item = match (u64::try_from(n), i64::try_from(n)) {
                    (Ok(n), _) => Item::Unsigned(n),
                    (_, Ok(n)) => Item::Signed(n),
                    _ => continue,
                };
                assert_eq!(bytes(scalar, item), Err(EncodeFault::OutOfRange(scalar.name())));
            }
        }
    }

    #[test]
    fn byte_order() {
        assert_eq!(bytes(Scalar::U32, 0x01020304u32.into()).unwrap(), [1, 2, 3, 4]);
        assert_eq!(bytes(Scalar::I16, (-2i16).into()).unwrap(), [0xFF, 0xFE]);
        // IEEE 754: 1.0 is 3FF00000 00000000.
        assert_eq!(bytes(Scalar::F64, 1.0.into()).unwrap(), [0, 0, 0, 0, 0, 0, 0xF0, 0x3F]);
        assert_eq!(get(&[0, 0, 0, 0, 0, 0, 0xF0, 0x3F], Scalar::F64), Some(Item::Float(1.0)));
    }

    #[test]
    fn a_bool_is_any_byte_but_zero() {
        assert_eq!(bytes(Scalar::Bool, true.into()).unwrap(), [1]);
        assert_eq!(get(&[2], Scalar::Bool), Some(Item::Bool(true)));
        assert!(bytes(Scalar::Bool, 2u8.into()).is_err());
    }
}
