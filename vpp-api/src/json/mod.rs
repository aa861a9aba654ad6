//! api.json: the form in which VPP ships its API to GoVPP, vpp_papi and other generators.
//!
//! [`write()`] makes it as vppapigen does, to the byte; [`read`] makes the same model of it as the parser
//! makes of an .api file, with these exceptions: flags, where a type came from and which enum entries
//! are `backwards_compatible` are not in the JSON, and CRCs are taken from it as they are.

mod read;
mod value;
mod write;

pub use read::{JsonError, read};
pub use write::{bundle, write};
