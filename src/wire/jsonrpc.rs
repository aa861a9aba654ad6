//! Events as JSON-RPC 2.0 notifications, as OpenSIPS 3.1 to 4.0 send them in datagrams.
//!
//! ```text
//! {"jsonrpc":"2.0","method":"E_NAME"}
//! {"jsonrpc":"2.0","method":"E_NAME","params":{"name":"value","number":42}}
//! {"jsonrpc":"2.0","method":"E_NAME","params":["value",42]}
//! ```
//!
//! There is no id, no newline, and no `params` without parameters. `params` is an object if the
//! first parameter is named, and then the key of an unnamed one is empty; otherwise it is an array,
//! which has no place for names. Of two parameters of the same name both are written.
//!
//! The bytes are those of OpenSIPS's own module, except that a NUL is `\u0000` and does not end
//! the text, that what is not UTF-8 is replaced by U+FFFD, as `String::from_utf8_lossy` does, and
//! that a first parameter whose name is empty makes an array (the script of an OpenSIPS can make
//! its own module write the object `{"":1}`).

use super::text::{find, put_float, put_hex, put_int, put_uint};
use crate::event::{Event, Value};

/// Appends an event to `out`.
///
/// A number that JSON cannot express (infinity, or none at all) is written as `null`, bytes as a
/// string of hexadecimal digits.
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
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"#);
    put_text(name, out);
    let mut params = params.peekable();
    if let Some((first, _)) = params.peek() {
        let named = !first.is_empty();
        out.extend_from_slice(if named { br#","params":{"# } else { br#","params":["# });
        for (i, (name, value)) in params.enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if named {
                put_text(name, out);
                out.push(b':');
            }
            put_value(value, out);
        }
        out.push(if named { b'}' } else { b']' });
    }
    out.push(b'}');
}

fn put_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Int(n) => put_int(n, out),
        Value::Uint(n) => put_uint(n, out),
        Value::Float(x) if x.is_finite() => put_float(x, out),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Str(text) => put_text(text, out),
        Value::Bytes(bytes) => {
            out.push(b'"');
            put_hex(bytes, out);
            out.push(b'"');
        }
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match std::str::from_utf8(text) {
        Ok(text) => put_escaped(text, out),
        Err(_) => put_lossy(text, out),
    }
    out.push(b'"');
}

