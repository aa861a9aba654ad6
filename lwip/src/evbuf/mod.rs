//! lwipevbuf: a TCP connection of lwIP's between two evbuffers, used as a bufferevent is.

mod buffer;
mod pcb;
mod stream;

use std::ffi::{CStr, c_char, c_int, c_short, c_void};
use std::ptr::null_mut;
use std::rc::Rc;

use libc::{sockaddr, socklen_t};

pub(crate) use buffer::{length, transfer};
pub(crate) use stream::{EOF, ERROR, Stream, User, WINDOW, stop};

use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::sockaddr::{port_of, read as read_sockaddr};
use crate::sys::{self, OK, evbuffer, tcp_pcb};

/// A TCP connection of lwIP's with two buffers. The fields are for reading; the library owns it.
#[repr(C)]
pub struct lwipevbuf {
    /// lwIP's part; NULL before connecting without one and after the connection. To be read only:
    /// closing it is lwipevbuf_free()'s and lwipevbuf_abort()'s.
    pub pcb: *mut tcp_pcb,
    /// What went wrong, of lwIP's ERR_ codes; ERR_OK if nothing has.
    pub tcp_err: sys::err_t,
    /// What the peer has sent; to be drained by the program, which lets the peer send more.
    pub input_buffer: *mut evbuffer,
    /// What is to be sent; what is added to it is sent soon, from the loop.
    pub output_buffer: *mut evbuffer,
    /// Why lwipevbuf_connect_hostname() found no address: EAI_NONAME (there is none), EAI_AGAIN (no server
    /// answers) or EAI_FAIL (none can say), for gai_strerror(); 0 otherwise.
    pub host_err: c_int,
    /// The port that it connects to.
    pub port: c_int,
}

/// There is something to read, or lwIP has taken all that there was to write.
pub type lwipevbuf_data_cb = Option<unsafe extern "C" fn(lwipevbuf: *mut lwipevbuf, ctx: *mut c_void)>;

/// Something has happened: BEV_EVENT_CONNECTED; BEV_EVENT_EOF | BEV_EVENT_READING when the peer has ended
/// its side, which leaves ours open; BEV_EVENT_ERROR, with BEV_EVENT_READING if it had been connected,
/// when the connection is over: tcp_err, host_err and errno say why.
pub type lwipevbuf_event_cb =
    Option<unsafe extern "C" fn(lwipevbuf: *mut lwipevbuf, what: c_short, ctx: *mut c_void)>;

/// The program's callbacks.
struct Callbacks {
    read: lwipevbuf_data_cb,
    write: lwipevbuf_data_cb,
    event: lwipevbuf_event_cb,
    ctx: *mut c_void,
}

impl User for Callbacks {
    fn readable(&self, stream: &Rc<Stream>) {
        if let Some(read) = self.read {
            // SAFETY: the program's callback, with what it asked for.
            unsafe { read(stream.handle(), self.ctx) };
        }
    }

    fn drained(&self, stream: &Rc<Stream>) {
        if let Some(write) = self.write {
            // SAFETY: likewise.
            unsafe { write(stream.handle(), self.ctx) };
        }
    }

    fn event(&self, stream: &Rc<Stream>, what: c_short) {
        let Some(event) = self.event else { return };
        if what & ERROR != 0 {
            let errno = match stream.errno() {
                libc::ECONNRESET if what & sys::BEV_EVENT_READING as c_short == 0 => libc::ECONNREFUSED,
                errno => errno,
            };
            // SAFETY: the address of this thread's errno.
            unsafe { *libc::__errno_location() = errno };
        }
        // SAFETY: likewise.
        unsafe { event(stream.handle(), what, self.ctx) };
    }
}

/// The stream behind a handle; one that was freed is none.
pub(crate) fn find(handle: *const lwipevbuf) -> Result<Rc<Stream>> {
    if handle.is_null() {
        return Err(Error::null("the lwipevbuf"));
    }
    // After libevent_timeouts_fini() there is no stack, and connections can still be freed.
    if let Err(error) = core::stack()
        && error.errno == libc::EPERM
    {
        return Err(error);
    }
    let found = stream::find(handle.cast()).filter(|stream| !stream.is_freed());
    found.ok_or_else(|| Error::new(libc::ENOENT, "the lwipevbuf is not (or no longer) one"))
}

/// Makes an lwipevbuf of a pcb: one that tcp_accept()'s callback was given, a new one, or NULL, and
/// lwipevbuf_connect() makes one. The pcb becomes the lwipevbuf's. At most one TCP window (65535 bytes)
/// is kept for reading; see lwipevbuf_set_read_max(). Returns NULL with errno; the pcb is then still the
/// program's.
///
/// # Safety
///
/// The pcb is NULL or the program's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_new(pcb: *mut tcp_pcb) -> *mut lwipevbuf {
    answer(null_mut(), || Ok(Stream::new(pcb)?.handle()))
}

/// Frees an lwipevbuf, from within its callbacks too; they are not called any more. What is in its
/// output_buffer is still sent, and then the end; what the peer sends until then is dropped. That ends
/// when the peer has acknowledged all, or nothing for a minute. One that is not connected is closed at
/// once. With NULL it does nothing. In tcp_accept()'s callback it may be called as well.
///
/// # Safety
///
/// Of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_free(lwipevbuf: *mut lwipevbuf) {
    finish(lwipevbuf, Stream::free);
}

