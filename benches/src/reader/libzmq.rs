//! Subscribers as a user of ZeroMQ writes them: SUB sockets of libzmq, its I/O thread included.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::board::Board;
use crate::clock;
use crate::frame::{Frame, SIZE, TIMED};
use crate::zeromq::{Context, Kind};

/// How many messages are taken from a socket before the others get their turn.
const TURN: usize = 256;

/// Reads until the host ends.
pub fn run(path: &Path, connections: usize, board: &Board) -> Result<()> {
    let context = Context::new(connections)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut sockets = Vec::with_capacity(connections);
    for number in 0..connections {
        let socket = context.socket(Kind::Sub)?;
        socket.set_receive_limit(0)?;
        socket.subscribe()?;
        socket.connect(path)?;
        epoll.add(socket.fd()?, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        sockets.push(socket);
    }
    board.connected.store(connections as u64, Ordering::Release);
    // The descriptors only say that something may have happened: a socket is to be read until
    // it has nothing more.
    let mut active: Vec<usize> = (0..connections).collect();
    let mut is_active = vec![true; connections];
    let mut ready = [EpollEvent::empty(); 256];
    let mut bytes = [0; SIZE];
    loop {
        let timeout = if active.is_empty() { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let count = match epoll.wait(&mut ready, timeout) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => result?,
        };
        for event in &ready[..count] {
            let number = event.data() as usize;
            if !std::mem::replace(&mut is_active[number], true) {
                active.push(number);
            }
        }
        for number in std::mem::take(&mut active) {
            is_active[number] = false;
            for turn in 1.. {
                let Some(length) = sockets[number].receive(&mut bytes)? else { break };
                ensure!(length == SIZE, "an event of {length} bytes");
                if let Some(Frame::Event { number: event, stamp }) = Frame::read(&bytes)
                    && board.accounts[number].event(event)
                {
                    let latency = clock::now().saturating_sub(stamp);
                    board.arrival(event & !TIMED).enter(latency);
                }
                if turn == TURN {
                    is_active[number] = true;
                    active.push(number);
                    break;
                }
            }
        }
    }
}
