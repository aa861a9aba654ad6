//! Random modules and values, made from bytes that proptest makes up and shrinks.

use std::fmt::Write;

use herald_vpp_api::Api;
use herald_vpp_api::codec::Value;
use herald_vpp_api::schema::{Base, Field, Length, Scalar, TypeKind};

/// Bytes that decide; zeros when they run out, so that everything comes to an end.
pub struct Entropy<'a>(pub &'a [u8]);

impl Entropy<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    pub fn chance(&mut self, percent: u8) -> bool {
        self.byte() % 100 >= 100 - percent
    }

    fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }
}

/// A type that was written.
struct Written {
    name: String,
    open: bool,
    rest: bool,
}

const SCALARS: [&str; 10] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f64", "bool"];

/// The text of a module that parses.
pub fn module(e: &mut Entropy<'_>) -> String {
    let mut text = String::new();
    let mut types: Vec<Written> = Vec::new();
    if e.chance(50) {
        text += "option version = \"1.2.3\"; option deprecated;\n";
    }
    for i in 0..e.below(7) {
        if e.chance(20) {
            writeln!(text, "/* type {i}\n   \"with\" a \\ comment é */").unwrap();
        }
        let name = format!("t{i}");
        match e.below(4) {
            0 => write_enum(e, &mut text, i),
            1 => {
                write!(text, "{}typedef ", if e.chance(20) { "manual_print " } else { "" }).unwrap();
                let (open, rest) = write_field(e, &mut text, &name, &types, false, &[]);
                types.push(Written { name, open, rest });
                continue;
            }
            2 => {
                writeln!(text, "union {name} {{").unwrap();
                write_fields(e, &mut text, &types, false);
                text += "};\n";
            }
            _ => {
                writeln!(text, "typedef {name} {{").unwrap();
                let (open, rest) = write_fields(e, &mut text, &types, true);
                text += "};\n";
                types.push(Written { name, open, rest });
                continue;
            }
        }
        types.push(Written { name, open: false, rest: false });
    }
    let messages = 1 + e.below(3);
    for i in 0..messages {
        if e.chance(20) {
            writeln!(text, "// message {i}").unwrap();
        }
        let flags = ["", "autoendian ", "manual_endian manual_print ", "dont_trace "][e.below(4)];
        writeln!(text, "autoreply {flags}define m{i} {{").unwrap();
        if e.chance(20) {
            text += "  option status = \"in_progress\";\n";
        }
        write_fields(e, &mut text, &types, true);
        text += "};\n";
    }
    if e.chance(50) {
        text += "define want_m { u32 client_index; u32 context; };\n";
        text += "define want_m_reply { u32 context; i32 retval; };\n";
        text += "define m_event { u32 client_index; u32 pid; };\n";
        text +=
            "service { rpc want_m returns want_m_reply events m_event; rpc m0 returns m0_reply; };\n";
    }
    if e.chance(30) {
        text += "define d_dump { u32 context; }; define d_details { u32 context; };\n";
        text +=
            "counters c { n { severity info; type counter64; units \"x\"; description \"y\"; }; };\n";
        text += "paths { \"/c\" \"c\"; };\n";
    }
    text
}

fn write_enum(e: &mut Entropy<'_>, text: &mut String, i: usize) {
    if e.chance(30) {
        let base = ["u8", "u16", "u32"][e.below(3)];
        writeln!(text, "enumflag t{i} : {base} {{ T{i}_A = 0, T{i}_B, T{i}_C, T{i}_D = 0x40, }};")
            .unwrap();
        return;
    }
    let base = ["u8", "u16", "u32", "i8", "i16", "i32"][e.below(6)];
    write!(text, "enum t{i} : {base} {{ T{i}_A, T{i}_B = {}, T{i}_C", e.below(100)).unwrap();
    text.push_str(if e.chance(30) { " [backwards_compatible], };\n" } else { ", };\n" });
}

/// Writes fields; whether they end in a part of variable length, and in one to the end of the message.
fn write_fields(
    e: &mut Entropy<'_>,
    text: &mut String,
    types: &[Written],
    may_open: bool,
) -> (bool, bool) {
    let n = 1 + e.below(5);
    let mut counts = Vec::new();
    for i in 0..n {
        let name = format!("f{i}");
        let last = may_open && i + 1 == n;
        if !last && e.chance(40) {
            let scalar = SCALARS[e.below(8)];
            let default = if e.chance(30) { "[default=1, limit=0x10]" } else { "" };
            writeln!(text, "  {scalar} {name}{default};").unwrap();
            counts.push(name);
            continue;
        }
        text.push_str("  ");
        let ended = if last {
            write_field(e, text, &name, types, true, &counts)
        } else {
            write_field(e, text, &name, types, false, &[])
        };
        if last {
            return ended;
        }
    }
    (false, false)
}

