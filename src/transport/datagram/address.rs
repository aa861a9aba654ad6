//! Where datagrams go, as operators write it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A destination, resolved. It owns no memory, so it can lie in memory that processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A UDP port.
    Udp(SocketAddr),
    /// A unix datagram socket.
    Unix(UnixPath),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Udp(address) => write!(f, "udp:{address}"),
            Target::Unix(path) => write!(f, "unix:{path:?}"),
        }
    }
}

/// The path of a unix socket: as long as `sockaddr_un` allows, 107 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnixPath {
    bytes: [u8; UnixPath::MAX],
    len: u8,
}

impl UnixPath {
    const MAX: usize = 107;

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    address: String,
    message: String,
}

impl AddressError {
    fn new(address: &[u8], message: impl Into<String>) -> Self {
        AddressError { address: String::from_utf8_lossy(address).into_owned(), message: message.into() }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>: {}", self.address, self.message)
    }
}

impl std::error::Error for AddressError {}

/// Understands `udp:host:port`, `udp:[v6]:port`, `unix:path`, or a path that begins with `/`.
pub fn parse(address: &str) -> Result<Target, AddressError> {
    let bytes = address.as_bytes();
    if let Some(rest) = bytes.strip_prefix(b"udp:") {
        parse_udp(rest)
    } else if let Some(path) = bytes.strip_prefix(b"unix:") {
        parse_unix(path)
    } else if bytes.starts_with(b"/") {
        parse_unix(bytes)
    } else {
        Err(AddressError::new(bytes, "an address is udp:host:port or unix:/path"))
    }
}

/// Understands what follows `udp:`. A host name is looked up, which can take a while.
pub fn parse_udp(address: &[u8]) -> Result<Target, AddressError> {
    parse_udp_with(address, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// The same with another way to look up a host's name, given with the port.
pub fn parse_udp_with(
    address: &[u8],
    look_up: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<Target, AddressError> {
    let refuse = |message: &str| Err(AddressError::new(address, message));
    let Ok(text) = std::str::from_utf8(address) else {
        return refuse("the address is not UTF-8");
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once("]:") {
            Some((host, port)) if host.contains(':') => (host, port),
            _ => return refuse("an IPv6 address is written [address]:port"),
        },
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return refuse("an IPv6 address is written [address]:port");
            }
            Some(parts) => parts,
            None => return refuse("the port is missing: host:port"),
        },
    };
    if host.is_empty() {
        return refuse("the host is missing: host:port");
    }
    // u16's own parser would accept a plus sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => port,
        _ => return refuse("the port must be a number from 1 to 65535"),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Target::Udp(SocketAddr::new(ip, port)));
    }
    let found = match look_up(host, port) {
        Ok(found) => found,
        Err(error) => {
            return Err(AddressError::new(address, format!("cannot resolve the host: {error}")));
        }
    };
    match found.iter().find(|found| found.is_ipv4()).or(found.first()) {
        Some(first) => Ok(Target::Udp(*first)),
        None => refuse("the host has no address"),
    }
}

/// Understands what follows `unix:`.
pub fn parse_unix(path: &[u8]) -> Result<Target, AddressError> {
    if path.is_empty() {
        return Err(AddressError::new(path, "the path is missing: unix:/path"));
    }
    if path.contains(&0) {
        return Err(AddressError::new(path, "a path has no zero byte"));
    }
    if path.len() > UnixPath::MAX {
        let message =
            format!("a socket path has at most {} bytes, this one has {}", UnixPath::MAX, path.len());
        return Err(AddressError::new(path, message));
    }
    let mut bytes = [0; UnixPath::MAX];
    bytes[..path.len()].copy_from_slice(path);
    Ok(Target::Unix(UnixPath { bytes, len: path.len() as u8 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_opensips_accepts_is_accepted() {
        let udp = |text: &str| Target::Udp(text.parse().unwrap());
        assert_eq!(parse("udp:127.0.0.1:9000"), Ok(udp("127.0.0.1:9000")));
        assert_eq!(parse("udp:127.0.0.1:65535"), Ok(udp("127.0.0.1:65535")));
        assert_eq!(parse("udp:localhost:5001"), Ok(udp("127.0.0.1:5001")));
        assert_eq!(parse("udp:[::1]:5060"), Ok(udp("[::1]:5060")));
        for path in ["unix:/tmp/a.sock", "/tmp/a.sock"] {
            let Ok(Target::Unix(path)) = parse(path) else { panic!("{path} is refused") };
            assert_eq!(path.as_bytes(), b"/tmp/a.sock");
        }
        assert!(matches!(parse_unix(b"relative"), Ok(Target::Unix(_))));
        assert!(parse_unix(&[b'x'; 107]).is_ok());
    }

    #[test]
    fn what_opensips_refuses_or_gets_wrong_is_refused_by_name() {
        for (address, reason) in [
            ("udp:", "port is missing"),
            ("udp:1", "port is missing"),
            ("udp::5", "host is missing"),
            ("udp:127.0.0.1:", "1 to 65535"),
            ("udp:127.0.0.1:abc", "1 to 65535"),
            ("udp:127.0.0.1:0", "1 to 65535"),
            ("udp:127.0.0.1:+5", "1 to 65535"),
            ("udp:127.0.0.1:99999", "1 to 65535"),
            ("udp:::1:5060", "[address]:port"),
            ("udp:[::1]", "[address]:port"),
            ("udp:no-such-host.invalid:5060", "cannot resolve"),
            ("unix:", "path is missing"),
            ("junk", "udp:host:port or unix:/path"),
        ] {
            let error = parse(address).unwrap_err().to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
        let long = [b'x'; 138];
        assert!(
            parse_unix(&long).unwrap_err().to_string().contains("at most 107 bytes, this one has 138")
        );
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(address in prop::collection::vec(any::<u8>(), 0..150)) {
            let _ = parse_unix(&address);
            let _ = parse_udp_with(&address, |_, _| Ok(Vec::new()));
        }
    }
}
