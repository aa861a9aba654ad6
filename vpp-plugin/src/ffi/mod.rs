//! What the crate `vpp-plugin` has no safe function for: the only place with `unsafe`.
//!
//! All of it runs on VPP's main thread, inside a call from VPP: that is the safety argument of most of
//! what is here. [`lists`] has the callbacks that VPP calls; everything else is called by our own code
//! further down in such a call.

pub mod clients;
pub mod lists;
pub mod messages;
pub mod output;
