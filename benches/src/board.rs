//! What a reader process writes down and the host reads: a file in memory that both map.
//!
//! Only the reader writes the accounts, so that plain loads and stores will do and counting costs
//! a delivery next to nothing.

use std::fs::{File, OpenOptions};
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::frame::TIMED;

/// The most connections of one reader.
pub const CONNECTIONS: usize = 1024;

/// How many timed events are remembered.
pub const ARRIVALS: usize = 1 << 16;

/// The board itself. Every field is an atomic and zero is its proper beginning.
#[repr(C)]
pub struct Board {
    /// How many connections are ready for events.
    pub connected: AtomicU64,
    /// The accounts, one for each connection.
    pub accounts: [Account; CONNECTIONS],
    /// When timed events arrived, by their number.
    pub arrivals: [Arrival; ARRIVALS],
}

/// The account of one connection. Cache lines are not shared: the host looks while it publishes.
#[repr(C, align(64))]
pub struct Account {
    received: AtomicU64,
    told: AtomicU64,
    silent: AtomicU64,
    next: AtomicU64,
}

/// The arrival of one event.
#[repr(C)]
pub struct Arrival {
    /// Publish to the last connection so far, in nanoseconds.
    latency: AtomicU64,
    /// At how many connections it has arrived.
    count: AtomicU64,
}

/// What an account says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Events received.
    pub received: u64,
    /// Events that the subscriber was told it lost.
    pub told: u64,
    /// Events that are missing without a word.
    pub silent: u64,
    /// The number of the next event.
    pub next: u64,
}

impl Account {
    /// Enters an event; true if its time is to be taken.
    #[inline]
    pub fn event(&self, number: u64) -> bool {
        let plain = number & !TIMED;
        let next = self.next.load(Ordering::Relaxed);
        // The first event of all says where the stream begins.
        if plain != next && next != 0 {
            add(&self.silent, plain.wrapping_sub(next));
        }
        add(&self.received, 1);
        self.next.store(plain + 1, Ordering::Release);
        number & TIMED != 0
    }

    /// Enters a lost record.
    pub fn lost(&self, count: u64) {
        add(&self.told, count);
        let next = self.next.load(Ordering::Relaxed);
        if next != 0 {
            self.next.store(next + count, Ordering::Release);
        }
    }

    /// The number of the next event; 0 if there was none yet.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// What the account says.
    pub fn balance(&self) -> Balance {
        Balance {
            next: self.next(),
            received: self.received.load(Ordering::Relaxed),
            told: self.told.load(Ordering::Relaxed),
            silent: self.silent.load(Ordering::Relaxed),
        }
    }
}

impl Arrival {
    /// Enters that the event arrived at one more connection.
    pub fn enter(&self, latency: u64) {
        add(&self.count, 1);
        if latency > self.latency.load(Ordering::Relaxed) {
            self.latency.store(latency, Ordering::Release);
        }
    }

    /// The latency at the last connection, and at how many it arrived.
    pub fn read(&self) -> (u64, u64) {
        (self.latency.load(Ordering::Acquire), self.count.load(Ordering::Relaxed))
    }
}

impl Board {
    /// Where an event's arrival is entered.
    pub fn arrival(&self, number: u64) -> &Arrival {
        &self.arrivals[number as usize % ARRIVALS]
    }

    /// Forgets all arrivals. Nothing may be under way.
    pub fn forget_arrivals(&self) {
        for arrival in &self.arrivals {
            arrival.latency.store(0, Ordering::Relaxed);
            arrival.count.store(0, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter that nobody else writes.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// A board in this process's memory.
pub struct Mapped(NonNull<Board>);

impl Mapped {
    /// Makes the file, for a reader to open.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(size_of::<Board>() as u64)?;
        Self::map(&file)
    }

    /// Opens the file that the host made.
    pub fn open(path: &Path) -> Result<Self> {
        Self::map(&OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn map(file: &File) -> Result<Self> {
        let size = size_of::<Board>().try_into()?;
        // Populated now: no page is to be found missing while the clock runs.
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping, placed where the kernel likes.
        let memory =
            unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, file, 0)? };
        Ok(Mapped(memory.cast()))
    }
}

impl Deref for Mapped {
    type Target = Board;

    fn deref(&self) -> &Board {
        // SAFETY: the mapping has the board's size, lives as long as this, and holds only atomics.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this size; nobody can hold a reference any more.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Board>()) };
    }
}
