//! The VPP binary API, as VPP speaks it on its socket.
//!
//! Both ways a message follows a header of 16 bytes, and begins with its id (`u16`). Which message has
//! which id a client learns when it connects: it sends `sockclnt_create`, whose id is fixed, and the
//! reply lists every message by its name and CRC.
//!
//! - A [`Contract`] is what a server speaks: the table of its modules, and what is known of each message.
//! - A [`Connection`] is one client: it puts messages together from whatever pieces they arrive in,
//!   answers what needs no host (the modules `memclnt` and `vpe`, and every registration for events),
//!   hands out the rest as [`Asked`], and keeps the replies in the order of the requests.
//! - [`HeraldEncoder`] makes messages of Herald's own module of any event.

mod builtin;
mod connection;
mod contract;
mod fields;
mod herald;
mod inbox;
mod registrations;
mod replies;

pub use connection::{Answer, Asked, ClientIndex, Connection, Fault, Step};
pub use contract::{
    About, Contract, ContractError, EventError, INVALID_REGISTRATION, INVALID_VALUE, Mine,
    UNIMPLEMENTED, UNSPECIFIED, write_mine,
};
pub use fields::give;
pub use herald::HeraldEncoder;
