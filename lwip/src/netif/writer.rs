//! Packets to a descriptor that takes one with each write.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};

use super::Netif;
use crate::core;
use crate::error::{Error, Result};
use crate::event::{Event, PERSIST, WRITE};
use crate::packet::Packet;
use crate::sigpipe;

/// So many bytes wait for a peer that does not keep up, some windows of a TCP connection; then lwIP is
/// told to hold back.
const LIMIT: usize = 512 << 10;

/// How a descriptor is written to without harm to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    /// Writing to one that nobody reads raises SIGPIPE.
    Pipe,
    Device,
}

/// Writes packets, and keeps those for which the descriptor has no room.
pub(crate) struct Writer {
    fd: RawFd,
    kind: Kind,
    waiting: RefCell<VecDeque<Packet>>,
    bytes: Cell<usize>,
    /// lwIP has been told to hold back.
    refused: Cell<bool>,
    event: OnceCell<Event>,
}

impl Writer {
    /// A writer to a non-blocking descriptor, which outlives it. If what waited cannot be written
    /// after all, the netif counts it, and fails if the error is one that stays.
    pub fn new(fd: RawFd, netif: Weak<Netif>) -> Result<Rc<Writer>> {
        Writer::telling(fd, move |error| {
            if let Some(netif) = netif.upgrade() {
                netif.counters().send_error();
                netif.fail_if_final(error);
            }
        })
    }

    /// The same for a descriptor that is not all of a netif: `lost` is told for each packet that
    /// waited and cannot be written.
    pub fn telling(fd: RawFd, lost: impl Fn(Error) + 'static) -> Result<Rc<Writer>> {
        let writer = Rc::new(Writer {
            fd,
            kind: kind(fd)?,
            waiting: RefCell::default(),
            bytes: Cell::default(),
            refused: Cell::default(),
            event: OnceCell::new(),
        });
        let own = Rc::downgrade(&writer);
        let event = Event::new(core::stack()?.base(), Some(fd), WRITE | PERSIST, move |_| {
            if let Some(writer) = own.upgrade() {
                writer.flush(&lost);
            }
        })?;
        let _ = writer.event.set(event);
        Ok(writer)
    }

    /// Writes a packet, now or when there is room; ENOBUFS when too much waits already.
    pub fn write(&self, packet: &Packet) -> Result<()> {
        if self.waiting.borrow().is_empty() {
            match self.write_now(packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Of a datagram socket: its queue is full, and no event says when it is not.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(Error::io("write", &error));
                }
                other => return other.map_err(|error| Error::io("write", &error)),
            }
        }
        if self.bytes.get() + packet.len() > LIMIT {
            self.refused.set(true);
            return Err(Error::new(libc::ENOBUFS, "the peer does not keep up"));
        }
        let copy = packet.copy()?;
        self.bytes.set(self.bytes.get() + copy.len());
        self.waiting.borrow_mut().push_back(copy);
        match self.event.get() {
            Some(event) => event.add(None),
            None => Ok(()),
        }
    }

    fn flush(&self, lost: &dyn Fn(Error)) {
        loop {
            let Some(packet) = self.waiting.borrow_mut().pop_front() else { break };
            match self.write_now(&packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waiting.borrow_mut().push_front(packet);
                    return;
                }
                Err(error) => lost(Error::io("write", &error)),
                Ok(()) => {}
            }
            self.bytes.set(self.bytes.get().saturating_sub(packet.len()));
        }
        if let Some(event) = self.event.get() {
            event.del();
        }
        if self.refused.replace(false) {
            // SAFETY: on lwIP's thread, within no call of its. TCP would try again with its timer only.
            unsafe { crate::sys::tcp_txnow() };
        }
    }

    fn write_now(&self, packet: &Packet) -> io::Result<()> {
        /// lwIP's packets have a piece for each layer at most; more than that are copied together.
        const PIECES: usize = 8;
        let (mut vectors, count) = packet.iovecs::<PIECES>();
        let piece_bytes: usize = vectors.iter().map(|vector| vector.iov_len).sum();
        if piece_bytes < packet.len() {
            let whole = packet.copy().map_err(|error| io::Error::from_raw_os_error(error.errno))?;
            return self.write_now(&whole);
        }
        loop {
            // SAFETY: the vectors are of the packet, which is only read.
            let written = unsafe {
                match self.kind {
                    Kind::Socket => {
                        let mut message = std::mem::zeroed::<libc::msghdr>();
                        message.msg_iov = vectors.as_mut_ptr();
                        message.msg_iovlen = count;
                        libc::sendmsg(self.fd, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
                    }
                    Kind::Pipe => {
                        sigpipe::held_back(|| libc::writev(self.fd, vectors.as_ptr(), count as i32))
                    }
                    Kind::Device => libc::writev(self.fd, vectors.as_ptr(), count as i32),
                }
            };
            match io::Error::last_os_error() {
                _ if written >= 0 => return Ok(()),
                error if error.kind() == ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        }
    }
}

fn kind(fd: RawFd) -> Result<Kind> {
    // SAFETY: the stat has room for what fstat writes, and is plain numbers.
    let mode = unsafe {
        let mut stat = std::mem::zeroed::<libc::stat>();
        if libc::fstat(fd, &mut stat) != 0 {
            return Err(Error::os(format_args!("descriptor {fd}")));
        }
        stat.st_mode
    };
    Ok(match mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        _ => Kind::Device,
    })
}
