//! Whatever an event holds, a JSON reader sees it.

#![no_main]

use herald::event::{Event, Param, Value};
use herald::wire::jsonrpc;
use libfuzzer_sys::fuzz_target;

type Input = (String, Vec<(String, u8, u64, Vec<u8>)>);

fuzz_target!(|input: Input| {
    let (name, params) = &input;
    let params: Vec<Param<'_>> = params
        .iter()
        .map(|(name, kind, number, bytes)| {
            let value = match kind % 8 {
                0 => Value::Null,
                1 => Value::Int(*number as i64),
                2 => Value::Uint(*number),
                3 => Value::Float(f64::from_bits(*number)),
                4 => Value::Bool(number % 2 == 0),
                5 => Value::Bytes(bytes),
                _ => Value::Str(bytes),
            };
            Param { name, value }
        })
        .collect();
    let mut out = Vec::new();
    jsonrpc::encode(&Event::new(name, &params), &mut out);
    let read: serde_json::Value = serde_json::from_slice(&out).expect("it is JSON");
    assert_eq!(read["jsonrpc"], "2.0");
    assert_eq!(read["method"], name.as_str());
    let Some(first) = params.first() else { return assert_eq!(read.get("params"), None) };
    for (i, Param { name, value }) in params.iter().enumerate() {
        // Of two parameters of the same name this reader keeps the last.
        let value_read = match first.name {
            "" => &read["params"][i],
            _ if params[i + 1..].iter().any(|later| later.name == *name) => continue,
            _ => &read["params"][*name],
        };
        match *value {
            Value::Null => assert!(value_read.is_null()),
            Value::Int(n) => assert_eq!(value_read.as_i64(), Some(n)),
            Value::Uint(n) => assert_eq!(value_read.as_u64(), Some(n)),
            Value::Float(x) => assert_eq!(value_read.is_number(), x.is_finite()),
            Value::Bool(b) => assert_eq!(value_read.as_bool(), Some(b)),
            Value::Str(text) => assert_eq!(value_read.as_str(), Some(&*String::from_utf8_lossy(text))),
            Value::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(value_read.as_str(), Some(hex.as_str()));
            }
        }
    }
});
