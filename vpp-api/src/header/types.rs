//! Definitions of types and messages in C.

use std::fmt::{self, Write};

use super::{HeaderError, c_name};
use crate::schema::{Api, Base, Enum, Extent, Field, Length, Message, Scalar, Type, TypeKind};

/// A scalar in C. A bool is a byte because any byte may come in.
pub(super) fn scalar(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::U8 | Scalar::Bool => "uint8_t",
        Scalar::U16 => "uint16_t",
        Scalar::U32 => "uint32_t",
        Scalar::U64 => "uint64_t",
        Scalar::I8 => "int8_t",
        Scalar::I16 => "int16_t",
        Scalar::I32 => "int32_t",
        Scalar::I64 => "int64_t",
        Scalar::F64 => "double",
    }
}

/// Defines a user type.
pub(super) fn define(out: &mut String, api: &Api, ty: &Type) -> Result<(), HeaderError> {
    let name = ty.reference();
    match &ty.kind {
        TypeKind::Enum(e) => enumeration(out, &ty.name, e)?,
        TypeKind::Alias(base, length) => alias(out, api, &name, *base, length)?,
        TypeKind::Struct(fields) => {
            if ty.extent.fixed == 0 {
                let message = format!("C cannot have '{}', which has no part of known length", ty.name);
                return Err(HeaderError(message));
            }
            record(out, api, "struct", fields, &name, ty.extent.fixed)?;
        }
        TypeKind::Union(fields) => record(out, api, "union", fields, &name, ty.extent.fixed)?,
    }
    Ok(())
}

/// Defines a message, which begins with its id.
pub(super) fn define_message(out: &mut String, api: &Api, message: &Message) -> fmt::Result {
    let id = Field {
        name: "_vl_msg_id".into(),
        base: Base::Scalar(Scalar::U16),
        length: Length::One,
        options: Vec::new(),
    };
    let fields: Vec<Field> = std::iter::once(id).chain(message.fields.iter().cloned()).collect();
    let name = format!("vl_api_{}_t", message.name);
    record(out, api, "struct", &fields, &name, message.extent.fixed + 2)
}

fn enumeration(out: &mut String, name: &str, e: &Enum) -> fmt::Result {
    let base = scalar(e.base);
    writeln!(out, "typedef {base} vl_api_{name}_t;")?;
    // An enumerator is an int.
    let (ints, wide): (Vec<_>, Vec<_>) =
        e.entries.iter().partition(|entry| i32::try_from(entry.value).is_ok());
    if !ints.is_empty() {
        writeln!(out, "enum vl_api_{name} {{")?;
        for entry in &ints {
            match entry.value {
                // -2147483648 is an expression whose type is not int.
                v if v == i64::from(i32::MIN) => {
                    writeln!(out, "\t{} = -2147483647 - 1,", c_name(&entry.name))?;
                }
                v => writeln!(out, "\t{} = {v},", c_name(&entry.name))?,
            }
        }
        let at = out.trim_end_matches(",\n").len();
        out.truncate(at);
        writeln!(out, "\n}};")?;
    }
    for entry in &wide {
        writeln!(out, "#define {} (({base}){:#x}u)", c_name(&entry.name), entry.value)?;
    }
    Ok(())
}

fn alias(out: &mut String, api: &Api, name: &str, base: Base, length: &Length) -> fmt::Result {
    match (base, length) {
        (Base::String, Length::Fixed(n)) => writeln!(out, "typedef char {name}[{n}];"),
        (Base::String, _) => writeln!(out, "typedef vl_api_string_t {name};"),
        (base, Length::One) => writeln!(out, "typedef {} {name};", base_name(api, base)),
        (base, Length::Fixed(n)) if !extent(api, base).open => {
            writeln!(out, "typedef {} {name}[{n}];", base_name(api, base))
        }
        // Elements without end, or of variable length themselves: a field of this type is bytes.
        _ => writeln!(out, "typedef uint8_t {name}_bytes;"),
    }
}

