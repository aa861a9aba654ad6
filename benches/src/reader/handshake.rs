//! What a subscriber says and hears before its first event.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Result, ensure};

use crate::reader::Wire;
use crate::wire::{event_sock, redis};

/// Subscribes to everything.
pub fn subscribe(wire: Wire, socket: &mut UnixStream) -> Result<()> {
    match wire {
        Wire::Frames => socket.write_all(&[1])?,
        Wire::EventSock => socket.write_all(&event_sock::subscribe())?,
        Wire::Zmtp => zmtp(socket)?,
        Wire::Resp => {
            socket.write_all(redis::SUBSCRIBE)?;
            let mut answer = vec![0; redis::SUBSCRIBED.len()];
            socket.read_exact(&mut answer)?;
            ensure!(
                answer == redis::SUBSCRIBED,
                "Redis answered {:?}",
                String::from_utf8_lossy(&answer)
            );
        }
        Wire::Libzmq => unreachable!("libzmq shakes hands for itself"),
    }
    Ok(())
}

/// ZMTP 3.0 (rfc.zeromq.org/spec/23) with the NULL mechanism, as a SUB socket.
fn zmtp(socket: &mut UnixStream) -> Result<()> {
    const COMMAND: u8 = 4;
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    socket.write_all(&greeting)?;
    let mut theirs = [0; 64];
    socket.read_exact(&mut theirs)?;
    ensure!(theirs[0] == 0xff && theirs[10] >= 3, "the other end does not speak ZMTP 3");
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
    socket.write_all(&[&[COMMAND, ready.len() as u8], &ready[..]].concat())?;
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(head[1])];
    socket.read_exact(&mut body)?;
    ensure!(head[0] == COMMAND && body.starts_with(b"\x05READY"), "the other end is not ready");
    // A message: subscribe to whatever begins with nothing.
    socket.write_all(&[0, 1, 1])?;
    Ok(())
}
