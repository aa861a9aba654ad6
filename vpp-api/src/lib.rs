//! The VPP binary API without I/O: what a program needs to serve it, to speak it, or to generate code
//! for it.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`parse`] | reads .api files, the whole language |
//! | [`schema`] | the model of a module: types, messages, services |
//! | [`crc`] | the CRCs by which client and server agree on messages |
//! | [`json`] | writes and reads api.json |
//! | [`codec`] | messages to bytes and back |
//! | [`frame`] | the header before each message |
//! | [`table`] | message ids and what belongs to what |
//! | [`builtin`] | the .api files that come with Herald |
//! | [`header`] | C headers |
//! | [`print`](mod@print) | .api text from the model |
//! | [`source`] | where .api files are read from |
//!
//! Everything that reads input from outside is bounded ([`schema::limits`]) and never panics:
//! [`parse::parse`], [`json::read`], and of a [`codec::Plan`] `decode` and `view`. These are also the
//! entry points for fuzzing.
//!
//! The numbers come from VPP's own generator and clients (`src/tools/vppapigen`, `src/vpp-api/python`)
//! and were compared with them for every .api file of VPP 20.05 and 26.06: see `tests/vpp_tree.rs`.

#![forbid(unsafe_code)]

mod build;
pub mod builtin;
pub mod codec;
pub mod crc;
mod error;
pub mod frame;
pub mod header;
pub mod json;
pub mod parse;
pub mod print;
pub mod schema;
pub mod source;
pub mod table;

pub use error::{ParseError, Place};
pub use schema::{Api, Rules};
pub use source::Source;
