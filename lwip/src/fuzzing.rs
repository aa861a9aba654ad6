//! What fuzz targets reach that programs do not.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

use crate::core;
use crate::error::answer;
use crate::netif::vnet_over;
use crate::sys;

/// A netif over a non-blocking descriptor, which becomes its own, whose packets have the kernel's header
/// for offloads, as those of tunif and packetif do.
///
/// # Safety
///
/// The descriptor is the caller's.
pub unsafe fn vnetif_add(base: *mut sys::event_base, fd: RawFd, ether: i32) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        vnet_over(unsafe { OwnedFd::from_raw_fd(fd) }, ether != 0)
    })
}
