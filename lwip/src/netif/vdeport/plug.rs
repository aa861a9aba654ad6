//! Networks that libvdeplug connects to. It is loaded when one is asked for.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::rc::{Rc, Weak};

use super::Wish;
use crate::core;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::netif::{Driver, Netif};
use crate::packet::{MAX, Packet};

const LIBRARY: &CStr = c"libvdeplug.so.2";

/// The interface version of libvdeplug.h.
const INTERFACE: c_int = 1;

/// vde_recv() says so many times in a row that there is nothing, though its descriptor is readable: it
/// is at its end.
const NOTHINGS: u32 = 1000;

/// As in libvdeplug.h.
#[repr(C)]
struct OpenArgs {
    port: c_int,
    group: *mut c_char,
    mode: libc::mode_t,
}

/// The functions of libvdeplug.
#[derive(Clone, Copy)]
struct Library {
    open: unsafe extern "C" fn(*mut c_char, *mut c_char, c_int, *mut OpenArgs) -> *mut c_void,
    recv: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, c_int) -> isize,
    send: unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> isize,
    datafd: unsafe extern "C" fn(*mut c_void) -> c_int,
    ctlfd: unsafe extern "C" fn(*mut c_void) -> c_int,
    close: unsafe extern "C" fn(*mut c_void) -> c_int,
}

impl Library {
    /// Loads the library, for good: it may have left something of its own behind.
    fn load() -> Result<Library> {
        // SAFETY: the library of VDE, whose initializers do nothing but set it up.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(Error::new(
                libc::ENOSYS,
                "libvdeplug.so.2 is not on this machine (Debian has it in libvdeplug2); only the directory \
                 of a switch can be named without it",
            ));
        }
        let find = |name: &CStr| {
            // SAFETY: the handle is that of a library.
            let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
            NonNull::new(found).ok_or_else(|| {
                Error::new(libc::ENOSYS, format!("libvdeplug.so.2 has no {}", name.to_string_lossy()))
            })
        };
        // SAFETY: the signatures are those of libvdeplug.h.
        unsafe {
            Ok(Library {
                open: transmute_copy(&find(c"vde_open_real")?),
                recv: transmute_copy(&find(c"vde_recv")?),
                send: transmute_copy(&find(c"vde_send")?),
                datafd: transmute_copy(&find(c"vde_datafd")?),
                ctlfd: transmute_copy(&find(c"vde_ctlfd")?),
                close: transmute_copy(&find(c"vde_close")?),
            })
        }
    }
}

/// A connection of libvdeplug's, closed when dropped.
struct Connection {
    library: Library,
    raw: NonNull<c_void>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: open, and closed nowhere else.
        unsafe { (self.library.close)(self.raw.as_ptr()) };
    }
}

struct Plug {
    // Events before the descriptors that they wait for.
    events: RefCell<Vec<Event>>,
    connection: Connection,
    nothings: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
    netif: Weak<Netif>,
    control: OnceCell<RawFd>,
}

