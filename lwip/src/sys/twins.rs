//! The macros and inline functions of lwIP's headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{IPADDR_TYPE_V4, IPADDR_TYPE_V6, ip_addr_t, lwip_ip_addr_type};

/// What lwIP's functions return when all is well.
pub(crate) const OK: super::err_t = super::ERR_OK as super::err_t;

/// An address in lwIP's form, without a zone.
pub(crate) fn ip_addr(address: IpAddr) -> ip_addr_t {
    // SAFETY: all-zero is the address 0.0.0.0.
    let mut lwip = unsafe { std::mem::zeroed::<ip_addr_t>() };
    match address {
        IpAddr::V4(v4) => {
            lwip.u_addr.ip4.addr = u32::from_ne_bytes(v4.octets());
            lwip.type_ = IPADDR_TYPE_V4 as u8;
        }
        IpAddr::V6(v6) => {
            // SAFETY: any bytes are an IPv6 address; the words are in network order, as in memory.
            lwip.u_addr.ip6.addr = unsafe { std::mem::transmute::<[u8; 16], [u32; 4]>(v6.octets()) };
            lwip.type_ = IPADDR_TYPE_V6 as u8;
        }
    }
    lwip
}

/// An address of lwIP's; the zone is lost. IPADDR_TYPE_ANY counts as IPv6, as in lwIP.
pub(crate) fn to_ip(address: &ip_addr_t) -> IpAddr {
    // SAFETY: either variant of the union is plain words, and both are initialized: lwIP's own
    // macros write the union through its larger variant.
    unsafe {
        if lwip_ip_addr_type::from(address.type_) == IPADDR_TYPE_V4 {
            IpAddr::V4(Ipv4Addr::from(address.u_addr.ip4.addr.to_ne_bytes()))
        } else {
            let words: [u8; 16] = std::mem::transmute::<[u32; 4], [u8; 16]>(address.u_addr.ip6.addr);
            IpAddr::V6(Ipv6Addr::from(words))
        }
    }
}
