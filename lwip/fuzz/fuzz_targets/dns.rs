//! A name server that says anything: the first byte is the family, the rest the answer. Whatever can be read as an
//! answer says no more than it may.

#![no_main]

use herald_lwip::host::message::{Answer, Kind, is_valid, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&family, answer)) = input.split_first() else { return };
    let kind = if family & 1 == 0 { Kind::A } else { Kind::Aaaa };
    let id = answer.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for name in ["www.example.com", "a"] {
        match read(answer, id, name, kind) {
            Some(Answer::Addresses(addresses, _)) => {
                assert!((1..=16).contains(&addresses.len()));
                assert!(addresses.iter().all(|address| address.is_ipv4() == (kind == Kind::A)));
            }
            Some(Answer::Alias(name, _)) => assert!(is_valid(&name)),
            _ => {}
        }
        assert_eq!(read(answer, id.wrapping_add(1), name, kind), None);
    }
});