fn put_lossy(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        put_escaped(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn put_escaped(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = find(rest, |byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        put_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn put_escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            return put_hex(&[byte], out);
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Param;
    use crate::wire::testing::{Owned, hostile, values};
    use proptest::prelude::*;
    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_json::Value as Json;
    use std::fmt;

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

    #[test]
    fn the_bytes_are_those_of_the_stock_module() {
        // Observed on OpenSIPS 3.1.17, 3.2.19, 3.3.10, 3.4.18, 3.5.9, 3.6.8 and 4.0.1: what stands
        // between `"params":` and the last brace.
        let observed: &[(&[Param<'_>], &str)] = &[
            (&[str("str", b"bob"), int("int", 42)], r#"{"str":"bob","int":42}"#),
            (
                &[
                    int("neg", -7),
                    int("zero", 0),
                    int("max", i32::MAX.into()),
                    int("min", i32::MIN.into()),
                ],
                r#"{"neg":-7,"zero":0,"max":2147483647,"min":-2147483648}"#,
            ),
            (&[str("", b"first"), int("", 7), str("", b"third")], r#"["first",7,"third"]"#),
            (&[str("empty", b""), str("after", b"x")], r#"{"empty":"","after":"x"}"#),
            (&[str("", b"")], r#"[""]"#),
            (
                &[
                    str("eq", b"k=v"),
                    str("dc", b"y::zz"),
                    str("semi", b"a;b"),
                    str("sp", b"  a b  "),
                    str("comma", b"a,b"),
                ],
                r#"{"eq":"k=v","dc":"y::zz","semi":"a;b","sp":"  a b  ","comma":"a,b"}"#,
            ),
            (
                &[str("dq", b"q\"q"), str("sq", b"it's"), str("wrapped", b"\"all\"")],
                r#"{"dq":"q\"q","sq":"it's","wrapped":"\"all\""}"#,
            ),
            (
                &[
                    str("nl", b"l1\nl2"),
                    str("end", b"x\n"),
                    str("crlf", b"a\r\nb"),
                    str("cr", b"a\rb"),
                    str("only", b"\n"),
                ],
                r#"{"nl":"l1\nl2","end":"x\n","crlf":"a\r\nb","cr":"a\rb","only":"\n"}"#,
            ),
            (
                &[str("both", b"l1 \"q\"\nl2 \"r\""), str("bs", b"a\\b\n\"")],
                r#"{"both":"l1 \"q\"\nl2 \"r\"","bs":"a\\b\n\""}"#,
            ),
            (
                &[
                    str("tab", b"t\tt"),
                    str("bs", b"a\\b"),
                    str("sl", b"a/b"),
                    str("c1", b"\x01\x1f\x7f"),
                    str("bf", b"\x08\x0c"),
                ],
                "{\"tab\":\"t\\tt\",\"bs\":\"a\\\\b\",\"sl\":\"a/b\",\"c1\":\"\\u0001\\u001f\x7f\",\
                 \"bf\":\"\\b\\f\"}",
            ),
            (
                &[str("u", "é € 😀".as_bytes()), str("ñ", b"name too")],
                r#"{"u":"é € 😀","ñ":"name too"}"#,
            ),
            (
                &[
                    str("a b", b"1"),
                    str("a::b", b"2"),
                    str("q\"", b"3"),
                    str("n\nl", b"4"),
                    str("", b"5"),
                ],
                r#"{"a b":"1","a::b":"2","q\"":"3","n\nl":"4","":"5"}"#,
            ),
            (&[str("x", b"1"), str("x", b"2")], r#"{"x":"1","x":"2"}"#),
        ];
        for (params, expected) in observed {
            let expected = format!(r#"{{"jsonrpc":"2.0","method":"E_SCRIPT","params":{expected}}}"#);
            assert_eq!(String::from_utf8(encoded("E_SCRIPT", params)).unwrap(), expected);
        }
        assert_eq!(encoded("E_SCRIPT", &[]), br#"{"jsonrpc":"2.0","method":"E_SCRIPT"}"#);
        let names: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
        let params: Vec<Param<'_>> = names.iter().zip(0..).map(|(name, i)| int(name, i)).collect();
        let pairs: Vec<String> = (0..40).map(|i| format!(r#""p{i}":{i}"#)).collect();
        let expected =
            format!(r#"{{"jsonrpc":"2.0","method":"E_SCRIPT","params":{{{}}}}}"#, pairs.join(","));
        assert_eq!(encoded("E_SCRIPT", &params), expected.into_bytes());
    }

    /// What stands for a parameter of this value.
    fn spelt(value: Value<'_>) -> String {
        let out = String::from_utf8(encoded("E", &[Param { name: "", value }])).unwrap();
        let start = r#"{"jsonrpc":"2.0","method":"E","params":["#;
        out.strip_prefix(start).unwrap().strip_suffix("]}").unwrap().to_owned()
    }

    #[test]
    fn what_stock_gets_wrong_is_right() {
        assert_eq!(spelt(Value::Str(b"a\0b")), r#""a\u0000b""#);
        // The observed provocations; how many replacements is WHATWG's rule.
        assert_eq!(spelt(Value::Str(b"a\xff\xfe\xc3(b")), "\"a\u{fffd}\u{fffd}\u{fffd}(b\"");
        assert_eq!(spelt(Value::Str(b"\xed\xa0\x80")), "\"\u{fffd}\u{fffd}\u{fffd}\"");
        assert_eq!(spelt(Value::Str(b"x\xe2\x82")), "\"x\u{fffd}\"");
        assert_eq!(spelt(Value::Str(b"\"\xff\n")), "\"\\\"\u{fffd}\\n\"");
    }

    #[test]
    fn every_type_has_a_spelling() {
        assert_eq!(spelt(Value::Null), "null");
        assert_eq!(spelt(Value::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(spelt(Value::Uint(u64::MAX)), "18446744073709551615");
        assert_eq!(spelt(Value::Float(0.1)), "0.1");
        assert_eq!(spelt(Value::Float(-3.0)), "-3.0");
        assert_eq!(spelt(Value::Float(1e300)), "1e300");
        assert_eq!(spelt(Value::Float(f64::NAN)), "null");
        assert_eq!(spelt(Value::Float(f64::INFINITY)), "null");
        assert_eq!(spelt(Value::Bool(true)), "true");
        assert_eq!(spelt(Value::Bool(false)), "false");
        assert_eq!(spelt(Value::Bytes(b"\x00\xff\n")), "\"00ff0a\"");
    }

    #[test]
    fn every_control_character_is_escaped_as_stock_does() {
        for byte in 0..=0x7f {
            let expected = match byte {
                0x08 => r"\b".to_owned(),
                b'\t' => r"\t".to_owned(),
                b'\n' => r"\n".to_owned(),
                0x0c => r"\f".to_owned(),
                b'\r' => r"\r".to_owned(),
                b'"' => r#"\""#.to_owned(),
                b'\\' => r"\\".to_owned(),
                0..0x20 => format!("\\u{byte:04x}"),
                _ => char::from(byte).to_string(),
            };
            assert_eq!(
                spelt(Value::Str(&[b'a', byte, byte, b'b'])),
                format!("\"a{expected}{expected}b\"")
            );
        }
    }

    #[test]
    fn what_must_be_escaped_is_found_wherever_it_stands() {
        for (before, after) in (0..70).flat_map(|before| [0, 1, 15, 16, 40].map(|after| (before, after)))
        {
            let text = ["x".repeat(before), "y".repeat(after)].join("\n");
            assert_eq!(spelt(text[..].into()), format!("\"{}\"", text.replace('\n', "\\n")));
        }
    }

    #[test]
    fn the_first_parameter_decides_between_object_and_array() {
        let params = [str("", b"1"), str("name", b"2")];
        assert_eq!(encoded("E", &params), br#"{"jsonrpc":"2.0","method":"E","params":["1","2"]}"#);
    }

    /// `params`, in order and with what is there twice.
    #[derive(Debug, Default)]
    struct Read(Vec<(Option<String>, Json)>);

    impl<'de> Deserialize<'de> for Read {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Read::default())
        }
    }

    impl<'de> Visitor<'de> for Read {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or an array")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
            while let Some((name, value)) = map.next_entry()? {
                self.0.push((Some(name), value));
            }
            Ok(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
            while let Some(value) = seq.next_element()? {
                self.0.push((None, value));
            }
            Ok(self)
        }
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Notification {
        jsonrpc: String,
        method: String,
        params: Option<Read>,
    }

    fn is_read_as(value: &Owned, json: &Json) -> bool {
        match value.value() {
            Value::Null => json.is_null(),
            Value::Int(n) => json.as_i64() == Some(n),
            Value::Uint(n) => json.as_u64() == Some(n),
            Value::Float(x) if !x.is_finite() => json.is_null(),
            // serde_json is a little inexact by default; the next test is not.
            Value::Float(x) => {
                json.as_f64().is_some_and(|y| (x - y).abs() <= x.abs() * 1e-14 || x.is_subnormal())
            }
            Value::Bool(b) => json.as_bool() == Some(b),
            Value::Str(text) => json.as_str() == Some(&*String::from_utf8_lossy(text)),
            Value::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                json.as_str() == Some(&hex)
            }
        }
    }

    proptest! {
        #[test]
        fn any_json_reader_sees_the_same_event(
            name in hostile(),
            params in prop::collection::vec((hostile(), values()), 0..8),
        ) {
            let borrowed: Vec<Param<'_>> =
                params.iter().map(|(name, value)| Param { name, value: value.value() }).collect();
            let bytes = encoded(&name, &borrowed);
            let read: Notification = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read.jsonrpc, "2.0");
            prop_assert_eq!(read.method, name);
            prop_assert_eq!(read.params.is_some(), !params.is_empty());
            let read = read.params.unwrap_or_default().0;
            prop_assert_eq!(read.len(), params.len());
            let named = params.first().is_some_and(|(name, _)| !name.is_empty());
            for ((name, value), (key, json)) in params.iter().zip(&read) {
                prop_assert_eq!(key.as_ref(), named.then_some(name));
                prop_assert!(is_read_as(value, json), "{:?} was read as {}", value, json);
            }
        }

        #[test]
        fn a_finite_number_is_read_back_exactly(bits in any::<u64>()) {
            let x = f64::from_bits(bits);
            if x.is_finite() {
                prop_assert_eq!(spelt(Value::Float(x)).parse::<f64>().unwrap().to_bits(), bits);
            }
        }
    }
}
