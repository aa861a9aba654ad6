//! udptapif: Ethernet frames in UDP datagrams.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_ushort};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::macs::{Macs, addresses, is_group};
use super::reader::BURST;
use super::{Driver, ETHERNET, Netif, Setup, c_text};
use crate::core;
use crate::error::{Error, Result, answer};
use crate::event::Event;
use crate::options;
use crate::packet::{MAX, Packet};
use crate::sys;

/// The most clients, and how long one is remembered that says nothing, if the program does not say.
const CLIENTS: u32 = 64;
const AGE: u32 = 300;

/// Options of udptapif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_udptapif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// The address to receive at, such as "127.0.0.1" or "::1"; NULL for all of IPv4 and IPv6.
    pub address: *const c_char,
    /// The most clients at a time; 0 for 64. One more takes the place of the one that has been silent for
    /// longest.
    pub max_clients: u32,
    /// Seconds after which a client that has sent nothing is forgotten; 0 for 300.
    pub max_age: u32,
}

/// How frames lie in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// One frame.
    Raw,
    /// Each frame after its length, 2 bytes, the most significant first.
    Length,
}

/// The frames of a datagram; an error where what follows is none.
struct Frames<'a> {
    framing: Framing,
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = std::result::Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let frame = match self.framing {
            Framing::Raw => Some(rest),
            Framing::Length => rest.split_first_chunk().and_then(|(length, rest)| {
                let (frame, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                self.rest = rest;
                Some(frame)
            }),
        };
        Some(frame.filter(|frame| frame.len() >= ETHERNET).ok_or(()))
    }
}

struct Client {
    id: u64,
    address: SocketAddr,
    framing: Framing,
    seen: Instant,
}

struct Socket {
    // The event before its socket.
    _readable: Event,
    socket: Rc<UdpSocket>,
    framing: Framing,
}

struct UdpTap {
    sockets: RefCell<Vec<Socket>>,
    clients: RefCell<Vec<Client>>,
    macs: Macs<u64>,
    next: Cell<u64>,
    max_clients: usize,
    max_age: Duration,
    buffer: RefCell<Vec<u8>>,
    netif: Weak<Netif>,
}

impl Driver for Rc<UdpTap> {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        let mut frame = vec![0; 2 + packet.len()];
        let (length, rest) = frame.split_at_mut(2);
        length.copy_from_slice(&(packet.len() as u16).to_be_bytes());
        packet.read_at(0, rest);
        let Some((to, _)) = addresses(rest) else { return Ok(()) };
        let now = Instant::now();
        let one = if is_group(to) { None } else { self.macs.find(to, now) };
        let clients = self.clients.borrow();
        let known = |client: &&Client| self.is_recent(client, now);
        if let Some(client) = clients.iter().find(|client| Some(client.id) == one).filter(known) {
            return self.send(client, &frame).map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => Error::new(libc::ENOBUFS, "the socket's buffer is full"),
                _ => Error::io(client.address, &error),
            });
        }
        for client in clients.iter().filter(known) {
            if self.send(client, &frame).is_err()
                && let Some(netif) = self.netif.upgrade()
            {
                netif.counters().drop_sent();
            }
        }
        Ok(())
    }

    fn failed(&self) {
        self.sockets.borrow_mut().clear();
    }
}

impl UdpTap {
    fn open(
        ports: [(u16, Framing); 2],
        address: Option<IpAddr>,
        options: &herald_udptapif_options,
        netif: Weak<Netif>,
    ) -> Result<Rc<UdpTap>> {
        let or = |value, default| if value == 0 { default } else { value };
        let tap = Rc::new(UdpTap {
            sockets: RefCell::default(),
            clients: RefCell::default(),
            macs: Macs::new(),
            next: Cell::default(),
            max_clients: or(options.max_clients, CLIENTS) as usize,
            max_age: Duration::from_secs(or(options.max_age, AGE).into()),
            buffer: RefCell::new(vec![0; MAX]),
            netif,
        });
        for (port, framing) in ports.into_iter().filter(|&(port, _)| port != 0) {
            let socket = Rc::new(bind(address, port)?);
            let (own, its) = (Rc::downgrade(&tap), Rc::clone(&socket));
            let readable = Event::readable(core::stack()?.base(), socket.as_raw_fd(), move || {
                if let Some(tap) = own.upgrade()
                    && let Some(netif) = tap.netif.upgrade()
                {
                    tap.receive(&netif, &its, framing);
                }
            })?;
            tap.sockets.borrow_mut().push(Socket { _readable: readable, socket, framing });
        }
        Ok(tap)
    }

