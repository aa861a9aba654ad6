//! Sockets that events are sent to.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tempfile::TempDir;

use crate::common::retry;
use crate::opensips::{LONG, eventually, own_ip};

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// A listener. It is read only when a test asks for what it got.
pub struct Listener {
    socket: Socket,
    /// As a subscriber is written: `udp:127.0.0.1:9000`.
    pub address: String,
    _dir: Option<TempDir>,
}

impl Listener {
    /// A UDP port that no other listener of this program has had.
    pub fn udp() -> Listener {
        static NEXT: AtomicU16 = AtomicU16::new(10_000);
        eventually("a free port", || {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            Listener::try_udp(SocketAddr::from((own_ip(252), port))).ok()
        })
    }

    /// A UDP port of an address; an error if it is not to be had.
    pub fn try_udp(address: SocketAddr) -> io::Result<Listener> {
        let socket = UdpSocket::bind(address)?;
        setsockopt(&socket.as_fd(), sockopt::RcvBuf, &(4 << 20))?;
        let port = socket.local_addr()?.port();
        let address = match address.ip() {
            IpAddr::V4(ip) => format!("udp:{ip}:{port}"),
            IpAddr::V6(ip) => format!("udp:[{ip}]:{port}"),
        };
        Ok(Listener { socket: Socket::Udp(socket), address, _dir: None })
    }

    /// A unix socket in a directory of its own.
    pub fn unix() -> Listener {
        let dir = TempDir::new().unwrap();
        let listener = Listener::unix_at(&dir.path().join("events"));
        Listener { _dir: Some(dir), ..listener }
    }

    /// A unix socket at a path that is free.
    pub fn unix_at(path: &Path) -> Listener {
        let socket = UnixDatagram::bind(path).unwrap();
        Listener {
            socket: Socket::Unix(socket),
            address: format!("unix:{}", path.display()),
            _dir: None,
        }
    }

    /// The path of a unix socket.
    pub fn path(&self) -> PathBuf {
        self.address.strip_prefix("unix:").expect("a unix socket").into()
    }

    pub fn port(&self) -> u16 {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().unwrap().port(),
            Socket::Unix(_) => panic!("a unix socket has no port"),
        }
    }

    /// The next datagram, and the address that it came from (empty if it has none).
    pub fn next_from(&self) -> (Vec<u8>, String) {
        self.receive(LONG).unwrap_or_else(|| panic!("{}: nothing arrives", self.address))
    }

    /// The next datagram.
    pub fn next(&self) -> Vec<u8> {
        self.next_from().0
    }

    /// The datagrams that are here now.
    pub fn waiting(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive(Duration::ZERO).map(|(datagram, _)| datagram)).collect()
    }

    /// The next datagram must be this one.
    pub fn expect(&self, datagram: impl AsRef<[u8]>) {
        let (got, wanted) = (self.next(), datagram.as_ref());
        assert!(
            got == wanted,
            "{}:\n     got {}\nexpected {}",
            self.address,
            got.escape_ascii(),
            wanted.escape_ascii()
        );
    }

    fn receive(&self, patience: Duration) -> Option<(Vec<u8>, String)> {
        let mut buffer = vec![0; 1 << 18];
        self.wait_at_most(patience).unwrap();
        let received = retry(|| match &self.socket {
            Socket::Udp(socket) => {
                socket.recv_from(&mut buffer).map(|(len, from)| (len, from.to_string()))
            }
            Socket::Unix(socket) => socket.recv(&mut buffer).map(|len| (len, String::new())),
        });
        let (len, from) = match received {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
            Err(e) => panic!("{}: {e}", self.address),
        };
        buffer.truncate(len);
        Some((buffer, from))
    }

    /// Zero is not to wait at all.
    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        let (blocks, time) = (!time.is_zero(), Some(time).filter(|time| !time.is_zero()));
        match &self.socket {
            Socket::Udp(socket) => {
                socket.set_nonblocking(!blocks)?;
                socket.set_read_timeout(time)
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(!blocks)?;
                socket.set_read_timeout(time)
            }
        }
    }
}
