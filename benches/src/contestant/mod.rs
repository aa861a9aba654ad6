//! Who is compared: each publishes the same event to whoever has connected.

mod herald;
mod redis;
mod send_loop;
mod zeromq;

use std::path::Path;
use std::sync::Arc;

use ::herald::hub::Hub;
use anyhow::Result;

use crate::reader::Wire;

pub use herald::{QUEUE_BYTES, Waiting};

/// Who publishes, in which of its ways, and to what kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Herald's hub and stream server with frames of 64 bytes.
    Herald(Waiting),
    /// Herald's event socket as openl2tpd's clients use it.
    HeraldEventSock,
    /// The predecessor's way: a blocking send() for each client.
    SendLoop,
    /// The same with the event socket's 12 bytes.
    SendLoop12,
    /// ZeroMQ's PUB socket.
    ZeroMq { limit: Limit, reader: ZeroMqReader },
    /// Redis's PUBLISH, one at a time.
    Redis,
    /// Redis's PUBLISH without waiting for the answer.
    RedisPipelined,
}

/// What ZeroMQ does with more messages than a subscriber takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Any number waits: SNDHWM 0.
    None,
    /// The publisher waits: SNDHWM 1000, which is the default, with XPUB_NODROP.
    Wait,
    /// They are dropped: SNDHWM 1000, which is the default.
    Drop,
}

/// Who reads from ZeroMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroMqReader {
    /// The reader of all the others, speaking ZMTP: the cost of libzmq's reading side is left out.
    Lean,
    /// libzmq's own SUB sockets.
    Libzmq,
}

impl Kind {
    /// ZeroMQ such that nothing is dropped and nothing blocks, with the lean reader.
    pub const ZEROMQ: Kind = Kind::ZeroMq { limit: Limit::None, reader: ZeroMqReader::Lean };

    /// For the tables.
    pub fn label(self) -> String {
        match self {
            Kind::Herald(Waiting::Never) => "Herald".into(),
            Kind::Herald(Waiting::RingFull) => "Herald, waits when the ring is full".into(),
            Kind::Herald(Waiting::Slowest) => "Herald, waits for the slowest".into(),
            Kind::HeraldEventSock => "Herald, event_sock 12 bytes".into(),
            Kind::SendLoop => "send loop".into(),
            Kind::SendLoop12 => "send loop, 12 bytes".into(),
            Kind::ZeroMq { limit, reader } => {
                let limit = match limit {
                    Limit::None => "",
                    Limit::Wait => ", waits at HWM",
                    Limit::Drop => ", drops at HWM",
                };
                let reader = match reader {
                    ZeroMqReader::Lean => "",
                    ZeroMqReader::Libzmq => ", libzmq SUB",
                };
                format!("ZeroMQ{limit}{reader}")
            }
            Kind::Redis => "Redis".into(),
            Kind::RedisPipelined => "Redis, pipelined".into(),
        }
    }

    /// What its subscribers speak.
    pub fn wire(self) -> Wire {
        match self {
            Kind::Herald(_) | Kind::SendLoop => Wire::Frames,
            Kind::HeraldEventSock | Kind::SendLoop12 => Wire::EventSock,
            Kind::ZeroMq { reader: ZeroMqReader::Lean, .. } => Wire::Zmtp,
            Kind::ZeroMq { reader: ZeroMqReader::Libzmq, .. } => Wire::Libzmq,
            Kind::Redis | Kind::RedisPipelined => Wire::Resp,
        }
    }

    /// Whether it takes any number of events that its subscribers have not read, in memory.
    pub fn queues_without_bound(self) -> bool {
        matches!(self, Kind::ZeroMq { limit: Limit::None, .. } | Kind::Redis | Kind::RedisPipelined)
    }

    /// Starts to serve in this directory.
    pub fn start(self, directory: &Path) -> Result<Box<dyn Contestant>> {
        let path = directory.join("socket");
        Ok(match self {
            Kind::Herald(waiting) => Box::new(herald::Frames::start(&path, waiting)?),
            Kind::HeraldEventSock => Box::new(herald::EventSock::start(&path)?),
            Kind::SendLoop => Box::new(send_loop::SendLoop::start(&path, false)?),
            Kind::SendLoop12 => Box::new(send_loop::SendLoop::start(&path, true)?),
            Kind::ZeroMq { limit, .. } => Box::new(zeromq::ZeroMq::start(&path, limit)?),
            Kind::Redis => Box::new(redis::Redis::start(directory, &path, false)?),
            Kind::RedisPipelined => Box::new(redis::Redis::start(directory, &path, true)?),
        })
    }
}

/// A publisher under measurement. All calls come from one thread.
pub trait Contestant {
    /// Publishes an event; false if it was refused, and will not arrive.
    fn publish(&mut self, number: u64, stamp: u64) -> bool;

    /// Sends what `publish` has put off.
    fn flush(&mut self) {}

    /// Takes in subscribers that are about to connect, where that is the host's own work.
    fn accept(&mut self, _count: usize) -> Result<()> {
        Ok(())
    }

    /// To be called when all subscribers are there.
    fn complete(&mut self) {}

    /// Herald's hub, if this is Herald.
    fn hub(&self) -> Option<Arc<Hub>> {
        None
    }

    /// The process that serves the subscribers, if it is not this one.
    fn server(&self) -> Option<u32> {
        None
    }
}

/// Whether it can run here; else what is missing.
pub fn available(kind: Kind) -> Result<(), String> {
    match kind {
        Kind::ZeroMq { .. } => crate::zeromq::version().map(drop).map_err(|error| format!("{error:#}")),
        Kind::Redis | Kind::RedisPipelined => {
            redis::version().map(drop).map_err(|error| format!("{error:#}"))
        }
        _ => Ok(()),
    }
}

/// What is compared, in which version.
pub fn versions() -> Vec<String> {
    let zeromq = crate::zeromq::version().map_or_else(
        |error| format!("ZeroMQ: skipped: {error:#}"),
        |version| format!("ZeroMQ: libzmq {version}, PUB over ipc://"),
    );
    let redis = redis::version().map_or_else(
        |error| format!("Redis: skipped: {error:#}"),
        |version| format!("Redis: {version}, over a unix socket, without persistence"),
    );
    vec![zeromq, redis]
}
