//! vdeswitchif: a VDE switch of which lwIP is one port.

mod client;
mod directory;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::counters::add as count;
use super::macs::{Macs, addresses, is_group};
use super::reader::BURST;
use super::{Driver, ETHERNET, Netif, Setup, c_text};
use crate::core;
use crate::error::{Result, answer, status};
use crate::event::Event;
use crate::options;
use crate::packet::Packet;
use crate::sys;

use client::Client;
use directory::Directory;

/// The most clients, if the program does not say.
const CLIENTS: u32 = 128;

/// So often are clients looked at that have not yet asked for a port, and is accepting tried again when
/// there were no descriptors.
const TICK: Duration = Duration::from_secs(1);

/// Options of vdeswitchif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_vdeswitchif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// The mode of the sockets, as for chmod(): who may connect. 0 for 0600. A directory that is made gets
    /// the same with search permission.
    pub mode: u32,
    /// The most clients at a time; 0 for 128.
    pub max_clients: u32,
}

/// What a switch has done since it was added, beside what lwIP has sent and received.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct herald_vdeswitchif_counters {
    /// The size of this struct.
    pub size: usize,
    /// Clients that have a port now.
    pub clients: u64,
    /// Connections that were turned away: too many, a request that is not one, no request in 10 s.
    pub refused: u64,
    /// Frames from a client written to others; one that goes to several counts as often.
    pub forwarded: u64,
    /// Frames to a client that did not get there: it does not keep up, or has gone.
    pub dropped: u64,
}

/// Where a frame comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Port {
    Lwip,
    Client(u64),
}

/// The switch: events before their sockets.
struct Switch {
    accepting: OnceCell<Event>,
    tick: OnceCell<Event>,
    clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    directory: Directory,
    macs: Macs<Port>,
    next: Cell<u64>,
    max_clients: usize,
    refused: Cell<u64>,
    forwarded: Cell<u64>,
    dropped: Cell<u64>,
    netif: Weak<Netif>,
}

impl Driver for Rc<Switch> {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        let mut header = [0; ETHERNET];
        packet.read_at(0, &mut header);
        let Some((to, from)) = addresses(&header) else { return Ok(()) };
        let now = Instant::now();
        // Of what lwIP forwards, the source is not the netif's own.
        self.macs.learn(from, Port::Lwip, now);
        match self.macs.find(to, now) {
            Some(Port::Client(id)) if !is_group(to) => {
                let Some(client) = self.client(id) else { return Ok(()) };
                match client.write(packet) {
                    // TCP holds back for a client that is slow.
                    Err(error) if error.errno == libc::ENOBUFS => Err(error),
                    other => {
                        self.note(other);
                        Ok(())
                    }
                }
            }
            Some(Port::Lwip) => Ok(()),
            _ => {
                self.flood(packet, Port::Lwip);
                Ok(())
            }
        }
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Switch {
    fn start(
        path: &Path,
        options: &herald_vdeswitchif_options,
        netif: Weak<Netif>,
    ) -> Result<Rc<Switch>> {
        let mode = if options.mode == 0 { 0o600 } else { options.mode & 0o777 };
        let max_clients = if options.max_clients == 0 { CLIENTS } else { options.max_clients };
        let switch = Rc::new(Switch {
            accepting: OnceCell::new(),
            tick: OnceCell::new(),
            clients: RefCell::default(),
            directory: Directory::take(path, mode)?,
            macs: Macs::new(),
            next: Cell::new(1),
            max_clients: max_clients as usize,
            refused: Cell::default(),
            forwarded: Cell::default(),
            dropped: Cell::default(),
            netif,
        });
        let within = |act: fn(&Rc<Switch>)| {
            let switch = Rc::downgrade(&switch);
            move || {
                if let Some(switch) = switch.upgrade() {
                    act(&switch);
                }
            }
        };
        let base = core::stack()?.base();
        let listener = switch.directory.listener().as_raw_fd();
        let _ = switch.accepting.set(Event::readable(base, listener, within(Switch::accept))?);
        let _ = switch.tick.set(Event::timer(base, within(Switch::tick))?);
        Ok(switch)
    }

    fn client(&self, id: u64) -> Option<Rc<Client>> {
        self.clients.borrow().get(&id).cloned()
    }

    fn tick_later(&self) {
        if let Some(tick) = self.tick.get() {
            // Without it, clients that say nothing stay longer.
            let _ = tick.add(Some(TICK));
        }
    }

    fn accept(self: &Rc<Self>) {
        for _ in 0..BURST {
            let stream = match self.directory.listener().accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    // No descriptors or memory; whoever waits is not accepted by asking again at once.
                    if let Some(accepting) = self.accepting.get() {
                        accepting.del();
                    }
                    return self.tick_later();
                }
            };
            if self.clients.borrow().len() >= self.max_clients {
                count(&self.refused, 1);
                continue;
            }
            let id = self.next.replace(self.next.get() + 1);
            match Client::greet(id, stream, self) {
                Ok(client) => {
                    self.clients.borrow_mut().insert(id, client);
                    self.tick_later();
                }
                Err(_) => count(&self.refused, 1),
            }
        }
    }

    fn tick(self: &Rc<Self>) {
        let waiting: Vec<Rc<Client>> =
            self.clients.borrow().values().filter(|client| !client.has_port()).cloned().collect();
        for client in &waiting {
            if client.is_late() {
                self.refuse(client);
            }
        }
        if !waiting.is_empty() {
            self.tick_later();
        }
        if let Some(accepting) = self.accepting.get() {
            let _ = accepting.add(None);
        }
    }

    /// Turns away a client that has no port.
    fn refuse(&self, client: &Client) {
        count(&self.refused, 1);
        self.leave(client);
    }

    fn leave(&self, client: &Client) {
        let gone = self.clients.borrow_mut().remove(&client.id());
        drop(gone);
        self.macs.forget(Port::Client(client.id()));
    }

    /// Takes a frame that a client has sent to where it belongs; false if the program has removed the
    /// switch on the way.
    fn forward(&self, client: &Client, packet: Packet) -> bool {
        let Some(netif) = self.netif.upgrade() else { return false };
        let from = Port::Client(client.id());
        let Some((destination, source)) = addresses(packet.first()) else {
            netif.counters().receive_error();
            return true;
        };
        let now = Instant::now();
        // Nobody takes the place of the netif.
        if source != netif.hwaddr() {
            self.macs.learn(source, from, now);
        }
        let to = match destination {
            mac if mac == netif.hwaddr() => Some(Port::Lwip),
            mac if is_group(mac) => None,
            mac => self.macs.find(mac, now),
        };
        match to {
            Some(Port::Lwip) => netif.receive(packet),
            Some(to) if to == from => true,
            Some(Port::Client(id)) => {
                if let Some(client) = self.client(id) {
                    self.note(client.write(&packet));
                    count(&self.forwarded, 1);
                }
                true
            }
            None => {
                self.flood(&packet, from);
                // lwIP's last, since it may change the packet.
                netif.receive(packet)
            }
        }
    }

    /// To all clients but the one that it comes from.
    fn flood(&self, packet: &Packet, from: Port) {
        for (&id, client) in &*self.clients.borrow() {
            if Port::Client(id) == from || !client.has_port() {
                continue;
            }
            self.note(client.write(packet));
            if from != Port::Lwip {
                count(&self.forwarded, 1);
            }
        }
    }

    fn note(&self, written: Result<()>) {
        if written.is_err() {
            count(&self.dropped, 1);
        }
    }
}

