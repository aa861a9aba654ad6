//! Event notification from network daemons: a subscriber can never hurt the host, and no
//! subscriber is ever left believing that it saw everything when it did not.
//!
//! One way through the house:
//!
//! ```text
//! host  →  event  →  hub  →  wire  →  transport  →  subscriber
//! ```
//!
//! - [`host`]: the programs that load us: openl2tpd, OpenSIPS, and any C program through `herald.h`.
//!   The only place in this crate with `unsafe`.
//! - [`event`]: what happened: a name and typed parameters.
//! - [`hub`]: from a publish that never blocks to one bounded queue per subscriber, and the worker
//!   thread in between.
//! - [`wire`]: the bytes of each protocol, without I/O.
//! - [`transport`]: the sockets of each protocol.
//! - [`config`]: `herald.toml`. [`log`]: the host's log.
//!
//! Two parts are crates of their own: `herald_uring`, for its `unsafe`, sends to many sockets in one system
//! call. The VPP binary API comes from the crate `herald_vpp_api`: .api files, CRCs, messages, without I/O.
//! [`wire::vpp_api`] is its protocol, [`transport::vpp_api`] its server.
//!
//! `event` depends on nothing; `wire` and `hub` on `event`; `transport` on `hub` and `wire`;
//! `host` on all of them. A new host is one file under `host/`; a new protocol is one under `wire/`
//! and one under `transport/`.
//!
//! ```
//! use herald::event::{Event, Param};
//! use herald::hub::{Hub, HubOptions};
//! use herald::log::Log;
//! use herald::transport::event_sock::EventSock;
//!
//! # let directory = tempfile::tempdir()?;
//! let hub = Hub::start(HubOptions::default(), Log::silent())?;
//! let mut options = EventSock::default_options();
//! options.listen.path = directory.path().join("events");
//! hub.add(Box::new(EventSock::listen(options, Log::silent())?))?;
//! hub.publish(&Event::new("E_EXAMPLE", &[Param::new("answer", "42")]))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod config;
pub mod event;
pub mod host;
pub mod hub;
pub mod log;
pub mod transport;
pub mod wire;
