//! The .api files that come with Herald: what a server needs to talk to clients at all, and the common
//! types, so that a directory with nothing but one's own .api file in it can be served.
//!
//! They are written for Herald. Names, order and values are those of VPP, which they must be: the CRCs
//! of the messages are what clients go by.

use std::borrow::Cow;

use crate::error::ParseError;
use crate::parse;
use crate::schema::{Api, Rules};
use crate::source::Source;

/// The path of `memclnt`: connecting, keeping alive, ids.
pub const MEMCLNT: &str = "vlibmemory/memclnt.api";
/// The path of the part of `vpe` that clients need: the version.
pub const VPE: &str = "vpp/api/vpe.api";
/// The path of Herald's own API.
pub const HERALD: &str = "herald.api";

/// Every file, by the path under which others import it.
pub const FILES: [(&str, &str); 7] = [
    (MEMCLNT, include_str!("../api/memclnt.api")),
    (VPE, include_str!("../api/vpe.api")),
    (HERALD, include_str!("../api/herald.api")),
    ("vpp/api/vpe_types.api", include_str!("../api/vpe_types.api")),
    ("vnet/interface_types.api", include_str!("../api/interface_types.api")),
    ("vnet/ethernet/ethernet_types.api", include_str!("../api/ethernet_types.api")),
    ("vnet/ip/ip_types.api", include_str!("../api/ip_types.api")),
];

/// The source of these files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl Source for Builtin {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        Ok(text(path).map(Cow::Borrowed))
    }
}

/// The text of a file.
pub fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(p, _)| *p == path).map(|(_, text)| *text)
}

/// A file as a module.
///
/// # Errors
/// If there is no such file; those that there are parse.
pub fn module(path: &str) -> Result<Api, ParseError> {
    match text(path) {
        Some(text) => parse::parse(path, text, &Builtin, Rules::default()),
        None => Err(ParseError::new(path, crate::error::Place::default(), "no such built-in file")),
    }
}
