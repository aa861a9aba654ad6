//! The requests that need no host: connecting, staying connected, and asking what there is.

use herald_vpp_api::codec::View;
use herald_vpp_api::json;
use herald_vpp_api::table::Module;

use super::contract::{Contract, INVALID_VALUE};

/// A request that is answered by the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    Create,
    Delete,
    FirstMessageId,
    Versions,
    Ping,
    Json,
    Keepalive,
    ShowVersion,
}

impl BuiltIn {
    /// The built-in request of this name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "sockclnt_create" => BuiltIn::Create,
            // GoVPP takes the last name that begins with sockclnt_delete_ for the request's.
            "sockclnt_delete" | "sockclnt_delete_reply" => BuiltIn::Delete,
            "get_first_msg_id" => BuiltIn::FirstMessageId,
            "api_versions" => BuiltIn::Versions,
            "control_ping" => BuiltIn::Ping,
            "get_api_json" => BuiltIn::Json,
            "memclnt_keepalive" => BuiltIn::Keepalive,
            "show_version" => BuiltIn::ShowVersion,
            _ => return None,
        })
    }
}

/// The ids of what the built-in requests are answered with, and the replies that are the same each
/// time: frames with nothing but the client's index and the context to fill in.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    create: (u16, Vec<u8>),
    versions: (u16, Vec<u8>),
    json: (u16, Vec<u8>),
    delete_reply: u16,
    first_message_id_reply: u16,
    ping_reply: u16,
    keepalive_reply: u16,
    show_version_reply: u16,
}

impl Prepared {
    pub fn new(contract: &Contract) -> Self {
        let id = |name: &str| contract.table().id(name).unwrap_or(0);
        let (create, versions) = (id("sockclnt_create_reply"), id("api_versions_reply"));
        let json = id("get_api_json_reply");
        Prepared {
            create: (create, create_reply(contract, create)),
            versions: (versions, versions_reply(contract, versions)),
            json: (json, json_reply(contract, json)),
            delete_reply: id("sockclnt_delete_reply"),
            first_message_id_reply: id("get_first_msg_id_reply"),
            ping_reply: id("control_ping_reply"),
            keepalive_reply: id("memclnt_keepalive_reply"),
            show_version_reply: id("show_version_reply"),
        }
    }
}

fn create_reply(contract: &Contract, id: u16) -> Vec<u8> {
    let mut names: Vec<(u16, &str)> =
        contract.table().entries().iter().map(|entry| (entry.id, entry.name_crc.as_str())).collect();
    let place = |prefix: &str| names.iter().position(|(_, name)| name.starts_with(prefix));
    // GoVPP takes the last name that begins with sockclnt_delete_ for the request's.
    if let (Some(reply), Some(request)) = (
        place("sockclnt_delete_reply_"),
        names.iter().position(|(_, name)| {
            name.starts_with("sockclnt_delete_") && !name.starts_with("sockclnt_delete_reply_")
        }),
    ) {
        names.swap(reply, request);
    }
    let mut frame = Vec::new();
    contract.put(id, &mut frame, |message| {
        for (index, name) in names {
            let mut entry = message.element()?;
            entry.put("index", index)?;
            entry.put("name", name)?;
        }
        Ok(())
    });
    frame
}

fn versions_reply(contract: &Contract, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    contract.put(id, &mut frame, |message| {
        for Module { api, .. } in contract.table().modules() {
            let (major, minor, patch) = api.version();
            let mut entry = message.element()?;
            entry.put("major", major)?;
            entry.put("minor", minor)?;
            entry.put("patch", patch)?;
            // VPP names the file.
            entry.put("name", cut(&format!("{}.api", api.name()), 63))?;
        }
        Ok(())
    });
    frame
}

fn json_reply(contract: &Contract, id: u16) -> Vec<u8> {
    let modules = contract.table().modules().iter().map(|module| &*module.api);
    let text = json::bundle(modules);
    let mut frame = Vec::new();
    contract.put(id, &mut frame, |message| message.put("json", text.as_str()));
    frame
}

/// Appends the answer to a built-in request of a client that has this index.
pub(super) fn answer(
    contract: &Contract,
    what: BuiltIn,
    index: u32,
    context: u32,
    view: &View<'_>,
    out: &mut Vec<u8>,
) {
    let ids = contract.prepared();
    match what {
        BuiltIn::Create => prepared(contract, &ids.create, context, Some(index), out),
        BuiltIn::Versions => prepared(contract, &ids.versions, context, None, out),
        BuiltIn::Json => prepared(contract, &ids.json, context, None, out),
        // VPP says 1, and so do we.
        BuiltIn::Delete => contract.put(ids.delete_reply, out, |reply| {
            reply.put("context", context)?;
            reply.put("response", 1)
        }),
        BuiltIn::FirstMessageId => {
            let module = view.text("name").and_then(|name| contract.table().module(name));
            contract.put(ids.first_message_id_reply, out, |reply| {
                reply.put("context", context)?;
                match module {
                    Some(module) => reply.put("first_msg_id", module.base),
                    None => {
                        reply.put("retval", INVALID_VALUE)?;
                        reply.put("first_msg_id", u16::MAX)
                    }
                }
            });
        }
        BuiltIn::Ping => contract.put(ids.ping_reply, out, |reply| {
            reply.put("context", context)?;
            reply.put("client_index", index)?;
            reply.put("vpe_pid", contract.about().pid)
        }),
        BuiltIn::Keepalive => contract.put_retval(ids.keepalive_reply, context, 0, out),
        BuiltIn::ShowVersion => contract.put(ids.show_version_reply, out, |reply| {
            reply.put("context", context)?;
            reply.put("program", cut(&contract.about().program, 31))?;
            reply.put("version", cut(&contract.about().version, 31))
        }),
    }
}

/// Appends a reply that is the same each time.
fn prepared(
    contract: &Contract,
    (id, frame): &(u16, Vec<u8>),
    context: u32,
    index: Option<u32>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(frame);
    let message = out.get_mut(start + herald_vpp_api::frame::HEADER..).unwrap_or_default();
    let Some(entry) = contract.table().entry(*id) else { return };
    let mut patch = |name: &str, value: u32| {
        if let Some(slot) = entry.plan.slot(name) {
            let _ = entry.plan.patch(message, slot, value);
        }
    };
    patch("context", context);
    if let Some(index) = index {
        patch("client_index", index);
        patch("index", index);
    }
}

/// The first `most` bytes of a text, without half a character.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
