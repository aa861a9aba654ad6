//! The messages of testgovpp.api, with the ids that VPP has given them.

use herald_vpp_api::Api;
use herald_vpp_api::codec::Plan;

use crate::ffi::messages::{REQUEST_LENGTH, register};
use crate::gtp::{self, GtpError};
use crate::handlers::{ENABLE, WANT};

/// How the messages are read and written.
#[derive(Debug)]
pub struct Messages {
    /// The request that registers for the event.
    pub want: Plan,
    /// The request that turns the reporter on or off.
    pub enable: Plan,
    want_reply: Outgoing,
    enable_reply: Outgoing,
    event: Outgoing,
}

#[derive(Debug)]
struct Outgoing {
    id: u16,
    plan: Plan,
}

impl Messages {
    /// Enters the messages into VPP's table.
    pub fn register() -> Result<Self, String> {
        let api = gtp::api()?;
        let base = register(&api)?;
        Ok(Messages {
            want: request(&api, WANT.name)?,
            enable: request(&api, ENABLE.name)?,
            want_reply: outgoing(&api, base, &format!("{}_reply", WANT.name))?,
            enable_reply: outgoing(&api, base, &format!("{}_reply", ENABLE.name))?,
            event: outgoing(&api, base, gtp::EVENT)?,
        })
    }

    /// The reply to [`WANT`].
    pub fn want_reply(&self, retval: i32, context: u32) -> Vec<u8> {
        self.want_reply.reply(retval, context)
    }

    /// The reply to [`ENABLE`].
    pub fn enable_reply(&self, retval: i32, context: u32) -> Vec<u8> {
        self.enable_reply.reply(retval, context)
    }

    /// Writes the event.
    pub fn event(&self, error: &GtpError, out: &mut Vec<u8>) -> Result<(), String> {
        error.encode(&self.event.plan, self.event.id, out)
    }
}

impl Outgoing {
    fn reply(&self, retval: i32, context: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut message = self.plan.encoder(self.id, &mut out);
        // Both fields are there: an autoreply has these two.
        let put = message.put("context", context).and_then(|()| message.put("retval", retval));
        let _ = put.and_then(|()| message.finish());
        out
    }
}

fn request(api: &Api, name: &str) -> Result<Plan, String> {
    let plan = Plan::new(api, name).ok_or_else(|| format!("no message {name}"))?;
    match plan.fixed_len() {
        REQUEST_LENGTH => Ok(plan),
        other => Err(format!("{name} has {other} bytes, not {REQUEST_LENGTH}")),
    }
}

fn outgoing(api: &Api, base: u16, name: &str) -> Result<Outgoing, String> {
    let missing = || format!("no message {name}");
    let index = api.messages().iter().position(|message| &*message.name == name).ok_or_else(missing)?;
    let id = u16::try_from(usize::from(base) + index).map_err(|_| "message ids run out".to_owned())?;
    Ok(Outgoing { id, plan: Plan::new(api, name).ok_or_else(missing)? })
}
