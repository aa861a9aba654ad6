//! pbuf_iovec: readv(2) and writev(2) over a pbuf with all its pieces.

use std::ffi::c_int;
use std::ptr::{NonNull, null_mut};

use libc::iovec;

use crate::error::{Error, Result, answer};
use crate::sys::pbuf;

/// The most vectors that the system takes at once (IOV_MAX).
const LIMIT: usize = libc::UIO_MAXIOV as usize;

/// The pieces of a packet, as vectors: in the caller's array if they fit, else in one of our own.
struct Pieces<'a> {
    few: &'a mut [iovec],
    many: Vec<iovec>,
}

impl<'a> Pieces<'a> {
    /// # Safety
    ///
    /// `head` is a valid pbuf; `vectors` is null or points to `count` of them.
    unsafe fn of(head: NonNull<pbuf>, vectors: *mut iovec, count: u16) -> Result<Pieces<'a>> {
        let room = if vectors.is_null() { 0 } else { usize::from(count) };
        let few: &mut [iovec] = match room {
            0 => &mut [],
            // SAFETY: as the caller promised.
            room => unsafe { std::slice::from_raw_parts_mut(vectors, room) },
        };
        let mut found = Vec::new();
        let mut used = 0;
        let mut next = Some(head);
        // SAFETY: valid, as the caller promised.
        let mut left = usize::from(unsafe { head.as_ref() }.tot_len);
        while let Some(pbuf) = next.filter(|_| left > 0) {
            // SAFETY: a pbuf owns a reference to the next one.
            let pbuf = unsafe { pbuf.as_ref() };
            let piece = iovec { iov_base: pbuf.payload, iov_len: usize::from(pbuf.len).min(left) };
            left -= piece.iov_len;
            next = NonNull::new(pbuf.next);
            if piece.iov_len == 0 {
                continue;
            }
            match few.get_mut(used) {
                Some(vector) if found.is_empty() => {
                    *vector = piece;
                    used += 1;
                }
                _ => {
                    // One more than there is room for: all of them move.
                    if found.is_empty() {
                        found.extend_from_slice(&few[..used]);
                    }
                    found.push(piece);
                }
            }
        }
        if found.len() > LIMIT {
            return Err(Error::new(
                libc::EMSGSIZE,
                format!(
                    "a packet in {} pieces: the system takes {LIMIT}; pbuf_coalesce() it",
                    found.len()
                ),
            ));
        }
        Ok(Pieces { few: &mut few[..used], many: found })
    }

    fn all(&self) -> &[iovec] {
        if self.many.is_empty() { self.few } else { &self.many }
    }
}

/// What a system call has returned.
fn outcome(count: isize, what: &str, fd: c_int) -> Result<c_int> {
    match count {
        -1 => Err(Error::os(format_args!("{what} of descriptor {fd}"))),
        // No more than a packet holds, which is less than 64 KiB.
        count => Ok(count as c_int),
    }
}

fn head<T>(packet: *const T) -> Result<NonNull<T>> {
    NonNull::new(packet.cast_mut()).ok_or_else(|| Error::null("the pbuf"))
}

/// Writes a packet with one writev(2): all its pieces, so that it stays one datagram. The `n` vectors
/// are room to work in; if the packet has more pieces, or there are none, the library takes room of its
/// own. Returns how many bytes were written, or -1 with errno.
///
/// # Safety
///
/// `pbuf` is NULL or valid, `iovec` NULL or an array of `n`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pbuf_writev(fd: c_int, pbuf: *const pbuf, iovec: *mut iovec, n: u16) -> c_int {
    answer(-1, || {
        // SAFETY: as the caller promised.
        let pieces = unsafe { Pieces::of(head(pbuf)?, iovec, n) }?;
        let all = pieces.all();
        // SAFETY: the vectors are the pieces of a valid packet; there are at most LIMIT.
        outcome(unsafe { libc::writev(fd, all.as_ptr(), all.len() as c_int) }, "writev", fd)
    })
}

/// Reads with one readv(2) into a packet, into all its pieces, and shortens it to what was read: its
/// tot_len is the result, and pieces that nothing was read into are freed. `last`, if not NULL, becomes
/// the pbuf with the last byte, NULL if there is none. The `n` vectors are room to work in, as for
/// pbuf_writev(). Returns how many bytes were read, 0 at the end, or -1 with errno; then the packet is as
/// it was.
///
/// # Safety
///
/// `pbuf` is NULL or valid and nobody else refers to it, `last` NULL or valid, `iovec` NULL or an array
/// of `n`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pbuf_readv(
    fd: c_int,
    pbuf: *mut pbuf,
    last: *mut *mut pbuf,
    iovec: *mut iovec,
    n: u16,
) -> c_int {
    answer(-1, || {
        let head = head(pbuf)?;
        // SAFETY: as the caller promised.
        let pieces = unsafe { Pieces::of(head, iovec, n) }?;
        let all = pieces.all();
        // SAFETY: the vectors are the pieces of a valid packet; there are at most LIMIT.
        let read = outcome(unsafe { libc::readv(fd, all.as_ptr(), all.len() as c_int) }, "readv", fd)?;
        // SAFETY: the packet is the caller's alone, and no shorter than what was read.
        let end = unsafe {
            crate::sys::pbuf_realloc(head.as_ptr(), read as u16);
            match read {
                0 => null_mut(),
                _ => last_of(head),
            }
        };
        // SAFETY: as the caller promised.
        if let Some(last) = unsafe { last.as_mut() } {
            *last = end;
        }
        Ok(read)
    })
}

/// # Safety
///
/// A valid pbuf.
unsafe fn last_of(mut pbuf: NonNull<pbuf>) -> *mut pbuf {
    // SAFETY: a pbuf owns a reference to the next one.
    while let Some(next) = NonNull::new(unsafe { pbuf.as_ref() }.next) {
        pbuf = next;
    }
    pbuf.as_ptr()
}
