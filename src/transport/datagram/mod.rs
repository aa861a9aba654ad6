//! Datagrams, one event each, to subscribers that only listen: `udp:host:port` and `unix:/path`.
//!
//! A datagram is sent at once if its socket takes it. If not, it waits in the bounded queue of its
//! [`Destination`] until the socket says that it has room, and everything after it waits behind it.
//!
//! - [`Subscriber`]: a subscriber of a hub, with an event filter and an expiry.
//! - [`Backlog`]: for a host that sends on its own thread, what its sockets would not take.

mod address;
mod backlog;
mod destination;

mod outlet;
mod subscriber;

pub use crate::wire::Filter;
pub use address::{AddressError, Target, parse, parse_udp, parse_udp_with, parse_unix};
pub use backlog::{Backlog, Relay};
pub use destination::{Account, Destination, Tally};
pub use outlet::{Outlet, Sent, SourcePorts};
pub use subscriber::{Format, LOST_EVENT, Subscriber, SubscriberOptions};

/// The largest datagram that is sent over UDP, as OpenSIPS documents it. (IPv4's own limit is
/// 65507.) Unix datagrams are bounded by the socket's send buffer alone.
pub const MAX_UDP: usize = 65457;
