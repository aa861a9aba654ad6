//! Herald inside VPP 26.06: `herald_plugin.so`, on the crate `vpp-plugin`.
//!
//! ```text
//! herald gtp-error, reporter  →  GtpError  →  Journal  →  clients of VPP's binary API
//!                                          ↘
//! interface callbacks         →  event     →  Hub      →  datagram subscribers of herald.toml
//! ```
//!
//! - [`gtp`]: a GTP error indication, as a message of testgovpp.api and as an event of Herald.
//! - [`journal`]: what waits for the clients, once for all of them, and who they are.
//! - [`handlers`]: the API's requests. [`commands`]: the CLI. [`interfaces`]: VPP's interfaces.
//! - [`process`]: the process node that sends, raises bursts and reports.
//! - [`bridge`]: the hub. [`state`]: all of it together, on VPP's main thread.
//! - [`entry`]: the way in from VPP: no panic crosses it, and the time within is measured. `on_purpose`: a
//!   panic there, for a test; only with the feature `test-panics`.
//! - [`ffi`]: what the crate `vpp-plugin` has no safe function for. The only place with `unsafe`.

mod bridge;
mod commands;
mod entry;
mod ffi;
mod gtp;
mod handlers;
mod interfaces;
mod journal;
mod messages;
#[cfg(feature = "test-panics")]
mod on_purpose;
mod process;
mod reporter;
mod state;

use vpp_plugin::vlib::BarrierHeldMainRef;
use vpp_plugin::vppinfra::error::ErrorStack;
use vpp_plugin::{vlib_init_function, vlib_plugin_register};

vlib_plugin_register! {
    version: "0.1.0",
    description: "Herald: event notification",
    version_required: vpp_plugin::VPP_BUILD_VER,
}

#[vlib_init_function]
fn herald_init(_vm: &mut BarrierHeldMainRef) -> Result<(), ErrorStack> {
    let started = entry::enter_unmeasured("start", state::start);
    started.unwrap_or_else(|| Err("herald: a panic while starting".to_owned())).map_err(ErrorStack::msg)
}
