//! A module as .api text.

use std::fmt::Write;

use crate::schema::{
    Api, Base, Field, Flags, Length, Literal, Message, Options, Service, Type, TypeKind,
};

/// The module as one .api file without imports: every type that it has or imports is written out, enum
/// entries with their values. It parses to the same messages with the same CRCs.
pub fn print(api: &Api) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, so nothing is lost here.
    let _ = module(&mut out, api);
    out
}

/// The types of the module for which `wanted` says so, asked in the order of definition by their names,
/// as an .api file without imports.
pub fn print_types(api: &Api, mut wanted: impl FnMut(&str) -> bool) -> String {
    let mut out = String::new();
    for ty in api.types().iter().filter(|ty| wanted(&ty.name)) {
        // As above.
        let _ = type_definition(&mut out, api, ty);
    }
    out
}

fn module(out: &mut String, api: &Api) -> std::fmt::Result {
    for (name, value) in api.options() {
        option(out, "", name, value)?;
    }
    for ty in api.types() {
        type_definition(out, api, ty)?;
    }
    for m in api.messages().iter().filter(|m| !m.implied) {
        message(out, api, m)?;
    }
    let written = || api.services().iter().filter(|s| !s.implied);
    if written().next().is_some() {
        writeln!(out, "service {{")?;
        written().try_for_each(|s| service(out, s))?;
        writeln!(out, "}};")?;
    }
    for set in api.counters() {
        writeln!(out, "counters {} {{", set.name)?;
        for counter in &set.counters {
            writeln!(out, "  {} {{", counter.name)?;
            for (key, value) in &counter.attributes {
                match key.as_str() {
                    "severity" | "type" => writeln!(out, "    {key} {value};")?,
                    _ => writeln!(out, "    {key} \"{}\";", escape(value))?,
                }
            }
            writeln!(out, "  }};")?;
        }
        writeln!(out, "}};")?;
    }
    for block in api.paths() {
        writeln!(out, "paths {{")?;
        for line in block {
            writeln!(out, "  \"{}\" \"{}\";", escape(&line.path), escape(&line.counter))?;
        }
        writeln!(out, "}};")?;
    }
    Ok(())
}

fn flags(out: &mut String, flags: Flags) {
    for (name, _) in flags.list().into_iter().filter(|(_, set)| *set) {
        out.push_str(name);
        out.push(' ');
    }
}

fn comment(out: &mut String, comment: Option<&String>) {
    // One from api.json may be anything.
    if let Some(comment) = comment.filter(|c| is_comment(c)) {
        out.push_str(comment);
        out.push('\n');
    }
}

/// Whether a text is one comment and nothing else.
pub(crate) fn is_comment(text: &str) -> bool {
    match text.strip_prefix("/*") {
        Some(rest) => rest.find("*/").is_some_and(|end| end + 2 == rest.len()),
        None => text.starts_with("//") && !text.contains('\n'),
    }
}

fn type_definition(out: &mut String, api: &Api, ty: &Type) -> std::fmt::Result {
    comment(out, ty.comment.as_ref());
    flags(out, ty.flags);
    match &ty.kind {
        TypeKind::Struct(list) => {
            writeln!(out, "typedef {} {{", ty.name)?;
            fields(out, api, list)?;
            writeln!(out, "}};")
        }
        TypeKind::Union(list) => {
            writeln!(out, "union {} {{", ty.name)?;
            fields(out, api, list)?;
            writeln!(out, "}};")
        }
        TypeKind::Enum(e) => {
            let keyword = if e.flags { "enumflag" } else { "enum" };
            writeln!(out, "{keyword} {} : {} {{", ty.name, e.base.name())?;
            for entry in &e.entries {
                let mark = if entry.backwards_compatible { " [backwards_compatible]" } else { "" };
                writeln!(out, "  {} = {}{mark},", entry.name, entry.value)?;
            }
            writeln!(out, "}};")
        }
        TypeKind::Alias(base, length) => {
            write!(out, "typedef {} {}", api.base_name(*base), ty.name)?;
            brackets(out, *base, length, &Options::new())?;
            writeln!(out, ";")
        }
    }
}

fn fields(out: &mut String, api: &Api, fields: &[Field]) -> std::fmt::Result {
    for field in fields {
        write!(out, "  {} {}", api.base_name(field.base), field.name)?;
        brackets(out, field.base, &field.length, &field.options)?;
        writeln!(out, ";")?;
    }
    Ok(())
}

fn brackets(out: &mut String, base: Base, length: &Length, options: &Options) -> std::fmt::Result {
    match length {
        Length::One if options.is_empty() => Ok(()),
        Length::One => {
            out.push('[');
            for (name, value) in options {
                out.push_str(name);
                literal(out, value)?;
                out.push_str(if *value == Literal::None { " " } else { ", " });
            }
            // One name alone would be taken for a length field; twice it is an option, and still one.
            if let [(name, Literal::None)] = options.as_slice() {
                out.push_str(name);
            }
            out.push(']');
            Ok(())
        }
        Length::Fixed(n) => write!(out, "[{n}]"),
        Length::Counted(count) => write!(out, "[{count}]"),
        Length::Open if base == Base::String => write!(out, "[]"),
        Length::Open => write!(out, "[0]"),
    }
}

fn literal(out: &mut String, value: &Literal) -> std::fmt::Result {
    match value {
        Literal::None => Ok(()),
        Literal::Int(n) => write!(out, " = {n}"),
        Literal::Float(x) => write!(out, " = {:.*}", decimals(*x), x),
        Literal::Bool(b) => write!(out, " = {b}"),
        Literal::Text(text) => write!(out, " = \"{}\"", escape(text)),
    }
}

/// As many decimals as it takes to read the same number back, and at least one: the language has no
/// exponents.
fn decimals(x: f64) -> usize {
    (1..=1100).find(|n| format!("{x:.n$}").parse() == Ok(x)).unwrap_or(1)
}

/// Text between quotes. The language has no way to write a quote or a line's end there, so they go; a
/// backslash takes the next character with it, or at the end a quote that is dropped in reading.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().filter(|c| !matches!(c, '"' | '\n'));
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            out.push(chars.next().unwrap_or('"'));
        }
    }
    out
}

fn option(out: &mut String, indent: &str, name: &str, value: &Literal) -> std::fmt::Result {
    write!(out, "{indent}option {name}")?;
    literal(out, value)?;
    writeln!(out, ";")
}

fn message(out: &mut String, api: &Api, message: &Message) -> std::fmt::Result {
    comment(out, message.comment.as_ref());
    flags(out, message.flags);
    writeln!(out, "define {} {{", message.name)?;
    for (name, value) in &message.options {
        option(out, "  ", name, value)?;
    }
    fields(out, api, &message.fields)?;
    writeln!(out, "}};")
}

fn service(out: &mut String, service: &Service) -> std::fmt::Result {
    write!(out, "  rpc {} returns ", service.request)?;
    match (&service.reply, &service.stream_message) {
        (None, _) => write!(out, "null")?,
        (Some(reply), Some(details)) => write!(out, "{reply} stream {details}")?,
        (Some(reply), None) if service.stream => write!(out, "stream {reply}")?,
        (Some(reply), None) => write!(out, "{reply}")?,
    }
    if !service.events.is_empty() {
        write!(out, " events")?;
        service.events.iter().try_for_each(|e| write!(out, " {e}"))?;
    }
    writeln!(out, ";")
}