/// Frees an lwipevbuf as lwipevbuf_free() does, but resets the connection: what was not yet sent is
/// dropped, and the peer sees an error and not an end. After calling it in tcp_accept()'s callback, that
/// has to return ERR_ABRT.
///
/// # Safety
///
/// Of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_abort(lwipevbuf: *mut lwipevbuf) {
    finish(lwipevbuf, Stream::abort);
}

fn finish(handle: *const lwipevbuf, end: fn(&Rc<Stream>)) {
    answer((), || {
        if !handle.is_null() {
            end(&find(handle)?);
            settle();
        }
        Ok(())
    });
}

/// lwIP has been made to send.
fn settle() {
    if let Ok(stack) = core::stack() {
        stack.settle();
    }
}

/// Sets what is called, always from the loop; each may be NULL. `readcb`: there is more in the
/// input_buffer. `writecb`: lwIP has taken all that was in the output_buffer. `eventcb`: see
/// lwipevbuf_event_cb. All may free the lwipevbuf. Not while it is joined.
///
/// # Safety
///
/// The callbacks may be called with `ctx` until others are set or the lwipevbuf is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_setcb(
    lwipevbuf: *mut lwipevbuf,
    readcb: lwipevbuf_data_cb,
    writecb: lwipevbuf_data_cb,
    eventcb: lwipevbuf_event_cb,
    ctx: *mut c_void,
) {
    answer((), || {
        let stream = find(lwipevbuf)?;
        if stream.user().is_some_and(|user| user.is_join()) {
            return Err(Error::new(
                libc::EBUSY,
                "the lwipevbuf is joined: its callbacks are the join's",
            ));
        }
        let callbacks = Callbacks { read: readcb, write: writecb, event: eventcb, ctx };
        stream.set_user(Some(Rc::new(callbacks)));
        Ok(())
    });
}

/// Passes what is in the output_buffer to lwIP now, rather than soon from the loop.
///
/// # Safety
///
/// Of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_output(lwipevbuf: *mut lwipevbuf) {
    answer((), || {
        find(lwipevbuf)?.output_now();
        settle();
        Ok(())
    });
}

/// Ends the sending direction, after what is in the output_buffer; the peer can still send. Nothing is
/// to be added to the output_buffer afterwards. Returns 0, or -1 with errno.
///
/// # Safety
///
/// Of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_shutdown(lwipevbuf: *mut lwipevbuf) -> c_int {
    status(|| {
        find(lwipevbuf)?.end();
        Ok(())
    })
}

/// Bounds how much is kept for reading: the peer is let send only as much as the input_buffer still has
/// room for, by the TCP window. 0 for one window, 65535 bytes, which is also what the first bytes of a
/// connection are bounded by; no less than 2920 bytes.
///
/// # Safety
///
/// Of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_set_read_max(lwipevbuf: *mut lwipevbuf, read_max: usize) {
    answer((), || {
        find(lwipevbuf)?.set_read_max(read_max);
        Ok(())
    });
}

/// Connects to an IPv4 or IPv6 address. What is in the output_buffer is sent when it is connected. eventcb
/// tells the outcome. Returns 0, or -1 with errno: EALREADY or EISCONN if it has been connected before,
/// EHOSTUNREACH if no netif leads there.
///
/// # Safety
///
/// `sockaddr` points to `socklen` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_connect(
    lwipevbuf: *mut lwipevbuf,
    sockaddr: *const sockaddr,
    socklen: c_int,
) -> c_int {
    status(|| {
        let stream = find(lwipevbuf)?;
        let length = socklen_t::try_from(socklen)
            .map_err(|_| Error::invalid(format!("a sockaddr of {socklen} bytes")))?;
        // SAFETY: as the caller promised.
        let (address, port) = unsafe { read_sockaddr(sockaddr, length) }?;
        stream.connect(vec![address], real(port.into())?)?;
        settle();
        Ok(())
    })
}

/// Looks up a host with host_lookup()'s servers and search domains, and connects to it. `family` is
/// AF_INET, AF_INET6 or AF_UNSPEC for both; the addresses are tried in turn until one answers, each for
/// 5 seconds if there are more. A numeric address needs no look-up. eventcb tells the outcome, with
/// host_err if the host was not found. Returns 0, or -1 with errno.
///
/// # Safety
///
/// `hostname` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_connect_hostname(
    lwipevbuf: *mut lwipevbuf,
    family: c_int,
    hostname: *const c_char,
    port: c_int,
) -> c_int {
    status(|| {
        let stream = find(lwipevbuf)?;
        if hostname.is_null() {
            return Err(Error::null("the host name"));
        }
        // SAFETY: a C string.
        let name = unsafe { CStr::from_ptr(hostname) }.to_string_lossy();
        stream.connect_host(family, &name, real(port)?)?;
        settle();
        Ok(())
    })
}

/// A port that can be connected to.
fn real(port: c_int) -> Result<u16> {
    match port_of(port)? {
        0 => Err(Error::invalid("the port 0: must be 1 to 65535")),
        port => Ok(port),
    }
}

impl Stream {
    /// The errno of what ended the connection.
    pub fn errno(&self) -> i32 {
        match self.error() {
            OK => libc::EIO,
            error => pcb::errno(error),
        }
    }
}
