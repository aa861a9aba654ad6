//! Setting up the kernel's side of an interface, through its ioctls (netdevice(7)).

use std::ffi::CStr;
use std::mem::zeroed;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::error::{Error, Result};

/// An address and the length of its prefix, such as "10.0.0.1/24".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    pub fn parse(text: &CStr) -> Result<Prefix> {
        let wrong =
            || Error::invalid(format!("address {text:?}: must be like 10.0.0.1/24 or fd00::1/64"));
        let (address, length) =
            text.to_str().ok().and_then(|text| text.split_once('/')).ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length = length.parse().map_err(|_| wrong())?;
        match length <= if address.is_ipv4() { 32 } else { 128 } {
            true => Ok(Prefix { address, length }),
            false => Err(wrong()),
        }
    }
}

/// An interface of the kernel.
pub(super) struct Interface {
    name: [libc::c_char; libc::IFNAMSIZ],
    socket: OwnedFd,
}

impl Interface {
    /// The interface of that name, which need not exist yet; empty to let the kernel choose.
    pub fn named(name: &CStr) -> Result<Interface> {
        let bytes = name.to_bytes();
        if bytes.len() >= libc::IFNAMSIZ || bytes.contains(&b'/') {
            return Err(Error::invalid(format!(
                "interface {name:?}: a name has up to 15 bytes and no slash"
            )));
        }
        let mut own = [0; libc::IFNAMSIZ];
        own.iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte as libc::c_char);
        Ok(Interface { name: own, socket: socket(libc::AF_INET)? })
    }

    pub fn name(&self) -> &CStr {
        // SAFETY: named() leaves a zero at the end, and the kernel does.
        unsafe { CStr::from_ptr(self.name.as_ptr()) }
    }

    /// Asks the kernel about it or changes it; what it has answered.
    fn request(
        &self,
        fd: RawFd,
        request: libc::Ioctl,
        what: &str,
        fill: impl FnOnce(&mut libc::ifreq),
    ) -> Result<libc::ifreq> {
        // SAFETY: all-zero is a valid ifreq.
        let mut ifreq = unsafe { zeroed::<libc::ifreq>() };
        ifreq.ifr_name = self.name;
        fill(&mut ifreq);
        // SAFETY: the requests that come here read and write an ifreq.
        match unsafe { libc::ioctl(fd, request, &mut ifreq) } {
            -1 => Err(Error::os(format_args!("{what} of interface {:?}", self.name()))),
            _ => Ok(ifreq),
        }
    }

    /// Makes the descriptor of /dev/net/tun that of this interface, which takes the name that the kernel
    /// has given it.
    pub fn attach(&mut self, fd: RawFd, flags: i16) -> Result<()> {
        let fill = |ifreq: &mut libc::ifreq| ifreq.ifr_ifru.ifru_flags = flags;
        self.name = self.request(fd, libc::TUNSETIFF, "TUNSETIFF", fill)?.ifr_name;
        Ok(())
    }

    pub fn index(&self) -> Result<i32> {
        let answer = self.request(self.socket.as_raw_fd(), libc::SIOCGIFINDEX, "the index", |_| {})?;
        // SAFETY: what this request writes.
        Ok(unsafe { answer.ifr_ifru.ifru_ifindex })
    }

    pub fn mtu(&self) -> Result<u32> {
        let answer = self.request(self.socket.as_raw_fd(), libc::SIOCGIFMTU, "the MTU", |_| {})?;
        // SAFETY: what this request writes.
        Ok(unsafe { answer.ifr_ifru.ifru_mtu } as u32)
    }

    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        let fill = |ifreq: &mut libc::ifreq| ifreq.ifr_ifru.ifru_mtu = mtu as i32;
        self.request(self.socket.as_raw_fd(), libc::SIOCSIFMTU, "the MTU", fill).map(drop)
    }

    pub fn set_up(&self) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        let answer = self.request(fd, libc::SIOCGIFFLAGS, "the flags", |_| {})?;
        // SAFETY: what this request writes.
        let flags = unsafe { answer.ifr_ifru.ifru_flags } | libc::IFF_UP as i16;
        let fill = |ifreq: &mut libc::ifreq| ifreq.ifr_ifru.ifru_flags = flags;
        self.request(fd, libc::SIOCSIFFLAGS, "the flags", fill).map(drop)
    }

    /// Gives the kernel's side an address.
    pub fn set_address(&self, prefix: Prefix) -> Result<()> {
        match prefix.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length)).unwrap_or(0);
                let fd = self.socket.as_raw_fd();
                for (request, address) in
                    [(libc::SIOCSIFADDR, address.octets()), (libc::SIOCSIFNETMASK, mask.to_be_bytes())]
                {
                    self.request(fd, request, "the address", |ifreq| {
                        let mut inet = libc::sockaddr_in {
                            sin_family: libc::AF_INET as libc::sa_family_t,
                            sin_port: 0,
                            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address) },
                            sin_zero: [0; 8],
                        };
                        // SAFETY: both are sockaddrs of the same size.
                        ifreq.ifr_ifru.ifru_addr = unsafe { *(&raw mut inet).cast() };
                    })?;
                }
                Ok(())
            }
            IpAddr::V6(address) => {
                let socket = socket(libc::AF_INET6)?;
                let mut request = In6Ifreq {
                    address: address.octets(),
                    prefix: u32::from(prefix.length),
                    index: self.index()?,
                    unread: [0; 16],
                };
                // SAFETY: the request reads a struct in6_ifreq.
                match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &mut request) } {
                    -1 => {
                        Err(Error::os(format_args!("address {address} of interface {:?}", self.name())))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// struct in6_ifreq of linux/ipv6.h.
#[repr(C)]
struct In6Ifreq {
    address: [u8; 16],
    prefix: u32,
    index: i32,
    /// The rest of a struct ifreq, which valgrind takes it for.
    unread: [u8; 16],
}

fn socket(family: i32) -> Result<OwnedFd> {
    // SAFETY: a new descriptor, which is ours.
    unsafe {
        match libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => Err(Error::os("socket")),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
