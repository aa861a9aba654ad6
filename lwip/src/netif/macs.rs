//! Which peer an Ethernet address was last seen at.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ETHERNET;

/// So long is an address remembered after it was last seen: what IEEE 802.1D recommends.
const AGE: Duration = Duration::from_secs(300);

/// So many addresses of one peer are remembered. What goes to others of the same peer goes to all.
const PER_PEER: usize = 256;

/// The table is searched for old entries this often at most.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) type Mac = [u8; 6];

/// Destination and source of a frame; none if it is too short to be one.
pub(super) fn addresses(header: &[u8]) -> Option<(Mac, Mac)> {
    if header.len() < ETHERNET {
        return None;
    }
    let at = |from: usize| header.get(from..from + 6)?.try_into().ok();
    Some((at(0)?, at(6)?))
}

/// Whether an address is one of many: broadcast and multicast.
pub(super) fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

struct Place<P> {
    peer: P,
    seen: Instant,
}

/// What has been learnt. Bounded per peer, so that one that makes up addresses does not push out those
/// of others, and costs no more than one that does not.
pub(super) struct Macs<P> {
    places: RefCell<HashMap<Mac, Place<P>>>,
    counts: RefCell<HashMap<P, usize>>,
    swept: Cell<Instant>,
}

impl<P: Copy + Eq + std::hash::Hash> Macs<P> {
    pub fn new() -> Macs<P> {
        Macs { places: RefCell::default(), counts: RefCell::default(), swept: Cell::new(Instant::now()) }
    }

    /// A frame from this address has come from this peer.
    pub fn learn(&self, mac: Mac, peer: P, now: Instant) {
        if is_group(mac) {
            return;
        }
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(&mac).filter(|place| place.peer == peer) {
            place.seen = now;
            return;
        }
        drop(places);
        if self.count(peer) >= PER_PEER {
            self.sweep(now);
        }
        if self.count(peer) >= PER_PEER {
            return;
        }
        let before = self.places.borrow_mut().insert(mac, Place { peer, seen: now });
        if let Some(before) = before {
            self.uncount(before.peer);
        }
        *self.counts.borrow_mut().entry(peer).or_default() += 1;
    }

    /// Where an address is.
    pub fn find(&self, mac: Mac, now: Instant) -> Option<P> {
        let places = self.places.borrow();
        let place = places.get(&mac)?;
        (now.saturating_duration_since(place.seen) < AGE).then_some(place.peer)
    }

    /// A peer has gone.
    pub fn forget(&self, peer: P) {
        if self.counts.borrow_mut().remove(&peer).is_some() {
            self.places.borrow_mut().retain(|_, place| place.peer != peer);
        }
    }

    fn count(&self, peer: P) -> usize {
        self.counts.borrow().get(&peer).copied().unwrap_or(0)
    }

    fn uncount(&self, peer: P) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&peer);
            }
        }
    }

    fn sweep(&self, now: Instant) {
        if now.saturating_duration_since(self.swept.get()) < SWEEP {
            return;
        }
        self.swept.set(now);
        self.places.borrow_mut().retain(|_, place| {
            let stays = now.saturating_duration_since(place.seen) < AGE;
            if !stays {
                self.uncount(place.peer);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        [2, 0, a, b, c, d]
    }

    #[test]
    fn an_address_is_where_it_was_last_seen_until_it_is_old() {
        let (macs, start) = (Macs::new(), Instant::now());
        assert_eq!(macs.find(mac(1), start), None);
        macs.learn(mac(1), 'a', start);
        macs.learn([0xff; 6], 'a', start);
        assert_eq!(macs.find(mac(1), start), Some('a'));
        assert_eq!(macs.find([0xff; 6], start), None);
        macs.learn(mac(1), 'b', start + AGE / 2);
        assert_eq!(macs.find(mac(1), start + AGE), Some('b'));
        assert_eq!(macs.find(mac(1), start + AGE / 2 + AGE), None);
    }

    #[test]
    fn a_peer_that_makes_up_addresses_fills_its_own_share_only() {
        let (macs, start) = (Macs::new(), Instant::now());
        macs.learn(mac(0), 'a', start);
        for number in 1..10_000 {
            macs.learn(mac(number), 'b', start);
        }
        assert_eq!(macs.places.borrow().len(), 1 + PER_PEER);
        assert_eq!(macs.find(mac(0), start), Some('a'));
        // Its old ones make room for new ones.
        macs.learn(mac(20_000), 'b', start + AGE);
        assert_eq!(macs.find(mac(20_000), start + AGE), Some('b'));
        assert_eq!(macs.places.borrow().len(), 1);
    }

    #[test]
    fn with_a_peer_go_its_addresses() {
        let (macs, start) = (Macs::new(), Instant::now());
        macs.learn(mac(1), 'a', start);
        macs.learn(mac(2), 'b', start);
        macs.learn(mac(1), 'b', start);
        macs.forget('a');
        assert_eq!(macs.find(mac(1), start), Some('b'));
        macs.forget('b');
        assert_eq!(macs.find(mac(1), start), None);
        assert!(macs.places.borrow().is_empty() && macs.counts.borrow().is_empty());
    }
}
