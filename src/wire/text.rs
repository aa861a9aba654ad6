//! The text grammar of OpenSIPS's `event_datagram` module, which OpenSIPS 2.4 to 3.0 speak.
//!
//! ```text
//! event  = name '\n' param* '\n'         one event is one datagram, and ends where it ends
//! param  = [name '::'] value '\n'
//! name   = bare | quoted
//! value  = bare | quoted
//! quoted = '"' (any byte but '"' | '\"')* '"' '\'*
//! ```
//!
//! Where that module's own bytes can be read back, these are the same. It quotes a value that
//! holds a newline, and then writes `"` as `\"`; a backslash elsewhere means itself. Beyond that,
//!
//! - a negative number is written as such, not as an unsigned one;
//! - a value is also quoted if it begins with `"`, holds a carriage return, or is unnamed and holds
//!   `::`;
//! - a parameter's name is quoted if it begins with `"`, ends with `:`, or holds `::`, a newline
//!   or a carriage return; an event's name if it begins with `"` or holds one of the latter two;
//! - the backslashes at the end of a quoted text stand behind the closing quote (`"a\nb"\`), since
//!   before it they would escape it. Nothing else may stand there.
//!
//! So every name and every value can be expressed, none has to be altered, and [`decode`] gives
//! back what [`encode`] was given. An unnamed empty value is an empty line; the last empty line
//! is the end of the event.

mod decode;

use std::io::Write;

pub use decode::{DecodeError, Decoded, decode};

use crate::event::{Event, Value};

/// Appends an event to `out`.
///
/// A null value is written as an empty one, a number in decimal, true and false as `1` and `0`,
/// bytes in hexadecimal.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let params = event.params().map(|param| (param.name.as_bytes(), param.value));
    encode_parts(event.name().as_bytes(), params, out);
}