    fn is_recent(&self, client: &Client, now: Instant) -> bool {
        now.saturating_duration_since(client.seen) < self.max_age
    }

    /// Sends a frame that its length precedes.
    fn send(&self, client: &Client, frame: &[u8]) -> io::Result<()> {
        let sockets = self.sockets.borrow();
        let Some(socket) = sockets.iter().find(|socket| socket.framing == client.framing) else {
            return Ok(());
        };
        let bytes = match client.framing {
            Framing::Raw => frame.get(2..).unwrap_or_default(),
            Framing::Length => frame,
        };
        socket.socket.send_to(bytes, client.address).map(drop)
    }

    fn receive(&self, netif: &Netif, socket: &UdpSocket, framing: Framing) {
        for _ in 0..BURST {
            // Taken out, since what lwIP does with a frame may bring us here again.
            let mut buffer = self.buffer.take();
            buffer.resize(MAX, 0);
            let received = socket.recv_from(&mut buffer);
            let goes_on = match received {
                Ok((length, from)) => {
                    self.datagram(netif, from, framing, buffer.get(..length).unwrap_or_default())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => {
                    netif.counters().receive_error();
                    netif.fail_if_final(Error::io("a UDP socket", &error));
                    false
                }
            };
            self.buffer.replace(buffer);
            if !goes_on {
                return;
            }
        }
    }

    /// False if the netif has been removed.
    fn datagram(&self, netif: &Netif, from: SocketAddr, framing: Framing, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            netif.counters().receive_error();
        }
        for frame in (Frames { framing, rest: bytes }) {
            let packet = frame.ok().and_then(|frame| {
                let (_, source) = addresses(frame)?;
                // Nobody takes the place of the netif.
                if source != netif.hwaddr() {
                    self.learn(from, framing, source);
                }
                Packet::copy_of(frame).ok()
            });
            match packet {
                Some(packet) => {
                    if !netif.receive(packet) {
                        return false;
                    }
                }
                None => netif.counters().receive_error(),
            }
        }
        true
    }

    /// A client is where a frame has come from.
    fn learn(&self, address: SocketAddr, framing: Framing, source: [u8; 6]) {
        let now = Instant::now();
        let mut clients = self.clients.borrow_mut();
        let found =
            clients.iter_mut().find(|client| client.address == address && client.framing == framing);
        let id = match found {
            Some(client) => {
                client.seen = now;
                client.id
            }
            None => {
                clients.retain(|client| {
                    let stays = self.is_recent(client, now);
                    if !stays {
                        self.macs.forget(client.id);
                    }
                    stays
                });
                if clients.len() >= self.max_clients
                    && let Some(oldest) = (0..clients.len()).min_by_key(|&at| clients[at].seen)
                {
                    self.macs.forget(clients.swap_remove(oldest).id);
                }
                let id = self.next.replace(self.next.get() + 1);
                clients.push(Client { id, address, framing, seen: now });
                id
            }
        };
        self.macs.learn(source, id, now);
    }
}

/// A socket at a port of an address; of all addresses, of both families if the system has both.
fn bind(address: Option<IpAddr>, port: u16) -> Result<UdpSocket> {
    let bound = match address {
        Some(address) => socket_at(SocketAddr::new(address, port)),
        None => socket_at((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            match error.errno == libc::EAFNOSUPPORT || error.errno == libc::EADDRNOTAVAIL {
                true => socket_at((Ipv4Addr::UNSPECIFIED, port).into()),
                false => Err(error),
            }
        }),
    };
    bound.map_err(|error| Error::new(error.errno, format!("UDP port {port}: {}", error.text)))
}

