//! The promise: an OpenSIPS from 2.4 to 4.0 that loads the library as its event_datagram module
//! works as before, byte for byte, but for the defects, of which each is provoked and survived here.
//!
//! `HERALD_OPENSIPS` names built OpenSIPS trees, separated by colons; without it every test is
//! skipped. A tree has the program `opensips` and, in `modules/NAME/NAME.so`, signaling, sl,
//! sipmsgops, cfgutils, mi_datagram and event_datagram; tests that want event_virtual or event_route
//! say that they are skipped if there is none. `HERALD_PYTHON` names a Python that has the package
//! `opensips` of PyPI, if not the one of `make setup`. `HERALD_LIB` names the library, if not the one that cargo built.

mod common;

#[path = "real_opensips/config.rs"]
mod config;
#[path = "real_opensips/event.rs"]
mod event;
#[path = "real_opensips/listener.rs"]
mod listener;
#[path = "real_opensips/mi.rs"]
mod mi;
#[path = "real_opensips/opensips.rs"]
mod opensips;
#[path = "real_opensips/tree.rs"]
mod tree;

// The tests.
#[path = "real_opensips/bytes.rs"]
mod bytes;
#[path = "real_opensips/defects.rs"]
mod defects;
#[path = "real_opensips/delivery.rs"]
mod delivery;
#[path = "real_opensips/life.rs"]
mod life;
#[path = "real_opensips/python.rs"]
mod python;
#[path = "real_opensips/subscriptions.rs"]
mod subscriptions;
