//! A socket that datagrams leave through.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage,
    UnixAddr, bind, connect, getsockname, send, sendmmsg, setsockopt, socket, sockopt,
};
use nix::sys::stat::stat;

use super::MAX_UDP;
use super::address::{Target, UnixPath};
use crate::hub::Fd;

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has it.
    Done,
    /// There is no room now; the socket tells when there is.
    Later,
    /// The system has no buffers now, and nothing tells when it has.
    NoBuffers,
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
            Errno::EAGAIN | Errno::EINTR => Sent::Later,
            Errno::ENOBUFS => Sent::NoBuffers,
            Errno::EMSGSIZE => Sent::TooLarge,
            Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE => {
                Sent::Gone
            }
            errno => Sent::Failed(errno),
        }
    }
}

const SEND: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// The source ports that every process of a host sends from, so that a subscriber sees one port
/// whichever process raised the event. Taken before the host forks; no process sends through these
/// sockets themselves, they keep the ports.
#[derive(Debug)]
pub struct SourcePorts {
    v4: Fd<OwnedFd>,
    /// None on a system without IPv6.
    v6: Option<Fd<OwnedFd>>,
}

impl SourcePorts {
    /// Takes a port of the kernel's choice; for IPv6 the same if it is free.
    pub fn take() -> io::Result<Self> {
        let v4 = udp_socket(AddressFamily::Inet)?;
        bind(v4.as_raw_fd(), &any_v4(0))?;
        let port = getsockname::<SockaddrIn>(v4.as_raw_fd())?.port();
        let v6 = udp_socket(AddressFamily::Inet6).and_then(|socket| {
            bind(socket.as_raw_fd(), &any_v6(port)).or_else(|_| bind(socket.as_raw_fd(), &any_v6(0)))?;
            Ok(socket)
        });
        Ok(SourcePorts { v4: Fd::inherited(v4), v6: v6.ok().map(Fd::inherited) })
    }

    fn bind(&self, socket: &OwnedFd, to: &SocketAddr) -> nix::Result<()> {
        match (to, &self.v6) {
            (SocketAddr::V4(_), _) => {
                let port = getsockname::<SockaddrIn>(self.v4.as_fd().as_raw_fd())?.port();
                bind(socket.as_raw_fd(), &any_v4(port))
            }
            (SocketAddr::V6(_), Some(v6)) => {
                let port = getsockname::<SockaddrIn6>(v6.as_fd().as_raw_fd())?.port();
                bind(socket.as_raw_fd(), &any_v6(port))
            }
            (SocketAddr::V6(_), None) => Err(Errno::EAFNOSUPPORT),
        }
    }
}

fn any_v4(port: u16) -> SockaddrIn {
    SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}

fn any_v6(port: u16) -> SockaddrIn6 {
    SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0))
}

/// A UDP socket that shares its port with others that do the same, whatever user they belong to:
/// hosts change theirs after they have started.
fn udp_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(socket)
}

/// How often we look whether another listener has taken a unix path: to look with each datagram costs too
/// much.
const LOOK: Duration = Duration::from_millis(100);

/// The way to one target: a socket that is connected to it, so that the kernel tells when the other
/// end has room, or is gone, and need not look for the way each time.
#[derive(Debug)]
pub struct Outlet {
    target: Target,
    /// Bytes; 0 leaves the system's default.
    send_buffer: usize,
    source: Option<Arc<SourcePorts>>,
    /// None until it is needed, and after the way has turned out to lead nowhere.
    connected: Option<Fd<OwnedFd>>,
    /// Of a unix path: which socket was there when we connected, and when we looked last.
    seen: Option<(u64, u64)>,
    looked: Option<Instant>,
}

impl Outlet {
    /// An outlet to `target`. UDP leaves from the ports of `source`, or else from a port of its own.
    /// `send_buffer` is in bytes; 0 leaves the system's default.
    pub fn new(target: Target, send_buffer: usize, source: Option<Arc<SourcePorts>>) -> Self {
        Outlet { target, send_buffer, source, connected: None, seen: None, looked: None }
    }

    /// Whether datagrams are bounded by [`MAX_UDP`].
    pub fn is_udp(&self) -> bool {
        matches!(self.target, Target::Udp(_))
    }

    /// Sends a datagram, if it can be done without waiting.
    pub fn send(&mut self, datagram: &[u8]) -> Sent {
        self.follow_path();
        let fresh = self.connected.is_none();
        let sent = self.try_send(datagram);
        match sent {
            // UDP reports here what became of an earlier datagram.
            Sent::Gone | Sent::TooLarge if self.is_udp() => {}
            // A unix listener that was started anew has a new socket at the same path; the address that
            // UDP is sent from may be ours no more.
            Sent::Gone | Sent::Failed(_) => self.connected = None,
            _ => return sent,
        }
        if fresh { sent } else { self.try_send(datagram) }
    }

    /// Lets go of a unix listener that lives on, if another has taken its path.
    fn follow_path(&mut self) {
        let Target::Unix(path) = &self.target else { return };
        if self.connected.is_none() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let there = socket_at(path);
        if there.is_some() && there != self.seen {
            self.connected = None;
        }
    }

    fn try_send(&mut self, datagram: &[u8]) -> Sent {
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(errno) => return errno.into(),
        };
        match send(socket.as_raw_fd(), datagram, SEND) {
            Ok(_) => Sent::Done,
            Err(errno) => errno.into(),
        }
    }

    /// Sends as many of several datagrams as can be sent without waiting, in one system call. Says
    /// how many, and what kept the next from being sent.
    pub fn send_many(&mut self, datagrams: &[&[u8]]) -> (usize, Sent) {
        let Some(first) = datagrams.first() else { return (0, Sent::Done) };
        self.follow_path();
        if datagrams.len() > 1
            && let Ok(socket) = self.socket()
        {
            let slices: Vec<[IoSlice<'_>; 1]> =
                datagrams.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
            let mut headers = MultiHeaders::<()>::preallocate(datagrams.len(), None);
            let nowhere = vec![None; datagrams.len()];
            if let Ok(sent) =
                sendmmsg(socket.as_raw_fd(), &mut headers, slices.iter(), nowhere, [], SEND)
            {
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

    /// The socket, connected if it was not.
    pub fn socket(&mut self) -> nix::Result<BorrowedFd<'_>> {
        if self.connected.is_none() {
            self.connected = Some(Fd::new(self.connect()?));
        }
        self.connected.as_ref().map(AsFd::as_fd).ok_or(Errno::ENOTCONN)
    }

    fn connect(&mut self) -> nix::Result<OwnedFd> {
        let socket = match self.target {
            Target::Udp(to) => {
                let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
                let socket = udp_socket(family)?;
                if let Some(source) = &self.source {
                    source.bind(&socket, &to)?;
                }
                connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
                socket
            }
            Target::Unix(path) => {
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
                // Before we connect: if another takes the path meanwhile, we notice.
                (self.seen, self.looked) = (socket_at(&path), Some(Instant::now()));
                connect(socket.as_raw_fd(), &UnixAddr::new(path.as_bytes())?)?;
                socket
            }
        };
        if self.send_buffer > 0 {
            // Over UDP a datagram goes in pieces. One that the buffer has no room for would never leave.
            let least = if self.is_udp() { MAX_UDP } else { 0 };
            setsockopt(&socket, sockopt::SndBuf, &self.send_buffer.max(least))?;
        }
        Ok(socket)
    }
}

/// Which socket is at a path. While one lives, its number is no other's.
fn socket_at(path: &UnixPath) -> Option<(u64, u64)> {
    stat(path.as_bytes()).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
