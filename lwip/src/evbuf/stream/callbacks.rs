//! What lwIP and libevent call of a stream: it notes what has happened, and is served from the loop.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::rc::Rc;

use super::{CONNECTED, EOF, Phase, READING, Stream, find};
use crate::packet::Packet;
use crate::sys::{self, OK};

/// An evbuffer has changed: there may be something to send, or room to receive.
pub(super) unsafe extern "C" fn changed(
    buffer: *mut sys::evbuffer,
    info: *const sys::evbuffer_cb_info,
    arg: *mut c_void,
) {
    guarded(arg, |stream| {
        // SAFETY: libevent says what has changed. The rest is our own doing.
        let (added, deleted) = unsafe { ((*info).n_added > 0, (*info).n_deleted > 0) };
        if (added && buffer == stream.output.raw()) || (deleted && buffer == stream.input.raw()) {
            stream.schedule();
        }
        OK
    });
}

pub(super) unsafe extern "C" fn connected(
    arg: *mut c_void,
    _: *mut sys::tcp_pcb,
    _: sys::err_t,
) -> sys::err_t {
    guarded(arg, |stream| {
        stream.phase.set(Phase::Open);
        stream.addresses.borrow_mut().clear();
        stream.raise(CONNECTED);
        OK
    })
}

pub(super) unsafe extern "C" fn received(
    arg: *mut c_void,
    _: *mut sys::tcp_pcb,
    packet: *mut sys::pbuf,
    _: sys::err_t,
) -> sys::err_t {
    guarded(arg, |stream| {
        let Some(packet) = std::ptr::NonNull::new(packet) else {
            stream.peer_ended.set(true);
            stream.raise(EOF | READING);
            // If we have ended before, lwIP may free the pcb from now on.
            stream.let_go();
            return OK;
        };
        // SAFETY: lwIP passes the packet on, unless we refuse it.
        match stream.receive(unsafe { Packet::from_raw(packet) }) {
            Ok(()) => OK,
            Err(refused) => {
                // lwIP keeps it, and offers it again.
                refused.into_raw();
                sys::ERR_MEM as sys::err_t
            }
        }
    })
}

pub(super) unsafe extern "C" fn acknowledged(
    arg: *mut c_void,
    _: *mut sys::tcp_pcb,
    _: u16,
) -> sys::err_t {
    guarded(arg, |stream| {
        stream.seconds.set(0);
        if stream.freed.get() || !stream.output.is_empty() {
            stream.schedule();
        }
        OK
    })
}

pub(super) unsafe extern "C" fn polled(arg: *mut c_void, _: *mut sys::tcp_pcb) -> sys::err_t {
    guarded(arg, |stream| {
        stream.seconds.set(stream.seconds.get().saturating_add(1));
        let waits = stream.phase.get() == Phase::Connecting || stream.freed.get();
        if waits || !stream.output.is_empty() {
            stream.schedule();
        }
        OK
    })
}

pub(super) unsafe extern "C" fn failed(arg: *mut c_void, error: sys::err_t) {
    guarded(arg, |stream| {
        // lwIP has freed it.
        stream.set_pcb(null_mut());
        let connecting = stream.phase.get() == Phase::Connecting;
        if stream.ended.get() && stream.peer_ended.get() {
            // As wanted.
            stream.phase.set(Phase::Over);
            stream.schedule();
        } else if connecting && !stream.addresses.borrow().is_empty() {
            stream.schedule();
        } else {
            stream.fail(error);
        }
        OK
    });
}

/// lwIP's calls: a panic stays here.
fn guarded(arg: *mut c_void, body: impl FnOnce(&Rc<Stream>) -> sys::err_t) -> sys::err_t {
    let call = std::panic::AssertUnwindSafe(|| find(arg).map_or(OK, |stream| body(&stream)));
    std::panic::catch_unwind(call).unwrap_or(OK)
}
