//! The module in the stand-in for OpenSIPS: every layout, and every promise to its operator.

mod common;

#[path = "opensips_host/stand_in.rs"]
mod stand_in;

// The tests.
#[path = "opensips_host/delivery.rs"]
mod delivery;
#[path = "opensips_host/log.rs"]
mod log;
#[path = "opensips_host/memory.rs"]
mod memory;
#[path = "opensips_host/network.rs"]
mod network;
#[path = "opensips_host/python.rs"]
mod python;
#[path = "opensips_host/subscriptions.rs"]
mod subscriptions;
#[path = "opensips_host/versions.rs"]
mod versions;
