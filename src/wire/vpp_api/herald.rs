//! Any event as a message of Herald's own module (`vpp-api/api/herald.api`).

use herald_vpp_api::codec::EncodeError;

use super::contract::Contract;
use crate::event::{Event, L2tp, L2tpKind, Param, Value};

/// The request that registers for events by their names.
pub(super) const WANT_EVENTS: &str = "want_herald_events";

/// `HERALD_PARAM_MORE`
const MORE: u64 = 7;

/// Bytes of a name, its NUL included, and of `herald_param.data`.
const ROOM: usize = 64;

/// Writes events as messages of Herald's own module.
#[derive(Debug, Clone, Copy)]
pub struct HeraldEncoder {
    /// The id of `want_herald_events`.
    pub want_events: u16,
    /// The id of `herald_event`.
    pub event: u16,
    /// The id of `l2tp_session_event`.
    pub l2tp_event: u16,
    /// The id of `herald_events_lost`.
    pub lost: u16,
}

impl HeraldEncoder {
    /// The encoder of a contract.
    pub fn new(contract: &Contract) -> Self {
        let id = |name: &str| contract.table().id(name).unwrap_or(0);
        HeraldEncoder {
            want_events: id(WANT_EVENTS),
            event: id("herald_event"),
            l2tp_event: id("l2tp_session_event"),
            lost: id("herald_events_lost"),
        }
    }

    /// Appends the frame of `l2tp_session_event`, if the event is one.
    pub fn encode_l2tp(&self, contract: &Contract, event: &Event<'_>, sequence: u64, out: &mut Vec<u8>) {
        let Some(l2tp) = L2tp::from_event(event) else { return };
        contract.put(self.l2tp_event, out, |message| {
            message.put("sequence", sequence)?;
            message.put("kind", kind(l2tp.kind))?;
            message.put("tunnel_id", l2tp.tunnel_id)?;
            message.put("session_id", l2tp.session_id)?;
            message.put("peer_tunnel_id", l2tp.peer_tunnel_id)?;
            message.put("peer_session_id", l2tp.peer_session_id)
        });
    }

    /// Appends the frame of `herald_event`; nothing if a name is too long for it, or is not ASCII, on
    /// which vpp_papi stops for good.
    pub fn encode_event(
        &self,
        contract: &Contract,
        event: &Event<'_>,
        sequence: u64,
        out: &mut Vec<u8>,
    ) {
        let fits = |name: &str| name.len() < ROOM && name.is_ascii() && !name.contains('\0');
        if !fits(event.name()) || !event.params().all(|param| fits(param.name)) {
            return;
        }
        contract.put(self.event, out, |message| {
            message.put("sequence", sequence)?;
            message.put("name", event.name())?;
            for Param { name, value } in event.params() {
                let (kind, number, bytes) = match value {
                    Value::Null => (0, 0, &[][..]),
                    Value::Int(n) => (1, n as u64, &[][..]),
                    Value::Uint(n) => (2, n, &[][..]),
                    Value::Float(x) => (3, x.to_bits(), &[][..]),
                    Value::Bool(b) => (4, b.into(), &[][..]),
                    Value::Str(text) => (5, 0, text),
                    Value::Bytes(bytes) => (6, 0, bytes),
                };
                let mut put = |kind: u64, data: &[u8]| -> Result<(), EncodeError> {
                    let mut param = message.element()?;
                    param.put("name", name)?;
                    param.put("type", kind)?;
                    param.put("length", data.len() as u64)?;
                    param.put("number", number)?;
                    param.put("data", data)
                };
                let (data, mut rest) = bytes.split_at(bytes.len().min(ROOM));
                put(kind, data)?;
                while !rest.is_empty() {
                    let (data, more) = rest.split_at(rest.len().min(ROOM));
                    put(MORE, data)?;
                    rest = more;
                }
            }
            Ok(())
        });
    }

    /// Appends the frame of `herald_events_lost`.
    pub fn encode_lost(&self, contract: &Contract, count: u64, out: &mut Vec<u8>) {
        contract.put(self.lost, out, |message| message.put("count", count));
    }
}

/// The value of `l2tp_event_kind`.
fn kind(kind: L2tpKind) -> u64 {
    match kind {
        L2tpKind::SessionCreated => 0,
        L2tpKind::SessionDeleted => 1,
        L2tpKind::SessionUp => 2,
        L2tpKind::SessionDown => 3,
        L2tpKind::SessionModified => 4,
        L2tpKind::TunnelCreated => 5,
        L2tpKind::TunnelDeleted => 6,
        L2tpKind::TunnelUp => 7,
        L2tpKind::TunnelDown => 8,
        L2tpKind::TunnelModified => 9,
    }
}
