//! libzmq, loaded at run time so that this program builds and runs without it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use libloading::Library;

// The numbers of zmq.h.
const PUB: c_int = 1;
const SUB: c_int = 2;
const SUBSCRIBE: c_int = 6;
const FD: c_int = 14;
const LINGER: c_int = 17;
const SNDHWM: c_int = 23;
const RCVHWM: c_int = 24;
const XPUB_NODROP: c_int = 69;
const MAX_SOCKETS: c_int = 2;
const DONTWAIT: c_int = 1;

/// The functions of libzmq that are used here, as zmq.h declares them.
struct Functions {
    ctx_new: unsafe extern "C" fn() -> *mut c_void,
    ctx_set: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    ctx_term: unsafe extern "C" fn(*mut c_void) -> c_int,
    socket: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void) -> c_int,
    setsockopt: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize) -> c_int,
    getsockopt: unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, *mut usize) -> c_int,
    bind: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    connect: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    send: unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int,
    recv: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, c_int) -> c_int,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int),
    /// Keeps the functions where they are.
    _library: Library,
}

impl Functions {
    fn load() -> Result<Self> {
        // SAFETY: libzmq's constructors do nothing but set up its own state.
        let library = unsafe { Library::new("libzmq.so.5") }
            .context("libzmq.so.5 is not installed (Debian: libzmq3-dev)")?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field's type is zmq.h's declaration of this function.
                unsafe { *library.get(concat!($name, "\0").as_bytes())? }
            };
        }
        Ok(Functions {
            ctx_new: function!("zmq_ctx_new"),
            ctx_set: function!("zmq_ctx_set"),
            ctx_term: function!("zmq_ctx_term"),
            socket: function!("zmq_socket"),
            close: function!("zmq_close"),
            setsockopt: function!("zmq_setsockopt"),
            getsockopt: function!("zmq_getsockopt"),
            bind: function!("zmq_bind"),
            connect: function!("zmq_connect"),
            send: function!("zmq_send"),
            recv: function!("zmq_recv"),
            version: function!("zmq_version"),
            _library: library,
        })
    }
}

/// libzmq's version; an error if it is not there.
pub fn version() -> Result<String> {
    let functions = Functions::load()?;
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: three numbers to write to.
    unsafe { (functions.version)(&mut major, &mut minor, &mut patch) };
    Ok(format!("{major}.{minor}.{patch}"))
}

/// A context of libzmq, with the one I/O thread that it has by default.
pub struct Context(Rc<ContextHandle>);

struct ContextHandle {
    functions: Functions,
    handle: *mut c_void,
}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        // SAFETY: the last socket is closed: each holds this alive.
        unsafe { (self.functions.ctx_term)(self.handle) };
    }
}

/// Which end a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pub,
    Sub,
}

impl Context {
    /// A context for so many sockets.
    pub fn new(sockets: usize) -> Result<Self> {
        let functions = Functions::load()?;
        // SAFETY: needs nothing.
        let handle = unsafe { (functions.ctx_new)() };
        let context = Context(Rc::new(ContextHandle { functions, handle }));
        let limit = sockets as c_int + 16;
        // SAFETY: the context is open.
        check(unsafe { (context.0.functions.ctx_set)(handle, MAX_SOCKETS, limit) })?;
        Ok(context)
    }

    /// A socket that forgets what is unsent when it is closed.
    pub fn socket(&self, kind: Kind) -> Result<Socket> {
        let kind = match kind {
            Kind::Pub => PUB,
            Kind::Sub => SUB,
        };
        // SAFETY: the context is open.
        let handle = unsafe { (self.0.functions.socket)(self.0.handle, kind) };
        if handle.is_null() {
            return Err(io::Error::last_os_error()).context("zmq_socket");
        }
        let socket = Socket { context: self.0.clone(), handle };
        socket.set(LINGER, 0)?;
        Ok(socket)
    }
}

/// A socket of libzmq. Used, as libzmq wants it, by one thread.
pub struct Socket {
    context: Rc<ContextHandle>,
    handle: *mut c_void,
}

impl Socket {
    fn functions(&self) -> &Functions {
        &self.context.functions
    }

    fn set(&self, option: c_int, value: c_int) -> Result<()> {
        let pointer = (&raw const value).cast();
        // SAFETY: the socket is open, and the value is an int, as this option's is.
        check(unsafe {
            (self.functions().setsockopt)(self.handle, option, pointer, size_of::<c_int>())
        })?;
        Ok(())
    }

    /// How many messages may wait for one subscriber, 0 for any number.
    pub fn set_send_limit(&self, messages: i32) -> Result<()> {
        self.set(SNDHWM, messages)
    }

    /// How many messages may wait for the reader, 0 for any number.
    pub fn set_receive_limit(&self, messages: i32) -> Result<()> {
        self.set(RCVHWM, messages)
    }

    /// A PUB socket blocks instead of dropping.
    pub fn set_no_drop(&self) -> Result<()> {
        self.set(XPUB_NODROP, 1)
    }

    /// Subscribes to everything.
    pub fn subscribe(&self) -> Result<()> {
        // SAFETY: the socket is open; nothing is read for a length of 0.
        check(unsafe { (self.functions().setsockopt)(self.handle, SUBSCRIBE, c"".as_ptr().cast(), 0) })?;
        Ok(())
    }

    pub fn bind(&self, path: &Path) -> Result<()> {
        // SAFETY: the socket is open; a C string.
        check(unsafe { (self.functions().bind)(self.handle, endpoint(path)?.as_ptr()) })?;
        Ok(())
    }

    pub fn connect(&self, path: &Path) -> Result<()> {
        // SAFETY: the socket is open; a C string.
        check(unsafe { (self.functions().connect)(self.handle, endpoint(path)?.as_ptr()) })?;
        Ok(())
    }

    /// The descriptor that becomes readable when something may have happened.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        let mut fd: c_int = -1;
        let mut size = size_of::<c_int>();
        // SAFETY: the socket is open, and there is room for an int.
        check(unsafe {
            (self.functions().getsockopt)(self.handle, FD, (&raw mut fd).cast(), &mut size)
        })?;
        // SAFETY: libzmq keeps it open as long as the socket.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Sends a message, as `zmq_send` does by default.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        loop {
            // SAFETY: the socket is open; the message is copied.
            let sent = unsafe {
                (self.functions().send)(self.handle, message.as_ptr().cast(), message.len(), 0)
            };
            match check(sent) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }

    /// Takes a message if there is one: its length.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let pointer = buffer.as_mut_ptr().cast();
        // SAFETY: the socket is open; at most the buffer's length is written.
        let received = unsafe { (self.functions().recv)(self.handle, pointer, buffer.len(), DONTWAIT) };
        match check(received) {
            Ok(length) => Ok(Some(length as usize)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: open until now.
        unsafe { (self.functions().close)(self.handle) };
    }
}

fn endpoint(path: &Path) -> Result<CString> {
    Ok(CString::new([b"ipc://", path.as_os_str().as_bytes()].concat())?)
}

/// libzmq leaves its errors in errno, as libc does.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
