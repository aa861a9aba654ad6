//! fdif: descriptors that carry datagrams.

use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::rc::{Rc, Weak};

use super::reader::{BURST, Read, Reader};
use super::writer::Writer;
use super::{Driver, Netif, Setup};
use crate::core;
use crate::error::{Error, Result, answer};
use crate::event::Event;
use crate::options;
use crate::packet::Packet;
use crate::sys;

/// Options of fdif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_fdif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address of an Ethernet netif; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// Whether the descriptors become the netif's, to be closed when it is removed.
    pub close_fds: bool,
}

/// Descriptors of datagrams, one for each direction or one for both.
pub(super) struct FdDriver {
    // Dropped in this order: events before their descriptors.
    readable: Event,
    writer: Rc<Writer>,
    _modes: [Mode; 2],
    owned: Vec<OwnedFd>,
}

impl FdDriver {
    /// A driver over descriptors that are open while it lives, those that are passed to it included.
    pub(super) fn new(
        netif: Weak<Netif>,
        input: RawFd,
        output: RawFd,
        owned: Vec<OwnedFd>,
    ) -> Result<FdDriver> {
        let modes = [Mode::nonblocking(input)?, Mode::nonblocking(output)?];
        let reader = Reader::default();
        let writer = Writer::new(output, netif.clone())?;
        let source = Source::of(input);
        let readable = Event::readable(core::stack()?.base(), input, move || {
            if let Some(netif) = netif.upgrade() {
                read(&netif, &reader, source);
            }
        })?;
        Ok(FdDriver { readable, writer, _modes: modes, owned })
    }
}

impl Driver for FdDriver {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.writer.write(packet)
    }

    fn failed(&self) {
        self.readable.del();
    }
}

/// How packets are read from a descriptor.
#[derive(Debug, Clone, Copy)]
struct Source {
    fd: RawFd,
    socket: bool,
    /// Whether a read of nothing is the end, and not an empty datagram.
    empty_is_end: bool,
}

fn read(netif: &Netif, reader: &Reader, source: Source) {
    let mut found = Vec::new();
    let mut budget = BURST;
    while budget > 0 {
        let read = if source.socket {
            reader.read_socket(source.fd, netif.longest(), &mut found)
        } else {
            reader.read(source.fd, netif.longest()).map(|read| found.push(read))
        };
        for read in found.drain(..) {
            budget = budget.saturating_sub(1);
            match read {
                Read::Packet(packet) => {
                    if !netif.receive(packet) {
                        return;
                    }
                }
                Read::Nothing => return,
                Read::Empty if source.empty_is_end => {
                    return netif.fail(Error::new(0, "the peer has closed the descriptor"));
                }
                Read::Empty => netif.counters().receive_error(),
            }
        }
        if let Err(error) = read {
            netif.counters().receive_error();
            return netif.fail_if_final(error);
        }
    }
}

impl Source {
    fn of(fd: RawFd) -> Source {
        let (mut kind, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
        // SAFETY: the option is an int.
        let got = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &mut length)
        };
        let socket = got == 0;
        Source { fd, socket, empty_is_end: !socket || kind != libc::SOCK_DGRAM }
    }
}

/// A descriptor that has been made non-blocking, and becomes again what it was.
struct Mode {
    fd: RawFd,
    before: c_int,
}

impl Mode {
    fn nonblocking(fd: RawFd) -> Result<Mode> {
        // SAFETY: changes flags of the open file only.
        unsafe {
            let before = libc::fcntl(fd, libc::F_GETFL);
            if before == -1 || libc::fcntl(fd, libc::F_SETFL, before | libc::O_NONBLOCK) == -1 {
                return Err(Error::os(format_args!("descriptor {fd}")));
            }
            Ok(Mode { fd, before })
        }
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // SAFETY: as above. If the program has closed it, nothing happens.
        unsafe { libc::fcntl(self.fd, libc::F_SETFL, self.before) };
    }
}

fn add(
    base: *mut sys::event_base,
    fds: [RawFd; 2],
    ether: c_int,
    options: &herald_fdif_options,
) -> Result<*mut sys::netif> {
    core::stack_on(base)?;
    let mut setup = Setup::new(b"fd", ether != 0);
    setup.mtu = options.mtu;
    setup.hwaddr = options.hwaddr;
    let close = options.close_fds;
    let netif = Netif::add(&setup, |netif| {
        let [input, output] = fds;
        let mut driver = FdDriver::new(netif, input, output, Vec::new())?;
        // Only now: if something fails, the descriptors remain the program's.
        if close {
            // SAFETY: the program gives them away.
            driver.owned.push(unsafe { OwnedFd::from_raw_fd(input) });
            if output != input {
                // SAFETY: likewise.
                driver.owned.push(unsafe { OwnedFd::from_raw_fd(output) });
            }
        }
        Ok(Box::new(driver))
    })?;
    Ok(netif.raw())
}

/// Adds a netif over a pair of descriptors, or one passed twice: each read(2) from `fd_in` is a packet
/// received, each packet sent is a write(2) to `fd_out`. Such are datagram and seqpacket sockets, pipes
/// in packet mode and the like. `ether`: whether the packets are Ethernet frames, and not of IP. The
/// descriptors are made non-blocking, remain the program's and have to stay open until the netif is
/// removed. Returns NULL with errno.
///
/// # Safety
///
/// The descriptors are the program's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdif_add(
    base: *mut sys::event_base,
    fd_in: c_int,
    fd_out: c_int,
    ether: c_int,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { fdif_add_ex(base, fd_in, fd_out, ether, std::ptr::null()) }
}

/// fdif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// The descriptors are the program's; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdif_add_ex(
    base: *mut sys::event_base,
    fd_in: c_int,
    fd_out: c_int,
    ether: c_int,
    options: *const herald_fdif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        // SAFETY: as the caller promised.
        let options = unsafe { options::read_sized(options, "the options of fdif") }?;
        add(base, [fd_in, fd_out], ether, &options)
    })
}
