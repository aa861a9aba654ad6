//! What went over a netif: lwIP as Debian builds it does not count.

use std::cell::Cell;

#[derive(Default)]
pub(crate) struct Counters {
    pub rx_packets: Cell<u64>,
    pub rx_bytes: Cell<u64>,
    pub rx_dropped: Cell<u64>,
    pub rx_errors: Cell<u64>,
    pub tx_packets: Cell<u64>,
    pub tx_bytes: Cell<u64>,
    pub tx_dropped: Cell<u64>,
    pub tx_errors: Cell<u64>,
}

pub(crate) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

impl Counters {
    pub fn received(&self, bytes: usize) {
        add(&self.rx_packets, 1);
        add(&self.rx_bytes, bytes as u64);
    }

    pub fn sent(&self, bytes: usize) {
        add(&self.tx_packets, 1);
        add(&self.tx_bytes, bytes as u64);
    }

    /// A packet that came in and went nowhere: a hook stopped it, or lwIP had no memory for it.
    pub fn drop_received(&self) {
        add(&self.rx_dropped, 1);
    }

    /// A packet that could not be read, or is not one.
    pub fn receive_error(&self) {
        add(&self.rx_errors, 1);
    }

    /// A packet that was to go out and did not: a hook stopped it, or the peer is slow.
    pub fn drop_sent(&self) {
        add(&self.tx_dropped, 1);
    }

    /// A packet that the system refused.
    pub fn send_error(&self) {
        add(&self.tx_errors, 1);
    }
}
