//! Opening and closing a hub.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::{Failure, answer};
use super::{HERALD_ERROR_INTERNAL, herald_error, herald_vpp_api, sized};
use crate::hub::{Hub, HubOptions};
use crate::log::{Level, Log};

/// A hub: where events go in, and what subscribers are served from. Opaque.
pub struct herald_hub(pub(super) Arc<Hub>, pub(super) Log, pub(super) Mutex<Vec<Arc<herald_vpp_api>>>);

impl herald_hub {
    /// The hub itself, for programs in Rust: to add a transport of their own.
    pub fn hub(&self) -> &Hub {
        &self.0
    }

    /// Keeps what the caller has a pointer to for as long as the hub is open.
    pub(super) fn keep(&self, api: Arc<herald_vpp_api>) {
        self.2.lock().unwrap_or_else(PoisonError::into_inner).push(api);
    }
}

/// Receives the library's own messages. `level` is that of syslog: 3 error, 4 warning, 5 notice,
/// 6 info, 7 debug. `message` is one line without a newline, valid during the call.
///
/// It is called from the worker thread and from threads that call the library, possibly at the
/// same time, and must not call the library.
pub type herald_log =
    Option<unsafe extern "C" fn(context: *mut c_void, level: i32, message: *const c_char)>;

/// How a hub works. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_hub_options {
    /// sizeof(herald_hub_options).
    pub size: usize,
    /// Bytes of ring for each thread that publishes, rounded up to a power of two: how far
    /// publishers can run ahead of the worker. 4096 to 1073741824; 1048576 by default.
    pub ring_bytes: usize,
    /// Milliseconds that closing may take to send what is queued; 200 by default.
    pub flush_ms: u32,
    /// Microseconds that the worker looks for more events before it sleeps, when they come close one
    /// after the other; 5 by default. A publish while it sleeps has to wake it.
    pub spin_us: u32,
    /// Receives the library's messages; NULL drops them.
    pub log: herald_log,
    /// Handed to `log` as it is; it must stay valid until the hub is closed.
    pub log_context: *mut c_void,
}

/// Opens a hub and starts its worker thread, which blocks all signals.
///
/// `options` may be NULL. `*hub` is owned by the caller, who gives it back with
/// herald_hub_close(); on error it is NULL.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM (no
/// thread or no descriptors).
///
/// # Safety
///
/// The pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_open(
    options: *const herald_hub_options,
    hub: *mut *mut herald_hub,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { open(options, hub) })
    })
}

/// # Safety
///
/// As for [`herald_hub_open`].
unsafe fn open(options: *const herald_hub_options, hub: *mut *mut herald_hub) -> Result<(), Failure> {
    if hub.is_null() {
        return Err(Failure::null("hub"));
    }
    // SAFETY: not null, and valid as the caller promised.
    unsafe { hub.write(std::ptr::null_mut()) };
    let mut chosen = HubOptions::default();
    let mut log = Log::silent();
    // SAFETY: the caller's options begin with their size; zero is valid for every field.
    if let Some(options) = unsafe { sized(options, "options") }? {
        match options.ring_bytes {
            0 => {}
            bytes @ 4096..=0x4000_0000 => chosen.ring_bytes = bytes,
            bytes => {
                return Err(Failure::invalid(format!(
                    "options.ring_bytes is {bytes}, and must be from 4096 to 1073741824"
                )));
            }
        }
        if options.flush_ms != 0 {
            chosen.flush = Duration::from_millis(options.flush_ms.into());
        }
        if options.spin_us != 0 {
            chosen.spin = Duration::from_micros(options.spin_us.into());
        }
        log = callback_log(options.log, options.log_context);
    }
    crate::host::watch_forks();
    let opened = Hub::start(chosen, log.clone())?;
    let opened = Box::into_raw(Box::new(herald_hub(Arc::new(opened), log, Mutex::default())));
    // SAFETY: as above.
    unsafe { hub.write(opened) };
    Ok(())
}

fn callback_log(callback: herald_log, context: *mut c_void) -> Log {
    let Some(callback) = callback else { return Log::silent() };
    struct Context(*mut c_void);
    // SAFETY: the header says that the callback is called from several threads with it.
    unsafe impl Send for Context {}
    // SAFETY: as above.
    unsafe impl Sync for Context {}
    let context = Context(context);
    Log::new(move |level: Level, message: &str| {
        let context: &Context = &context;
        let message = CString::new(message).unwrap_or_default();
        // SAFETY: the callback and its context are the caller's, valid until the hub is closed.
        unsafe { callback(context.0, level as i32, message.as_ptr()) };
    })
}

/// Closes a hub: sends what is queued, for at most `flush_ms`, disconnects every subscriber,
/// removes the sockets and ends the worker thread. Sets `*hub` to NULL, so that closing it again
/// does nothing.
///
/// A worker that is held up by the program's own log or handler is waited for a second longer, and then
/// left behind, which the log is told: it ends when it is let go, and may log until then.
///
/// No other thread may use the hub any more. In a forked child it frees the child's copy, and
/// leaves the parent's subscribers and sockets alone.
///
/// Errors: HERALD_ERROR_NULL if `hub` is NULL.
///
/// # Safety
///
/// `hub` is NULL or valid, and `*hub` is NULL or came from herald_hub_open().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_close(hub: *mut *mut herald_hub) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        if hub.is_null() {
            return answer(Err(Failure::null("hub")));
        }
        // SAFETY: not null, and valid as the caller promised.
        let taken = unsafe { hub.replace(std::ptr::null_mut()) };
        if !taken.is_null() {
            // SAFETY: it came from Box::into_raw in herald_hub_open, and its only owner is the
            // caller, whose pointer is NULL now.
            drop(unsafe { Box::from_raw(taken) });
        }
        answer(Ok(()))
    })
}

/// Prepares the calling thread for publishing, so that its first publish allocates nothing. Only
/// a thread whose publishing can be left by siglongjmp() needs it; the others' first publish does
/// the same.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `hub` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_attach_thread(hub: *mut herald_hub) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: NULL or open, as the caller promised.
        let attached = unsafe { borrow(hub) }.and_then(|hub| Ok(hub.0.attach_thread()?));
        answer(attached)
    })
}

/// # Safety
///
/// `hub` is null or open for as long as the result is used.
pub(super) unsafe fn borrow<'a>(hub: *const herald_hub) -> Result<&'a herald_hub, Failure> {
    // SAFETY: null or open, as the caller promised.
    unsafe { hub.as_ref() }.ok_or_else(|| Failure::null("hub"))
}
