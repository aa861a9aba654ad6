//! Where events go: a place for each address, however many subscriptions name it, so that its
//! events stay in order whatever they are called.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::transport::datagram::Target;

/// A place in the arena. As zeros it is free.
#[repr(C, align(64))]
pub struct Place {
    /// How many subscriptions name it.
    users: AtomicU32,
    /// Which place this is; never used again.
    serial: AtomicU64,
    target: UnsafeCell<Target>,
}

/// In place of a number of users: it is being made.
const MAKING: u32 = u32::MAX;

/// Names a place for ever: its serial and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

/// Bits of a key that are the index; the others are the serial.
const INDEX_BITS: u32 = 13;

/// How many places there can be.
pub const MOST: usize = 1 << INDEX_BITS;

impl Key {
    /// The key as a number. 0 is none.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The key that [`Key::number`] gave.
    pub fn from_number(number: u64) -> Self {
        Key(number)
    }

    /// The index of its place.
    pub fn index(self) -> usize {
        (self.0 & (MOST as u64 - 1)) as usize
    }
}

/// The places of an arena.
#[derive(Clone, Copy)]
pub struct Places {
    pub all: &'static [Place],
    /// The serial of the last one that was made.
    pub serial: &'static AtomicU64,
}

impl Places {
    /// The key of the place for a target, if there is one.
    pub fn find(self, target: &Target) -> Option<Key> {
        let mut keys = self.all.iter().enumerate().filter_map(|(index, place)| place.key(index));
        keys.find(|key| self.target(*key).as_ref() == Some(target))
    }

    /// Adds a user to the place for a target, which is made if there is none; none if all are taken.
    pub fn enter(self, target: &Target) -> Option<Key> {
        match self.find(target) {
            Some(key) if self.all.get(key.index())?.enter(key) => Some(key),
            _ => self.make(target),
        }
    }

    fn make(self, target: &Target) -> Option<Key> {
        let take = |place: &Place| {
            place.users.compare_exchange(0, MAKING, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        // None is made anew soon: something may still wait in a process for who was there before.
        let (before, after) = self.all.split_at(serial as usize % self.all.len().max(1));
        let mut places = (before.len()..).zip(after).chain(before.iter().enumerate());
        let (index, place) = places.find(|(_, place)| take(place))?;
        // SAFETY: we have taken it, so nobody else writes it, and nobody reads it before it has users.
        unsafe { place.target.get().write(*target) };
        place.serial.store(serial, Ordering::Relaxed);
        place.users.store(1, Ordering::Release);
        place.key(index)
    }

    /// Takes a user from a place, which is free after the last.
    pub fn leave(self, key: Key) {
        if let Some(place) = self.all.get(key.index()) {
            place.users.fetch_sub(1, Ordering::Release);
        }
    }

    /// A copy of the target, if `key` still names it.
    pub fn target(self, key: Key) -> Option<Target> {
        let place = self.all.get(key.index()).filter(|place| place.is(key))?;
        // SAFETY: written before it had users. If the last one leaves while we read, we read another
        // whole target, or notice below.
        let target = unsafe { place.target.get().read_volatile() };
        place.is(key).then_some(target)
    }
}

impl Place {
    fn key(&self, index: usize) -> Option<Key> {
        let used = !matches!(self.users.load(Ordering::Acquire), 0 | MAKING);
        used.then(|| Key(self.serial.load(Ordering::Relaxed) << INDEX_BITS | index as u64))
    }

    fn is(&self, key: Key) -> bool {
        self.key(key.index()) == Some(key)
    }

    /// Adds a user, if this is still the place of `key`.
    fn enter(&self, key: Key) -> bool {
        let more = |users| (!matches!(users, 0 | MAKING)).then(|| users + 1);
        if self.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).is_err() {
            return false;
        }
        let same = self.is(key);
        if !same {
            self.users.fetch_sub(1, Ordering::Release);
        }
        same
    }
}
