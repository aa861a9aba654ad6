//! ZeroMQ's PUB socket over ipc://.

use std::path::Path;

use anyhow::Result;

use super::{Contestant, Limit};
use crate::frame::Frame;
use crate::zeromq::{Context, Kind, Socket};

pub(super) struct ZeroMq {
    socket: Socket,
}

impl ZeroMq {
    pub(super) fn start(path: &Path, limit: Limit) -> Result<Self> {
        let socket = Context::new(1)?.socket(Kind::Pub)?;
        match limit {
            Limit::None => socket.set_send_limit(0)?,
            Limit::Drop => {}
            Limit::Wait => socket.set_no_drop()?,
        }
        socket.bind(path)?;
        Ok(ZeroMq { socket })
    }
}

impl Contestant for ZeroMq {
    #[inline]
    fn publish(&mut self, number: u64, stamp: u64) -> bool {
        self.socket.send(&Frame::Event { number, stamp }.bytes()).is_ok()
    }
}
