//! The periodic reporter: a GTP error for each interface for which it is turned on, once a period.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::gtp::GtpError;

/// How often it reports.
pub const PERIOD: Duration = Duration::from_secs(1);

/// For which interfaces it is on, and when it reports next.
#[derive(Debug, Default)]
pub struct Reporter {
    interfaces: BTreeSet<u32>,
    due: Option<Instant>,
    reports: u32,
}

impl Reporter {
    /// Turns it on or off for an interface, which it may be already.
    pub fn turn(&mut self, interface: u32, on: bool, now: Instant) {
        if on {
            self.interfaces.insert(interface);
            self.due.get_or_insert(now + PERIOD);
        } else {
            self.interfaces.remove(&interface);
            if self.interfaces.is_empty() {
                self.due = None;
            }
        }
    }

    /// The interfaces for which it is on.
    pub fn interfaces(&self) -> impl Iterator<Item = u32> {
        self.interfaces.iter().copied()
    }

    /// When it reports next.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What it reports now: the interface as the user equipment, and the number of the report as the
    /// tunnel endpoint, so that a client sees a gap.
    pub fn reports(&mut self, now: Instant) -> Vec<GtpError> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = Some(now + PERIOD);
        self.reports = self.reports.wrapping_add(1);
        let report = |interface| GtpError::new(interface, self.reports, 5, Vec::new()).ok();
        self.interfaces.iter().copied().filter_map(report).collect()
    }
}
