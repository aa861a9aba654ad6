//! Structs that begin with their size, so that programs built against an older header go on working.

use crate::error::{Error, Result};

/// No struct of options is larger.
const LIMIT: usize = 4096;

/// Reads a struct of options; null is all defaults. What an older caller's struct does not have is
/// zero, which means the default; what a newer caller's has beyond ours must be zero.
///
/// # Safety
///
/// The pointer is null or points to as many readable bytes as its first field, a size_t, says, and
/// all-zero bytes are a valid `T`.
pub(crate) unsafe fn read_sized<T: Copy>(pointer: *const T, what: &str) -> Result<T> {
    // SAFETY: all-zero is a valid T.
    let mut value = unsafe { std::mem::zeroed::<T>() };
    if pointer.is_null() {
        return Ok(value);
    }
    // SAFETY: not null, and the size comes first.
    let size = unsafe { size(pointer.cast(), what) }?;
    let ours = size_of::<T>().min(size);
    // SAFETY: the caller says that `size` bytes can be read.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    if bytes.iter().skip(ours).any(|&byte| byte != 0) {
        return Err(Error::invalid(format!(
            "{what}: it has options that this version of the library does not know"
        )));
    }
    // SAFETY: both are at least `ours` bytes, and do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), ours) };
    Ok(value)
}

/// Writes a struct for the caller, as much of it as the caller's has room for, after its size. What a
/// newer caller's has beyond ours is set to zero.
///
/// # Safety
///
/// The pointer is null or points to as many writable bytes as its first field, a size_t, says.
pub(crate) unsafe fn write_sized<T: Copy>(pointer: *mut T, value: &T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::null(what));
    }
    // SAFETY: not null, and the size comes first.
    let size = unsafe { size(pointer.cast(), what) }?;
    let ours = size_of::<T>().min(size);
    // SAFETY: the caller says that `size` bytes can be written; its size is put back.
    unsafe {
        pointer.cast::<u8>().write_bytes(0, size);
        std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>(), pointer.cast::<u8>(), ours);
        pointer.cast::<usize>().write_unaligned(size);
    }
    Ok(())
}

/// # Safety
///
/// Points to a readable size_t.
unsafe fn size(pointer: *const usize, what: &str) -> Result<usize> {
    // SAFETY: as the caller promised.
    let size = unsafe { pointer.read_unaligned() };
    match size {
        size if (size_of::<usize>()..=LIMIT).contains(&size) => Ok(size),
        _ => Err(Error::invalid(format!("{what}: its first field is {size}, and must be its size"))),
    }
}
