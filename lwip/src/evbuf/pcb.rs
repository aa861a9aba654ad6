//! What a stream does with lwIP's pcb.

use libc::iovec;

use crate::error::{Error, Result};
use crate::sys::{self, OK, ip_addr_t, tcp_pcb};

/// How far a pcb is when it is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    New,
    Connecting,
    Open,
    PeerEnded,
}

/// The phase of a pcb of the program's; null is none yet.
pub(super) fn phase(raw: *mut tcp_pcb) -> Result<Phase> {
    if raw.is_null() {
        return Ok(Phase::New);
    }
    // SAFETY: a pcb of the program's; a listening one has a state as well.
    match unsafe { (*raw).state } {
        sys::CLOSED => Ok(Phase::New),
        sys::SYN_SENT => Ok(Phase::Connecting),
        sys::SYN_RCVD | sys::ESTABLISHED => Ok(Phase::Open),
        sys::CLOSE_WAIT => Ok(Phase::PeerEnded),
        sys::LISTEN => Err(Error::invalid("the pcb listens: pass those that it accepts")),
        _ => Err(Error::new(libc::ENOTCONN, "the pcb is about to be closed")),
    }
}

/// The error of lwIP's that a call has ended with.
pub(super) fn error(error: sys::err_t, what: &str) -> Error {
    Error::new(errno(error), format!("{what}: {}", name(error)))
}

/// The errno of an error of lwIP's, as its sockets have it.
pub(crate) fn errno(error: sys::err_t) -> i32 {
    match i32::from(error) {
        sys::ERR_OK => 0,
        sys::ERR_MEM => libc::ENOMEM,
        sys::ERR_BUF => libc::ENOBUFS,
        sys::ERR_TIMEOUT => libc::ETIMEDOUT,
        sys::ERR_RTE => libc::EHOSTUNREACH,
        sys::ERR_VAL => libc::EINVAL,
        sys::ERR_USE => libc::EADDRINUSE,
        sys::ERR_ISCONN => libc::EISCONN,
        sys::ERR_CONN | sys::ERR_CLSD => libc::ENOTCONN,
        sys::ERR_ABRT => libc::ECONNABORTED,
        sys::ERR_RST => libc::ECONNRESET,
        _ => libc::EIO,
    }
}

fn name(error: sys::err_t) -> &'static str {
    match i32::from(error) {
        sys::ERR_MEM => "lwIP is out of memory",
        sys::ERR_RTE => "no netif of lwIP's is up that leads there",
        sys::ERR_VAL => "no address of a family that lwIP has",
        sys::ERR_USE => "the port is in use",
        _ => "lwIP refuses",
    }
}

/// A pcb that can connect to the address: the one there is, or a new one in its place.
pub(super) fn for_family(
    present: *mut tcp_pcb,
    address: &ip_addr_t,
) -> std::result::Result<*mut tcp_pcb, sys::err_t> {
    // SAFETY: the pcb is the stream's.
    unsafe {
        if !present.is_null() {
            let kind = (*present).local_ip.type_;
            let fresh = (*present).state == sys::CLOSED;
            if fresh && (kind == address.type_ || u32::from(kind) == sys::IPADDR_TYPE_ANY) {
                return Ok(present);
            }
            forget(present);
            sys::tcp_abort(present);
        }
        let raw = sys::tcp_new_ip_type(address.type_);
        if raw.is_null() { Err(sys::ERR_MEM as sys::err_t) } else { Ok(raw) }
    }
}

/// Takes our callbacks out of a pcb.
pub(super) fn forget(raw: *mut tcp_pcb) {
    // SAFETY: the pcb is the stream's.
    unsafe {
        sys::tcp_arg(raw, std::ptr::null_mut());
        sys::tcp_recv(raw, None);
        sys::tcp_sent(raw, None);
        sys::tcp_err(raw, None);
        sys::tcp_poll(raw, None, 0);
        (*raw).connected = None;
    }
}

pub(super) fn abort(raw: *mut tcp_pcb) {
    // SAFETY: the stream has let go of it.
    unsafe { sys::tcp_abort(raw) };
}

/// Leaves a pcb to lwIP.
pub(super) fn close(raw: *mut tcp_pcb) {
    // SAFETY: the stream has let go of it.
    unsafe {
        if (*raw).flags & sys::TF_CLOSEPEND as sys::tcpflags_t != 0 {
            // The end could not be sent for want of memory. A window that is not all open would make
            // lwIP reset the connection.
            sys::tcp_recved(raw, u16::MAX);
        }
        if sys::tcp_close(raw) != OK {
            sys::tcp_abort(raw);
        }
    }
}

/// Sends the end after all that lwIP has been given. If there is no memory for it now, lwIP does it
/// later.
pub(super) fn end(raw: *mut tcp_pcb) {
    // SAFETY: the pcb is the stream's.
    unsafe { sys::tcp_shutdown(raw, 0, 1) };
}

pub(super) fn output(raw: *mut tcp_pcb) {
    // SAFETY: the pcb is the stream's. What does not go out now does later.
    unsafe { sys::tcp_output(raw) };
}

/// How many bytes lwIP has room for.
pub(super) fn room(raw: *mut tcp_pcb) -> usize {
    // SAFETY: the pcb is the stream's.
    unsafe { (*raw).snd_buf as usize }
}

/// Passes bytes to lwIP, which copies them; how many it has taken. `total` says how many there are in
/// all, that these may be the first of.
pub(super) fn write(raw: *mut tcp_pcb, pieces: &[iovec], total: usize) -> usize {
    let mut written = 0;
    for piece in pieces {
        // The room is never more than 65535 bytes.
        let length = u16::try_from(piece.iov_len).unwrap_or(u16::MAX);
        let more = written + usize::from(length) < total;
        let flags = sys::TCP_WRITE_FLAG_COPY | if more { sys::TCP_WRITE_FLAG_MORE } else { 0 };
        // SAFETY: the piece is that long, and copied.
        if unsafe { sys::tcp_write(raw, piece.iov_base, length, flags as u8) } != OK {
            break;
        }
        written += usize::from(length);
        if usize::from(length) < piece.iov_len {
            break;
        }
    }
    written
}

/// Whether the peer has acknowledged everything, the end included.
pub(super) fn all_acknowledged(raw: *mut tcp_pcb) -> bool {
    // SAFETY: the pcb is the stream's.
    unsafe {
        let pending = (*raw).flags & sys::TF_CLOSEPEND as sys::tcpflags_t != 0;
        !pending && (*raw).unsent.is_null() && (*raw).unacked.is_null()
    }
}

/// Opens the window by so many bytes that were received; a window is never more than 65535.
pub(super) fn open_window(raw: *mut tcp_pcb, bytes: usize) {
    // SAFETY: the pcb is the stream's.
    unsafe { sys::tcp_recved(raw, u16::try_from(bytes).unwrap_or(u16::MAX)) };
    // SAFETY: likewise.
    unsafe {
        // What the peer knows of the window. lwIP tells it of more only in steps of four segments; if it
        // cannot send one segment it must not wait for that.
        let known = (*raw).rcv_ann_right_edge.wrapping_sub((*raw).rcv_nxt);
        if known < u32::from((*raw).mss) && (*raw).rcv_ann_wnd > known {
            (*raw).flags |= sys::TF_ACK_NOW as sys::tcpflags_t;
            sys::tcp_output(raw);
        }
    }
}