fn socket_at(address: SocketAddr) -> Result<UdpSocket> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: makes a descriptor, which is then owned; the option is an int, and the address is as long
    // as is said. All-zero is valid for both kinds of it.
    unsafe {
        let fd = libc::socket(family, flags, 0);
        if fd == -1 {
            return Err(Error::os("socket"));
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let bound = match address {
            SocketAddr::V6(v6) => {
                // What the system's default for this is does not matter.
                let only_v6: libc::c_int = i32::from(!v6.ip().is_unspecified());
                let (level, option) = (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
                libc::setsockopt(
                    fd,
                    level,
                    option,
                    (&raw const only_v6).cast(),
                    size_of_val(&only_v6) as _,
                );
                let mut address = std::mem::zeroed::<libc::sockaddr_in6>();
                address.sin6_family = libc::AF_INET6 as _;
                address.sin6_port = v6.port().to_be();
                address.sin6_addr.s6_addr = v6.ip().octets();
                libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as _)
            }
            SocketAddr::V4(v4) => {
                let mut address = std::mem::zeroed::<libc::sockaddr_in>();
                address.sin_family = libc::AF_INET as _;
                address.sin_port = v4.port().to_be();
                address.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as _)
            }
        };
        match bound {
            0 => Ok(UdpSocket::from(socket)),
            _ => Err(Error::os("bind")),
        }
    }
}

/// Adds an Ethernet netif over UDP, for clients that come to one of two ports: to `port_raw` with a frame in
/// each datagram, to `port_len` with each frame after its length (2 bytes, the most significant first; a
/// datagram may hold several). Either is 0 for none. Who has sent a frame is a client; what goes to an
/// address that a client has sent from goes to that client, and what goes to several or to nobody known
/// goes to all that have been heard of lately. A datagram that is no frame is counted, and does no more.
///
/// There is no authentication: whoever can send to the ports is on the network. Returns NULL with errno:
/// EADDRINUSE if a port is in use.
///
/// # Safety
///
/// The event_base is the one of libevent_timeouts_init().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn udptapif_add(
    base: *mut sys::event_base,
    port_raw: c_ushort,
    port_len: c_ushort,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { udptapif_add_ex(base, port_raw, port_len, std::ptr::null()) }
}

/// udptapif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// The options are NULL or as large as their first field says, and the address in them NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn udptapif_add_ex(
    base: *mut sys::event_base,
    port_raw: c_ushort,
    port_len: c_ushort,
    options: *const herald_udptapif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        let options = unsafe { options::read_sized(options, "the options of udptapif") }?;
        if port_raw == 0 && port_len == 0 {
            return Err(Error::invalid("udptapif without a port: one of the two may be 0"));
        }
        let address = match options.address.is_null() {
            true => None,
            false => {
                // SAFETY: as the caller promised.
                let text = unsafe { c_text(options.address, "the address") }?.to_string_lossy();
                let parsed = text.parse::<IpAddr>();
                Some(parsed.map_err(|_| Error::invalid(format!("\"{text}\" is not an IP address")))?)
            }
        };
        let mut setup = Setup::new(b"ud", true);
        setup.mtu = options.mtu;
        setup.hwaddr = options.hwaddr;
        let ports = [(port_raw, Framing::Raw), (port_len, Framing::Length)];
        let netif =
            Netif::add(&setup, |netif| Ok(Box::new(UdpTap::open(ports, address, &options, netif)?)))?;
        Ok(netif.raw())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), ETHERNET..200), 0..5),
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend((frame.len() as u16).to_be_bytes());
                bytes.extend(frame);
            }
            let read: Vec<&[u8]> =
                Frames { framing: Framing::Length, rest: &bytes }.map(|frame| frame.unwrap()).collect();
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_datagram_has_an_end_and_no_frame_without_a_header(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            raw in any::<bool>(),
        ) {
            let framing = if raw { Framing::Raw } else { Framing::Length };
            let frames: Vec<_> = Frames { framing, rest: &bytes }.take(1000).collect();
            prop_assert!(frames.len() < 1000);
            prop_assert!(frames.iter().flatten().all(|frame| frame.len() >= ETHERNET));
        }
    }
}
