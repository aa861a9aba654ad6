//! The requests of testgovpp.api, and the end of a client.

use std::time::Instant;

use herald_vpp_api::codec::Plan;

use crate::ffi::clients::Connection;
use crate::journal::InvalidRegistration;
use crate::messages::Messages;
use crate::process;
use crate::state::{self, State};

/// `VNET_API_ERROR_UNSPECIFIED`
const UNSPECIFIED: i32 = -1;
/// `VNET_API_ERROR_INVALID_SW_IF_INDEX`
const INVALID_SW_IF_INDEX: i32 = -2;
/// `VNET_API_ERROR_INVALID_REGISTRATION`
const INVALID_REGISTRATION: i32 = -31;

/// The request that registers a client for the event, or ends its registration.
pub static WANT: Handler = Handler {
    name: "want_cu_up_gtp_error_ind_events",
    number: "pid",
    plan: |messages| &messages.want,
    reply: Messages::want_reply,
    act: want,
};

/// The request that turns the reporter on or off for an interface.
pub static ENABLE: Handler = Handler {
    name: "testgovpp_enable_disable",
    number: "sw_if_index",
    plan: |messages| &messages.enable,
    reply: Messages::enable_reply,
    act: enable_disable,
};

/// How a request is read, what is done for it, and how it is answered.
pub struct Handler {
    /// The request's name.
    pub name: &'static str,
    /// The name of its last field.
    number: &'static str,
    plan: fn(&Messages) -> &Plan,
    reply: fn(&Messages, i32, u32) -> Vec<u8>,
    act: fn(&mut State, &Request) -> i32,
}

/// What both requests have.
struct Request {
    client_index: u32,
    context: u32,
    enable: bool,
    /// The pid, or the interface.
    number: u32,
}

fn want(state: &mut State, request: &Request) -> i32 {
    let registered = match request.enable {
        true => state.journal.register(request.client_index, request.number),
        false => state.journal.unregister(request.client_index),
    };
    match registered {
        Ok(()) => 0,
        Err(InvalidRegistration) => INVALID_REGISTRATION,
    }
}

fn enable_disable(state: &mut State, request: &Request) -> i32 {
    if !state.interfaces.contains(&request.number) {
        return INVALID_SW_IF_INDEX;
    }
    state.reporter.turn(request.number, request.enable, Instant::now());
    process::wake();
    0
}

/// A client has gone: so has its registration. Its index may be the next client's.
pub fn client_gone(index: u32) {
    state::with(|state| {
        if state.journal.unregister(index).is_ok() {
            state.counts.clients_gone += 1;
        }
    });
}

impl Handler {
    /// Does what the request asks for, and answers it.
    pub fn run(&self, message: &[u8]) {
        self.answer(message, self.act);
    }

    /// Answers a request for which [`run`](Self::run) has panicked, so that the client does not wait for ever.
    pub fn fail(&self, message: &[u8]) {
        self.answer(message, |_, _| UNSPECIFIED);
    }

    fn answer(&self, message: &[u8], act: fn(&mut State, &Request) -> i32) {
        state::with(|state| {
            let request = self.read((self.plan)(state.messages.as_ref()?), message)?;
            // Whoever has gone, or never was, needs no answer, and is not registered either.
            let mut connection = Connection::find(request.client_index)?;
            let retval = act(state, &request);
            let reply = (self.reply)(state.messages.as_ref()?, retval, request.context);
            if !connection.send_message(&reply) {
                state.counts.replies_lost += 1;
            }
            Some(())
        });
    }

    fn read(&self, plan: &Plan, message: &[u8]) -> Option<Request> {
        let view = plan.view(message).ok()?;
        let field = |name| view.u64(name)?.try_into().ok();
        Some(Request {
            client_index: field("client_index")?,
            context: field("context")?,
            enable: view.bool("enable_disable")?,
            number: field(self.number)?,
        })
    }
}
