//! lwIP and libevent as their headers on this machine declare them, and Rust twins of what the
//! headers only have as macros and inline functions.

#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

/// libslirp, QEMU's user-mode network.
#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
pub(crate) mod slirp {
    include!(concat!(env!("OUT_DIR"), "/slirp.rs"));
}
mod twins;

pub use bindings::*;
pub(crate) use twins::*;