/// Has libvdeplug connect.
pub(super) fn open(url: &CStr, wish: &Wish, netif: Weak<Netif>) -> Result<impl Driver + use<>> {
    let library = Library::load()?;
    let description = CString::new(wish.description.as_str()).unwrap_or_default();
    let mut arguments =
        OpenArgs { port: wish.port as c_int, group: null_mut(), mode: wish.mode as libc::mode_t };
    // The library's parameters are not const; it is given copies.
    let (url_copy, description) = (url.to_owned().into_raw(), description.into_raw());
    // SAFETY: C strings and arguments that outlive the call. The strings are taken back.
    let (raw, error) = unsafe {
        *libc::__errno_location() = 0;
        let raw = (library.open)(url_copy, description, INTERFACE, &mut arguments);
        let error = *libc::__errno_location();
        drop((CString::from_raw(url_copy), CString::from_raw(description)));
        (NonNull::new(raw), error)
    };
    let Some(raw) = raw else {
        let error = if error == 0 { libc::ECONNREFUSED } else { error };
        let reason = std::io::Error::from_raw_os_error(error);
        let url = url.to_string_lossy();
        return Err(Error::new(error, format!("libvdeplug cannot connect to \"{url}\": {reason}")));
    };
    let connection = Connection { library, raw };
    // SAFETY: the connection is open.
    let (data, control) = unsafe { ((library.datafd)(raw.as_ptr()), (library.ctlfd)(raw.as_ptr())) };
    // SAFETY: the flags of a descriptor that the library has made for us to wait for.
    unsafe {
        let flags = libc::fcntl(data, libc::F_GETFL);
        if flags == -1 || libc::fcntl(data, libc::F_SETFL, flags | libc::O_NONBLOCK) == -1 {
            return Err(Error::os("libvdeplug's descriptor"));
        }
    }
    let plug = Rc::new(Plug {
        events: RefCell::default(),
        connection,
        nothings: Cell::default(),
        buffer: RefCell::new(vec![0; MAX]),
        netif,
        control: OnceCell::new(),
    });
    let base = core::stack()?.base();
    let mut events = vec![Event::readable(base, data, plug.within(Plug::receive))?];
    if control >= 0 && control != data {
        let _ = plug.control.set(control);
        events.push(Event::readable(base, control, plug.within(Plug::hear))?);
    }
    *plug.events.borrow_mut() = events;
    Ok(plug)
}

impl Driver for Rc<Plug> {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        let whole = packet.copy()?;
        let bytes = whole.first();
        let Connection { library, raw } = &self.connection;
        // SAFETY: the connection is open; the bytes are only read.
        let sent = unsafe { (library.send)(raw.as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent >= 0 { Ok(()) } else { Err(Error::os("vde_send")) }
    }

    fn failed(&self) {
        self.events.borrow_mut().clear();
    }
}

impl Plug {
    /// A callback that does something with the connection while there is one.
    fn within(self: &Rc<Self>, act: fn(&Plug, &Netif)) -> impl Fn() + 'static {
        let plug = Rc::downgrade(self);
        move || {
            if let Some(plug) = plug.upgrade()
                && let Some(netif) = plug.netif.upgrade()
            {
                act(&plug, &netif);
            }
        }
    }

    /// One packet for each wake-up: not all that libvdeplug connects to can be asked for more than that
    /// without blocking.
    fn receive(&self, netif: &Netif) {
        let Connection { library, raw } = &self.connection;
        let mut buffer = self.buffer.borrow_mut();
        // SAFETY: the connection is open; the buffer has as much room as is said.
        let length =
            unsafe { (library.recv)(raw.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let error = Error::os("vde_recv");
        match usize::try_from(length) {
            // libvdeplug says 1 for what came in and is not a packet.
            Ok(0 | 1) => {
                self.nothings.set(self.nothings.get() + 1);
                if self.nothings.get() == NOTHINGS {
                    netif.fail(Error::new(0, "the VDE network has ended"));
                }
            }
            Ok(length) => {
                self.nothings.set(0);
                let packet = Packet::copy_of(buffer.get(..length).unwrap_or_default());
                drop(buffer);
                match packet {
                    Ok(packet) => {
                        netif.receive(packet);
                    }
                    Err(_) => netif.counters().receive_error(),
                }
            }
            Err(_) if error.errno == libc::EAGAIN => {}
            Err(_) => {
                netif.counters().receive_error();
                netif.fail_if_final(error);
            }
        }
    }

    /// The control stream of a switch is silent; that it is readable is its end.
    fn hear(&self, netif: &Netif) {
        let Some(&control) = self.control.get() else { return };
        let mut bytes = [0u8; 64];
        // SAFETY: the buffer is as long as is said.
        let found =
            unsafe { libc::recv(control, bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
        if found <= 0 {
            netif.fail(Error::new(0, "the VDE switch has closed the port"));
        }
    }
}
