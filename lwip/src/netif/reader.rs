//! Packets from a descriptor that gives one with each read.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

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

/// Reads packets, as large as a pbuf can be, straight into pbufs that usually fit.
#[derive(Default)]
pub(crate) struct Reader {
    spare: RefCell<Option<Packet>>,
}

thread_local! {
    /// Where what is longer than usual ends.
    static OVERFLOW: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX]);
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

    /// The same with another system call than readv(2), such as recvmsg(2).
    pub fn read_with(
        &self,
        usual: usize,
        mut call: impl FnMut(&mut [libc::iovec; 2]) -> isize,
    ) -> Result<Read> {
        let packet = match self.spare.take() {
            Some(spare) if spare.len() == usual => spare,
            _ => Packet::alloc(usual)?,
        };
        OVERFLOW.with_borrow_mut(|overflow| {
            let mut vectors = [
                libc::iovec { iov_base: packet.payload().cast(), iov_len: usual },
                libc::iovec {
                    iov_base: overflow.as_mut_ptr().cast(),
                    iov_len: MAX.saturating_sub(usual),
                },
            ];
            let length = loop {
                match usize::try_from(call(&mut vectors)) {
                    Ok(length) => break length,
                    Err(_) => match io::Error::last_os_error() {
                        error if error.kind() == ErrorKind::Interrupted => {}
                        error if error.kind() == ErrorKind::WouldBlock => {
                            self.spare.replace(Some(packet));
                            return Ok(Read::Nothing);
                        }
                        error => return Err(Error::io("read", &error)),
                    },
                }
            };
            Ok(match length {
                0 => {
                    self.spare.replace(Some(packet));
                    Read::Empty
                }
                length if length < usual / WASTE => {
                    let small = Packet::copy_of(packet.first().get(..length).unwrap_or_default())?;
                    self.spare.replace(Some(packet));
                    Read::Packet(small)
                }
                length if length <= usual => {
                    let mut packet = packet;
                    packet.truncate(length);
                    Read::Packet(packet)
                }
                length => {
                    let beyond = overflow.get(..length - usual).unwrap_or_default();
                    Read::Packet(Packet::copy_of_two(packet.first(), beyond)?)
                }
            })
        })
    }
}