fn write_field(
    e: &mut Entropy<'_>,
    text: &mut String,
    name: &str,
    types: &[Written],
    may_open: bool,
    counts: &[String],
) -> (bool, bool) {
    let usable: Vec<&Written> = types.iter().filter(|t| may_open || !t.open).collect();
    let (base, open, rest) = match e.below(4) {
        0 => {
            let open = may_open && e.chance(50);
            let length = if open { String::new() } else { (1 + e.below(20)).to_string() };
            writeln!(text, "string {name}[{length}];").unwrap();
            return (open, false);
        }
        1 | 2 if !usable.is_empty() => {
            let t = usable[e.below(usable.len())];
            (format!("vl_api_{}_t", t.name), t.open, t.rest)
        }
        _ => (SCALARS[e.below(SCALARS.len())].to_owned(), false, false),
    };
    match e.below(4) {
        1 if !rest => {
            writeln!(text, "{base} {name}[{}];", 1 + e.below(4)).unwrap();
            (open, false)
        }
        2 if !rest && !counts.is_empty() => {
            writeln!(text, "{base} {name}[{}];", counts[e.below(counts.len())]).unwrap();
            (true, false)
        }
        3 if !rest && may_open => {
            writeln!(text, "{base} {name}[0];").unwrap();
            (true, true)
        }
        _ => {
            writeln!(text, "{base} {name};").unwrap();
            (open, rest)
        }
    }
}

/// A record of these fields, all of them given, as decoding gives it.
pub fn record(e: &mut Entropy<'_>, api: &Api, fields: &[Field]) -> Value {
    let mut values: Vec<(String, Value)> = Vec::new();
    for field in fields {
        let value = match &field.length {
            Length::One => one(e, api, field.base),
            length => many(e, api, field.base, length),
        };
        if let Length::Counted(count) = &field.length {
            let given = match &value {
                Value::Bytes(b) => b.len(),
                Value::List(l) => l.len(),
                _ => 0,
            };
            let scalar = fields.iter().find(|f| f.name == *count).unwrap();
            let signed = matches!(scalar.base, Base::Scalar(s) if s.signed());
            let given = if signed { Value::Signed(given as i64) } else { Value::Unsigned(given as u64) };
            values.iter_mut().find(|(n, _)| **n == **count).unwrap().1 = given;
        }
        values.push((field.name.to_string(), value));
    }
    Value::record(values)
}

fn one(e: &mut Entropy<'_>, api: &Api, base: Base) -> Value {
    match base {
        Base::Scalar(s) => scalar(e, s),
        Base::String => Value::Text(String::new()),
        Base::User(id) => match &api.ty(id).kind {
            TypeKind::Enum(enumeration) => scalar(e, enumeration.base),
            TypeKind::Struct(fields) => record(e, api, fields),
            TypeKind::Union(_) => Value::Bytes((0..api.ty(id).extent.fixed).map(|_| e.byte()).collect()),
            TypeKind::Alias(base, Length::One) => one(e, api, *base),
            TypeKind::Alias(base, length) => many(e, api, *base, length),
        },
    }
}

fn many(e: &mut Entropy<'_>, api: &Api, base: Base, length: &Length) -> Value {
    let n = match length {
        Length::Fixed(n) => *n as usize,
        _ => e.below(4),
    };
    match base {
        Base::String => {
            let n = if matches!(length, Length::Fixed(_)) { e.below(n + 1) } else { n };
            Value::Text((0..n).map(|_| char::from(b'a' + e.byte() % 26)).collect())
        }
        Base::Scalar(Scalar::U8) => Value::Bytes((0..n).map(|_| e.byte()).collect()),
        base => {
            // An alias of u8 is u8.
            let list: Vec<Value> = (0..n).map(|_| one(e, api, base)).collect();
            if is_byte(api, base) {
                Value::Bytes(list.iter().map(|v| v.as_u64().unwrap() as u8).collect())
            } else {
                Value::List(list)
            }
        }
    }
}

fn is_byte(api: &Api, base: Base) -> bool {
    match base {
        Base::Scalar(s) => s == Scalar::U8,
        Base::String => false,
        Base::User(id) => {
            matches!(&api.ty(id).kind, TypeKind::Alias(base, Length::One) if is_byte(api, *base))
        }
    }
}

fn scalar(e: &mut Entropy<'_>, scalar: Scalar) -> Value {
    let bits = e.bits();
    match scalar {
        Scalar::U8 => (bits as u8).into(),
        Scalar::U16 => (bits as u16).into(),
        Scalar::U32 => (bits as u32).into(),
        Scalar::U64 => bits.into(),
        Scalar::I8 => (bits as i8).into(),
        Scalar::I16 => (bits as i16).into(),
        Scalar::I32 => (bits as i32).into(),
        Scalar::I64 => (bits as i64).into(),
        // No NaN, which does not equal itself.
        Scalar::F64 => (bits as i32 as f64 / 8.0).into(),
        Scalar::Bool => (bits & 1 == 1).into(),
    }
}
