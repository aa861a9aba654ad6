//! CRCs: what a client and a server compare to know that they mean the same message.
//!
//! The CRC of a message is the CRC-32 of zlib over the text of its fields, as Python prints the lists
//! in which vppapigen keeps them, carried on over the text of each user type that they name, and of the
//! types that those name, in order. [`Rules`] says where releases differ.
//!
//! | part | text |
//! | --- | --- |
//! | field | `['u32', 'pid']` |
//! | array | `['u8', 'x', 6, None]` |
//! | variable-length array | `['u8', 'd', 0, 'len']` |
//! | `string s[]` | `['string', 's', 0, None]` |
//! | enum | `[['A', 1], ['B', 2]]` |
//! | alias | `[]` |

use std::fmt::Write;

use crate::schema::{Base, Enum, Field, Length, Rules, Type, TypeKind};

/// The polynomial of CRC-32 as zlib uses it, reflected.
const POLYNOMIAL: u32 = 0xEDB8_8320;

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// The CRC-32 of zlib, carried on from `crc` (0 at the start): `binascii.crc32(bytes, crc)` in Python.
pub fn crc32(bytes: &[u8], crc: u32) -> u32 {
    !bytes.iter().fold(!crc, |crc, b| TABLE[usize::from(crc as u8 ^ b)] ^ (crc >> 8))
}

/// The CRC of a message's fields, `types` being what [`TypeId`](crate::schema::TypeId)s point into.
pub(crate) fn message(fields: &[Field], types: &[Type], rules: Rules) -> u32 {
    fold(fields, types, rules, crc32(fields_text(fields, types).as_bytes(), 0))
}

/// Carries the CRC on over the user types of some fields. Bounded: see
/// [`limits`](crate::schema::limits).
fn fold(fields: &[Field], types: &[Type], rules: Rules, mut crc: u32) -> u32 {
    for field in fields {
        let Base::User(id) = field.base else { continue };
        let Some(ty) = types.get(id.index()) else { continue };
        crc = crc32(type_text(ty, types, rules).as_bytes(), crc);
        crc = fold(ty.fields(), types, rules, crc);
        if rules == Rules::UpTo20_05 && !matches!(ty.kind, TypeKind::Enum(_)) {
            break;
        }
    }
    crc
}

/// The text of a type where a message names it.
fn type_text(ty: &Type, types: &[Type], rules: Rules) -> String {
    match &ty.kind {
        TypeKind::Struct(fields) | TypeKind::Union(fields) => fields_text(fields, types),
        TypeKind::Enum(e) => enum_text(e, rules),
        TypeKind::Alias(..) => "[]".to_owned(),
    }
}

/// The text of a type in the CRC of a whole file, which differs for aliases up to 20.05.
pub(crate) fn type_text_in_file(ty: &Type, types: &[Type], rules: Rules) -> String {
    match &ty.kind {
        TypeKind::Alias(base, length) if rules == Rules::UpTo20_05 => {
            let mut text = String::new();
            field_text(&mut text, &ty.name, *base, length, types);
            text
        }
        _ => type_text(ty, types, rules),
    }
}

/// The text of a list of fields.
pub(crate) fn fields_text(fields: &[Field], types: &[Type]) -> String {
    let mut text = String::with_capacity(32 * fields.len() + 2);
    text.push('[');
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        field_text(&mut text, &field.name, field.base, &field.length, types);
    }
    text.push(']');
    text
}

fn field_text(text: &mut String, name: &str, base: Base, length: &Length, types: &[Type]) {
    text.push_str("['");
    match base {
        Base::Scalar(s) => text.push_str(s.name()),
        Base::String => text.push_str("string"),
        Base::User(id) => {
            text.push_str("vl_api_");
            text.push_str(types.get(id.index()).map_or("", |t| &*t.name));
            text.push_str("_t");
        }
    }
    text.push_str("', '");
    text.push_str(name);
    text.push('\'');
    // Writing to a String cannot fail.
    let _ = match length {
        Length::One => write!(text, "]"),
        Length::Fixed(n) => write!(text, ", {n}, None]"),
        Length::Open => write!(text, ", 0, None]"),
        Length::Counted(count) => write!(text, ", 0, '{count}']"),
    };
}

fn enum_text(e: &Enum, rules: Rules) -> String {
    let mut text = String::from("[");
    for entry in &e.entries {
        if entry.backwards_compatible && rules >= Rules::From20_09 {
            continue;
        }
        if text.len() > 1 {
            text.push_str(", ");
        }
        let _ = write!(text, "['{}', {}]", entry.name, entry.value);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_that_of_zlib() {
        // The check value of CRC-32, and Python's binascii.crc32(b"world", binascii.crc32(b"hello ")).
        assert_eq!(crc32(b"123456789", 0), 0xCBF4_3926);
        assert_eq!(crc32(b"world", crc32(b"hello ", 0)), crc32(b"hello world", 0));
        assert_eq!(crc32(b"", 7), 7);
    }

    /// The CRC of the seed's event, step by step.
    #[test]
    fn worked_example() {
        let fields = "[['u32', 'client_index'], ['u32', 'pid'], ['vl_api_cu_up_event_type_t', 'type'], \
                      ['vl_api_cu_up_gtp_error_ind_t', 'data'], ['u8', 'raw_msg_len'], \
                      ['u8', 'raw_msg_data', 0, 'raw_msg_len']]";
        let entries = "[['CU_UP_EVENT_END_MARKER_IND', 1], ['CU_UP_EVENT_GTP_ERROR_IND', 2], \
                       ['CU_UP_EVENT_MAX', 3]]";
        let data = "[['u32', 'ue_id'], ['u32', 'te_id'], ['u8', 'rb_id']]";
        let crc = crc32(fields.as_bytes(), 0);
        assert_eq!(crc, 0x0b40_9442);
        let crc = crc32(entries.as_bytes(), crc);
        assert_eq!(crc, 0x4001_cf14);
        assert_eq!(crc32(data.as_bytes(), crc), 0x6ce6_19fe);
    }
}
