//! Byte queues: libevent's evbuffers, owned, and what moves bytes between them.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

use libc::iovec;

use crate::error::{Error, Result};
use crate::packet::Packet;
use crate::sys::{self, evbuffer};

/// So many pieces of an evbuffer are looked at together.
pub(crate) const PIECES: usize = 8;

/// Up to so many bytes are copied rather than moved: an evbuffer that is fed a byte at a time by moving
/// would hold a block of memory for each.
const SMALL: usize = 4096;

/// An evbuffer of ours. It is freed by the last owner of its stream, from the loop.
pub(crate) struct Buffer(NonNull<evbuffer>);

impl Buffer {
    pub fn new() -> Result<Buffer> {
        // SAFETY: allocates, or returns null.
        let raw = NonNull::new(unsafe { sys::evbuffer_new() });
        raw.map(Buffer).ok_or_else(|| Error::new(libc::ENOMEM, "evbuffer_new failed"))
    }

    pub fn raw(&self) -> *mut evbuffer {
        self.0.as_ptr()
    }

    /// Has a function called whenever the length changes.
    pub fn watch(&self, callback: sys::evbuffer_cb_func, argument: *mut c_void) -> Result<()> {
        // SAFETY: registers only; the caller sees to the argument.
        match unsafe { sys::evbuffer_add_cb(self.raw(), callback, argument) } {
            entry if entry.is_null() => Err(Error::new(libc::ENOMEM, "evbuffer_add_cb failed")),
            _ => Ok(()),
        }
    }

    pub fn len(&self) -> usize {
        length(self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn add(&self, bytes: &[u8]) -> Result<()> {
        // SAFETY: copies.
        match unsafe { sys::evbuffer_add(self.raw(), bytes.as_ptr().cast(), bytes.len()) } {
            0 => Ok(()),
            _ => Err(Error::new(libc::ENOMEM, "evbuffer_add failed")),
        }
    }

    /// Copies all of a packet, or nothing.
    pub fn add_packet(&self, packet: &Packet) -> Result<()> {
        let refused = || Error::new(libc::ENOMEM, "no room in the buffer");
        let mut vectors = [iovec { iov_base: null_mut(), iov_len: 0 }; 2];
        let length = packet.len();
        // SAFETY: there is room for two vectors; they become room in the evbuffer.
        let count =
            unsafe { sys::evbuffer_reserve_space(self.raw(), length as isize, vectors.as_mut_ptr(), 2) };
        let count = usize::try_from(count).map_err(|_| refused())?;
        let mut filled = 0;
        for vector in vectors.iter_mut().take(count) {
            vector.iov_len = vector.iov_len.min(length - filled);
            // SAFETY: there is room for iov_len bytes. A packet's length is a u16, and so is less.
            filled += usize::from(unsafe {
                let (length, offset) = (vector.iov_len as u16, filled as u16);
                sys::pbuf_copy_partial(packet.as_raw(), vector.iov_base, length, offset)
            });
        }
        // SAFETY: the vectors that were reserved, no longer than they were.
        let committed =
            unsafe { sys::evbuffer_commit_space(self.raw(), vectors.as_mut_ptr(), count as i32) };
        if committed == 0 { Ok(()) } else { Err(refused()) }
    }

    /// The first pieces, `limit` bytes at most; how many pieces.
    pub fn peek(&self, limit: usize) -> ([iovec; PIECES], usize) {
        let mut vectors = [iovec { iov_base: null_mut(), iov_len: 0 }; PIECES];
        // SAFETY: there is room for that many; the evbuffer is only looked at.
        let count = unsafe {
            sys::evbuffer_peek(
                self.raw(),
                limit as isize,
                null_mut(),
                vectors.as_mut_ptr(),
                PIECES as i32,
            )
        };
        let count = usize::try_from(count).unwrap_or(0).min(PIECES);
        let mut left = limit;
        for vector in &mut vectors[..count] {
            vector.iov_len = vector.iov_len.min(left);
            left -= vector.iov_len;
        }
        (vectors, count)
    }

    /// Takes up to `into.len()` bytes; how many.
    pub fn take(&self, into: &mut [u8]) -> usize {
        // SAFETY: the slice is as long as is said.
        let taken = unsafe { sys::evbuffer_remove(self.raw(), into.as_mut_ptr().cast(), into.len()) };
        usize::try_from(taken).unwrap_or(0)
    }

    pub fn drain(&self, count: usize) {
        // SAFETY: drains no more than there is.
        unsafe { sys::evbuffer_drain(self.raw(), count) };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { sys::evbuffer_free(self.raw()) };
    }
}

pub(crate) fn length(buffer: NonNull<evbuffer>) -> usize {
    // SAFETY: a valid evbuffer, by its type in this crate.
    unsafe { sys::evbuffer_get_length(buffer.as_ptr()) }
}

/// Moves all that is in one evbuffer to the end of another. False if there is no memory: then what is
/// left is left where it was.
///
/// # Safety
///
/// Both are valid.
pub(crate) unsafe fn transfer(from: *mut evbuffer, to: *mut evbuffer) -> bool {
    // SAFETY: as the caller promised.
    unsafe {
        let length = sys::evbuffer_get_length(from);
        if length > SMALL {
            return sys::evbuffer_add_buffer(to, from) == 0;
        }
        let mut bytes = [0u8; SMALL];
        let copied = sys::evbuffer_copyout(from, bytes.as_mut_ptr().cast(), length);
        let Ok(copied) = usize::try_from(copied) else { return false };
        if sys::evbuffer_add(to, bytes.as_ptr().cast(), copied) != 0 {
            return false;
        }
        sys::evbuffer_drain(from, copied);
    }
    true
}
