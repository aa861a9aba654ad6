//! The promise: no bytes of a peer's abort the process.

#[macro_use]
mod kit;

cases! { hostile {
    a_checksum_of_more_than_there_is
    less_than_a_header
    more_than_the_mtu
} }
