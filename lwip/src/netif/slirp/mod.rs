//! slirpif: the host's own sockets as a network, by libslirp.

mod burst;
mod engine;
mod network;

use std::ffi::{c_char, c_int};
use std::net::{IpAddr, Ipv4Addr};
use std::ptr::null_mut;

use super::{Netif, Setup, c_text};
use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::options;
use crate::sys;

use engine::Slirp;
use network::{Ipv4Network, Ipv6Network};

/// Options of slirpif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_slirpif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// The IPv4 network; NULL for "10.0.2.0/24". The host is its number 2, the name server 3, lwIP 15.
    pub network: *const c_char,
    /// The IPv6 network, of length 64; NULL for "fec0::/64". The host is its number 2, the name server 3.
    pub network6: *const c_char,
    /// Nothing but what is forwarded gets in or out.
    pub restricted: bool,
    /// What listens at 127.0.0.1 and ::1 of the host is not for the network.
    pub no_host_loopback: bool,
}

/// What the engine is to be.
struct Config {
    mtu: u16,
    v4: Ipv4Network,
    v6: Ipv6Network,
    restricted: bool,
    no_host_loopback: bool,
}

fn add(base: *mut sys::event_base, options: &herald_slirpif_options) -> Result<*mut sys::netif> {
    core::stack_on(base)?;
    let text = |text: *const c_char, default: &'static str| match text.is_null() {
        true => Ok(default.into()),
        // SAFETY: a C string, as the caller of slirpif_add_ex() promised.
        false => unsafe { c_text(text, "") }.map(|text| text.to_string_lossy()),
    };
    let v4 = Ipv4Network::parse(&text(options.network, "10.0.2.0/24")?)?;
    let v6 = Ipv6Network::parse(&text(options.network6, "fec0::/64")?)?;
    let mut setup = Setup::new(b"sl", true);
    setup.mtu = options.mtu;
    setup.hwaddr = options.hwaddr;
    let config = Config {
        mtu: setup.mtu()?,
        v4,
        v6,
        restricted: options.restricted,
        no_host_loopback: options.no_host_loopback,
    };
    let netif = Netif::add(&setup, |netif| Ok(Box::new(Slirp::start(&config, netif)?)))?;
    let lwip = |address: Ipv4Addr| sys::ip4_addr { addr: u32::from_ne_bytes(address.octets()) };
    // SAFETY: a netif of ours; lwIP copies the addresses.
    unsafe {
        sys::netif_set_addr(netif.raw(), &lwip(v4.guest()), &lwip(v4.mask), &lwip(v4.host()));
    }
    Ok(netif.raw())
}

/// Adds a netif whose network is the host's own sockets: what lwIP sends by TCP and UDP, libslirp sends on
/// from sockets of this process, without privileges. In its network 10.0.2.2 and fec0::2 are the host
/// (127.0.0.1 and ::1), 10.0.2.3 and fec0::3 its name server. The netif has the address 10.0.2.15 and the
/// gateway 10.0.2.2 already, and takes an IPv6 address of fec0::/64 by autoconfiguration; what is left to the
/// program is netif_set_default() and netif_set_up(). A connection that the other end refuses is refused at
/// once. Returns NULL with errno.
///
/// # Safety
///
/// The event_base is the one of libevent_timeouts_init().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slirpif_add(base: *mut sys::event_base) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { slirpif_add_ex(base, std::ptr::null()) }
}

/// slirpif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// The options are NULL or as large as their first field says, and the texts in them NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slirpif_add_ex(
    base: *mut sys::event_base,
    options: *const herald_slirpif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        // SAFETY: as the caller promised.
        let options = unsafe { options::read_sized(options, "the options of slirpif") }?;
        add(base, &options)
    })
}

/// Reads an address and port.
///
/// # Safety
///
/// Null or as many readable bytes as said.
unsafe fn endpoint(
    address: *const libc::sockaddr,
    length: libc::socklen_t,
    what: &str,
) -> Result<(IpAddr, u16)> {
    if address.is_null() {
        return Err(Error::null(what));
    }
    let has = |size: usize| usize::try_from(length).is_ok_and(|length| length >= size);
    // SAFETY: as many bytes are read as the caller says there are, whatever their alignment.
    unsafe {
        if has(size_of::<libc::sa_family_t>()) {
            match c_int::from(address.cast::<libc::sa_family_t>().read_unaligned()) {
                libc::AF_INET if has(size_of::<libc::sockaddr_in>()) => {
                    let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                    let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                    return Ok((ip.into(), u16::from_be(v4.sin_port)));
                }
                libc::AF_INET6 if has(size_of::<libc::sockaddr_in6>()) => {
                    let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                    return Ok((IpAddr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port)));
                }
                _ => {}
            }
        }
    }
    Err(Error::new(libc::EAFNOSUPPORT, format!("{what} is neither of IPv4 nor of IPv6, or cut off")))
}

/// Forwards a port of the host to lwIP: what connects or sends to `host` there arrives at `guest` here. `udp`:
/// UDP, and not TCP. Both are sockaddr_in or sockaddr_in6, of the same family; a host address of zero is all
/// addresses, a guest address of 0.0.0.0 is 10.0.2.15. Returns 0, or -1 with errno, such as EADDRINUSE.
///
/// # Safety
///
/// The addresses are as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_slirpif_add_hostfwd(
    netif: *mut sys::netif,
    udp: c_int,
    host: *const libc::sockaddr,
    host_len: libc::socklen_t,
    guest: *const libc::sockaddr,
    guest_len: libc::socklen_t,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        let slirp = netif.driver_as::<engine::Handle>("slirpif_add()")?;
        // SAFETY: as the caller promised.
        let (host, guest) = unsafe {
            (
                endpoint(host, host_len, "the host's address")?,
                endpoint(guest, guest_len, "the guest's address")?,
            )
        };
        if host.0.is_ipv4() != guest.0.is_ipv4() {
            return Err(Error::invalid("the host's address and the guest's are of different families"));
        }
        if guest.0.is_unspecified() && guest.0.is_ipv6() {
            return Err(Error::invalid("a guest address of IPv6 has to be given"));
        }
        if host.1 == 0 || guest.1 == 0 {
            return Err(Error::invalid("a port of 0 cannot be forwarded"));
        }
        slirp.add_forward(udp != 0, host, guest)
    })
}

/// Ends herald_slirpif_add_hostfwd() for a port of the host; connections that came by it go on. Returns 0, or
/// -1 with errno: ENOENT if the port is not forwarded.
///
/// # Safety
///
/// The address is as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_slirpif_remove_hostfwd(
    netif: *mut sys::netif,
    udp: c_int,
    host: *const libc::sockaddr,
    host_len: libc::socklen_t,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        let slirp = netif.driver_as::<engine::Handle>("slirpif_add()")?;
        // SAFETY: as the caller promised.
        let host = unsafe { endpoint(host, host_len, "the host's address") }?;
        slirp.remove_forward(udp != 0, host)
    })
}
