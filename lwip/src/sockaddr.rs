//! sockaddr: addresses between lwIP's form and the system's, IPv4 and IPv6, zones included.

use std::ffi::{c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

use crate::error::{Error, Result, status};
use crate::sys::{self, ip_addr, ip_addr_t, to_ip};

/// The zone of an address: the index of a netif, 0 for none.
pub(crate) fn zone(address: &ip_addr_t) -> u8 {
    match to_ip(address) {
        IpAddr::V4(_) => 0,
        // SAFETY: an IPv6 address, whose variant of the union is initialized.
        IpAddr::V6(_) => unsafe { address.u_addr.ip6.zone },
    }
}

/// The address in lwIP's form. lwIP wants a zone on link-local addresses only; 0 lets it choose.
pub(crate) fn with_zone(address: Ipv6Addr, zone: u8) -> ip_addr_t {
    let mut lwip = ip_addr(IpAddr::V6(address));
    let octets = address.octets();
    // Interface-local and link-local groups: ff01::/16 and ff02::/16, whatever their flags (RFC 4291).
    let group = octets[0] == 0xff && matches!(octets[1] & 0x0f, 1 | 2);
    if group || address.is_unicast_link_local() {
        lwip.u_addr.ip6.zone = zone;
    }
    lwip
}

/// Reads an address and a port of the system's.
///
/// # Safety
///
/// `address` is null or points to `length` readable bytes.
pub(crate) unsafe fn read(address: *const sockaddr, length: socklen_t) -> Result<(ip_addr_t, u16)> {
    if address.is_null() {
        return Err(Error::null("the sockaddr"));
    }
    let length = length as usize;
    let short = || Error::invalid(format!("a sockaddr of {length} bytes is too short for its family"));
    if length < size_of::<libc::sa_family_t>() {
        return Err(short());
    }
    // SAFETY: the family comes first, and each struct is read only if it is all there.
    unsafe {
        match c_int::from(address.cast::<libc::sa_family_t>().read_unaligned()) {
            libc::AF_INET if length >= size_of::<sockaddr_in>() => {
                let v4 = address.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Ok((ip_addr(ip.into()), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 if length >= size_of::<sockaddr_in6>() => {
                let v6 = address.cast::<sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                if let Some(mapped) = ip.to_ipv4_mapped() {
                    return Ok((ip_addr(mapped.into()), port));
                }
                let zone = u8::try_from(v6.sin6_scope_id).map_err(|_| {
                    let id = v6.sin6_scope_id;
                    Error::invalid(format!("the scope id {id}: lwIP numbers its netifs from 1 to 255"))
                })?;
                Ok((with_zone(ip, zone), port))
            }
            libc::AF_INET | libc::AF_INET6 => Err(short()),
            family => Err(Error::new(
                libc::EAFNOSUPPORT,
                format!("a sockaddr of family {family}: must be AF_INET or AF_INET6"),
            )),
        }
    }
}

/// Writes a struct of the system's as far as there is room, as getsockname(2) does.
///
/// # Safety
///
/// `into` is null or points to `length` writable bytes.
unsafe fn write<T: Copy>(value: T, into: *mut sockaddr, length: &mut socklen_t) -> Result<()> {
    let (room, needed) = (*length as usize, size_of::<T>());
    if into.is_null() {
        return Err(Error::null("the sockaddr"));
    }
    // No address is longer than a few dozen bytes.
    *length = needed as socklen_t;
    if room < needed {
        return Err(Error::new(
            libc::ENOSPC,
            format!("the address needs {needed} bytes and there are {room}: use a sockaddr_storage"),
        ));
    }
    // SAFETY: there is room.
    unsafe { into.cast::<T>().write_unaligned(value) };
    Ok(())
}

/// Writes an address of lwIP's and a port (0 to 65535, in host order) as a sockaddr_in or a
/// sockaddr_in6. `len` says how much room there is, and becomes the length of the address. The zone of
/// an IPv6 address becomes its scope id, the index of a netif of lwIP's. Returns 0, or -1 with errno:
/// ENOSPC if there is too little room, `len` then says how much is needed.
///
/// # Safety
///
/// The pointers are NULL or valid; `sockaddr` has as much room as `len` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ip_addr_to_sockaddr(
    addr: *const ip_addr_t,
    port: c_int,
    sockaddr: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    status(|| {
        // SAFETY: as the caller promised.
        let (addr, len) = unsafe { (addr.as_ref(), len.as_mut()) };
        let addr = addr.ok_or_else(|| Error::null("the address"))?;
        let len = len.ok_or_else(|| Error::null("the length"))?;
        let port = port_of(port)?.to_be();
        match to_ip(addr) {
            IpAddr::V4(v4) => {
                // SAFETY: all-zero is a valid sockaddr_in; there is as much room as `len` says.
                unsafe {
                    let mut value = std::mem::zeroed::<sockaddr_in>();
                    value.sin_family = libc::AF_INET as libc::sa_family_t;
                    value.sin_port = port;
                    value.sin_addr.s_addr = u32::from_ne_bytes(v4.octets());
                    write(value, sockaddr, len)
                }
            }
            IpAddr::V6(v6) => {
                // SAFETY: likewise.
                unsafe {
                    let mut value = std::mem::zeroed::<sockaddr_in6>();
                    value.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    value.sin6_port = port;
                    value.sin6_addr.s6_addr = v6.octets();
                    value.sin6_scope_id = zone(addr).into();
                    write(value, sockaddr, len)
                }
            }
        }
    })
}

/// A port as C passes it.
pub(crate) fn port_of(port: c_int) -> Result<u16> {
    u16::try_from(port).map_err(|_| Error::invalid(format!("the port {port}: must be 0 to 65535")))
}

/// Reads a sockaddr_in or a sockaddr_in6 as an address of lwIP's, and a port in host order if `port` is
/// not NULL. The scope id of a link-local address becomes its zone: the index of a netif of lwIP's, or
/// 0, and lwIP looks for one. An IPv4 address within IPv6 (::ffff:1.2.3.4) becomes the IPv4 address,
/// since lwIP knows no such. Returns 0, or -1 with errno: EAFNOSUPPORT for another family.
///
/// # Safety
///
/// The pointers are NULL or valid; `sockaddr` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockaddr_to_ip_addr(
    sockaddr: *const sockaddr,
    len: socklen_t,
    addr: *mut ip_addr_t,
    port: *mut c_int,
) -> c_int {
    status(|| {
        // SAFETY: as the caller promised.
        let (found, number) = unsafe { read(sockaddr, len) }?;
        // SAFETY: likewise.
        unsafe {
            *addr.as_mut().ok_or_else(|| Error::null("the address"))? = found;
            if let Some(port) = port.as_mut() {
                *port = number.into();
            }
        }
        Ok(())
    })
}

/// Makes an address of the four bytes of an IPv4 address in network order. With a NULL it does nothing.
///
/// # Safety
///
/// The pointers are NULL or valid; `raw` points to 4 bytes, aligned or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn raw_to_ip4_addr(raw: *const c_void, addr: *mut ip_addr_t) {
    if !raw.is_null() && !addr.is_null() {
        // SAFETY: as the caller promised.
        unsafe { addr.write(sys::ip_addr(raw.cast::<[u8; 4]>().read_unaligned().into())) };
    }
}

/// Makes an address, without a zone, of the 16 bytes of an IPv6 address. With a NULL it does nothing.
///
/// # Safety
///
/// The pointers are NULL or valid; `raw` points to 16 bytes, aligned or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn raw_to_ip6_addr(raw: *const c_void, addr: *mut ip_addr_t) {
    if !raw.is_null() && !addr.is_null() {
        // SAFETY: as the caller promised.
        unsafe { addr.write(sys::ip_addr(raw.cast::<[u8; 16]>().read_unaligned().into())) };
    }
}
