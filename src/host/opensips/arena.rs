//! Memory that all processes of an OpenSIPS share: the subscriptions, and what is counted.
//!
//! A subscription is read in every process, and the host's own allocator is an inline maze that
//! differs from build to build, so subscriptions live in slots of our own, mapped before the host
//! forks, taken and given back with compare-and-swap.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::abi::{HAS_EXPIRE, ReplySock};
use super::places::{self, Key, Place, Places};
use crate::transport::datagram::{Tally, Target};

/// What is counted, in the order of the statistics.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub enum Count {
    Raised,
    Sent,
    Queued,
    Retried,
    DroppedFull,
    DroppedGone,
    DroppedTooLarge,
    DroppedError,
}

const COUNTS: usize = 8;

/// Counters of a few processes, in a cache line of their own: what is counted with every event must
/// not travel between the processes that raise them.
#[repr(C, align(64))]
struct Counters([AtomicU64; COUNTS]);

/// Rows of counters. Processes share them in turn.
const ROWS: usize = 64;

/// The longest address, as written: a host name has at most 253 bytes (RFC 1035), `[…]` adds two.
pub const MAX_ADDRESS: usize = 255;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const LIVE: u32 = 2;

/// Room for a subscription. The host holds a pointer to `sock`, which is the slot's own.
#[repr(C, align(64))]
struct Slot {
    sock: UnsafeCell<ReplySock>,
    state: AtomicU32,
    /// Events have been raised for it: it is no leftover of a look-up.
    raised: AtomicBool,
    /// Which subscription this is; never used again.
    serial: AtomicU64,
    /// The key of the place where its events go; 0 if there is none.
    place: AtomicU64,
    address: UnsafeCell<[u8; MAX_ADDRESS]>,
}

#[repr(C)]
struct Header {
    counters: [Counters; ROWS],
    next_row: AtomicUsize,
    serial: AtomicU64,
    place_serial: AtomicU64,
    slots: usize,
}

/// The mapping; null until the module has been initialised.
static ARENA: AtomicPtr<Header> = AtomicPtr::new(null_mut());

/// The arena. It stays mapped for the life of the process.
#[derive(Clone, Copy)]
pub struct Arena {
    header: &'static Header,
    slots: &'static [Slot],
    places: Places,
    counters: &'static Counters,
}

// SAFETY: what a slot holds in cells is written only by whoever has taken it, before it is live, and
// by the host, which has locks of its own around what it reads and writes.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

/// The largest `max_subscribers`.
pub const MAX_SUBSCRIBERS: usize = 4096;

/// Slots beyond `max_subscribers`: the host parses a subscription anew to renew or to end it.
const SPARE: usize = 16;

// Each of them may have a place of its own.
const _: () = assert!(MAX_SUBSCRIBERS + SPARE <= places::MOST);

impl Arena {
    const SLOTS_AT: usize = size_of::<Header>().next_multiple_of(align_of::<Slot>());

    /// Behind as many slots.
    fn places_at(slots: usize) -> usize {
        (Self::SLOTS_AT + slots * size_of::<Slot>()).next_multiple_of(align_of::<Place>())
    }

