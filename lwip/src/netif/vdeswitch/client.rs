//! A client of the switch: a stream that lasts as long as its port, and two datagram sockets, connected to
//! each other.

use std::cell::{OnceCell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::{Switch, count};
use crate::core;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::netif::reader::{BURST, Read, Reader};
use crate::netif::unix::{self, Entry};
use crate::netif::vde;
use crate::netif::writer::Writer;
use crate::packet::Packet;

/// So long may a client take to ask for a port.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Client {
    id: u64,
    hearing: OnceCell<Event>,
    port: OnceCell<ClientPort>,
    request: RefCell<Vec<u8>>,
    since: Instant,
    stream: UnixStream,
    switch: Weak<Switch>,
}

/// Events before the socket.
struct ClientPort {
    _readable: Event,
    writer: Rc<Writer>,
    reader: Reader,
    data: OwnedFd,
    _entry: Entry,
}

impl Client {
    /// Takes a connection, and waits for its request.
    pub fn greet(id: u64, stream: UnixStream, switch: &Rc<Switch>) -> Result<Rc<Client>> {
        stream.set_nonblocking(true).map_err(|error| Error::io("a VDE client", &error))?;
        let client = Rc::new(Client {
            id,
            hearing: OnceCell::new(),
            port: OnceCell::new(),
            request: RefCell::default(),
            since: Instant::now(),
            stream,
            switch: Rc::downgrade(switch),
        });
        let hearing = client.within(Client::hear);
        let _ = client.hearing.set(Event::readable(
            core::stack()?.base(),
            client.stream.as_raw_fd(),
            hearing,
        )?);
        Ok(client)
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn has_port(&self) -> bool {
        self.port.get().is_some()
    }

    pub fn is_late(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// Sends a frame, or keeps it for when there is room; ENOBUFS when too much waits already.
    pub fn write(&self, packet: &Packet) -> Result<()> {
        match self.port.get() {
            Some(port) => port.writer.write(packet),
            None => Ok(()),
        }
    }

    /// A callback that does something with the client while there is one.
    fn within(self: &Rc<Self>, act: fn(&Rc<Client>, &Rc<Switch>)) -> impl Fn() + 'static {
        let (client, switch) = (Rc::downgrade(self), self.switch.clone());
        move || {
            // In this order: if the switch is removed, its directory goes last.
            if let Some(switch) = switch.upgrade()
                && let Some(client) = client.upgrade()
            {
                act(&client, &switch);
            }
        }
    }

    /// Reads the stream: the request, and later its end.
    fn hear(self: &Rc<Self>, switch: &Rc<Switch>) {
        let mut bytes = [0; vde::REQUEST];
        let length = match (&self.stream).read(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return;
            }
            // Whatever it is, the client has gone.
            Err(_) => 0,
            Ok(length) => length,
        };
        if length == 0 {
            return switch.leave(self);
        }
        if self.has_port() {
            // The rest of a description, or nothing that we know.
            return;
        }
        let mut request = self.request.borrow_mut();
        request.extend_from_slice(bytes.get(..length).unwrap_or_default());
        let parsed = vde::parse_request(&request);
        drop(request);
        match parsed {
            Ok(None) => {}
            Ok(Some(path)) => {
                self.request.take();
                if self.open(&path, switch).is_err() {
                    switch.refuse(self);
                }
            }
            Err(_) => switch.refuse(self),
        }
    }

    /// Gives the client a port.
    fn open(self: &Rc<Self>, path: &Path, switch: &Rc<Switch>) -> Result<()> {
        let data = unix::socket(libc::SOCK_DGRAM)?;
        // First to the client's, so that nobody else can ever send to ours.
        unix::connect_for(&data, path, unix::peer_uid(&self.stream)?)?;
        let entry = switch.directory.bind(&data, self.id)?;
        let weak = Rc::downgrade(switch);
        let writer = Writer::telling(data.as_raw_fd(), move |_| {
            if let Some(switch) = weak.upgrade() {
                count(&switch.dropped, 1);
            }
        })?;
        let readable =
            Event::readable(core::stack()?.base(), data.as_raw_fd(), self.within(Client::receive))?;
        let answer = vde::address(&entry.path);
        let port =
            ClientPort { _readable: readable, writer, reader: Reader::default(), data, _entry: entry };
        let _ = self.port.set(port);
        // The stream is empty, and has room.
        (&self.stream).write_all(&answer).map_err(|error| Error::io("a VDE client", &error))
    }

    fn receive(self: &Rc<Self>, switch: &Rc<Switch>) {
        let (Some(port), Some(netif)) = (self.port.get(), switch.netif.upgrade()) else { return };
        for _ in 0..BURST {
            match port.reader.read(port.data.as_raw_fd(), netif.longest()) {
                Ok(Read::Packet(packet)) => {
                    if !switch.forward(self, packet) {
                        return;
                    }
                }
                Ok(Read::Nothing) => return,
                Ok(Read::Empty) => netif.counters().receive_error(),
                Err(_) => {
                    // The stream says when the client has gone.
                    netif.counters().receive_error();
                    return;
                }
            }
        }
    }
}
