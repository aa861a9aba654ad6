//! What waits for the clients of an event, kept once for all of them.
//!
//! Events lie in chunks, as the frames that go over the API socket. Each client has a place in the
//! journal, and takes from there what its connection has room for. The journal is bounded: when it is
//! full the oldest chunk goes, and who had not read it has lost what was in it, which is counted. So one
//! client that does not read costs the others nothing, and VPP no more memory than the bound.

use std::collections::VecDeque;

use herald_vpp_api::frame::{self, HEADER};

/// Where client index and pid are in an event, behind the header and the message id.
const CLIENT_INDEX: usize = HEADER + 2;
const PID: usize = HEADER + 6;

/// Bytes of frames in a chunk.
const CHUNK: usize = 64 << 10;
/// Chunks in the journal, at most: 8 MiB, about 128,000 events of the usual size.
const MAX_CHUNKS: usize = 128;

/// A client that has registered for the event.
#[derive(Debug)]
pub struct Client {
    /// The client index, as VPP knows the client.
    pub index: u32,
    /// The pid that it gave when it registered; echoed in its events.
    pub pid: u32,
    /// Events sent to it.
    pub sent: u64,
    /// Events that it lost since it did not keep up.
    pub lost: u64,
    /// The number of the event that it gets next.
    next: u64,
    /// Where that is: in which chunk, counted from the first there ever was, and at which byte.
    chunk: u64,
    offset: usize,
}

/// Events and the clients that have registered for them.
#[derive(Debug, Default)]
pub struct Journal {
    chunks: VecDeque<Chunk>,
    /// How many chunks have gone.
    gone: u64,
    /// How many events there have been.
    events: u64,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Chunk {
    /// The number of its first event.
    first: u64,
    frames: Vec<u8>,
}

/// A client has registered already, or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRegistration;

impl Journal {
    /// Registers a client for the events from now on.
    pub fn register(&mut self, index: u32, pid: u32) -> Result<(), InvalidRegistration> {
        if self.position(index).is_some() {
            return Err(InvalidRegistration);
        }
        let (chunk, offset) = self.end();
        self.clients.push(Client { index, pid, sent: 0, lost: 0, next: self.events, chunk, offset });
        Ok(())
    }

    /// Ends a client's registration. What it has not been sent by now it will not be sent.
    pub fn unregister(&mut self, index: u32) -> Result<(), InvalidRegistration> {
        let position = self.position(index).ok_or(InvalidRegistration)?;
        self.clients.swap_remove(position);
        Ok(())
    }

    /// The clients, in no order.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// How many events wait for this client.
    pub fn waiting(&self, client: &Client) -> u64 {
        self.events - client.next.max(self.first())
    }

    /// Whether events wait for anybody.
    pub fn is_pending(&self) -> bool {
        self.clients.iter().any(|client| client.next < self.events)
    }

    /// Adds an event: the message, in which client index and pid are still to be filled in.
    pub fn push(&mut self, message: &[u8]) {
        if self.clients.is_empty() {
            return;
        }
        let (Ok(length), size) = (u32::try_from(message.len()), HEADER + message.len()) else { return };
        if self.chunks.back().is_none_or(|chunk| chunk.frames.len() + size > CHUNK) {
            self.add_chunk();
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        chunk.frames.extend_from_slice(&frame::header(length));
        chunk.frames.extend_from_slice(message);
        self.events += 1;
    }

    /// Takes the next frames for a client, whole ones and at most `room` bytes of them, and hands them to
    /// `send`, which sends a copy in which it has filled in the client's own ([`address`]), and answers with
    /// the bytes that it has sent. What it has not sent comes again.
    pub fn take(&mut self, index: u32, room: usize, send: impl FnOnce(&[u8]) -> usize) {
        let first = self.first();
        let Some(client) = self.clients.iter_mut().find(|client| client.index == index) else { return };
        if client.chunk < self.gone {
            client.lost += first - client.next;
            (client.next, client.chunk, client.offset) = (first, self.gone, 0);
        }
        let Some(frames) = unread(&self.chunks, self.gone, client) else { return };
        let (bytes, count) = whole(frames, room);
        if let Some(frames) = frames.get(..bytes)
            && count > 0
        {
            let (bytes, count) = whole(frames, send(frames));
            client.offset += bytes;
            client.next += count;
            client.sent += count;
            self.forget();
        }
    }

    fn position(&self, index: u32) -> Option<usize> {
        self.clients.iter().position(|client| client.index == index)
    }

    /// The number of the oldest event that is still there.
    fn first(&self) -> u64 {
        self.chunks.front().map_or(self.events, |chunk| chunk.first)
    }

    fn end(&self) -> (u64, usize) {
        match self.chunks.back() {
            Some(chunk) => (self.gone + self.chunks.len() as u64 - 1, chunk.frames.len()),
            None => (self.gone, 0),
        }
    }

    fn add_chunk(&mut self) {
        self.forget();
        if self.chunks.len() == MAX_CHUNKS {
            self.chunks.pop_front();
            self.gone += 1;
        }
        self.chunks.push_back(Chunk { first: self.events, frames: Vec::with_capacity(CHUNK) });
    }

    /// Lets go of the chunks that everybody has read.
    fn forget(&mut self) {
        let needed = self.clients.iter().map(|client| client.chunk).min().unwrap_or(u64::MAX);
        while self.gone < needed && self.chunks.len() > 1 {
            self.chunks.pop_front();
            self.gone += 1;
        }
    }
}

/// What the client has not read of the chunk that it is at, or of the next if it is at the end of that.
fn unread<'a>(chunks: &'a VecDeque<Chunk>, gone: u64, client: &mut Client) -> Option<&'a [u8]> {
    loop {
        let at = usize::try_from(client.chunk - gone).ok()?;
        let rest = chunks.get(at)?.frames.get(client.offset..)?;
        if !rest.is_empty() {
            return Some(rest);
        }
        chunks.get(at + 1)?;
        (client.chunk, client.offset) = (client.chunk + 1, 0);
    }
}

/// Fills in, in each frame, whom the event is for.
pub fn address(frames: &mut [u8], index: u32, pid: u32) {
    let mut rest = frames;
    while let Some(size) = frame_size(rest) {
        let Some((frame, tail)) = rest.split_at_mut_checked(size) else { return };
        for (at, value) in [(CLIENT_INDEX, index), (PID, pid)] {
            if let Some(field) = frame.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        rest = tail;
    }
}

/// The frames, one by one.
pub fn each(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let (frame, tail) = rest.split_at_checked(frame_size(rest)?)?;
        rest = tail;
        Some(frame)
    })
}

fn frame_size(frames: &[u8]) -> Option<usize> {
    Some(HEADER + frame::message_len(frames.first_chunk()?) as usize)
}

/// How many bytes of whole frames fit, and how many frames they are.
fn whole(frames: &[u8], room: usize) -> (usize, u64) {
    let (mut bytes, mut count) = (0, 0);
    for frame in each(frames) {
        if bytes + frame.len() > room {
            break;
        }
        bytes += frame.len();
        count += 1;
    }
    (bytes, count)
}
