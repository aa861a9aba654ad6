//! A switch whose sockets are in a directory, without a library.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Wish;
use crate::core;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::netif::reader::{BURST, Read, Reader};
use crate::netif::unix::{self, Entry};
use crate::netif::vde;
use crate::netif::writer::Writer;
use crate::netif::{Driver, Netif};
use crate::packet::Packet;

/// So many frames wait for the switch to answer.
const WAITING: usize = 64;

/// So long may the switch take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the switch: events before their sockets.
struct Port {
    events: RefCell<Option<Events>>,
    /// There is one when the switch has answered.
    writer: OnceCell<Rc<Writer>>,
    waiting: RefCell<VecDeque<Packet>>,
    answer: RefCell<Vec<u8>>,
    reader: Reader,
    /// Until both sides are connected.
    entry: RefCell<Option<Entry>>,
    control: UnixStream,
    data: OwnedFd,
    netif: Weak<Netif>,
}

struct Events {
    _control: Event,
    data: Option<Event>,
    patience: Option<Event>,
}

impl Driver for Rc<Port> {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        if let Some(writer) = self.writer.get() {
            return writer.write(packet);
        }
        if self.waiting.borrow().len() >= WAITING {
            return Err(Error::new(libc::ENOBUFS, "the switch has not yet answered"));
        }
        let copy = packet.copy()?;
        self.waiting.borrow_mut().push_back(copy);
        Ok(())
    }

    fn failed(&self) {
        self.events.borrow_mut().take();
    }
}

/// Asks a switch for a port.
pub(super) fn join(directory: &Path, wish: &Wish, netif: Weak<Netif>) -> Result<impl Driver + use<>> {
    // The switch runs elsewhere.
    let directory =
        std::path::absolute(directory).map_err(|error| Error::io(directory.display(), &error))?;
    let path = directory.join("ctl");
    let control = unix::socket(libc::SOCK_STREAM)?;
    unix::connect(&control, &path).map_err(|error| {
        Error::new(error.errno, format!("no VDE switch is at {}: {}", directory.display(), error.text))
    })?;
    let data = unix::socket(libc::SOCK_DGRAM)?;
    let mode = match wish.mode {
        // Who may connect to the switch may be whom it runs as.
        0 => std::fs::metadata(&path).map_or(0o600, |metadata| metadata.mode() & 0o777 | 0o600),
        mode => mode,
    };
    let entry = bind(&data, &directory, mode)?;
    let request = vde::request(&entry.path, wish.port, &wish.description);
    let mut control = UnixStream::from(control);
    control.write_all(&request).map_err(|error| Error::io(path.display(), &error))?;
    let port = Rc::new(Port {
        events: RefCell::default(),
        writer: OnceCell::new(),
        waiting: RefCell::default(),
        answer: RefCell::default(),
        reader: Reader::default(),
        entry: RefCell::new(Some(entry)),
        control,
        data,
        netif,
    });
    let base = core::stack()?.base();
    let control = Event::readable(base, port.control.as_raw_fd(), port.within(Port::hear))?;
    let patience = Event::timer(base, port.within(Port::give_up))?;
    patience.add(Some(PATIENCE))?;
    *port.events.borrow_mut() = Some(Events { _control: control, data: None, patience: Some(patience) });
    Ok(port)
}

/// Gives the socket a name beside those of the switch, or where everybody may.
fn bind(data: &OwnedFd, directory: &Path, mode: u32) -> Result<Entry> {
    let process = std::process::id();
    let mut last = Error::new(libc::EADDRINUSE, "no name for a socket");
    // The first is as libvdeplug has it, whose leftovers switches know.
    for start in [directory.join("."), std::env::temp_dir().join("vde.")] {
        for number in 0..100 {
            let mut path = start.clone().into_os_string();
            path.push(format!("{process}-{number:05}"));
            let path = PathBuf::from(path);
            match unix::bind(data, &path, mode) {
                Ok(()) => return Ok(Entry::of(path)),
                Err(error) => last = error,
            }
            if last.errno != libc::EADDRINUSE {
                break;
            }
        }
    }
    Err(last)
}

impl Port {
    /// A callback that does something with the port while there is one.
    fn within(self: &Rc<Self>, act: fn(&Rc<Port>, &Netif)) -> impl Fn() + 'static {
        let port = Rc::downgrade(self);
        move || {
            if let Some(port) = port.upgrade()
                && let Some(netif) = port.netif.upgrade()
            {
                act(&port, &netif);
            }
        }
    }

    fn give_up(self: &Rc<Self>, netif: &Netif) {
        netif.fail(Error::new(libc::ETIMEDOUT, "the VDE switch does not answer"));
    }

    /// Reads the control stream: the answer, and later its end.
    fn hear(self: &Rc<Self>, netif: &Netif) {
        let mut bytes = [0; 512];
        let length = match (&self.control).read(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return;
            }
            // A switch that dies with something unread resets the stream.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return netif.fail(Error::io("the VDE switch", &error)),
            Ok(length) => length,
        };
        if length == 0 {
            return netif.fail(match self.writer.get() {
                Some(_) => Error::new(0, "the VDE switch has closed the port"),
                None => Error::new(libc::ECONNREFUSED, "the VDE switch has refused the port"),
            });
        }
        if self.writer.get().is_some() {
            // Switches say no more; if one does, it is of no use to us.
            return;
        }
        let mut answer = self.answer.borrow_mut();
        answer.extend_from_slice(bytes.get(..length).unwrap_or_default());
        if let Some(address) = answer.get(..vde::ADDRESS) {
            let joined = vde::parse_address(address).and_then(|path| self.joined(&path, netif));
            drop(answer);
            if let Err(error) = joined {
                netif.fail(error);
            }
        }
    }

    /// The switch has answered with its socket.
    fn joined(self: &Rc<Self>, path: &Path, netif: &Netif) -> Result<()> {
        unix::connect(&self.data, path)?;
        // Both are connected: the name is needed no more.
        self.entry.borrow_mut().take();
        let writer = Writer::new(self.data.as_raw_fd(), self.netif.clone())?;
        let data =
            Event::readable(core::stack()?.base(), self.data.as_raw_fd(), self.within(Port::receive))?;
        if let Some(events) = &mut *self.events.borrow_mut() {
            events.data = Some(data);
            events.patience = None;
        }
        for packet in self.waiting.take() {
            if writer.write(&packet).is_err() {
                netif.counters().drop_sent();
            }
        }
        let _ = self.writer.set(writer);
        Ok(())
    }

    fn receive(self: &Rc<Self>, netif: &Netif) {
        for _ in 0..BURST {
            match self.reader.read(self.data.as_raw_fd(), netif.longest()) {
                Ok(Read::Packet(packet)) => {
                    if !netif.receive(packet) {
                        return;
                    }
                }
                Ok(Read::Nothing) => return,
                Ok(Read::Empty) => netif.counters().receive_error(),
                Err(error) => {
                    netif.counters().receive_error();
                    // That the switch is gone the control stream says.
                    if error.errno != libc::ECONNRESET {
                        netif.fail_if_final(error);
                    }
                    return;
                }
            }
        }
    }
}
