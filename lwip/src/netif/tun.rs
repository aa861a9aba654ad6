//! tunif: a network interface of the kernel, whose other end is lwIP.

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use super::fd::FdDriver;
use super::ifreq::{Interface, Prefix};
use super::vnet::VnetDriver;
use super::{Driver, Netif, Setup, c_text};
use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::options;
use crate::packet::Packet;
use crate::sys;

/// Options of tunif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_tunif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet, on both sides: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// lwIP's hardware address, if the interface is one of Ethernet; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// Whether TCP goes in bursts of up to 64 KiB, which neither side cuts into packets, and checksums that
    /// the kernel would compute are not. Captures and nettest see the bursts that come in.
    pub offload: bool,
    /// Whether the kernel's side is set up (IFF_UP). Having an address does so too.
    pub up: bool,
    /// An address of the kernel's side, such as "10.0.0.1/24"; NULL for none.
    pub ipv4: *const c_char,
    /// Likewise, such as "fd00::1/64".
    pub ipv6: *const c_char,
}

struct TunDriver {
    driver: Box<dyn Driver>,
    interface: Interface,
}

impl Driver for TunDriver {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.driver.transmit(packet).map_err(|error| match error.errno {
            // An interface that is down: it may come up again.
            libc::EIO => Error::new(libc::ENETDOWN, "the kernel's interface is down"),
            _ => error,
        })
    }

    fn failed(&self) {
        self.driver.failed();
    }

    fn device(&self) -> Option<&CStr> {
        Some(self.interface.name())
    }
}

fn open(interface: &mut Interface, ether: bool, options: &herald_tunif_options) -> Result<OwnedFd> {
    // SAFETY: a new descriptor, which is ours.
    let fd = unsafe {
        match libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC) {
            -1 => return Err(Error::os("/dev/net/tun")),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let mut flags = libc::IFF_NO_PI | if ether { libc::IFF_TAP } else { libc::IFF_TUN };
    if options.offload {
        flags |= libc::IFF_VNET_HDR;
    }
    interface.attach(fd.as_raw_fd(), flags as i16)?;
    if options.offload {
        let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        // SAFETY: the request takes a number.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) }
            == -1
        {
            return Err(Error::os("TUNSETOFFLOAD"));
        }
    }
    Ok(fd)
}

fn add(device: &CStr, ether: bool, options: &herald_tunif_options) -> Result<*mut sys::netif> {
    let mut setup = Setup::new(b"tu", ether);
    (setup.mtu, setup.hwaddr) = (options.mtu, options.hwaddr);
    let mut addresses = Vec::new();
    for text in [options.ipv4, options.ipv6] {
        if !text.is_null() {
            // SAFETY: a C string, as the caller promised.
            addresses.push(Prefix::parse(unsafe { CStr::from_ptr(text) })?);
        }
    }
    let netif = Netif::add(&setup, |netif| {
        let mut interface = Interface::named(device)?;
        let fd = open(&mut interface, ether, options)?;
        if options.mtu != 0 {
            interface.set_mtu(options.mtu)?;
        }
        addresses.iter().try_for_each(|&prefix| interface.set_address(prefix))?;
        if options.up || !addresses.is_empty() {
            interface.set_up()?;
        }
        let driver: Box<dyn Driver> = match options.offload {
            true => Box::new(VnetDriver::new(netif, fd, ether, true)?),
            false => {
                let raw = fd.as_raw_fd();
                Box::new(FdDriver::new(netif, raw, raw, vec![fd])?)
            }
        };
        Ok(Box::new(TunDriver { driver, interface }))
    })?;
    Ok(netif.raw())
}

/// Adds a netif whose peer is the kernel, over an interface of TUN (`ether` 0) or TAP that is made for it, or
/// exists and is nobody's. `dev` is its name, one with "%d" in it for the kernel to number, or NULL for the
/// kernel to choose; tunif_get_name() tells. It needs CAP_NET_ADMIN, or an interface that is the user's. The
/// interface vanishes with the netif, unless it was made persistent by others. Returns NULL with errno.
///
/// # Safety
///
/// `dev` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tunif_add(
    base: *mut sys::event_base,
    dev: *const c_char,
    ether: c_int,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { tunif_add_ex(base, dev, ether, std::ptr::null()) }
}

/// tunif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `dev` is NULL or a C string; the options are NULL or as large as their first field says, and the
/// strings in them likewise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tunif_add_ex(
    base: *mut sys::event_base,
    dev: *const c_char,
    ether: c_int,
    options: *const herald_tunif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        let (device, options) = unsafe {
            let device = if dev.is_null() { c"" } else { CStr::from_ptr(dev) };
            (device, options::read_sized(options, "the options of tunif")?)
        };
        add(device, ether != 0, &options)
    })
}

/// The name of the kernel's interface behind a tunif or packetif, such as "tun0". `name` has room for
/// `size` bytes; IFNAMSIZ (16) always suffice. Returns 0, or -1 with errno.
///
/// # Safety
///
/// `name` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tunif_get_name(
    netif: *mut sys::netif,
    name: *mut c_char,
    size: usize,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        let device =
            netif.device().ok_or_else(|| Error::invalid("the netif is not one of tunif or packetif"))?;
        // SAFETY: as the caller promised.
        unsafe { c_text(name, "the name") }.map(drop)?;
        let bytes = device.to_bytes_with_nul();
        if size < bytes.len() {
            return Err(Error::new(libc::ERANGE, format!("the name has {} bytes", bytes.len())));
        }
        // SAFETY: there is room, as just seen.
        unsafe { std::ptr::copy_nonoverlapping(device.as_ptr(), name, bytes.len()) };
        Ok(())
    })
}