/// Adds a netif that is a VDE switch with lwIP at one of its ports; the others are for the clients that
/// connect to `directory`: vde_plug, virtual machines and others that use libvdeplug, a
/// vdeportif_add() of this program. The switch learns which address is where, sends what goes to several
/// or to nobody known to all, and takes frames from client to client without lwIP (which captures of the
/// netif do not see). The directory is made if there is none, and removed with the netif if it was made.
/// In it are the sockets; what a dead switch has left there is cleared away.
///
/// Clients may send what they like: their addresses (256 of each), what waits for them (512 KiB each) and
/// their number are bounded, and a client can take neither the netif's hardware address nor have the
/// switch send to sockets that are not its user's.
///
/// Returns NULL with errno: EADDRINUSE if a switch lives in the directory.
///
/// # Safety
///
/// `directory` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdeswitchif_add(
    base: *mut sys::event_base,
    directory: *const c_char,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { vdeswitchif_add_ex(base, directory, std::ptr::null()) }
}

/// vdeswitchif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `directory` is a C string; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdeswitchif_add_ex(
    base: *mut sys::event_base,
    directory: *const c_char,
    options: *const herald_vdeswitchif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        let (directory, options) = unsafe {
            (
                c_text(directory, "the directory of the switch")?,
                options::read_sized(options, "the options of vdeswitchif")?,
            )
        };
        let path = Path::new(std::ffi::OsStr::from_bytes(directory.to_bytes()));
        let mut setup = Setup::new(b"vs", true);
        setup.mtu = options.mtu;
        setup.hwaddr = options.hwaddr;
        let netif = Netif::add(&setup, |netif| Ok(Box::new(Switch::start(path, &options, netif)?)))?;
        Ok(netif.raw())
    })
}

/// Reads the counters of a switch into a struct whose first field says how large it is. What lwIP has sent
/// and received herald_netif_get_counters() tells. Returns 0, or -1 with errno.
///
/// # Safety
///
/// `counters` points to as many writable bytes as its first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vdeswitchif_get_counters(
    netif: *mut sys::netif,
    counters: *mut herald_vdeswitchif_counters,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        let switch = netif.driver_as::<Rc<Switch>>("vdeswitchif_add()")?;
        let clients = switch.clients.borrow().values().filter(|client| client.has_port()).count();
        let read = herald_vdeswitchif_counters {
            size: 0,
            clients: clients as u64,
            refused: switch.refused.get(),
            forwarded: switch.forwarded.get(),
            dropped: switch.dropped.get(),
        };
        // SAFETY: as the caller promised.
        unsafe { options::write_sized(counters, &read, "the counters") }
    })
}
