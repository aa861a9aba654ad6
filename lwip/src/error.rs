//! What goes wrong, and how a C program is told: an errno and a text, kept per thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An errno and what exactly was wrong.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    pub errno: i32,
    pub text: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(errno: i32, text: impl Into<String>) -> Error {
        Error { errno, text: text.into() }
    }

    /// A value that the caller passed cannot be used.
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::new(libc::EINVAL, text)
    }

    pub fn null(what: &str) -> Error {
        Error::invalid(format!("{what} is NULL"))
    }

    /// What a system call that has just failed left in errno.
    pub fn os(what: impl Display) -> Error {
        Error::io(what, &std::io::Error::last_os_error())
    }

    pub fn io(what: impl Display, error: &std::io::Error) -> Error {
        Error::new(error.raw_os_error().unwrap_or(libc::EIO), format!("{what}: {error}"))
    }

    /// Makes it the thread's last error.
    pub fn record(&self) {
        let text = CString::new(self.text.replace('\0', "?")).unwrap_or_default();
        // At a thread's end there is nobody left to read it.
        let _ = LAST.try_with(|last| *last.borrow_mut() = text);
        // SAFETY: the address of this thread's errno.
        unsafe { *libc::__errno_location() = self.errno };
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs the body of an exported function. An error becomes the thread's last error and errno, and
/// the function returns `failed`; so does a panic, which does not cross into the program.
pub(crate) fn answer<T>(failed: T, body: impl FnOnce() -> Result<T>) -> T {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(_) => Error::new(libc::EIO, "a defect of the library; standard error says where"),
    };
    error.record();
    failed
}

/// The same for a function that returns 0 or -1.
pub(crate) fn status(body: impl FnOnce() -> Result<()>) -> i32 {
    answer(-1, || body().map(|()| 0))
}

/// What exactly went wrong in the last call of this thread that failed; "" if none has. The string
/// is valid until the next call of this library by this thread.
#[unsafe(no_mangle)]
pub extern "C" fn herald_lwip_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
