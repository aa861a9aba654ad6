//! Errors: a number for programs, a text for people.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};

use crate::hub::PublishError;
use crate::transport::listener::ListenError;

/// HERALD_OK, or one of HERALD_ERROR_*.
pub type herald_error = i32;

/// Success.
pub const HERALD_OK: herald_error = 0;
/// A pointer is NULL that must not be.
pub const HERALD_ERROR_NULL: herald_error = 1;
/// An argument is out of its range, or text is not UTF-8.
pub const HERALD_ERROR_INVALID: herald_error = 2;
/// The size in the first field of a struct is wrong.
pub const HERALD_ERROR_SIZE: herald_error = 3;
/// The system refused something.
pub const HERALD_ERROR_SYSTEM: herald_error = 4;
/// Another process serves this socket.
pub const HERALD_ERROR_IN_USE: herald_error = 5;
/// Something that is no socket of ours stands at this path.
pub const HERALD_ERROR_IN_THE_WAY: herald_error = 6;
/// The path does not fit into a socket address (107 bytes).
pub const HERALD_ERROR_PATH_TOO_LONG: herald_error = 7;
/// Events come faster than the worker takes them; this one is counted as lost, and subscribers
/// are told.
pub const HERALD_ERROR_RING_FULL: herald_error = 8;
/// The event is larger than the ring, has more than 65535 parameters, or a name is longer than 65535
/// bytes.
pub const HERALD_ERROR_TOO_LARGE: herald_error = 9;
/// The hub is closed.
pub const HERALD_ERROR_CLOSED: herald_error = 10;
/// The hub belongs to the parent of this forked process.
pub const HERALD_ERROR_FORKED: herald_error = 11;
/// A defect of the library; details are on standard error.
pub const HERALD_ERROR_INTERNAL: herald_error = 12;
/// The hub's worker has ended on its own, or its descriptors were closed by somebody else; close
/// the hub and open another.
pub const HERALD_ERROR_FAILED: herald_error = 13;
/// An .api or api.json file cannot be read or is wrong, or modules cannot be served together.
pub const HERALD_ERROR_API: herald_error = 14;
/// There is no such message, it has no such field, or a value or its bytes do not fit it.
pub const HERALD_ERROR_MESSAGE: herald_error = 15;

/// What an error number means, in one line of English; "unknown error" for a number that is none.
/// The string is static.
#[unsafe(no_mangle)]
pub extern "C" fn herald_error_string(error: herald_error) -> *const c_char {
    boundary!(std::ptr::null(), { describe(error).as_ptr() })
}

fn describe(error: herald_error) -> &'static CStr {
    match error {
        HERALD_OK => c"success",
        HERALD_ERROR_NULL => c"a pointer is NULL that must not be",
        HERALD_ERROR_INVALID => c"an argument is invalid",
        HERALD_ERROR_SIZE => c"the size of a struct is wrong",
        HERALD_ERROR_SYSTEM => c"the system refused something",
        HERALD_ERROR_IN_USE => c"another process serves this socket",
        HERALD_ERROR_IN_THE_WAY => c"something else stands at the path of the socket",
        HERALD_ERROR_PATH_TOO_LONG => c"the path does not fit into a socket address",
        HERALD_ERROR_RING_FULL => c"events come faster than they are taken; the event was dropped",
        HERALD_ERROR_TOO_LARGE => c"the event is too large",
        HERALD_ERROR_CLOSED => c"the hub is closed",
        HERALD_ERROR_FORKED => c"the hub belongs to the parent process",
        HERALD_ERROR_INTERNAL => c"internal error",
        HERALD_ERROR_FAILED => c"the hub has failed",
        HERALD_ERROR_API => c"an API cannot be served",
        HERALD_ERROR_MESSAGE => c"the message is not what its API says",
        _ => c"unknown error",
    }
}

thread_local! {
    /// Replaced as a whole, so that a caller who leaves us half-way leaves it whole.
    static LAST: Cell<Option<CString>> = const { Cell::new(None) };
}

/// What exactly was wrong in the last call on this thread that failed, naming the argument; empty
/// if none has. Publishing leaves no detail beyond its error number.
///
/// The string belongs to the library and stays valid until the next failing call on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn herald_last_error() -> *const c_char {
    boundary!(c"".as_ptr(), {
        LAST.with(|last| {
            let text = last.take();
            let pointer = text.as_ref().map_or(c"".as_ptr(), |text| text.as_ptr());
            last.set(text);
            pointer
        })
    })
}

/// An error on its way to the caller.
pub(super) struct Failure {
    code: herald_error,
    detail: String,
}

impl Failure {
    pub(super) fn new(code: herald_error, detail: String) -> Self {
        Failure { code, detail }
    }

    pub(super) fn null(what: &str) -> Self {
        Failure::new(HERALD_ERROR_NULL, format!("{what} is NULL"))
    }

    pub(super) fn invalid(detail: String) -> Self {
        Failure::new(HERALD_ERROR_INVALID, detail)
    }

    #[cold]
    fn keep(self) -> herald_error {
        LAST.set(CString::new(self.detail.replace('\0', " ")).ok());
        self.code
    }
}

impl From<PublishError> for Failure {
    fn from(refused: PublishError) -> Self {
        Failure::new(publish_code(refused), refused.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<PublishError>()) {
            Some(refused) => (*refused).into(),
            None => Failure::new(HERALD_ERROR_SYSTEM, error.to_string()),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let code = match error {
            ListenError::InUse(_) => HERALD_ERROR_IN_USE,
            ListenError::InTheWay(..) => HERALD_ERROR_IN_THE_WAY,
            ListenError::PathTooLong(_) => HERALD_ERROR_PATH_TOO_LONG,
            ListenError::Io(..) => HERALD_ERROR_SYSTEM,
        };
        Failure::new(code, error.to_string())
    }
}

/// The number of a refused publish. No detail: this path must not allocate.
pub(super) fn publish_code(refused: PublishError) -> herald_error {
    match refused {
        PublishError::RingFull => HERALD_ERROR_RING_FULL,
        PublishError::TooLarge => HERALD_ERROR_TOO_LARGE,
        PublishError::Closed => HERALD_ERROR_CLOSED,
        PublishError::Forked => HERALD_ERROR_FORKED,
        PublishError::Failed => HERALD_ERROR_FAILED,
    }
}

/// Turns a result into a number, and keeps the detail for [`herald_last_error`].
#[inline(always)]
pub(super) fn answer(result: Result<(), Failure>) -> herald_error {
    result.map_or_else(Failure::keep, |()| HERALD_OK)
}
