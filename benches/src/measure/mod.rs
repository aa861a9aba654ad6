//! What is measured, one file for each question.

pub mod flood;
pub mod latency;
pub mod opensips;
pub mod publish;
pub mod resources;
pub mod stopped;
pub mod vpp_api;
pub mod vpp_clients;

use crate::clock::Stopwatch;
use crate::contestant::{self, Kind};
use crate::report::Report;

/// What the measurements share.
pub struct Bench {
    pub stopwatch: Stopwatch,
    pub report: Report,
    /// Numbers of subscribers, ascending.
    pub sizes: Vec<usize>,
    /// Everything shorter, for a look.
    pub quick: bool,
}

impl Bench {
    /// Milliseconds in nanoseconds, fewer when it shall be quick.
    pub fn milliseconds(&self, full: u64, quick: u64) -> u64 {
        1_000_000 * if self.quick { quick } else { full }
    }

    /// How often something is repeated.
    pub fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// The sizes for measurements at a few of them.
    pub fn sizes_among(&self, wanted: &[usize]) -> Vec<usize> {
        self.sizes.iter().copied().filter(|size| wanted.contains(size)).collect()
    }
}

/// Those that can run here.
pub fn present(kinds: &[Kind]) -> Vec<Kind> {
    kinds.iter().copied().filter(|&kind| contestant::available(kind).is_ok()).collect()
}

/// Says on the terminal what is going on.
pub fn progress(what: &str) {
    eprintln!("bench: {what}");
}
