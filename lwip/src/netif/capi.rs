//! What a C program can do with any netif of this library.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::rc::Rc;

use super::Netif;
use crate::error::{Error, status};
use crate::options;
use crate::sys;

/// What went over a netif since it was added.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct herald_netif_counters {
    /// The size of this struct.
    pub size: usize,
    /// Packets that came in.
    pub rx_packets: u64,
    /// Their bytes, with the Ethernet header if there is one.
    pub rx_bytes: u64,
    /// Of these: stopped by a hook such as nettest, or refused by lwIP for want of memory.
    pub rx_dropped: u64,
    /// What came in and was no packet, or could not be read.
    pub rx_errors: u64,
    /// Packets that went out.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets that did not go out: stopped by a hook, or the peer does not keep up.
    pub tx_dropped: u64,
    /// Packets that the system refused to send.
    pub tx_errors: u64,
}

/// Called from the loop when a netif can no longer receive and send: its link is down. `error` is an
/// errno, 0 if the peer has gone in an orderly way; `text` says more, and is valid during the call. The
/// netif may be removed from here.
pub type herald_netif_down_cb = Option<
    unsafe extern "C" fn(netif: *mut sys::netif, error: c_int, text: *const c_char, ctx: *mut c_void),
>;

/// Takes a netif out of lwIP and frees it, with its captures, its nettest, its descriptors and its
/// process. The connections of its addresses are aborted, as by lwIP's netif_remove(). It may be called
/// at any time on the loop's thread, from callbacks of lwIP's and of the netif itself too. Returns 0, or
/// -1 with ENODEV if it is not (or no longer) a netif of this library.
#[unsafe(no_mangle)]
pub extern "C" fn herald_netif_remove(netif: *mut sys::netif) -> c_int {
    status(|| {
        Netif::find(netif)?.remove();
        Ok(())
    })
}

/// Reads the counters of a netif into a struct whose first field says how large it is. Returns 0, or -1
/// with errno.
///
/// # Safety
///
/// `counters` points to as many writable bytes as its first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_netif_get_counters(
    netif: *mut sys::netif,
    counters: *mut herald_netif_counters,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        let now = netif.counters();
        let value = |counter: &Cell<u64>| counter.get();
        let read = herald_netif_counters {
            size: 0,
            rx_packets: value(&now.rx_packets),
            rx_bytes: value(&now.rx_bytes),
            rx_dropped: value(&now.rx_dropped),
            rx_errors: value(&now.rx_errors),
            tx_packets: value(&now.tx_packets),
            tx_bytes: value(&now.tx_bytes),
            tx_dropped: value(&now.tx_dropped),
            tx_errors: value(&now.tx_errors),
        };
        // SAFETY: as the caller promised.
        unsafe { options::write_sized(counters, &read, "the counters") }
    })
}

/// Has a function called when the netif goes down for good; NULL for none. If it already has, it is
/// called from the loop soon. Returns 0, or -1 with errno.
///
/// # Safety
///
/// The callback may be called, with `ctx`, until the netif is removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_netif_set_down_cb(
    netif: *mut sys::netif,
    cb: herald_netif_down_cb,
    ctx: *mut c_void,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        netif.set_on_down(cb.map(|cb| -> super::DownCallback {
            Rc::new(move |netif: *mut sys::netif, error: &Error| {
                let text = CString::new(error.text.replace('\0', "?")).unwrap_or_default();
                // SAFETY: the program's callback, with what it asked for.
                unsafe { cb(netif, error.errno, text.as_ptr(), ctx) };
            })
        }));
        if netif.trouble().is_some() {
            netif.tell_soon();
        }
        Ok(())
    })
}
