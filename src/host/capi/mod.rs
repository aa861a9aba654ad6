//! `herald.h`: the library for any C program.
//!
//! The names here are C's, since cbindgen writes the header from them.
#![allow(non_camel_case_types)]

mod error;
mod hub;
mod publish;
mod request;
mod server;
mod stats;
mod vpp_api;

pub use error::*;
pub use hub::*;
pub use publish::*;
pub use request::*;
pub use server::*;
pub use stats::*;
pub use vpp_api::*;

/// The version of the binary interface. It changes when a program must be built anew.
pub const HERALD_ABI_VERSION: u32 = 1;

/// The binary interface of the library that is loaded; to be compared with HERALD_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn herald_abi_version() -> u32 {
    boundary!(0, { HERALD_ABI_VERSION })
}

/// The version of the library, such as "0.1.0". The string is static.
#[unsafe(no_mangle)]
pub extern "C" fn herald_version() -> *const std::ffi::c_char {
    boundary!(std::ptr::null(), { concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast() })
}

use std::ffi::{CStr, c_char};

/// A C string from the caller as UTF-8; `what` names it in the error.
///
/// # Safety
///
/// The pointer is null or a C string that lives as long as the result is used.
unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: as the caller promised.
    utf8(unsafe { string(pointer, what) }?, what)
}

/// A C string from the caller; `what` names it in the error.
///
/// # Safety
///
/// The pointer is null or a C string that lives as long as the result is used.
#[inline]
unsafe fn string<'a>(pointer: *const c_char, what: &str) -> Result<&'a CStr, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: not null, and a C string as the caller promised.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

fn utf8<'a>(string: &'a CStr, what: &str) -> Result<&'a str, Failure> {
    string.to_str().map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
}

/// Whether a struct of which at least one field follows its size can have this one. `sizeof` of a pointer to
/// it, and what happens to be in memory, is none.
fn is_size(size: usize) -> bool {
    (size_of::<usize>() + 1..=4096).contains(&size) && size.is_multiple_of(align_of::<usize>())
}

/// Reads a struct that begins with its size. What an older caller's struct does not have is zero,
/// which means the default; what a newer caller's has beyond ours must be zero.
///
/// # Safety
///
/// The pointer is null or points to as many readable bytes as its first field says, and all-zero
/// bytes are a valid `T`.
unsafe fn sized<T: Copy>(pointer: *const T, what: &str) -> Result<Option<T>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: every such struct begins with a size_t.
    let size = unsafe { pointer.cast::<usize>().read() };
    if !is_size(size) {
        return Err(Failure::new(
            HERALD_ERROR_SIZE,
            format!("{what}: its first field is {size}, and must be the size of the struct"),
        ));
    }
    let ours = size_of::<T>().min(size);
    // SAFETY: the caller says that `size` bytes can be read.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    if bytes[ours..].iter().any(|&byte| byte != 0) {
        return Err(Failure::new(
            HERALD_ERROR_SIZE,
            format!("{what}: it has options that this version of the library does not know"),
        ));
    }
    // SAFETY: all-zero is a valid T.
    let mut value = unsafe { std::mem::zeroed::<T>() };
    // SAFETY: both are at least `ours` bytes, and do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), ours) };
    Ok(Some(value))
}

/// A slice from the caller; `what` names it in the error.
///
/// # Safety
///
/// The pointer is null or points to `count` values that live as long as the result is used.
unsafe fn slice<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    match (pointer.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::null(what)),
        (false, _) if count > isize::MAX as usize / size_of::<T>() => {
            Err(Failure::invalid(format!("{what} has {count} elements, more than there can be")))
        }
        // SAFETY: not null, and `count` values as the caller promised.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, count) }),
    }
}
