//! Packets: lwIP's pbufs, owned.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;

use crate::error::{Error, Result};
use crate::sys;

/// The most bytes that a pbuf can hold.
pub(crate) const MAX: usize = u16::MAX as usize;

/// One reference to a packet, which may lie in memory in several pieces.
pub(crate) struct Packet(NonNull<sys::pbuf>);

impl Packet {
    /// A packet in one piece, of which nothing is initialized; to be filled by [`Packet::fill`].
    pub fn alloc(length: usize) -> Result<Packet> {
        Packet::alloc_at(sys::PBUF_RAW, length)
    }

    /// The same, with room before it for the headers of a layer: PBUF_TRANSPORT, PBUF_IP, PBUF_LINK.
    pub fn alloc_at(layer: sys::pbuf_layer, length: usize) -> Result<Packet> {
        let length = u16::try_from(length).map_err(|_| {
            Error::new(libc::EMSGSIZE, format!("a packet of {length} bytes: the limit is {MAX}"))
        })?;
        // SAFETY: allocates, or returns null.
        let raw = unsafe { sys::pbuf_alloc(layer, length, sys::PBUF_RAM) };
        let packet = NonNull::new(raw).map(Packet);
        packet.ok_or_else(|| Error::new(libc::ENOMEM, "no memory for a packet"))
    }

    pub fn copy_of(bytes: &[u8]) -> Result<Packet> {
        let packet = Packet::alloc(bytes.len())?;
        // SAFETY: the packet is as long as the bytes.
        unsafe { packet.payload().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(packet)
    }

    /// One packet of what lies in two places.
    pub fn copy_of_two(first: &[u8], second: &[u8]) -> Result<Packet> {
        let packet = Packet::alloc(first.len() + second.len())?;
        // SAFETY: the packet is as long as both.
        unsafe {
            packet.payload().copy_from_nonoverlapping(first.as_ptr(), first.len());
            packet.payload().add(first.len()).copy_from_nonoverlapping(second.as_ptr(), second.len());
        }
        Ok(packet)
    }

    /// Takes over a reference that lwIP handed out.
    ///
    /// # Safety
    ///
    /// The caller owns a reference to a valid pbuf, and no longer does afterwards.
    pub unsafe fn from_raw(raw: NonNull<sys::pbuf>) -> Packet {
        Packet(raw)
    }

    /// Gives the reference away, to lwIP.
    pub fn into_raw(self) -> *mut sys::pbuf {
        let raw = self.0.as_ptr();
        std::mem::forget(self);
        raw
    }

    /// Looks at a packet that somebody else owns.
    ///
    /// # Safety
    ///
    /// A valid pbuf, and the result is not used after its owner lets go of it.
    pub unsafe fn borrowed(raw: NonNull<sys::pbuf>) -> std::mem::ManuallyDrop<Packet> {
        std::mem::ManuallyDrop::new(Packet(raw))
    }

    pub fn as_raw(&self) -> *mut sys::pbuf {
        self.0.as_ptr()
    }

    fn head(&self) -> &sys::pbuf {
        // SAFETY: we own a reference.
        unsafe { self.0.as_ref() }
    }

    /// The length of the whole.
    pub fn len(&self) -> usize {
        usize::from(self.head().tot_len)
    }

    /// Where the first piece begins in memory.
    pub fn payload(&self) -> *mut u8 {
        self.head().payload.cast()
    }

    /// The first piece: all of a packet that was read from a descriptor.
    pub fn first(&self) -> &[u8] {
        piece(self.head())
    }

    /// All pieces in order. A packet made by this library has one; lwIP's may have several.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut remaining = self.len();
        let mut next = Some(self.head());
        std::iter::from_fn(move || {
            let pbuf = next.filter(|_| remaining > 0)?;
            let bytes = piece(pbuf);
            remaining = remaining.saturating_sub(bytes.len());
            // SAFETY: a pbuf owns a reference to the next one.
            next = unsafe { pbuf.next.as_ref() };
            Some(bytes)
        })
    }

    /// The pieces as `writev` wants them: as many as there are room for, and how many.
    pub fn iovecs<const N: usize>(&self) -> ([libc::iovec; N], usize) {
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; N];
        let mut count = 0;
        for (vector, piece) in vectors.iter_mut().zip(self.pieces()) {
            vector.iov_base = piece.as_ptr().cast_mut().cast::<c_void>();
            vector.iov_len = piece.len();
            count += 1;
        }
        (vectors, count)
    }

    /// Copies up to `into.len()` bytes from `offset` on; how many.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        let (Ok(offset), length) = (u16::try_from(offset), into.len().min(MAX) as u16) else { return 0 };
        // SAFETY: the pbuf is only read, and never past its end; `into` has room for `length`.
        usize::from(unsafe {
            sys::pbuf_copy_partial(self.as_raw(), into.as_mut_ptr().cast(), length, offset)
        })
    }

    /// Shortens the packet.
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            // SAFETY: we own it, and the new length is less than the old one, thus fits.
            unsafe { sys::pbuf_realloc(self.as_raw(), length as u16) };
        }
    }

    /// A copy in one piece, which nobody else refers to.
    pub fn copy(&self) -> Result<Packet> {
        let copy = Packet::alloc(self.len())?;
        // SAFETY: both are valid and of the same length.
        unsafe { sys::pbuf_copy(copy.as_raw(), self.as_raw()) };
        Ok(copy)
    }

    /// Another reference to the same packet. lwIP owns what it sends: it may look at a packet
    /// later, so a reference is not for changing, and lwIP holds back a retransmission while there
    /// is one.
    pub fn share(&self) -> Packet {
        // SAFETY: valid; the new reference is ours.
        unsafe { sys::pbuf_ref(self.as_raw()) };
        Packet(self.0)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { sys::pbuf_free(self.as_raw()) };
    }
}

fn piece(pbuf: &sys::pbuf) -> &[u8] {
    if pbuf.len == 0 {
        return &[];
    }
    // SAFETY: a pbuf's payload has `len` bytes, allocated with it or referred to by it.
    unsafe { slice::from_raw_parts(pbuf.payload.cast(), usize::from(pbuf.len)) }
}