/// The same from an event's parts, for a host that has them in a form of its own, names of any bytes.
pub fn encode_parts<'a>(
    name: &[u8],
    params: impl Iterator<Item = (&'a [u8], Value<'a>)>,
    out: &mut Vec<u8>,
) {
    put(name, name.first() == Some(&b'"') || breaks_line(name), out);
    out.push(b'\n');
    for (name, value) in params {
        let named = !name.is_empty();
        if named {
            put(name, is_misread_as_name(name), out);
            out.extend_from_slice(b"::");
        }
        match value {
            Value::Null => {}
            Value::Int(n) => put_int(n, out),
            Value::Uint(n) => put_uint(n, out),
            Value::Float(x) => put_float(x, out),
            Value::Bool(b) => out.push(if b { b'1' } else { b'0' }),
            Value::Str(text) => put(text, is_misread_as_value(text, named), out),
            Value::Bytes(bytes) => put_hex(bytes, out),
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn is_misread_as_name(name: &[u8]) -> bool {
    name.first() == Some(&b'"')
        || (holds_any(name, b":\n\r")
            && (name.last() == Some(&b':') || breaks_line(name) || find_separator(name).is_some()))
}

fn is_misread_as_value(value: &[u8], named: bool) -> bool {
    value.first() == Some(&b'"')
        || breaks_line(value)
        || (!named && holds_any(value, b":") && find_separator(value).is_some())
}

/// Whether it holds a newline or a carriage return.
fn breaks_line(text: &[u8]) -> bool {
    holds_any(text, b"\n\r")
}

/// Whether a text holds any of these bytes, none of which is zero. It looks at eight bytes at a time,
/// at some of them twice: most texts are short, and a loop over their bytes is what they would cost.
fn holds_any<const N: usize>(text: &[u8], wanted: &[u8; N]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // A byte that is zero borrows from its highest bit.
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let found =
        |word| wanted.iter().fold(0, |bits, &byte| bits | has_zero(word ^ (ONES * u64::from(byte))));
    let (words, rest) = text.as_chunks();
    if words.iter().any(|word| found(u64::from_ne_bytes(*word)) != 0) {
        return true;
    }
    let word = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    let last = match (text.last_chunk(), text.first_chunk(), text.last_chunk()) {
        _ if rest.is_empty() => return false,
        (Some(last), ..) => u64::from_ne_bytes(*last),
        (None, Some(a), Some(b)) => word(u32::from_ne_bytes(*a), u32::from_ne_bytes(*b)),
        _ => {
            let at = |at: usize| u32::from(rest[at]);
            word(at(0), at(rest.len() / 2) << 8 | at(rest.len() - 1))
        }
    };
    found(last) != 0
}

fn find_separator(text: &[u8]) -> Option<usize> {
    text.windows(2).position(|pair| pair == b"::")
}

#[inline]
fn put(text: &[u8], quoted: bool, out: &mut Vec<u8>) {
    match quoted {
        false => out.extend_from_slice(text),
        true => put_quoted(text, out),
    }
}

#[cold]
fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    let end = text.iter().rposition(|&byte| byte != b'\\').map_or(0, |last| last + 1);
    let (within, behind) = text.split_at(end);
    out.push(b'"');
    let mut rest = within;
    while let Some(at) = find(rest, |byte| byte == b'"') {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\\\"");
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    out.extend_from_slice(behind);
}

/// Where the first wanted byte is. Asking of every byte in a block, and not stopping at the first,
/// is what the compiler makes fast.
pub(super) fn find(text: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = text.as_chunks::<16>();
    let plain = |block: &&[u8; 16]| !block.iter().fold(false, |found, &byte| found | wanted(byte));
    let skipped = 16 * blocks.iter().take_while(plain).count();
    text[skipped..].iter().position(|&byte| wanted(byte)).map(|at| skipped + at)
}

/// Appends a number in decimal.
pub(super) fn put_int(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    put_uint(n.unsigned_abs(), out);
}

/// Appends a number in decimal.
pub(super) fn put_uint(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the shortest decimal that reads back as the same number, always with a point or an
/// exponent: `1.0`, `0.1`, `1e16`; or `NaN`, `inf`, `-inf`.
pub(super) fn put_float(x: f64, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = write!(out, "{x:?}");
}

/// Appends bytes as lower-case hexadecimal.
pub(super) fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Param;
    use crate::wire::testing::{hostile, values};
    use proptest::prelude::*;

    fn str<'a>(name: &'a str, text: &'a [u8]) -> Param<'a> {
        Param { name, value: Value::Str(text) }
    }

    fn int(name: &str, n: i64) -> Param<'_> {
        Param { name, value: Value::Int(n) }
    }

    fn encoded(name: &str, params: &[Param<'_>]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encode(&Event::new(name, params), &mut out);
        out.strip_prefix(b"before").expect("an event is appended").to_vec()
    }

    /// The event as a reader should see it, spelt by other means than the encoder's.
    fn as_text(name: &str, params: &[Param<'_>]) -> Decoded {
        let text = |value: &Value<'_>| match *value {
            Value::Null => Vec::new(),
            Value::Int(n) => n.to_string().into_bytes(),
            Value::Uint(n) => n.to_string().into_bytes(),
            Value::Float(x) => format!("{x:?}").into_bytes(),
            Value::Bool(b) => u8::from(b).to_string().into_bytes(),
            Value::Str(text) => text.to_vec(),
            Value::Bytes(bytes) => bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect(),
        };
        Decoded {
            name: name.into(),
            params: params.iter().map(|param| (param.name.into(), text(&param.value))).collect(),
        }
    }

    /// What OpenSIPS 3.0's own module writes.
    fn stock(name: &str, params: &[Param<'_>]) -> Vec<u8> {
        let mut out = [name.as_bytes(), b"\n"].concat();
        for (name, value) in as_text("", params).params {
            if !name.is_empty() {
                out.extend([&name, &b"::"[..]].concat());
            }
            if value.contains(&b'\n') {
                out.push(b'"');
                for byte in value {
                    out.extend(if byte == b'"' { vec![b'\\', byte] } else { vec![byte] });
                }
                out.push(b'"');
            } else {
                out.extend(value);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
        out
    }

    #[track_caller]
    fn round_trips(name: &str, params: &[Param<'_>]) {
        let bytes = encoded(name, params);
        let wanted = Ok(as_text(name, params));
        assert_eq!(
            decode(&bytes),
            wanted,
            "{name:?} {params:?}: {:?}",
            bytes.escape_ascii().to_string()
        );
    }

    /// Every string of up to `len` of the bytes that mean something.
    fn hostile_strings(len: usize) -> Vec<String> {
        let shorter = if len == 0 { Vec::new() } else { hostile_strings(len - 1) };
        let longer =
            shorter.iter().flat_map(|text| ["\"", "\\", ":", "\n", "\r", "a"].map(|c| text.clone() + c));
        std::iter::once(String::new()).chain(longer).collect()
    }

    #[test]
    fn the_bytes_are_those_of_the_stock_module() {
        // Observed on OpenSIPS 2.3.6, 2.4.5, 2.4.6, 2.4.11, 3.0.0 and 3.0.5.
        let observed: &[(&[Param<'_>], &[u8])] = &[
            (&[], b"E_SCRIPT\n\n"),
            (&[str("str", b"bob"), int("int", 42)], b"E_SCRIPT\nstr::bob\nint::42\n\n"),
            (&[int("zero", 0), int("max", 2147483647)], b"E_SCRIPT\nzero::0\nmax::2147483647\n\n"),
            (&[str("", b"first"), int("", 7), str("", b"third")], b"E_SCRIPT\nfirst\n7\nthird\n\n"),
            (&[str("empty", b""), str("after", b"x")], b"E_SCRIPT\nempty::\nafter::x\n\n"),
            (&[str("", b"")], b"E_SCRIPT\n\n\n"),
            (
                &[
                    str("eq", b"k=v"),
                    str("dc", b"y::zz"),
                    str("semi", b"a;b"),
                    str("sp", b"  a b  "),
                    str("comma", b"a,b"),
                ],
                b"E_SCRIPT\neq::k=v\ndc::y::zz\nsemi::a;b\nsp::  a b  \ncomma::a,b\n\n",
            ),
            (&[str("dq", b"q\"q"), str("sq", b"it's")], b"E_SCRIPT\ndq::q\"q\nsq::it's\n\n"),
            (
                &[str("nl", b"l1\nl2"), str("end", b"x\n"), str("crlf", b"a\r\nb"), str("only", b"\n")],
                b"E_SCRIPT\nnl::\"l1\nl2\"\nend::\"x\n\"\ncrlf::\"a\r\nb\"\nonly::\"\n\"\n\n",
            ),
            (
                &[str("both", b"l1 \"q\"\nl2 \"r\""), str("bs", b"a\\b\n\"")],
                b"E_SCRIPT\nboth::\"l1 \\\"q\\\"\nl2 \\\"r\\\"\"\nbs::\"a\\b\n\\\"\"\n\n",
            ),
            (
                &[
                    str("tab", b"t\tt"),
                    str("bs", b"a\\b"),
                    str("sl", b"a/b"),
                    str("c1", b"\x01\x1f\x7f"),
                    str("bf", b"\x08\x0c"),
                ],
                b"E_SCRIPT\ntab::t\tt\nbs::a\\b\nsl::a/b\nc1::\x01\x1f\x7f\nbf::\x08\x0c\n\n",
            ),
            (
                &[str("u", "é € 😀".as_bytes()), str("ñ", b"name too")],
                b"E_SCRIPT\nu::\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n\xc3\xb1::name too\n\n",
            ),
            (
                &[
                    str("bad", b"a\xff\xfe\xc3(b"),
                    str("surr", b"\xed\xa0\x80"),
                    str("cut", b"x\xe2\x82"),
                ],
                b"E_SCRIPT\nbad::a\xff\xfe\xc3(b\nsurr::\xed\xa0\x80\ncut::x\xe2\x82\n\n",
            ),
            (&[str("nul", b"a\0b"), str("t", b"after")], b"E_SCRIPT\nnul::a\0b\nt::after\n\n"),
            (&[str("a b", b"1"), str("q\"", b"3"), str("", b"5")], b"E_SCRIPT\na b::1\nq\"::3\n5\n\n"),
            (&[str("x", b"1"), str("x", b"2")], b"E_SCRIPT\nx::1\nx::2\n\n"),
        ];
        for (params, bytes) in observed {
            let ours = encoded("E_SCRIPT", params);
            assert_eq!(ours.escape_ascii().to_string(), bytes.escape_ascii().to_string());
            assert_eq!(stock("E_SCRIPT", params), *bytes);
            assert_eq!(decode(bytes), Ok(as_text("E_SCRIPT", params)));
        }
        let names: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
        let params: Vec<Param<'_>> = names.iter().zip(0..).map(|(name, i)| int(name, i)).collect();
        let lines: String = (0..40).map(|i| format!("p{i}::{i}\n")).collect();
        assert_eq!(encoded("E_SCRIPT", &params), format!("E_SCRIPT\n{lines}\n").into_bytes());
    }

    #[test]
    fn what_stock_writes_so_that_it_can_be_read_is_written_the_same() {
        let strings = hostile_strings(4);
        let mut same = 0;
        for text in &strings {
            for (name, value) in [("n", &text[..]), ("", text), (text, "v")] {
                let excepted = text.contains('\r') || (name.is_empty() && value.contains("::"));
                let params = [str(name, value.as_bytes()), str("z", b"1")];
                let bytes = stock("E", &params);
                if !excepted && decode(&bytes) == Ok(as_text("E", &params)) {
                    let ours = encoded("E", &params).escape_ascii().to_string();
                    assert_eq!(ours, bytes.escape_ascii().to_string());
                    same += 1;
                }
            }
        }
        // Not for want of anything to compare.
        assert!(same > 1000, "only {same}");
    }

    #[test]
    fn what_could_not_be_read_back_is_quoted() {
        let value = |name, text: &[u8]| String::from_utf8(encoded("E", &[str(name, text)])).unwrap();
        assert_eq!(value("wrapped", b"\"all\""), "E\nwrapped::\"\\\"all\\\"\"\n\n");
        assert_eq!(value("cr", b"a\rb"), "E\ncr::\"a\rb\"\n\n");
        assert_eq!(value("", b"y::zz"), "E\n\"y::zz\"\n\n");
        assert_eq!(value("n", b"a\nb\\"), "E\nn::\"a\nb\"\\\n\n");
        assert_eq!(value("n", b"a\n\\\\"), "E\nn::\"a\n\"\\\\\n\n");
        assert_eq!(value("n", b"a\\\"\n"), "E\nn::\"a\\\\\"\n\"\n\n");
        assert_eq!(value("a::b", b"2"), "E\n\"a::b\"::2\n\n");
        assert_eq!(value("n\nl", b"4"), "E\n\"n\nl\"::4\n\n");
        assert_eq!(value("n\rl", b"4"), "E\n\"n\rl\"::4\n\n");
        assert_eq!(value("\"q", b"5"), "E\n\"\\\"q\"::5\n\n");
        assert_eq!(value("a:", b"6"), "E\n\"a:\"::6\n\n");
        assert_eq!(value("::\\", b"7"), "E\n\"::\"\\::7\n\n");
        assert_eq!(value(":a", b":8"), "E\n:a:::8\n\n");
        assert_eq!(encoded("E\n", &[]), b"\"E\n\"\n\n");
        assert_eq!(encoded("E::F:", &[]), b"E::F:\n\n");
    }

    #[test]
    fn a_broken_line_is_seen_wherever_it_breaks() {
        for (len, at) in (1..40).flat_map(|len| (0..len).map(move |at| (len, at))) {
            for byte in *b"\n\r" {
                let mut text = vec![b'a'; len];
                text[at] = byte;
                let bytes = encoded("E", &[str("n", &text)]);
                assert!(bytes.starts_with(b"E\nn::\""), "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn every_type_has_a_spelling() {
        let spelt = |value| {
            let bytes = encoded("E", &[Param { name: "v", value }]);
            String::from_utf8(bytes[5..bytes.len() - 2].to_vec()).unwrap()
        };
        assert_eq!(spelt(Value::Null), "");
        assert_eq!(spelt(Value::Int(-7)), "-7");
        assert_eq!(spelt(Value::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(spelt(Value::Uint(u64::MAX)), "18446744073709551615");
        assert_eq!(spelt(Value::Float(0.1)), "0.1");
        assert_eq!(spelt(Value::Float(-3.0)), "-3.0");
        assert_eq!(spelt(Value::Float(1e300)), "1e300");
        assert_eq!(spelt(Value::Float(f64::NEG_INFINITY)), "-inf");
        assert_eq!(spelt(Value::Bool(true)), "1");
        assert_eq!(spelt(Value::Bool(false)), "0");
        assert_eq!(spelt(Value::Bytes(b"\x00\xff\n")), "00ff0a");
    }

    #[test]
    fn every_short_hostile_text_is_read_back() {
        for text in &hostile_strings(5) {
            round_trips("E", &[str("n", text.as_bytes())]);
            round_trips("E", &[str("", text.as_bytes())]);
            round_trips("E", &[str(text, b"v"), str("", b"")]);
            round_trips(text, &[str("n", b"v")]);
        }
        let texts = hostile_strings(2);
        for (a, b) in texts.iter().flat_map(|a| texts.iter().map(move |b| (a, b.as_bytes()))) {
            for c in &texts {
                round_trips("E", &[str(a, b), str("", c.as_bytes())]);
                round_trips("E", &[str("", b), str(c, a.as_bytes())]);
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            name in hostile(),
            params in prop::collection::vec((hostile(), values()), 0..8),
        ) {
            let params: Vec<Param<'_>> =
                params.iter().map(|(name, value)| Param { name, value: value.value() }).collect();
            round_trips(&name, &params);
        }

        #[test]
        fn arbitrary_bytes_are_an_event_or_an_error(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                hostile().prop_map(String::into_bytes),
            ],
        ) {
            match decode(&bytes) {
                Err(error) => prop_assert!(error.at <= bytes.len()),
                Ok(Decoded { name, params }) => {
                    let name = String::from_utf8_lossy(&name);
                    let lossy = |(name, value): &(Vec<u8>, _)| {
                        (String::from_utf8_lossy(name).into_owned(), Vec::clone(value))
                    };
                    let params: Vec<(String, Vec<u8>)> = params.iter().map(lossy).collect();
                    let params: Vec<Param<'_>> = params.iter().map(|(n, v)| str(n, v)).collect();
                    round_trips(&name, &params);
                }
            }
        }
    }
}
