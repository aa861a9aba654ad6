//! From bytes to the board, for each wire.

use anyhow::{Result, ensure};

use crate::board::{Account, Board};
use crate::frame::{Frame, SIZE, TIMED};
use crate::reader::Wire;
use crate::wire::{event_sock, redis};

/// Enters the whole frames at the beginning of `bytes`; how many bytes they were.
pub fn frames(wire: Wire, bytes: &[u8], account: &Account, board: &Board, now: u64) -> Result<usize> {
    let entry = Entry { account, board, now };
    match wire {
        Wire::Frames => plain(bytes, &entry),
        Wire::EventSock => event_sock(bytes, &entry),
        Wire::Zmtp => zmtp(bytes, &entry),
        Wire::Resp => resp(bytes, &entry),
        Wire::Libzmq => unreachable!("libzmq reads for itself"),
    }
}

struct Entry<'a> {
    account: &'a Account,
    board: &'a Board,
    now: u64,
}

impl Entry<'_> {
    #[inline]
    fn event(&self, number: u64, stamp: u64) {
        if self.account.event(number) {
            self.board.arrival(number & !TIMED).enter(self.now.saturating_sub(stamp));
        }
    }

    #[inline]
    fn frame(&self, bytes: &[u8; SIZE]) -> Result<()> {
        match Frame::read(bytes) {
            Some(Frame::Event { number, stamp }) => self.event(number, stamp),
            Some(Frame::Lost(count)) => self.account.lost(count),
            None => anyhow::bail!("not a frame: {bytes:?}"),
        }
        Ok(())
    }
}

fn plain(bytes: &[u8], entry: &Entry<'_>) -> Result<usize> {
    let (frames, rest) = bytes.as_chunks::<SIZE>();
    for frame in frames {
        entry.frame(frame)?;
    }
    Ok(bytes.len() - rest.len())
}

fn event_sock(bytes: &[u8], entry: &Entry<'_>) -> Result<usize> {
    let mut rest = bytes;
    while let Some((message, tail)) = event_sock::split(rest) {
        match message {
            event_sock::Message::Event { number, stamp } => {
                // The stamp is the low half of the time.
                let latency = (entry.now as u32).wrapping_sub(stamp);
                entry.event(number, entry.now.saturating_sub(latency.into()));
            }
            event_sock::Message::Lost(count) => entry.account.lost(count.into()),
            event_sock::Message::Other => anyhow::bail!("an event that nobody published"),
        }
        rest = tail;
    }
    Ok(bytes.len() - rest.len())
}

/// Messages of one frame each: flags, length, body. Everything here is shorter than 256 bytes.
fn zmtp(bytes: &[u8], entry: &Entry<'_>) -> Result<usize> {
    let mut rest = bytes;
    while let [flags, length, tail @ ..] = rest {
        let Some((body, tail)) = tail.split_at_checked(usize::from(*length)) else { break };
        ensure!(*flags == 0, "a ZMTP frame with flags {flags:#x}");
        entry.frame(body.try_into()?)?;
        rest = tail;
    }
    Ok(bytes.len() - rest.len())
}

/// Messages that differ in nothing but the event.
fn resp(bytes: &[u8], entry: &Entry<'_>) -> Result<usize> {
    let (messages, rest) = bytes.as_chunks::<{ redis::MESSAGE }>();
    for message in messages {
        let (head, tail) = message.split_at(redis::MESSAGE_HEAD.len());
        ensure!(head == redis::MESSAGE_HEAD, "not a message: {head:?}");
        entry.frame(tail[..SIZE].try_into()?)?;
    }
    Ok(bytes.len() - rest.len())
}
