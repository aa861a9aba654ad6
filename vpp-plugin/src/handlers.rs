//! The requests of testgovpp.api, and the end of a client.

use std::time::Instant;

use herald_vpp_api::codec::Plan;

use crate::ffi::clients::Connection;
use crate::journal::InvalidRegistration;
use crate::{process, state};

/// The request that registers a client for the event, or ends its registration.
pub const WANT: &str = "want_cu_up_gtp_error_ind_events";
/// The request that turns the reporter on or off for an interface.
pub const ENABLE: &str = "testgovpp_enable_disable";

/// `VNET_API_ERROR_INVALID_REGISTRATION`
const INVALID_REGISTRATION: i32 = -31;
/// `VNET_API_ERROR_INVALID_SW_IF_INDEX`
const INVALID_SW_IF_INDEX: i32 = -2;

/// What both requests have.
struct Request {
    client_index: u32,
    context: u32,
    enable: bool,
    /// The pid, or the interface.
    number: u32,
}

/// `want_cu_up_gtp_error_ind_events`
pub fn want(message: &[u8]) {
    state::with(|state| {
        let Some(messages) = &state.messages else { return };
        let Some(request) = read(&messages.want, message, "pid") else { return };
        let registered = match request.enable {
            true => state.journal.register(request.client_index, request.number),
            false => state.journal.unregister(request.client_index),
        };
        let retval = match registered {
            Ok(()) => 0,
            Err(InvalidRegistration) => INVALID_REGISTRATION,
        };
        reply(&request, messages.want_reply(retval, request.context));
    });
}

/// `testgovpp_enable_disable`
pub fn enable_disable(message: &[u8]) {
    state::with(|state| {
        let Some(messages) = &state.messages else { return };
        let Some(request) = read(&messages.enable, message, "sw_if_index") else { return };
        let known = state.interfaces.contains(&request.number);
        let retval = if known { 0 } else { INVALID_SW_IF_INDEX };
        if known {
            state.reporter.turn(request.number, request.enable, Instant::now());
            process::wake();
        }
        reply(&request, messages.enable_reply(retval, request.context));
    });
}

/// A client has gone: so has its registration. Its index may be the next client's.
pub fn client_gone(index: u32) {
    state::with(|state| {
        if state.journal.unregister(index).is_ok() {
            state.counts.clients_gone += 1;
        }
    });
}

fn read(plan: &Plan, message: &[u8], number: &str) -> Option<Request> {
    let view = plan.view(message).ok()?;
    let field = |name| view.u64(name)?.try_into().ok();
    Some(Request {
        client_index: field("client_index")?,
        context: field("context")?,
        enable: view.bool("enable_disable")?,
        number: field(number)?,
    })
}

fn reply(request: &Request, message: Vec<u8>) {
    // A client that has gone needs no answer.
    if let Some(mut connection) = Connection::find(request.client_index) {
        connection.send_message(&message);
    }
}
