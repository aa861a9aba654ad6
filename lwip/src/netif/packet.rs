//! packetif: a host of its own on a network that the kernel is on.

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use super::ifreq::Interface;
use super::vnet::VnetDriver;
use super::{Driver, MOST, Netif, Setup, c_text};
use crate::core;
use crate::error::{Error, Result, answer};
use crate::options;
use crate::packet::Packet;
use crate::sys;

/// Options of packetif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_packetif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for the interface's, of which that is the most.
    pub mtu: u32,
    /// lwIP's hardware address on the network; all zero for a random one.
    pub hwaddr: [u8; 6],
}

struct PacketDriver {
    driver: VnetDriver,
    interface: Interface,
}

impl Driver for PacketDriver {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.driver.transmit(packet)
    }

    fn failed(&self) {
        self.driver.failed();
    }

    fn device(&self) -> Option<&CStr> {
        Some(self.interface.name())
    }
}

fn set<T>(fd: &OwnedFd, option: c_int, value: &T, what: &str) -> Result<()> {
    let (value, length) = ((&raw const *value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the value is as long as is said, and of the type that the option takes.
    match unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, value, length) } {
        -1 => Err(Error::os(what)),
        _ => Ok(()),
    }
}

fn open(index: c_int) -> Result<OwnedFd> {
    let every = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: a new descriptor, which is ours.
    let fd = unsafe {
        // Protocol 0 receives nothing until the socket is bound to its interface.
        match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
        {
            -1 => return Err(Error::os("an AF_PACKET socket")),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    // Packets of the kernel's own hosts lack checksums and come in bursts; the header says so.
    set(&fd, libc::PACKET_VNET_HDR, &1i32, "PACKET_VNET_HDR")?;
    set(&fd, libc::PACKET_IGNORE_OUTGOING, &1i32, "PACKET_IGNORE_OUTGOING")?;
    // Our hardware address is not the interface's.
    // SAFETY: all-zero is a valid request.
    let mut every_address = unsafe { std::mem::zeroed::<libc::packet_mreq>() };
    every_address.mr_ifindex = index;
    every_address.mr_type = libc::PACKET_MR_PROMISC as u16;
    set(&fd, libc::PACKET_ADD_MEMBERSHIP, &every_address, "PACKET_MR_PROMISC")?;
    // SAFETY: all-zero is a valid address.
    let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = every;
    address.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is as long as is said.
    match unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) } {
        -1 => Err(Error::os("bind")),
        _ => Ok(fd),
    }
}

/// Adds an Ethernet netif that is a host of its own, with a hardware address of its own, on the network of
/// an interface of the kernel, through an AF_PACKET socket. lwIP and the kernel itself do not hear each
/// other there. It needs CAP_NET_RAW. Returns NULL with errno.
///
/// # Safety
///
/// `interface` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetif_add(
    base: *mut sys::event_base,
    interface: *const c_char,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { packetif_add_ex(base, interface, std::ptr::null()) }
}

/// packetif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `interface` is NULL or a C string; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetif_add_ex(
    base: *mut sys::event_base,
    interface: *const c_char,
    options: *const herald_packetif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        let (name, options) = unsafe {
            (
                c_text(interface, "the interface")?,
                options::read_sized(options, "the options of packetif")?,
            )
        };
        let interface = Interface::named(name)?;
        let index = interface.index()?;
        let mut setup = Setup::new(b"pk", true);
        setup.mtu = if options.mtu == 0 { interface.mtu()?.min(MOST) } else { options.mtu };
        setup.hwaddr = options.hwaddr;
        let netif = Netif::add(&setup, |netif| {
            let driver = VnetDriver::new(netif, open(index)?, true, true)?;
            Ok(Box::new(PacketDriver { driver, interface }))
        })?;
        Ok(netif.raw())
    })
}
