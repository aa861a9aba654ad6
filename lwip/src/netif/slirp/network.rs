//! The network that libslirp makes up: its prefixes, and who has which address in it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};

/// The numbers of host, program and name server in the network, as QEMU has them.
const HOST: u32 = 2;
const NAME_SERVER: u32 = 3;
const GUEST: u32 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ipv4Network {
    pub network: Ipv4Addr,
    pub mask: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ipv6Network {
    pub prefix: Ipv6Addr,
    pub length: u8,
}

impl Ipv4Network {
    pub fn parse(text: &str) -> Result<Ipv4Network> {
        /// The last that leaves a number for everybody.
        const LONGEST: u32 = 27;
        let wrong =
            || Error::invalid(format!("\"{text}\" is not an IPv4 network such as \"10.0.2.0/24\""));
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().map_err(|_| wrong())?;
        if !(8..=LONGEST).contains(&length) {
            return Err(Error::invalid(format!("\"{text}\": a length of 8 to {LONGEST} is possible")));
        }
        let mask = u32::MAX << (32 - length);
        if u32::from(address) & !mask != 0 {
            return Err(Error::invalid(format!("\"{text}\" is an address in a network, not a network")));
        }
        Ok(Ipv4Network { network: address, mask: mask.into() })
    }

    fn number(self, number: u32) -> Ipv4Addr {
        (u32::from(self.network) | number).into()
    }

    pub fn host(self) -> Ipv4Addr {
        self.number(HOST)
    }

    pub fn name_server(self) -> Ipv4Addr {
        self.number(NAME_SERVER)
    }

    pub fn guest(self) -> Ipv4Addr {
        self.number(GUEST)
    }
}

impl Ipv6Network {
    pub fn parse(text: &str) -> Result<Ipv6Network> {
        let wrong =
            || Error::invalid(format!("\"{text}\" is not an IPv6 network such as \"fec0::/64\""));
        let (prefix, length) = text.split_once('/').ok_or_else(wrong)?;
        let prefix: Ipv6Addr = prefix.parse().map_err(|_| wrong())?;
        // SLAAC, by which lwIP takes its address, wants 64 (RFC 4862 with RFC 4291).
        if length != "64" {
            return Err(Error::invalid(format!("\"{text}\": only a length of 64 is possible")));
        }
        if u128::from(prefix) << 64 != 0 {
            return Err(Error::invalid(format!("\"{text}\" is an address in a network, not a network")));
        }
        Ok(Ipv6Network { prefix, length: 64 })
    }

    fn number(self, number: u32) -> Ipv6Addr {
        (u128::from(self.prefix) | u128::from(number)).into()
    }

    pub fn host(self) -> Ipv6Addr {
        self.number(HOST)
    }

    pub fn name_server(self) -> Ipv6Addr {
        self.number(NAME_SERVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_numbers() {
        let v4 = Ipv4Network::parse("192.168.64.0/20").unwrap();
        assert_eq!(v4.mask, Ipv4Addr::new(255, 255, 240, 0));
        assert_eq!(v4.host(), Ipv4Addr::new(192, 168, 64, 2));
        assert_eq!(v4.guest(), Ipv4Addr::new(192, 168, 64, 15));
        let v6 = Ipv6Network::parse("fd00:1::/64").unwrap();
        assert_eq!(v6.name_server(), "fd00:1::3".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.2.0", "10.0.2.0/", "10.0.2.0/33", "10.0.2.0/30", "10.0.2.1/24", "fec0::/64"]
        {
            assert!(Ipv4Network::parse(text).is_err(), "{text}");
        }
        for text in ["", "fec0::", "fec0::/63", "fec0::1/64", "10.0.2.0/24"] {
            assert!(Ipv6Network::parse(text).is_err(), "{text}");
        }
    }
}
