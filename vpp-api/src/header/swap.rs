//! Functions that turn types and messages between the byte order of the machine and that of the network.

use std::fmt::{self, Write};

use super::c_name;
use super::types::{self, Shape};
use crate::schema::{Api, Base, Field, Length, Message, Scalar, Type, TypeKind};

/// Which way a function converts.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// From the network's order to the machine's.
    ToHost,
    /// From the machine's order to the network's.
    ToNetwork,
}

impl Way {
    const BOTH: [Way; 2] = [Way::ToHost, Way::ToNetwork];

    fn suffix(self) -> &'static str {
        match self {
            Way::ToHost => "ntoh",
            Way::ToNetwork => "hton",
        }
    }

    fn comment(self) -> &'static str {
        match self {
            Way::ToHost => "From the byte order of the network to that of this machine.",
            Way::ToNetwork => "From the byte order of this machine to that of the network.",
        }
    }
}

/// The functions of a typedef; other types have none.
pub(super) fn for_type(out: &mut String, api: &Api, ty: &Type) -> fmt::Result {
    let TypeKind::Struct(fields) = &ty.kind else { return Ok(()) };
    let name = ty.reference();
    if ty.extent.open {
        return Way::BOTH.into_iter().try_for_each(|way| with_length(out, api, &name, fields, way));
    }
    for way in Way::BOTH {
        writeln!(out, "\n/* {} */", way.comment())?;
        writeln!(out, "static inline void {name}_{}({name} *v)\n{{", way.suffix())?;
        if way == Way::ToNetwork {
            // The same both ways.
            writeln!(out, "\t{name}_ntoh(v);\n}}")?;
            continue;
        }
        body(out, api, fields)?;
        writeln!(out, "}}")?;
    }
    Ok(())
}

/// The functions of a message.
pub(super) fn for_message(out: &mut String, api: &Api, message: &Message) -> fmt::Result {
    let name = format!("vl_api_{}_t", message.name);
    let id = Field {
        name: "_vl_msg_id".into(),
        base: Base::Scalar(Scalar::U16),
        length: Length::One,
        options: Vec::new(),
    };
    let fields: Vec<Field> = std::iter::once(id).chain(message.fields.iter().cloned()).collect();
    Way::BOTH.into_iter().try_for_each(|way| with_length(out, api, &name, &fields, way))
}

/// A function that is told how many bytes there are, and checks that they are enough before it changes
/// anything.
fn with_length(out: &mut String, api: &Api, name: &str, fields: &[Field], way: Way) -> fmt::Result {
    writeln!(out, "\n/* {} Returns -1 if it is longer than len. */", way.comment())?;
    writeln!(out, "static inline int {name}_{}({name} *v, size_t len)\n{{", way.suffix())?;
    writeln!(out, "\tif (len < sizeof(*v))\n\t\treturn -1;")?;
    let mut text = String::new();
    let tail = fields
        .split_last()
        .filter(|(last, _)| !matches!(types::shape(api, last), Shape::Plain | Shape::Array(_)));
    if let Some((last, before)) = tail {
        check_tail(out, api, last, before, way)?;
        body(&mut text, api, before)?;
        swap_tail(&mut text, api, last, before, way)?;
    } else {
        body(&mut text, api, fields)?;
    }
    out.push_str(&text);
    writeln!(out, "\treturn 0;\n}}")
}

/// Checks that what comes last is there.
fn check_tail(out: &mut String, api: &Api, last: &Field, before: &[Field], way: Way) -> fmt::Result {
    let name = c_name(&last.name);
    match types::shape(api, last) {
        Shape::OpenText => {
            let length = match way {
                Way::ToHost => format!("herald_api_be32(v->{name}.length)"),
                Way::ToNetwork => format!("v->{name}.length"),
            };
            writeln!(
                out,
                "\tif (!vl_api_string_t_fits({length}, len - (sizeof(*v) - sizeof(v->{name}))))\n\
                 \t\treturn -1;"
            )
        }
        Shape::Flexible => match count(before, last) {
            None => Ok(()),
            Some(count) => {
                let value = match (way, count.base) {
                    (Way::ToHost, Base::Scalar(s)) => to_host(s, &access(&count.name)),
                    _ => access(&count.name),
                };
                // A cast keeps the comparison with a size unsigned, and makes too many of a negative count.
                let signed = matches!(count.base, Base::Scalar(s) if s.signed());
                let cast = if signed { "(uint64_t)" } else { "" };
                let room = format!("(len - sizeof(*v)) / sizeof(v->{name}[0])");
                writeln!(out, "\tif ({cast}{value} > {room})\n\t\treturn -1;")
            }
        },
        Shape::OpenRecord => {
            // Its own function checks it, so it goes first.
            let Base::User(id) = last.base else { return Ok(()) };
            let function = format!("{}_{}", record_name(api, api.ty(id)), way.suffix());
            writeln!(
                out,
                "\tif ({function}(&v->{name}, len - (sizeof(*v) - sizeof(v->{name}))) != 0)\n\
                 \t\treturn -1;"
            )
        }
        Shape::Plain | Shape::Array(_) | Shape::Raw => Ok(()),
    }
}

