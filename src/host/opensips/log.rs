//! OpenSIPS's log.
//!
//! From 3.4 on a log line can itself raise an event (E_CORE_LOG), so the host's log is called only
//! on the host's own thread, and only while nothing of ours is in use; until then what a sender and
//! its worker have to say waits in its [`Lines`].

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::exports::host_version;
use crate::host::symbol;
use crate::log::{Level, Log};

/// The host's log, for its own thread.
pub fn log() -> Log {
    Log::new(write)
}

/// Lines that wait. Bounded: lines beyond are left out. A forked child has its own; its parent's
/// may have been locked when it was born.
#[derive(Default)]
pub struct Lines {
    waiting: Mutex<Vec<(Level, String)>>,
    /// Whether there are any: what is looked at with every event.
    any: AtomicBool,
}

impl Lines {
    const MOST: usize = 32;

    /// A log that adds to them, on any thread.
    pub fn log(this: &Arc<Self>) -> Log {
        let lines = this.clone();
        Log::new(move |level, message| {
            let mut waiting = lines.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < Self::MOST {
                waiting.push((level, message.to_owned()));
            }
            lines.any.store(true, Ordering::Relaxed);
        })
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Those that wait. They may be kept a little longer, if the worker is just adding some.
    pub fn take(&self) -> Taken {
        if !self.any() {
            return Taken(Vec::new());
        }
        Taken(self.waiting.try_lock().map_or_else(
            |_| Vec::new(),
            |mut waiting| {
                self.any.store(false, Ordering::Relaxed);
                std::mem::take(&mut *waiting)
            },
        ))
    }
}

/// Lines to be written.
pub struct Taken(Vec<(Level, String)>);

impl Taken {
    /// Writes them. To be called on the host's thread, while no state of ours is in use: a log line
    /// can call us.
    pub fn write(self) {
        for (level, message) in self.0 {
            write(level, &message);
        }
    }
}

/// The level's number, its name, and syslog's number.
fn names(level: Level) -> (c_int, &'static str, c_int) {
    match level {
        Level::Error => (-1, "ERROR", libc::LOG_ERR),
        Level::Warning => (1, "WARNING", libc::LOG_WARNING),
        Level::Notice => (2, "NOTICE", libc::LOG_NOTICE),
        Level::Info => (3, "INFO", libc::LOG_INFO),
        Level::Debug => (4, "DBG", libc::LOG_DEBUG),
    }
}

fn write(level: Level, message: &str) {
    let (number, name, syslog_level) = names(level);
    // SAFETY: in every supported version `log_level` is a pointer to an int.
    if unsafe { variable::<*const c_int>(c"log_level") }
        // SAFETY: as above; the host keeps it for its life.
        .and_then(|level| unsafe { level.as_ref() })
        .is_some_and(|most| *most < number)
    {
        return;
    }
    let text = |text: String| CString::new(text).unwrap_or_default();
    let (message, function) = (text(message.to_owned()), c"herald");
    let time = text(time());
    // SAFETY: plain C variables of the host, of these types in every supported version.
    let (facility, to_stderr, prefix) = unsafe {
        (
            variable::<c_int>(c"log_facility").unwrap_or(libc::LOG_DAEMON),
            variable::<c_int>(c"log_stderr").unwrap_or(1) != 0,
            variable::<*const c_char>(c"log_prefix").filter(|prefix| !prefix.is_null()),
        )
    };
    let prefix = prefix.unwrap_or(c"".as_ptr());
    // SAFETY: getpid has no preconditions.
    let pid = unsafe { libc::getpid() };
    let Some(dprint) = symbol::find(c"dprint") else {
        eprintln!("{name}:event_datagram:herald: {}", message.to_string_lossy());
        return;
    };
    if host_version().is_some_and(|version| (version.major, version.minor) >= (3, 4)) {
        type Dprint = unsafe extern "C" fn(
            c_int,
            c_int,
            *const c_char,
            *const c_char,
            *const c_char,
            *const c_char,
            *const c_char,
            ...
        );
        let stderr_format = text(format!("%s [%d] %s{name}:event_datagram:%s: %s\n"));
        let syslog_format = text(format!("%s{name}:event_datagram:%s: %s\n"));
        // SAFETY: the type of dprint from 3.4 on; the formats take what follows them, and every
        // string outlives the call.
        unsafe {
            let dprint = std::mem::transmute::<*mut c_void, Dprint>(dprint.as_ptr());
            dprint(
                number,
                facility,
                c"event_datagram".as_ptr(),
                function.as_ptr(),
                stderr_format.as_ptr(),
                syslog_format.as_ptr(),
                c"%s\n".as_ptr(),
                time.as_ptr(),
                pid,
                prefix,
                function.as_ptr(),
                message.as_ptr(),
            );
        }
    } else if to_stderr {
        type Dprint = unsafe extern "C" fn(*const c_char, ...);
        let format = text(format!("%s [%d] {name}:event_datagram:%s: %s\n"));
        // SAFETY: the type of dprint up to 3.3; as above.
        unsafe {
            let dprint = std::mem::transmute::<*mut c_void, Dprint>(dprint.as_ptr());
            dprint(format.as_ptr(), time.as_ptr(), pid, function.as_ptr(), message.as_ptr());
        }
    } else {
        let format = text(format!("{name}:event_datagram:%s: %s\n"));
        // SAFETY: the format takes two strings, which outlive the call.
        unsafe {
            libc::syslog(syslog_level | facility, format.as_ptr(), function.as_ptr(), message.as_ptr())
        };
    }
}

/// The value of a variable of the host.
///
/// # Safety
///
/// The variable has this type.
unsafe fn variable<T: Copy>(name: &CStr) -> Option<T> {
    // SAFETY: as the caller promised.
    symbol::find(name).map(|found| unsafe { found.cast::<T>().as_ptr().read() })
}

/// The time as OpenSIPS writes it on standard error: `Nov 22 03:20:01`.
fn time() -> String {
    let mut buffer = [0; 32];
    // SAFETY: localtime_r and strftime write within what they are given.
    let len = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts = std::mem::zeroed::<libc::tm>();
        libc::localtime_r(&now, &mut parts);
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), c"%b %e %H:%M:%S".as_ptr(), &parts)
    };
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}
