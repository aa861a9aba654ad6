//! Looking up what a host offers.

use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};

/// The address of a symbol of the program or of a library loaded with it. Hosts' symbols are
/// never linked against: rustc sets BIND_NOW, so one that is missing would keep us from loading.
pub(crate) fn find(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string; looking a symbol up runs no code of its owner.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// The same, with the size of what it stands for.
pub(crate) fn find_sized(name: &CStr) -> Option<(NonNull<c_void>, usize)> {
    /// Asks dladdr1 for the symbol table's entry (`dlfcn.h` of glibc).
    const RTLD_DL_SYMENT: i32 = 1;
    unsafe extern "C" {
        fn dladdr1(
            address: *const c_void,
            info: *mut libc::Dl_info,
            extra: *mut *mut c_void,
            flags: i32,
        ) -> i32;
    }
    let found = find(name)?;
    let mut entry = null_mut::<c_void>();
    // SAFETY: both results have room; dladdr1 is glibc's, and fills in both if it returns nonzero.
    let entry = unsafe {
        let mut info = std::mem::zeroed::<libc::Dl_info>();
        if dladdr1(found.as_ptr(), &mut info, &mut entry, RTLD_DL_SYMENT) == 0 {
            return None;
        }
        entry.cast::<libc::Elf64_Sym>().as_ref()?
    };
    Some((found, entry.st_size as usize))
}
