//! Packets to a descriptor that takes one with each write.
//!
//! Sockets get many with one system call, when lwIP has come to rest: the peer then finds many with one
//! wake-up, and so on.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};

use super::reader::uninterrupted;
use super::{ETHERNET, Netif};
use crate::core::{self, Collect};
use crate::error::{Error, Result};
use crate::event::{Event, PERSIST, WRITE};
use crate::packet::Packet;
use crate::sigpipe;
use crate::sys;

/// So many bytes wait for a peer that does not keep up, some windows of a TCP connection; then lwIP is
/// told to hold back.
const LIMIT: usize = 512 << 10;

/// So many packets go to a socket at once. More save little, and let the peer stand idle meanwhile:
/// measured from 1 to 32, between two stacks.
const BATCH: usize = 8;

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
    /// Where the IP packet begins, if packets are lwIP's.
    link: Option<usize>,
    /// Is told of each packet that lwIP takes for sent and that cannot be written.
    lost: Box<dyn Fn(Error)>,
    own: Weak<Writer>,
    /// What goes out when lwIP has come to rest, each in one piece.
    batch: RefCell<Vec<Packet>>,
    promised: Cell<bool>,
    waiting: RefCell<VecDeque<Packet>>,
    waiting_bytes: Cell<usize>,
    /// lwIP has been told to hold back.
    refused: Cell<bool>,
    event: OnceCell<Event>,
}

impl Writer {
    /// A writer to a non-blocking descriptor, which outlives it. What cannot be written after all the netif
    /// counts, and fails if the error is one that stays.
    pub fn new(fd: RawFd, netif: Weak<Netif>) -> Result<Rc<Writer>> {
        let ether = netif.upgrade().is_some_and(|netif| netif.is_ether());
        let link = if ether { ETHERNET } else { 0 };
        let lost = move |error: Error| {
            let Some(netif) = netif.upgrade() else { return };
            match error.errno {
                libc::ENOBUFS => netif.counters().drop_sent(),
                _ => netif.counters().send_error(),
            }
            netif.fail_if_final(error);
        };
        Writer::make(fd, Some(link), Box::new(lost))
    }

    /// The same for a descriptor that is not all of a netif: `lost` is told of each packet that cannot be
    /// written after all.
    pub fn telling(fd: RawFd, lost: impl Fn(Error) + 'static) -> Result<Rc<Writer>> {
        Writer::make(fd, None, Box::new(lost))
    }

    fn make(fd: RawFd, link: Option<usize>, lost: Box<dyn Fn(Error)>) -> Result<Rc<Writer>> {
        let kind = kind(fd)?;
        let writer = Rc::new_cyclic(|own: &Weak<Writer>| Writer {
            fd,
            kind,
            link,
            lost,
            own: own.clone(),
            batch: RefCell::default(),
            promised: Cell::default(),
            waiting: RefCell::default(),
            waiting_bytes: Cell::default(),
            refused: Cell::default(),
            event: OnceCell::new(),
        });
        let own = Rc::downgrade(&writer);
        let event = Event::new(core::stack()?.base(), Some(fd), WRITE | PERSIST, move |_| {
            if let Some(writer) = own.upgrade() {
                writer.write_waiting();
            }
        })?;
        let _ = writer.event.set(event);
        Ok(writer)
    }