    /// Maps the arena, shared with every child from now on.
    pub fn map(subscribers: usize) -> std::io::Result<()> {
        let slots = subscribers + SPARE;
        let len = Self::places_at(slots) + slots * size_of::<Place>();
        // SAFETY: an anonymous mapping of our own; the kernel chooses the place.
        let mapped = unsafe {
            libc::mmap(
                null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let header = mapped.cast::<Header>();
        // SAFETY: the mapping is large enough, aligned to a page, and nobody else knows it yet. All
        // other fields are valid as the zeros that the kernel gives.
        unsafe { (&raw mut (*header).slots).write(slots) };
        ARENA.store(header, Ordering::Release);
        Ok(())
    }

    /// The arena, once it is mapped.
    pub fn get() -> Option<Arena> {
        let header = ARENA.load(Ordering::Acquire);
        // SAFETY: null, or the mapping that `map` made, which is never unmapped. Slots and places are
        // valid as zeros but for a place's target, which is written before it is used, and read only then.
        unsafe {
            let header = header.as_ref()?;
            let bytes = (&raw const *header).cast::<u8>();
            let slots = bytes.add(Self::SLOTS_AT).cast();
            let places = bytes.add(Self::places_at(header.slots)).cast();
            Some(Arena {
                header,
                slots: std::slice::from_raw_parts(slots, header.slots),
                places: Places {
                    all: std::slice::from_raw_parts(places, header.slots),
                    serial: &header.place_serial,
                },
                counters: header.counters.first()?,
            })
        }
    }

    /// The arena for a process that has not counted yet: with the next row of counters.
    pub fn with_next_row(self) -> Self {
        let row = self.header.next_row.fetch_add(1, Ordering::Relaxed) % ROWS;
        Arena { counters: self.header.counters.get(row).unwrap_or(self.counters), ..self }
    }

    pub fn count(&self, what: Count, by: u64) {
        if let Some(count) = self.counters.0.get(what as usize) {
            count.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// What all processes have counted.
    pub fn counted(&self, what: Count) -> u64 {
        let counts = self.header.counters.iter().filter_map(|row| row.0.get(what as usize));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How many subscriptions there are.
    pub fn live(&self) -> usize {
        let is_live = |slot: &&Slot| slot.state.load(Ordering::Relaxed) == LIVE && !slot.is_leftover();
        self.slots.iter().filter(is_live).count()
    }

    /// How many places there are: one for each slot.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// How many subscriptions there can be.
    pub fn capacity(&self) -> usize {
        self.slots.len() - SPARE
    }

    /// Puts a subscription into a slot; null if there is none left. `make` gets the address, copied
    /// to where it stays.
    pub fn add(
        &self,
        address: &[u8],
        target: Target,
        make: impl FnOnce(&'static [u8]) -> ReplySock,
    ) -> *mut ReplySock {
        let Some(slot) = self.take(&target) else { return null_mut() };
        self.leave(slot);
        let Some(place) = self.places.enter(&target) else {
            slot.state.store(FREE, Ordering::Release);
            return null_mut();
        };
        slot.place.store(place.number(), Ordering::Relaxed);
        let len = address.len().min(MAX_ADDRESS);
        // SAFETY: we have taken the slot, so nobody else reads or writes its cells.
        unsafe {
            let kept = &mut *slot.address.get();
            kept[..len].copy_from_slice(&address[..len]);
            slot.sock.get().write(make(std::slice::from_raw_parts(kept.as_ptr(), len)));
        }
        slot.raised.store(false, Ordering::Relaxed);
        slot.serial.store(self.header.serial.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        slot.state.store(LIVE, Ordering::Release);
        slot.sock.get()
    }

    fn take(&self, target: &Target) -> Option<&'static Slot> {
        let take = |from| {
            move |slot: &&Slot| {
                slot.state.compare_exchange(from, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
            }
        };
        let (ordinary, spare) = self.slots.split_at(self.capacity());
        let found = ordinary.iter().find(take(FREE)).or_else(|| {
            // The core's look-up of a subscriber that does not exist parses a socket and never frees
            // it. It gets no subscription time. Neither do members of an event_virtual group, but
            // these are parsed right before their first event. The oldest goes first: the host may
            // be about to use the youngest.
            let leftovers = self.slots.iter().filter(|slot| slot.is_leftover());
            leftovers.min_by_key(|slot| slot.serial.load(Ordering::Relaxed)).filter(take(LIVE))
        });
        found.or_else(|| self.places.find(target).and_then(|_| spare.iter().find(take(FREE))))
    }

    /// Gives a slot back. What is no subscription of ours is left alone.
    pub fn free(&self, sock: *const ReplySock) {
        if let Some(slot) = self.slot_of(sock) {
            self.leave(slot);
            slot.state.store(FREE, Ordering::Release);
        }
    }

    fn leave(&self, slot: &Slot) {
        match slot.place.swap(0, Ordering::Relaxed) {
            0 => {}
            place => self.places.leave(Key::from_number(place)),
        }
    }

    /// Where an event goes that is raised for a subscription.
    pub fn key(&self, sock: *const ReplySock) -> Option<Key> {
        let slot = self.slot_of(sock)?;
        // Looked at before it is written: other processes read from the same cache line.
        if !slot.raised.load(Ordering::Relaxed) {
            slot.raised.store(true, Ordering::Relaxed);
        }
        slot.place()
    }

    /// The target of a place, if it is still there.
    pub fn target(&self, key: Key) -> Option<Target> {
        self.places.target(key)
    }

    /// Whether every subscription to a place is gone, or its time has been over for a second.
    pub fn has_ended(&self, key: Key) -> bool {
        !self.slots.iter().any(|slot| {
            let names = slot.place() == Some(key) && !slot.is_leftover();
            // SAFETY: the slot's own, in the mapping that stays.
            names && !unsafe { has_expired(slot.sock.get(), 1) }
        })
    }

    fn slot_of(&self, sock: *const ReplySock) -> Option<&'static Slot> {
        let offset = (sock as usize).checked_sub(self.slots.as_ptr() as usize)?;
        (offset % size_of::<Slot>() == 0).then(|| self.slots.get(offset / size_of::<Slot>()))?
    }
}

impl Slot {
    /// Where its subscription's events go, if it has one.
    fn place(&self) -> Option<Key> {
        let live = self.state.load(Ordering::Acquire) == LIVE;
        let place = self.place.load(Ordering::Relaxed);
        (live && place != 0).then(|| Key::from_number(place))
    }

    fn is_leftover(&self) -> bool {
        // SAFETY: the host writes the time once, when the subscription enters its list; a torn read
        // of an aligned word does not happen.
        let subscribed = unsafe { (&raw const (*self.sock.get()).subscription_time).read_volatile() };
        subscribed == 0
            && !self.raised.load(Ordering::Relaxed)
            && self.state.load(Ordering::Relaxed) == LIVE
    }
}

/// Whether a subscription's time has been over for so many seconds. The host can take a while to
/// notice, or never do. One without a subscription time belongs to an event_virtual group, which
/// never expires on its own.
///
/// # Safety
///
/// It is a subscription that the host holds, or that is in a slot.
pub unsafe fn has_expired(sock: *const ReplySock, seconds: u64) -> bool {
    // SAFETY: as the caller promised; other processes write these words whole.
    let (flags, expire, since) = unsafe {
        (
            (&raw const (*sock).flags).read_volatile(),
            (&raw const (*sock).expire).read_volatile(),
            (&raw const (*sock).subscription_time).read_volatile(),
        )
    };
    flags & HAS_EXPIRE != 0
        && since > 0
        && (since as u64).saturating_add(expire.into()).saturating_add(seconds) < now()
}

/// Seconds, as the host counts them.
fn now() -> u64 {
    // SAFETY: time(2) without a place to write to has no preconditions.
    u64::try_from(unsafe { libc::time(null_mut()) }).unwrap_or(0)
}

impl Arena {
    /// Counts what became of datagrams.
    pub fn count_tally(&self, what: Tally, by: u64) {
        let count = match what {
            Tally::Sent => Count::Sent,
            Tally::Queued => Count::Queued,
            Tally::Retried => Count::Retried,
            Tally::DroppedFull => Count::DroppedFull,
            Tally::DroppedGone => Count::DroppedGone,
            Tally::DroppedTooLarge => Count::DroppedTooLarge,
            Tally::DroppedError => Count::DroppedError,
        };
        self.count(count, by);
    }
}

// The host's pointer is the slot's.
const _: () = assert!(std::mem::offset_of!(Slot, sock) == 0);
// The mapping is a page or more, aligned as the kernel maps.
const _: () = assert!(align_of::<Slot>() <= 4096 && size_of::<*mut c_void>() == 8);
