//! VPP's interfaces: which there are, and what happens to them, as events of Herald.

use herald::event::{Event, Param, Value};

use crate::ffi::output;
use crate::state;

/// What has happened to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `E_VPP_INTERFACE_CREATED`
    Created,
    /// `E_VPP_INTERFACE_DELETED`
    Deleted,
    /// `E_VPP_INTERFACE_UP`: an administrator has set it up.
    Up,
    /// `E_VPP_INTERFACE_DOWN`
    Down,
    /// `E_VPP_LINK_UP`
    LinkUp,
    /// `E_VPP_LINK_DOWN`
    LinkDown,
}

impl Change {
    /// The name of the event.
    pub fn name(self) -> &'static str {
        match self {
            Change::Created => "E_VPP_INTERFACE_CREATED",
            Change::Deleted => "E_VPP_INTERFACE_DELETED",
            Change::Up => "E_VPP_INTERFACE_UP",
            Change::Down => "E_VPP_INTERFACE_DOWN",
            Change::LinkUp => "E_VPP_LINK_UP",
            Change::LinkDown => "E_VPP_LINK_DOWN",
        }
    }
}

/// Takes note of a change.
pub fn changed(index: u32, change: Change) {
    state::with(|state| {
        match change {
            Change::Created => {
                state.interfaces.insert(index);
            }
            Change::Deleted => {
                state.interfaces.remove(&index);
                state.reporter.turn(index, false, std::time::Instant::now());
            }
            _ => {}
        }
        if let Some(bridge) = &mut state.bridge {
            let name = output::interface_name(index);
            bridge.publish(&Event::new(
                change.name(),
                &[
                    Param { name: "sw_if_index", value: Value::Uint(index.into()) },
                    Param::new("name", name.as_str()),
                ],
            ));
        }
    });
}
