//! Whatever an operator gives as an address, it is understood or refused; and one that is understood
//! means the same when it is written again.

#![no_main]

use std::net::SocketAddr;

use herald::transport::datagram::{Target, parse_udp_with, parse_unix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match parse_unix(bytes) {
        Ok(Target::Unix(path)) => assert_eq!(path.as_bytes(), bytes),
        Ok(Target::Udp(address)) => panic!("a path is read as {address}"),
        Err(_) => assert!(bytes.is_empty() || bytes.len() > 107 || bytes.contains(&0)),
    }
    // No name is looked up: every host is here.
    let here = |_: &str, port| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    if let Ok(target) = parse_udp_with(bytes, here) {
        let Target::Udp(address) = target else { panic!("a host is read as {target:?}") };
        assert_ne!(address.port(), 0);
        assert_eq!(parse_udp_with(address.to_string().as_bytes(), here), Ok(target));
    }
});
