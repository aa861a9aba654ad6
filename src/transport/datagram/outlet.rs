//! A socket that datagrams leave through.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, UnixAddr, bind, connect, getsockname, send, sendmmsg, sendto, setsockopt, socket,
    sockopt,
};

use super::address::Target;
use crate::hub::Fd;

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has it.
    Done,
    /// There is no room now.
    Later,
    /// It is larger than the socket can send.
    TooLarge,
    /// Nobody listens at the other end.
    Gone,
    /// The system refused it.
    Failed(Errno),
}

impl From<Errno> for Sent {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR => Sent::Later,
            Errno::EMSGSIZE => Sent::TooLarge,
            Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE => {
                Sent::Gone
            }
            errno => Sent::Failed(errno),
        }
    }
}

const SEND: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// UDP sockets that every process of a host sends from, so that a subscriber sees one source port
/// whichever process raised the event. Opened before the host forks, and inherited.
#[derive(Debug)]
pub struct UdpSockets {
    v4: Fd<OwnedFd>,
    /// None on a system without IPv6.
    v6: Option<Fd<OwnedFd>>,
}

impl UdpSockets {
    /// Binds a port of the kernel's choice. `send_buffer` is in bytes; 0 leaves the system's default.
    pub fn open(send_buffer: usize) -> io::Result<Self> {
        let v4 = udp_socket(AddressFamily::Inet, send_buffer)?;
        bind(v4.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
        let port = getsockname::<SockaddrIn>(v4.as_raw_fd())?.port();
        let v6 = udp_socket(AddressFamily::Inet6, send_buffer).and_then(|socket| {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            let address =
                |port| SockaddrIn6::from(std::net::SocketAddrV6::new([0; 16].into(), port, 0, 0));
            // The same port as a courtesy; any other is as stable.
            bind(socket.as_raw_fd(), &address(port))
                .or_else(|_| bind(socket.as_raw_fd(), &address(0)))?;
            Ok(socket)
        });
        Ok(UdpSockets { v4: Fd::inherited(v4), v6: v6.ok().map(Fd::inherited) })
    }

    fn of(&self, address: &SocketAddr) -> Option<&Fd<OwnedFd>> {
        if address.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() }
    }
}

fn udp_socket(family: AddressFamily, send_buffer: usize) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    set_send_buffer(&socket, send_buffer)?;
    Ok(socket)
}

fn set_send_buffer(socket: &OwnedFd, bytes: usize) -> nix::Result<()> {
    if bytes > 0 { setsockopt(socket, sockopt::SndBuf, &bytes) } else { Ok(()) }
}

/// The way to one target. A unix socket is connected to it, and so is UDP unless the sockets are
/// shared: then the kernel tells when the other end has room, or is gone.
#[derive(Debug)]
pub struct Outlet {
    target: Target,
    send_buffer: usize,
    shared: Option<Arc<UdpSockets>>,
    /// None until it is needed, and after the other end has gone.
    connected: Option<Fd<OwnedFd>>,
}

impl Outlet {
    /// An outlet of its own. `send_buffer` is in bytes; 0 leaves the system's default.
    pub fn new(target: Target, send_buffer: usize) -> Self {
        Outlet { target, send_buffer, shared: None, connected: None }
    }

    /// An outlet that sends UDP through sockets that others use, too.
    pub fn through(target: Target, send_buffer: usize, shared: Arc<UdpSockets>) -> Self {
        Outlet { shared: Some(shared), ..Outlet::new(target, send_buffer) }
    }

    /// Whether datagrams are bounded by [`super::MAX_UDP`].
    pub fn is_udp(&self) -> bool {
        matches!(self.target, Target::Udp(_))
    }

    /// Sends a datagram, if it can be done without waiting.
    pub fn send(&mut self, datagram: &[u8]) -> Sent {
        if let (Target::Udp(address), Some(shared)) = (&self.target, &self.shared) {
            let Some(socket) = shared.of(address) else { return Sent::Failed(Errno::EAFNOSUPPORT) };
            let address = SockaddrStorage::from(*address);
            return match sendto(socket.as_fd().as_raw_fd(), datagram, &address, SEND) {
                Ok(_) => Sent::Done,
                Err(errno) => errno.into(),
            };
        }
        let fresh = self.connected.is_none();
        match self.send_connected(datagram) {
            // UDP reports here that an earlier datagram was refused; a unix listener that was started
            // anew has a new socket at the same path. Both are worth a second try.
            Sent::Gone if !fresh => {
                if !self.is_udp() {
                    self.connected = None;
                }
                self.send_connected(datagram)
            }
            sent => sent,
        }
    }

    fn send_connected(&mut self, datagram: &[u8]) -> Sent {
        let socket = match self.connect() {
            Ok(socket) => socket,
            Err(errno) => return errno.into(),
        };
        match send(socket.as_raw_fd(), datagram, SEND) {
            Ok(_) => Sent::Done,
            Err(errno) => errno.into(),
        }
    }

    /// Sends the first of several datagrams, or, where the kernel knows the other end, as many of
    /// them as can be sent without waiting, in one system call. Says how many, and what kept the
    /// next from being sent.
    pub fn send_many(&mut self, datagrams: &[&[u8]]) -> (usize, Sent) {
        let Some(first) = datagrams.first() else { return (0, Sent::Done) };
        if datagrams.len() > 1
            && let Some(socket) = &self.connected
        {
            let slices: Vec<[IoSlice<'_>; 1]> =
                datagrams.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
            let mut headers = MultiHeaders::<()>::preallocate(datagrams.len(), None);
            let nowhere = vec![None; datagrams.len()];
            let raw = socket.as_fd().as_raw_fd();
            if let Ok(sent) = sendmmsg(raw, &mut headers, slices.iter(), nowhere, [], SEND) {
                let count = sent.count();
                let whole = count == datagrams.len();
                return (count, if whole { Sent::Done } else { Sent::Later });
            }
        }
        // The first one's own error, and a reconnection if that is what it takes.
        match self.send(first) {
            Sent::Done => (1, Sent::Done),
            other => (0, other),
        }
    }

    /// What to wait on for room.
    pub fn socket(&mut self) -> nix::Result<BorrowedFd<'_>> {
        if let (Target::Udp(address), true) = (self.target, self.shared.is_some()) {
            let socket = self.shared.as_ref().and_then(|shared| shared.of(&address));
            return socket.map(AsFd::as_fd).ok_or(Errno::EAFNOSUPPORT);
        }
        self.connect()
    }

    fn connect(&mut self) -> nix::Result<BorrowedFd<'_>> {
        if self.connected.is_none() {
            let connected = match self.target {
                Target::Udp(address) => {
                    let family =
                        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
                    let socket = udp_socket(family, self.send_buffer)?;
                    connect_to(socket, &SockaddrStorage::from(address))?
                }
                Target::Unix(path) => {
                    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
                    set_send_buffer(&socket, self.send_buffer)?;
                    connect_to(socket, &UnixAddr::new(path.as_bytes())?)?
                }
            };
            self.connected = Some(Fd::new(connected));
        }
        self.connected.as_ref().map(AsFd::as_fd).ok_or(Errno::ENOTCONN)
    }
}

fn connect_to(socket: OwnedFd, address: &dyn SockaddrLike) -> nix::Result<OwnedFd> {
    connect(socket.as_raw_fd(), address)?;
    Ok(socket)
}
