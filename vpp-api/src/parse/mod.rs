//! Reads .api files: the whole language, as VPP 20.05 to 26.06 write it.
//!
//! ```
//! use herald_vpp_api::{Rules, parse};
//!
//! let text = "
//!     autoreply define want_light_events {
//!         u32 client_index;
//!         u32 context;
//!         bool enable_disable;
//!         u32 pid;
//!     };
//!     define light_event { u32 client_index; u32 pid; u8 colour; };
//!     service { rpc want_light_events returns want_light_events_reply events light_event; };
//! ";
//! let api = parse::parse("light.api", text, &herald_vpp_api::builtin::Builtin, Rules::default())?;
//! assert_eq!(api.messages().len(), 3);
//! # Ok::<(), herald_vpp_api::ParseError>(())
//! ```
//!
//! The parser is as strict as vppapigen, and stricter where vppapigen would write what clients cannot
//! read: a message or a field defined twice, a count field that is missing or no number, a part of
//! variable length that is not last, an alias that hides one. Errors name file, line and column:
//!
//! ```
//! # use herald_vpp_api::{Rules, parse, source::Nothing};
//! let error = parse::parse("a.api", "define x\n{\n}", &Nothing, Rules::default()).unwrap_err();
//! assert_eq!(error.to_string(), "a.api:3:1: expected a field type, found '}'");
//! ```

mod ast;
mod check;
mod grammar;
mod lex;
mod resolve;

use crate::error::ParseError;
use crate::schema::{Api, Rules};
use crate::source::Source;

/// Parses the text of an .api file, called `file` in errors; what it imports is read from `source`.
///
/// # Errors
/// The first thing that is wrong, in the file or in one that it imports.
pub fn parse(file: &str, text: &str, source: &dyn Source, rules: Rules) -> Result<Api, ParseError> {
    resolve::module(file, text, source, rules)
}

/// The name of the module in a file: the file's name without directories and without its last
/// extension, dots turned into underscores.
pub fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = match base.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => base,
    };
    stem.replace('.', "_")
}
