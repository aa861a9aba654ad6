//! A JSON value whose objects keep their order, and Python's way of writing it.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::schema::{Literal, Options};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    /// In order, each key once.
    Map(Vec<(String, Json)>),
}

impl Json {
    pub fn text(s: impl Into<String>) -> Json {
        Json::Text(s.into())
    }

    pub fn options(options: &Options) -> Json {
        Json::Map(options.iter().map(|(n, v)| (n.clone(), v.clone().into())).collect())
    }

    /// A map as a Python dict is after these assignments: a repeated key keeps its place and takes the
    /// last value.
    pub fn dict(items: impl IntoIterator<Item = (String, Json)>) -> Json {
        let mut map: Vec<(String, Json)> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        for (key, value) in items {
            match index.get(&key).and_then(|i| map.get_mut(*i)) {
                Some(slot) => slot.1 = value,
                None => {
                    index.insert(key.clone(), map.len());
                    map.push((key, value));
                }
            }
        }
        Json::Map(map)
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Map(map) => map.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(s) => Some(s),
            _ => None,
        }
    }

    /// `json.dumps(value, indent=4, separators=(",", ": "))` in Python.
    pub fn to_python(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, 0);
        out
    }

    fn print(&self, out: &mut String, depth: usize) {
        // Writing to a String cannot fail.
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Int(n) => {
                let _ = write!(out, "{n}");
            }
            Json::Float(x) => print_float(out, *x),
            Json::Text(s) => print_text(out, s),
            Json::List(list) => {
                print_items(out, depth, ('[', ']'), list, |out, v| v.print(out, depth + 1));
            }
            Json::Map(map) => print_items(out, depth, ('{', '}'), map, |out, (k, v)| {
                print_text(out, k);
                out.push_str(": ");
                v.print(out, depth + 1);
            }),
        }
    }
}

fn print_items<T>(
    out: &mut String,
    depth: usize,
    (open, close): (char, char),
    items: &[T],
    print: impl Fn(&mut String, &T),
) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("    "));
    };
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        line(out, depth + 1);
        print(out, item);
    }
    if !items.is_empty() {
        line(out, depth);
    }
    out.push(close);
}

fn print_text(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Python's `repr` of a float: the shortest digits, with an exponent below 1e-4 and from 1e16.
fn print_float(out: &mut String, x: f64) {
    let magnitude = x.abs();
    let _ = if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{x:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs())
    } else {
        write!(out, "{x:?}")
    };
}

impl From<Literal> for Json {
    fn from(literal: Literal) -> Json {
        match literal {
            Literal::Int(n) => Json::Int(n),
            Literal::Float(x) => Json::Float(x),
            Literal::Text(s) => Json::Text(s),
            Literal::Bool(b) => Json::Bool(b),
            Literal::None => Json::Null,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        struct AnyJson;
        impl<'de> Visitor<'de> for AnyJson {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E: Error>(self, b: bool) -> Result<Json, E> {
                Ok(Json::Bool(b))
            }

            fn visit_u64<E: Error>(self, n: u64) -> Result<Json, E> {
                Ok(Json::Int(n.into()))
            }

            fn visit_i64<E: Error>(self, n: i64) -> Result<Json, E> {
                Ok(Json::Int(n.into()))
            }

            fn visit_f64<E: Error>(self, x: f64) -> Result<Json, E> {
                Ok(Json::Float(x))
            }

            fn visit_str<E: Error>(self, s: &str) -> Result<Json, E> {
                Ok(Json::Text(s.to_owned()))
            }

            fn visit_string<E: Error>(self, s: String) -> Result<Json, E> {
                Ok(Json::Text(s))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
                let mut map: Vec<(String, Json)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some((key, value)) = access.next_entry::<String, Json>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("the key '{key}' is there twice")));
                    }
                    map.push((key, value));
                }
                Ok(Json::Map(map))
            }
        }
        deserializer.deserialize_any(AnyJson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_prints_them() {
        for (x, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
        ] {
            assert_eq!(Json::Float(x).to_python(), text);
        }
    }

    #[test]
    fn text_as_python_prints_it() {
        let text = Json::text("a\"\\\n\t\r\u{8}\u{c}\u{1}\u{7f}é\u{1f600}/");
        assert_eq!(text.to_python(), r#""a\"\\\n\t\r\b\f\u0001\u007f\u00e9\ud83d\ude00/""#);
    }

    #[test]
    fn layout_as_python_prints_it() {
        let json: Json = serde_json::from_str(r#"{"b":[],"a":[1,{}, {"x":null}]}"#).unwrap();
        let want = "{\n    \"b\": [],\n    \"a\": [\n        1,\n        {},\n        {\n            \
                    \"x\": null\n        }\n    ]\n}";
        assert_eq!(json.to_python(), want);
    }
}
