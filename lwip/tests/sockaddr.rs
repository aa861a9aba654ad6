//! The promise: addresses go between lwIP and the system unchanged, of both families, zones included.

#[macro_use]
mod kit;

cases! { sockaddr {
    both_ways
    zones
    what_is_refused
    raw_bytes
} }
