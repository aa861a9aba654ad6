//! OpenSIPS's log.
//!
//! From 3.4 on a log line can itself raise an event (E_CORE_LOG), so the host's log is called only
//! on the host's own thread; what the worker has to say waits for the next call from there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::exports::host_version;
use crate::host::symbol;
use crate::log::{Level, Log};

/// What the worker has to say. Bounded: lines beyond are left out.
static WAITING: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());
/// Whether it has something to say: what is looked at with every event.
static SAYS: AtomicBool = AtomicBool::new(false);
const MOST_WAITING: usize = 32;

/// The host's log.
pub fn log() -> Log {
    Log::new(|level, message| {
        // SAFETY: two numbers of this process.
        if unsafe { libc::gettid() == libc::getpid() } {
            write(level, message);
        } else {
            let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < MOST_WAITING {
                waiting.push((level, message.to_owned()));
            }
            SAYS.store(true, Ordering::Relaxed);
        }
    })
}

/// Writes what the worker had to say. To be called on the host's thread, while no state of ours is
/// in use: a log line can call us.
pub fn write_waiting() {
    if !SAYS.load(Ordering::Relaxed) {
        return;
    }
    let waiting = match WAITING.try_lock() {
        Ok(mut waiting) => {
            SAYS.store(false, Ordering::Relaxed);
            std::mem::take(&mut *waiting)
        }
        Err(_) => return,
    };
    for (level, message) in waiting {
        write(level, &message);
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
    let text = |text: String| CString::new(text.replace('\0', " ")).unwrap_or_default();
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