/// An alias of a typedef has the functions of the typedef.
fn record_name(api: &Api, ty: &Type) -> String {
    match &ty.kind {
        TypeKind::Alias(Base::User(id), Length::One) => record_name(api, api.ty(*id)),
        _ => ty.reference(),
    }
}

fn count<'f>(before: &'f [Field], array: &Field) -> Option<&'f Field> {
    let Length::Counted(count) = &array.length else { return None };
    before.iter().find(|f| f.name == *count)
}

fn access(name: &str) -> String {
    format!("v->{}", c_name(name))
}

fn swap_tail(out: &mut String, api: &Api, last: &Field, before: &[Field], way: Way) -> fmt::Result {
    let name = c_name(&last.name);
    match types::shape(api, last) {
        Shape::OpenText => {
            writeln!(out, "\tv->{name}.length = herald_api_be32(v->{name}.length);")
        }
        Shape::Flexible => {
            let mut inner = String::new();
            element(&mut inner, api, last.base, &format!("v->{name}[i0]"), 1)?;
            if inner.is_empty() {
                return Ok(());
            }
            let limit = match count(before, last) {
                None => format!("(len - sizeof(*v)) / sizeof(v->{name}[0])"),
                // `body` has converted the count already.
                Some(count) => match (way, count.base) {
                    (Way::ToNetwork, Base::Scalar(s)) => to_host(s, &access(&count.name)),
                    _ => access(&count.name),
                },
            };
            writeln!(out, "\tfor (size_t i0 = 0, n0 = (size_t)({limit}); i0 < n0; i0++) {{")?;
            out.push_str(&inner);
            writeln!(out, "\t}}")
        }
        Shape::OpenRecord | Shape::Plain | Shape::Array(_) | Shape::Raw => Ok(()),
    }
}

/// Converts fields of the fixed part. If there is nothing to convert, tells the compiler so.
fn body(out: &mut String, api: &Api, fields: &[Field]) -> fmt::Result {
    let start = out.len();
    for field in fields {
        let access = access(&field.name);
        match types::shape(api, field) {
            Shape::Plain => element(out, api, field.base, &access, 0)?,
            Shape::Array(n) if field.base != Base::String => {
                array(out, api, field.base, n, &access, 0)?;
            }
            _ => {}
        }
    }
    if out.len() == start {
        out.push_str("\t(void)v;\n");
    }
    Ok(())
}

/// Converts an array in a loop, if its elements need converting.
fn array(out: &mut String, api: &Api, base: Base, n: u32, place: &str, depth: usize) -> fmt::Result {
    let mut inner = String::new();
    element(&mut inner, api, base, &format!("{place}[i{depth}]"), depth + 1)?;
    if inner.is_empty() {
        return Ok(());
    }
    let indent = "\t".repeat(depth + 1);
    writeln!(out, "{indent}for (size_t i{depth} = 0; i{depth} < {n}; i{depth}++) {{")?;
    out.push_str(&inner);
    writeln!(out, "{indent}}}")
}

/// Converts one value; `depth` is how many loops it is in.
fn element(out: &mut String, api: &Api, base: Base, place: &str, depth: usize) -> fmt::Result {
    let indent = "\t".repeat(depth + 1);
    match base {
        Base::String => Ok(()),
        Base::Scalar(s) if s.size() == 1 => Ok(()),
        Base::Scalar(s) => writeln!(out, "{indent}{place} = {};", to_host(s, place)),
        Base::User(id) => match &api.ty(id).kind {
            TypeKind::Union(_) => Ok(()),
            TypeKind::Enum(e) => element(out, api, Base::Scalar(e.base), place, depth),
            TypeKind::Struct(_) => {
                writeln!(out, "{indent}{}_ntoh(&{place});", api.ty(id).reference())
            }
            TypeKind::Alias(Base::String, _) => Ok(()),
            TypeKind::Alias(base, Length::One) => element(out, api, *base, place, depth),
            TypeKind::Alias(base, Length::Fixed(n)) => array(out, api, *base, *n, place, depth),
            TypeKind::Alias(..) => Ok(()),
        },
    }
}

/// An expression that converts a scalar; the same both ways.
fn to_host(scalar: Scalar, place: &str) -> String {
    let name = types::scalar(scalar);
    match (scalar, scalar.size()) {
        (Scalar::F64, _) => format!("herald_api_lef64({place})"),
        (_, 1) => place.to_owned(),
        (s, size) if s.signed() => {
            let bits = size * 8;
            format!("({name})herald_api_be{bits}((uint{bits}_t){place})")
        }
        (_, size) => format!("herald_api_be{}({place})", size * 8),
    }
}
