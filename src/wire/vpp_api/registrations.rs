//! What a client has registered for.

use super::contract::{Contract, Mine};
use crate::wire::Filter;

/// The registrations of one client, each by a `want_…` request.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    list: Vec<Registration>,
    /// Of the events that they are for, the id, the pid to send with it, and where in its frame.
    events: Vec<(u16, u32, Mine)>,
}

#[derive(Debug)]
struct Registration {
    want: u16,
    pid: u32,
    events: Vec<u16>,
    /// Names of generic events, which Herald's own module lets a client choose.
    filter: Option<Filter>,
}

impl Registrations {
    /// Registers; false if `want` has been registered already.
    pub fn enable(
        &mut self,
        contract: &Contract,
        want: u16,
        pid: u32,
        events: &[u16],
        filter: Option<Filter>,
    ) -> bool {
        if self.list.iter().any(|registration| registration.want == want) {
            return false;
        }
        self.list.push(Registration { want, pid, events: events.to_vec(), filter });
        self.changed(contract);
        true
    }

    /// Ends a registration; false if there is none.
    pub fn disable(&mut self, contract: &Contract, want: u16) -> bool {
        let before = self.list.len();
        self.list.retain(|registration| registration.want != want);
        self.changed(contract);
        self.list.len() < before
    }

    /// Ends them all.
    pub fn clear(&mut self, contract: &Contract) {
        self.list.clear();
        self.changed(contract);
    }

    /// The pid to send with an event; none if the client has not registered for it. Of several
    /// registrations for one event the first counts.
    pub fn pid(&self, event: u16) -> Option<u32> {
        self.own(event).map(|(pid, _)| pid)
    }

    /// The same, and where in the event's frame the client's own stands.
    pub fn own(&self, event: u16) -> Option<(u32, Mine)> {
        self.events.iter().find(|(id, ..)| *id == event).map(|(_, pid, mine)| (*pid, *mine))
    }

    /// Whether the client has registered for an event, and for a generic one of this name.
    pub fn want(&self, event: u16, name: Option<&str>) -> bool {
        match name {
            None => self.pid(event).is_some(),
            Some(name) => self.list.iter().any(|registration| {
                registration.events.contains(&event)
                    && registration.filter.as_ref().is_none_or(|filter| filter.wants(name))
            }),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn changed(&mut self, contract: &Contract) {
        let mut events: Vec<(u16, u32, Mine)> = Vec::new();
        for Registration { pid, events: ids, .. } in &self.list {
            for id in ids {
                if events.iter().all(|(known, ..)| known != id) {
                    events.push((*id, *pid, contract.mine(*id)));
                }
            }
        }
        let before = std::mem::replace(&mut self.events, events);
        before.iter().for_each(|(event, ..)| contract.note(*event, false));
        self.events.iter().for_each(|(event, ..)| contract.note(*event, true));
    }
}
