//! The lwIP TCP/IP stack in a libevent loop: `libherald_lwip.so`, for C programs that want a network
//! without the kernel's, by the function names of the original lwip-libevent.
//!
//! The map:
//!
//! - [`core`]: lwIP's timeouts in the loop, the thread that owns them, what happens after every
//!   callback; [`timer`]: timers of the program's own.
//! - [`event`]: events of libevent, owned. [`packet`]: pbufs, owned. [`sys`]: lwIP and libevent as their
//!   headers declare them. [`error`], [`options`]: how a C program is told, and asks.
//! - [`netif`]: what all netifs have in common: the way of a packet through the hooks, counters, going
//!   down, removal. Each kind is one file below it: a `Driver`, and the C functions that add one.
//!
//! - [`pcap`], [`nettest`]: hooks on the way of a netif's packets.
//! - [`sockaddr`], [`pbuf_iovec`], [`host`], [`evbuf`], [`join`]: what programs use beside netifs.
//!
//! Everything runs on one thread. Any call into lwIP, and any call of the program's functions, may call
//! back into this library, remove what is being used, or add to it: so nothing is borrowed across such
//! a call, what is in use is kept alive by an `Rc`, and what must not happen within a call is deferred to
//! the loop.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)]

pub mod core;
pub mod error;
pub mod evbuf;
mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
pub mod join;
pub mod netif;
pub mod nettest;
mod options;
mod packet;
pub mod pbuf_iovec;
pub mod pcap;
mod sigpipe;
pub mod sockaddr;
pub mod sys;
pub mod timer;