/// A base in C.
fn base_name(api: &Api, base: Base) -> String {
    match base {
        Base::Scalar(s) => scalar(s).to_owned(),
        Base::String => "char".to_owned(),
        Base::User(id) => api.ty(id).reference(),
    }
}

fn extent(api: &Api, base: Base) -> Extent {
    match base {
        Base::User(id) => api.ty(id).extent,
        Base::Scalar(s) => Extent { fixed: s.size(), ..Extent::default() },
        Base::String => Extent::default(),
    }
}

/// Defines a struct or union, and makes the compiler check that it is as long as the schema says.
fn record(
    out: &mut String,
    api: &Api,
    keyword: &str,
    fields: &[Field],
    name: &str,
    bytes: u32,
) -> fmt::Result {
    let nests = nests_flexible(api, fields);
    out.push_str(if nests { PEDANTIC_OFF } else { "" });
    writeln!(out, "typedef {keyword} __attribute__((packed)) {{")?;
    for field in fields {
        out.push('\t');
        member(out, api, field)?;
        out.push_str(";\n");
    }
    writeln!(out, "}} {name};")?;
    out.push_str(if nests { PEDANTIC_ON } else { "" });
    writeln!(out, "typedef char {name}_is_{bytes}_bytes[sizeof({name}) == {bytes} ? 1 : -1];")
}

/// Whether a record ends in a struct that ends in a flexible array member, which gcc and clang have but
/// ISO C has not.
fn nests_flexible(api: &Api, fields: &[Field]) -> bool {
    fields.last().is_some_and(|f| matches!(shape(api, f), Shape::OpenRecord | Shape::OpenText))
}

const PEDANTIC_OFF: &str =
    "#pragma GCC diagnostic push\n#pragma GCC diagnostic ignored \"-Wpedantic\"\n";
const PEDANTIC_ON: &str = "#pragma GCC diagnostic pop\n";

fn member(out: &mut String, api: &Api, field: &Field) -> fmt::Result {
    const EXT: &str = "HERALD_API_EXTENSION";
    let name = c_name(&field.name);
    let ty = base_name(api, field.base);
    match shape(api, field) {
        Shape::Plain => write!(out, "{ty} {name}"),
        Shape::Array(n) => write!(out, "{ty} {name}[{n}]"),
        Shape::OpenRecord => write!(out, "{EXT} {ty} {name}"),
        Shape::OpenText => write!(out, "{EXT} vl_api_string_t {name}"),
        Shape::Flexible => write!(out, "{EXT} {ty} {name}[]"),
        Shape::Raw => write!(out, "{EXT} uint8_t {name}[]"),
    }
}

/// How a field appears in C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// One value, or an alias of an array.
    Plain,
    /// A fixed array; of string, text.
    Array(u32),
    /// A typedef of variable length.
    OpenRecord,
    /// `string x[]`, or an alias of it.
    OpenText,
    /// An array of variable length.
    Flexible,
    /// What C cannot say: bytes as they are on the wire.
    Raw,
}

pub(super) fn shape(api: &Api, field: &Field) -> Shape {
    let open = extent(api, field.base).open;
    match (&field.length, field.base) {
        (Length::Fixed(n), Base::String) => Shape::Array(*n),
        (_, Base::String) => Shape::OpenText,
        (Length::One, Base::User(id)) if open => match &api.ty(id).kind {
            TypeKind::Alias(base, length) => {
                let (name, base, length) = (field.name.clone(), *base, length.clone());
                match shape(api, &Field { name, base, length, options: Vec::new() }) {
                    Shape::Flexible => Shape::Raw,
                    other => other,
                }
            }
            _ => Shape::OpenRecord,
        },
        (Length::One, _) => Shape::Plain,
        (Length::Fixed(_) | Length::Counted(_) | Length::Open, _) if open => Shape::Raw,
        (Length::Fixed(n), _) => Shape::Array(*n),
        (Length::Counted(_) | Length::Open, _) => Shape::Flexible,
    }
}
