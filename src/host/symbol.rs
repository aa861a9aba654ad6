//! Looking up what a host offers.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// The address of a symbol of the program or of a library loaded with it. Hosts' symbols are
/// never linked against: rustc sets BIND_NOW, so one that is missing would keep us from loading.
pub(crate) fn find(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string; looking a symbol up runs no code of its owner.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}
