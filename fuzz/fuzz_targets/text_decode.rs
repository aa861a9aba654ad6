//! Whatever a datagram holds, reading it ends well; and what was read, when written again, is read
//! the same.

#![no_main]

use herald::event::{Event, Param, Value};
use herald::wire::text::{self, Decoded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let decoded = match text::decode(bytes) {
        Ok(decoded) => decoded,
        Err(error) => return assert!(error.at <= bytes.len(), "{error}"),
    };
    let Ok(name) = str::from_utf8(&decoded.name) else { return };
    let names = decoded.params.iter().map(|(name, _)| str::from_utf8(name).ok());
    let Some(names) = names.collect::<Option<Vec<&str>>>() else { return };
    let params: Vec<Param<'_>> = names
        .into_iter()
        .zip(&decoded.params)
        .map(|(name, (_, value))| Param { name, value: Value::Str(value) })
        .collect();
    let mut again = Vec::new();
    text::encode(&Event::new(name, &params), &mut again);
    let read: Result<Decoded, _> = text::decode(&again);
    assert_eq!(read.as_ref(), Ok(&decoded), "{}", again.escape_ascii());
});