    /// Writes a packet, soon or when there is room; ENOBUFS when too much waits already.
    pub fn write(&self, packet: &Packet) -> Result<()> {
        if !self.waiting.borrow().is_empty() {
            return self.wait(packet.copy()?);
        }
        if self.kind == Kind::Socket {
            return self.collect(packet);
        }
        match self.write_now(packet) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(packet.copy()?),
            other => other.map_err(|error| Error::io("write", &error)),
        }
    }

    fn collect(&self, packet: &Packet) -> Result<()> {
        let own = self.link.is_some_and(|link| is_tcp_segment(packet, link));
        let packet = if own { packet.share() } else { packet.copy()? };
        let full = {
            let mut batch = self.batch.borrow_mut();
            batch.push(packet);
            batch.len() == BATCH
        };
        if full {
            self.write_batch();
        } else if !self.promised.replace(true) {
            let own: Weak<dyn Collect> = Weak::<Writer>::clone(&self.own);
            core::stack()?.flush_at_rest(own);
        }
        Ok(())
    }

    /// Keeps a packet until the descriptor has room.
    fn wait(&self, packet: Packet) -> Result<()> {
        let bytes = self.waiting_bytes.get() + packet.len();
        if bytes > LIMIT {
            self.refused.set(true);
            return Err(Error::new(libc::ENOBUFS, "the peer does not keep up"));
        }
        self.waiting_bytes.set(bytes);
        self.waiting.borrow_mut().push_back(packet);
        match self.event.get() {
            Some(event) => event.add(None),
            None => Ok(()),
        }
    }

    fn write_batch(&self) {
        let batch = std::mem::take(&mut *self.batch.borrow_mut());
        let mut rest = batch.as_slice();
        while !rest.is_empty() && self.waiting.borrow().is_empty() {
            match self.write_many(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    (self.lost)(Error::io("write", &error));
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        for packet in rest {
            if let Err(error) = self.wait(packet.share()) {
                (self.lost)(error);
            }
        }
    }

    fn write_waiting(&self) {
        loop {
            let Some(packet) = self.waiting.borrow_mut().pop_front() else { break };
            match self.write_now(&packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waiting.borrow_mut().push_front(packet);
                    return;
                }
                Err(error) => (self.lost)(Error::io("write", &error)),
                Ok(()) => {}
            }
            self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(packet.len()));
        }
        if let Some(event) = self.event.get() {
            event.del();
        }
        if self.refused.replace(false) {
            // TCP would try again with the next acknowledgement, if one is to come, or half a second later.
            // SAFETY: on lwIP's thread, within no call of its.
            unsafe { sys::tcp_txnow() };
        }
    }

    /// Writes up to [`BATCH`] packets, each in one piece; how many were taken.
    fn write_many(&self, packets: &[Packet]) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid message, without an address and without control data.
        let mut messages = unsafe { std::mem::zeroed::<[libc::mmsghdr; BATCH]>() };
        let mut count = 0;
        for ((message, vector), packet) in messages.iter_mut().zip(&mut vectors).zip(packets) {
            vector.iov_base = packet.payload().cast();
            vector.iov_len = packet.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        uninterrupted(|| {
            // SAFETY: the messages refer to vectors of packets, which are only read.
            unsafe { libc::sendmmsg(self.fd, messages.as_mut_ptr(), count, flags) as isize }
        })
    }

    fn write_now(&self, packet: &Packet) -> io::Result<()> {
        /// lwIP's packets have a piece for each layer at most; more than that are copied together.
        const PIECES: usize = 8;
        let (vectors, count) = packet.iovecs::<PIECES>();
        let piece_bytes: usize = vectors.iter().map(|vector| vector.iov_len).sum();
        if piece_bytes < packet.len() {
            let whole = packet.copy().map_err(|error| io::Error::from_raw_os_error(error.errno))?;
            return self.write_now(&whole);
        }
        if self.kind == Kind::Socket {
            return self.write_many(std::slice::from_ref(packet)).map(drop);
        }
        // SAFETY: the vectors are of the packet, which is only read.
        let write = || unsafe { libc::writev(self.fd, vectors.as_ptr(), count as i32) };
        uninterrupted(|| if self.kind == Kind::Pipe { sigpipe::held_back(write) } else { write() })
            .map(drop)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // lwIP's farewells of the netif that goes.
        self.write_batch();
    }
}

impl Collect for Writer {
    fn flush(&self) {
        self.promised.set(false);
        self.write_batch();
    }
}

/// Whether a packet is a TCP segment in one piece: such are lwIP's own, which leaves them alone while there
/// is another reference. What programs send they may change as soon as it is sent.
fn is_tcp_segment(packet: &Packet, link: usize) -> bool {
    const TCP: u8 = 6;
    let bytes = packet.first();
    let protocol = match bytes.get(link).map(|first| first >> 4) {
        Some(4) => bytes.get(link + 9),
        Some(6) => bytes.get(link + 6),
        _ => None,
    };
    bytes.len() == packet.len() && protocol == Some(&TCP)
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
