//! A question to one server: over UDP from a port of its own, or over TCP.

use std::cell::RefCell;
use std::ffi::{c_short, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::NonNull;
use std::rc::Rc;

use super::message;
use crate::core;
use crate::error::{Error, Result};
use crate::evbuf::{self, Stream, User};
use crate::packet::Packet;
use crate::sys::{self, OK, ip_addr_t};

/// Where a name server is.
#[derive(Clone, Copy)]
pub(super) struct Server {
    pub address: ip_addr_t,
    pub port: u16,
}

/// What an exchange comes to: the bytes of a message, or none.
type Done = Rc<dyn Fn(Option<Vec<u8>>)>;

/// Lives as long as an answer is waited for.
#[expect(dead_code, reason = "owned, for their ends")]
pub(super) enum Exchange {
    Udp(Udp),
    Tcp(Tcp),
}

/// A UDP pcb that sends to one server, and hears from it alone.
pub(super) struct Udp {
    raw: NonNull<sys::udp_pcb>,
    // Its address is lwIP's argument.
    waiting: Rc<Waiting>,
}

struct Waiting {
    id: u16,
    done: Done,
}

impl Udp {
    /// Sends a question. `done` is called from the loop, for each message that may be the answer.
    pub fn ask(server: &Server, id: u16, question: &[u8], done: Done) -> Result<Udp> {
        // SAFETY: allocates, or returns null.
        let raw = NonNull::new(unsafe { sys::udp_new_ip_type(server.address.type_) });
        let raw = raw.ok_or_else(|| Error::new(libc::ENOMEM, "udp_new failed"))?;
        let udp = Udp { raw, waiting: Rc::new(Waiting { id, done }) };
        let argument = Rc::as_ptr(&udp.waiting).cast_mut().cast::<c_void>();
        let packet = Packet::alloc_at(sys::PBUF_TRANSPORT, question.len())?;
        // SAFETY: a pcb of ours; the argument lives as long as it; the packet is as long as the question.
        unsafe {
            bind(raw.as_ptr(), &server.address)?;
            check(sys::udp_connect(raw.as_ptr(), &server.address, server.port))?;
            sys::udp_recv(raw.as_ptr(), Some(received), argument);
            packet.payload().copy_from_nonoverlapping(question.as_ptr(), question.len());
            check(sys::udp_send(raw.as_ptr(), packet.as_raw()))?;
        }
        Ok(udp)
    }
}

fn check(error: sys::err_t) -> Result<()> {
    match error {
        OK => Ok(()),
        error => Err(Error::new(libc::EIO, format!("lwIP's error {error}"))),
    }
}

/// Binds to a port that nobody can guess.
///
/// # Safety
///
/// A pcb that is not bound.
unsafe fn bind(raw: *mut sys::udp_pcb, server: &ip_addr_t) -> Result<()> {
    /// Beyond the well-known ones.
    const FIRST: u32 = 1024;
    /// So often may a port be taken.
    const TRIES: usize = 16;
    let any = match sys::to_ip(server) {
        IpAddr::V4(_) => sys::ip_addr(Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V6(_) => sys::ip_addr(Ipv6Addr::UNSPECIFIED.into()),
    };
    for _ in 0..TRIES {
        let port = FIRST + core::random()? % (u32::from(u16::MAX) + 1 - FIRST);
        // SAFETY: as the caller promised.
        if unsafe { sys::udp_bind(raw, &any, port as u16) } == OK {
            return Ok(());
        }
    }
    Err(Error::new(libc::EADDRINUSE, "no UDP port is free"))
}

impl Drop for Udp {
    fn drop(&mut self) {
        // SAFETY: ours. lwIP does not look at it again, if this is within its callback.
        unsafe { sys::udp_remove(self.raw.as_ptr()) };
    }
}

unsafe extern "C" fn received(
    argument: *mut c_void,
    _: *mut sys::udp_pcb,
    packet: *mut sys::pbuf,
    _: *const ip_addr_t,
    _: u16,
) {
    let Some(packet) = NonNull::new(packet) else { return };
    let waiting = argument.cast_const().cast::<Waiting>();
    // SAFETY: the packet is ours. The argument is that of a pcb that still exists, which owns a reference.
    let (packet, waiting) = unsafe {
        Rc::increment_strong_count(waiting);
        (Packet::from_raw(packet), Rc::from_raw(waiting))
    };
    core::run(|| {
        let bytes = packet.pieces().collect::<Vec<_>>().concat();
        if message::is_answer(&bytes, waiting.id)
            && let Ok(stack) = core::stack()
        {
            // Not within lwIP's call: the program is called from there.
            stack.defer(move || (waiting.done)(Some(bytes)));
        }
    });
}

/// A connection to a server, for one question.
pub(super) struct Tcp(Rc<Stream>);

impl Tcp {
    /// Sends a question. `done` is called from the loop, once.
    pub fn ask(server: &Server, question: &[u8], done: Done) -> Result<Tcp> {
        // A message over TCP begins with its length (RFC 1035, 4.2.2).
        let length = u16::try_from(question.len()).map_err(|_| Error::invalid("a long question"))?;
        let tcp = Tcp(Stream::new(std::ptr::null_mut())?);
        tcp.0.set_user(Some(Rc::new(Reader { bytes: RefCell::default(), done })));
        tcp.0.output.add(&length.to_be_bytes())?;
        tcp.0.output.add(question)?;
        tcp.0.connect(vec![server.address], server.port)?;
        Ok(tcp)
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Reader {
    bytes: RefCell<Vec<u8>>,
    done: Done,
}

impl User for Reader {
    fn readable(&self, stream: &Rc<Stream>) {
        let whole = {
            let mut bytes = self.bytes.borrow_mut();
            let mut more = [0; 2048];
            loop {
                let wanted = match bytes.first_chunk() {
                    Some(length) => 2 + usize::from(u16::from_be_bytes(*length)) - bytes.len(),
                    None => 2 - bytes.len(),
                };
                if bytes.len() >= 2 && wanted == 0 {
                    break Some(bytes.split_off(2));
                }
                let limit = wanted.min(more.len());
                match stream.input.take(&mut more[..limit]) {
                    0 => break None,
                    taken => bytes.extend_from_slice(&more[..taken]),
                }
            }
        };
        if whole.is_some() {
            (self.done)(whole);
        }
    }

    fn drained(&self, _: &Rc<Stream>) {}

    fn event(&self, _: &Rc<Stream>, what: c_short) {
        if what & (evbuf::EOF | evbuf::ERROR) != 0 {
            (self.done)(None);
        }
    }
}
