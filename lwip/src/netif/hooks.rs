//! The ordered chain of what looks at a netif's packets on their way: captures, test networks.
//!
//! The first hook is nearest to the driver, the last nearest to lwIP: a capture that is added before
//! a nettest sees what the wire carries, one that is added after it sees what lwIP does.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::Netif;
use crate::error::Result;
use crate::packet::Packet;

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To lwIP.
    In,
    /// From lwIP.
    Out,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// It ends here, and counts as dropped.
    Drop,
    /// The hook has kept it (see [`Hook::see`]) and lets it go on later, by [`Netif::resume`].
    Held,
}

pub(crate) trait Hook: Any {
    /// Looks at a packet that goes by. To hold an incoming packet share it; to hold an outgoing one
    /// copy it, since lwIP goes on using its own.
    fn see(&self, netif: &Netif, direction: Direction, packet: &Packet) -> Verdict;
}

/// Names a hook of a netif; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HookId(u64);

impl Netif {
    /// Adds a hook, nearest to lwIP.
    pub fn add_hook(&self, hook: Rc<dyn Hook>) -> HookId {
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
        let id = HookId(NEXT.replace(NEXT.get() + 1));
        self.hooks.borrow_mut().push((id, hook));
        id
    }

    /// The hook of a kind, if the netif has one.
    pub fn find_hook<T: Hook>(&self) -> Option<(HookId, Rc<T>)> {
        let hooks = self.hooks.borrow();
        hooks.iter().find_map(|(id, hook)| {
            let hook: Rc<dyn Any> = Rc::<dyn Hook>::clone(hook);
            Some((*id, hook.downcast().ok()?))
        })
    }

    /// Takes a hook out of the chain.
    pub fn remove_hook(&self, id: HookId) {
        let found = {
            let mut hooks = self.hooks.borrow_mut();
            let place = hooks.iter().position(|&(known, _)| known == id);
            place.map(|place| hooks.remove(place))
        };
        drop(found);
    }

    /// Lets a packet go on that the hook has held. Ids grow along the chain, so this is right even
    /// if the hook has been removed since.
    pub fn resume(&self, id: HookId, direction: Direction, packet: Packet) {
        if self.is_removed() {
            return;
        }
        match direction {
            Direction::In => {
                self.deliver_after(Some(id), packet);
            }
            Direction::Out => {
                // Nobody waits for the answer; a failure is counted.
                let _ = self.send_after(Some(id), &packet);
            }
        }
    }

    /// The next hook on the way. Looked up for each step, since a hook may change the chain.
    fn next_hook(&self, direction: Direction, after: Option<HookId>) -> Option<(HookId, Rc<dyn Hook>)> {
        let hooks = self.hooks.borrow();
        let next = match (direction, after) {
            (Direction::In, None) => hooks.first(),
            (Direction::In, Some(after)) => hooks.iter().find(|&&(id, _)| id > after),
            (Direction::Out, None) => hooks.last(),
            (Direction::Out, Some(after)) => hooks.iter().rev().find(|&&(id, _)| id < after),
        };
        next.map(|(id, hook)| (*id, Rc::clone(hook)))
    }

    /// Passes the hooks; false if the packet does not go on.
    fn pass(&self, direction: Direction, mut after: Option<HookId>, packet: &Packet) -> bool {
        while let Some((id, hook)) = self.next_hook(direction, after) {
            match hook.see(self, direction, packet) {
                Verdict::Pass => after = Some(id),
                Verdict::Held => return false,
                Verdict::Drop => {
                    match direction {
                        Direction::In => self.counters.drop_received(),
                        Direction::Out => self.counters.drop_sent(),
                    }
                    return false;
                }
            }
        }
        true
    }

    /// The rest of a packet's way to lwIP; false if the netif has been removed.
    pub(super) fn deliver_after(&self, after: Option<HookId>, packet: Packet) -> bool {
        if self.pass(Direction::In, after, &packet) && !self.is_removed() {
            self.hand_over(packet);
        }
        !self.is_removed()
    }

    /// The rest of a packet's way to the driver. A packet that a hook has taken counts as sent: what
    /// a network loses, its sender does not learn.
    pub(super) fn send_after(&self, after: Option<HookId>, packet: &Packet) -> Result<()> {
        if !self.pass(Direction::Out, after, packet) {
            return Ok(());
        }
        let Some(driver) = self.driver.get() else { return Ok(()) };
        let sent = driver.transmit(packet);
        match &sent {
            Ok(()) => self.counters.sent(packet.len()),
            Err(error) if matches!(error.errno, libc::EAGAIN | libc::ENOBUFS) => {
                self.counters.drop_sent()
            }
            Err(error) => {
                self.counters.send_error();
                self.fail_if_final(error.clone());
            }
        }
        sent
    }
}
