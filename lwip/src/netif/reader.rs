//! Packets from a descriptor that gives one with each read.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::ptr::null_mut;

use crate::error::{Error, Result};
use crate::packet::{MAX, Packet};

/// So many packets are read before the loop's other events have their turn.
pub(crate) const BURST: usize = 64;

/// A packet that is smaller than what was expected by this factor is copied into memory of its size, so
/// that many small ones, which lwIP may keep for a while, do not hold much more than they weigh.
const WASTE: usize = 4;

pub(crate) enum Read {
    Packet(Packet),
    /// No more for now.
    Nothing,
    /// A read of no bytes: the end of a pipe or stream, an empty datagram of others.
    Empty,
}

/// So many packets come from a socket at once.
const BATCH: usize = 8;

/// Reads packets, as large as a pbuf can be, straight into pbufs that usually fit.
#[derive(Default)]
pub(crate) struct Reader {
    spares: RefCell<Vec<Packet>>,
}

thread_local! {
    /// Where what is longer than usual ends, for each packet of a batch. Only what is used is memory.
    static OVERFLOW: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH * MAX]);
}

impl Reader {
    /// The next packet; `usual` is what most fit in. A packet without memory for it is an error
    /// with ENOMEM, after which reading can go on.
    pub fn read(&self, fd: RawFd, usual: usize) -> Result<Read> {
        self.read_with(usual, |vectors| {
            // SAFETY: the vectors are of memory that is ours to write.
            unsafe { libc::readv(fd, vectors.as_mut_ptr(), vectors.len() as i32) }
        })
    }

    /// The same with another system call than readv(2).
    pub fn read_with(
        &self,
        usual: usize,
        mut call: impl FnMut(&mut [libc::iovec; 2]) -> isize,
    ) -> Result<Read> {
        let packet = self.spare(usual)?;
        OVERFLOW.with_borrow_mut(|overflow| {
            let mut vectors = vectors(&packet, usual, overflow);
            match uninterrupted(|| call(&mut vectors)) {
                Ok(length) => self.taken(packet, usual, length, overflow),
                Err(error) => {
                    self.spares.borrow_mut().push(packet);
                    match error.kind() {
                        ErrorKind::WouldBlock => Ok(Read::Nothing),
                        _ => Err(Error::io("read", &error)),
                    }
                }
            }
        })
    }

    /// The next packets of a socket, added to `found`, which is [`Read::Nothing`] at its end if there are no
    /// more for now.
    pub fn read_socket(&self, fd: RawFd, usual: usize, found: &mut Vec<Read>) -> Result<()> {
        let packets = (0..BATCH).map(|_| self.spare(usual)).collect::<Result<Vec<_>>>()?;
        OVERFLOW.with_borrow_mut(|overflow| {
            // SAFETY: all-zero is a valid message, without an address and without control data.
            let mut messages = unsafe { std::mem::zeroed::<[libc::mmsghdr; BATCH]>() };
            let mut all = [[libc::iovec { iov_base: null_mut(), iov_len: 0 }; 2]; BATCH];
            let places = overflow.chunks_mut(MAX);
            for (((message, two), packet), place) in
                messages.iter_mut().zip(&mut all).zip(&packets).zip(places)
            {
                *two = vectors(packet, usual, place);
                message.msg_hdr.msg_iov = two.as_mut_ptr();
                message.msg_hdr.msg_iovlen = two.len();
            }
            let count = uninterrupted(|| {
                // SAFETY: the messages refer to vectors of memory that is ours to write.
                let count = unsafe {
                    let (all, flags) = (messages.as_mut_ptr(), libc::MSG_DONTWAIT);
                    libc::recvmmsg(fd, all, BATCH as u32, flags, null_mut())
                };
                count as isize
            });
            let count = match count {
                Ok(count) => count,
                Err(error) => {
                    self.spares.borrow_mut().extend(packets);
                    return match error.kind() {
                        ErrorKind::WouldBlock => {
                            found.push(Read::Nothing);
                            Ok(())
                        }
                        _ => Err(Error::io("read", &error)),
                    };
                }
            };
            for (number, ((packet, message), place)) in
                packets.into_iter().zip(&messages).zip(overflow.chunks(MAX)).enumerate()
            {
                if number < count {
                    found.push(self.taken(packet, usual, message.msg_len as usize, place)?);
                } else {
                    self.spares.borrow_mut().push(packet);
                }
            }
            if count < BATCH {
                found.push(Read::Nothing);
            }
            Ok(())
        })
    }

    /// A packet to read into.
    fn spare(&self, usual: usize) -> Result<Packet> {
        match self.spares.borrow_mut().pop() {
            Some(spare) if spare.len() == usual => Ok(spare),
            _ => Packet::alloc(usual),
        }
    }

    /// What has been read, so many bytes, into a packet and beyond it.
    fn taken(&self, mut packet: Packet, usual: usize, length: usize, beyond: &[u8]) -> Result<Read> {
        Ok(match length {
            0 => {
                self.spares.borrow_mut().push(packet);
                Read::Empty
            }
            length if length < usual / WASTE => {
                let small = Packet::copy_of(packet.first().get(..length).unwrap_or_default())?;
                self.spares.borrow_mut().push(packet);
                Read::Packet(small)
            }
            length if length <= usual => {
                packet.truncate(length);
                Read::Packet(packet)
            }
            length => {
                let beyond = beyond.get(..length - usual).unwrap_or_default();
                Read::Packet(Packet::copy_of_two(packet.first(), beyond)?)
            }
        })
    }
}

fn vectors(packet: &Packet, usual: usize, beyond: &mut [u8]) -> [libc::iovec; 2] {
    [
        libc::iovec { iov_base: packet.payload().cast(), iov_len: usual },
        libc::iovec { iov_base: beyond.as_mut_ptr().cast(), iov_len: MAX.saturating_sub(usual) },
    ]
}

/// A system call, again if a signal has interrupted it.
pub(super) fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(done) => return Ok(done),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
