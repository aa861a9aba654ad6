//! Serving subscribers.

use std::ffi::c_char;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Failure, answer};
use super::{HERALD_ERROR_INTERNAL, borrow, herald_error, herald_hub, sized, slice, text};
use crate::config::{parse_group, parse_user};
use crate::hub::Overflow;
use crate::transport::datagram::{self, Filter, Format, Subscriber, SubscriberOptions};
use crate::transport::event_sock::EventSock;
use crate::transport::stream::StreamOptions;

/// What happens when a subscriber's queue is full: one of HERALD_OVERFLOW_*.
pub type herald_overflow = u32;

/// The new event is dropped and counted.
pub const HERALD_OVERFLOW_DROP_NEWEST: herald_overflow = 0;
/// The oldest events that wait are dropped and counted.
pub const HERALD_OVERFLOW_DROP_OLDEST: herald_overflow = 1;
/// The subscriber is disconnected.
pub const HERALD_OVERFLOW_DISCONNECT: herald_overflow = 2;

/// How an event socket is served. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_event_sock_options {
    /// sizeof(herald_event_sock_options).
    pub size: usize,
    /// Where to listen; at most 107 bytes. "/tmp/openl2tpd.evt" by default.
    pub path: *const c_char,
    /// Permission bits of the socket; 0660 by default.
    pub mode: u32,
    /// Clients at once, up to 4096; 5 by default. One more is accepted and closed at once.
    pub max_clients: u32,
    /// Owner of the socket, a name or a number; NULL leaves it as it is.
    pub owner: *const c_char,
    /// Group of the socket, a name or a number; NULL leaves it as it is.
    pub group: *const c_char,
    /// User ids that may connect. With both lists empty, everybody whom the mode lets in.
    pub allow_uids: *const u32,
    /// How many there are.
    pub allow_uids_count: usize,
    /// Primary group ids that may connect.
    pub allow_gids: *const u32,
    /// How many there are.
    pub allow_gids_count: usize,
    /// Bytes that may wait for one client, 4096 to 1073741824; 262144 by default.
    pub queue_bytes: usize,
    /// What happens when that many wait.
    pub overflow: herald_overflow,
}

/// Serves the event socket of openl2tpd on a hub. The L2TP events go to its clients; other events
/// it cannot express. It is served until the hub is closed.
///
/// `options` may be NULL, and is copied. A dead socket at the path is replaced; a live one, a
/// directory, a symbolic link or a file is left alone.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM,
/// HERALD_ERROR_IN_USE, HERALD_ERROR_IN_THE_WAY, HERALD_ERROR_PATH_TOO_LONG, HERALD_ERROR_CLOSED,
/// HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `hub` is NULL or open; the other pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_serve_event_sock(
    hub: *mut herald_hub,
    options: *const herald_event_sock_options,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { serve(hub, options) })
    })
}

/// What the options of all stream servers have.
pub(super) struct Given {
    pub path: *const c_char,
    pub mode: u32,
    pub max_clients: u32,
    pub owner: *const c_char,
    pub group: *const c_char,
    pub allow_uids: (*const u32, usize),
    pub allow_gids: (*const u32, usize),
    pub queue_bytes: usize,
    pub overflow: herald_overflow,
}

/// What is [`Given`] in an options struct of any of them: C has no struct that they could share, since
/// each may only grow at its end.
macro_rules! given {
    ($options:expr) => {
        $crate::host::capi::server::Given {
            path: $options.path,
            mode: $options.mode,
            max_clients: $options.max_clients,
            owner: $options.owner,
            group: $options.group,
            allow_uids: ($options.allow_uids, $options.allow_uids_count),
            allow_gids: ($options.allow_gids, $options.allow_gids_count),
            queue_bytes: $options.queue_bytes,
            overflow: $options.overflow,
        }
    };
}
pub(super) use given;

/// # Safety
///
/// As for [`herald_hub_serve_event_sock`].
unsafe fn serve(hub: *mut herald_hub, options: *const herald_event_sock_options) -> Result<(), Failure> {
    // SAFETY: null or open, as the caller promised.
    let herald_hub(hub, log, ..) = unsafe { borrow(hub) }?;
    // SAFETY: the caller's options begin with their size; zero is valid for every field.
    let chosen = match unsafe { sized(options, "options") }? {
        // SAFETY: its pointers are valid, as the caller promised.
        Some(options) => unsafe { given!(options).read(EventSock::default_options()) }?,
        None => EventSock::default_options(),
    };
    hub.add(Box::new(EventSock::listen(chosen, log.clone())?))?;
    Ok(())
}

impl Given {
    /// The options, over what is chosen where nothing is given.
    ///
    /// # Safety
    ///
    /// The pointers are null or valid.
    pub unsafe fn read(self, mut chosen: StreamOptions) -> Result<StreamOptions, Failure> {
        if !self.path.is_null() {
            // SAFETY: a C string, as the caller promised.
            let path = unsafe { text(self.path, "options.path") }?;
            if path.is_empty() {
                return Err(Failure::invalid("options.path is empty".into()));
            }
            chosen.listen.path = PathBuf::from(path);
        }
        match self.mode {
            0 => {}
            bits if bits <= 0o777 => chosen.listen.mode = bits,
            bits => {
                let detail = format!("options.mode is 0{bits:o}, and must be up to 0777");
                return Err(Failure::invalid(detail));
            }
        }
        match self.max_clients as usize {
            0 => {}
            most if most <= StreamOptions::MAX_CLIENTS => chosen.max_clients = most,
            most => {
                let limit = StreamOptions::MAX_CLIENTS;
                return Err(Failure::invalid(format!(
                    "options.max_clients is {most}, and must be up to {limit}"
                )));
            }
        }
        if !self.owner.is_null() {
            // SAFETY: a C string, as the caller promised.
            let owner = unsafe { text(self.owner, "options.owner") }?;
            let owner = parse_user(owner);
            chosen.listen.owner =
                Some(owner.map_err(|error| Failure::invalid(format!("options.owner: {error}")))?);
        }
        if !self.group.is_null() {
            // SAFETY: a C string, as the caller promised.
            let group = unsafe { text(self.group, "options.group") }?;
            let group = parse_group(group);
            chosen.listen.group =
                Some(group.map_err(|error| Failure::invalid(format!("options.group: {error}")))?);
        }
        let ((uids, uid_count), (gids, gid_count)) = (self.allow_uids, self.allow_gids);
        // SAFETY: null or that many values, as the caller promised.
        chosen.listen.allow.uids = unsafe { slice(uids, uid_count, "options.allow_uids") }?.to_vec();
        // SAFETY: null or that many values, as the caller promised.
        chosen.listen.allow.gids = unsafe { slice(gids, gid_count, "options.allow_gids") }?.to_vec();
        chosen.queue_bytes = queue_bytes(self.queue_bytes, chosen.queue_bytes)?;
        chosen.overflow = overflow(self.overflow)?;
        Ok(chosen)
    }
}

fn queue_bytes(given: usize, default: usize) -> Result<usize, Failure> {
    let (least, most) = (StreamOptions::MIN_QUEUE, StreamOptions::MAX_QUEUE);
    match given {
        0 => Ok(default),
        bytes if (least..=most).contains(&bytes) => Ok(bytes),
        bytes => Err(Failure::invalid(format!(
            "options.queue_bytes is {bytes}, and must be from {least} to {most}"
        ))),
    }
}

fn overflow(given: herald_overflow) -> Result<Overflow, Failure> {
    match given {
        HERALD_OVERFLOW_DROP_NEWEST => Ok(Overflow::DropNewest),
        HERALD_OVERFLOW_DROP_OLDEST => Ok(Overflow::DropOldest),
        HERALD_OVERFLOW_DISCONNECT => Ok(Overflow::Disconnect),
        other => Err(Failure::invalid(format!("options.overflow is {other}, which is no policy"))),
    }
}

/// How the events of a datagram subscriber are written: one of HERALD_FORMAT_*.
pub type herald_format = u32;

/// JSON-RPC 2.0 notifications, as OpenSIPS 3.1 and later write them.
pub const HERALD_FORMAT_JSON: herald_format = 0;
/// The text grammar of OpenSIPS 2.4 and 3.0.
pub const HERALD_FORMAT_TEXT: herald_format = 1;

/// A datagram subscriber. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_datagram_options {
    /// sizeof(herald_datagram_options).
    pub size: usize,
    /// Where it listens: "udp:host:port", "udp:[v6]:port" or "unix:/path". Must be given. A host
    /// name is looked up once, during the call.
    pub to: *const c_char,
    /// Names of the events that it gets; '*' stands for any characters. By default all. One that
    /// lists "E_HERALD_EVENTS_LOST" to the letter is told, by that event, how many were dropped
    /// (its parameter count) at the place in its stream where they are missing.
    pub events: *const *const c_char,
    /// How many there are.
    pub events_count: usize,
    /// How they are written; JSON by default.
    pub format: herald_format,
    /// Seconds after which it gets no more; 0 is never.
    pub expire_s: u32,
    /// Bytes that may wait for it, 4096 to 1073741824; 1048576 by default.
    pub queue_bytes: usize,
    /// What happens when that many wait; HERALD_OVERFLOW_DISCONNECT ends the subscription.
    pub overflow: herald_overflow,
    /// Bytes of the socket's send buffer, which bounds the size of a unix datagram; 0 is the
    /// system's default. UDP carries events of up to 65457 bytes.
    pub send_buffer: u32,
}

/// Sends a hub's events to a datagram subscriber, one datagram each, until it expires or the hub is
/// closed. One that is gone, or does not keep up, loses only its own events, and they are counted.
///
/// `options` is copied.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (an address that is none, a host that cannot be
/// resolved), HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED,
/// HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `hub` is NULL or open; the other pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_add_datagram(
    hub: *mut herald_hub,
    options: *const herald_datagram_options,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { add_datagram(hub, options) })
    })
}

/// # Safety
///
/// As for [`herald_hub_add_datagram`].
unsafe fn add_datagram(
    hub: *mut herald_hub,
    options: *const herald_datagram_options,
) -> Result<(), Failure> {
    // SAFETY: null or open, as the caller promised.
    let herald_hub(hub, log, ..) = unsafe { borrow(hub) }?;
    // SAFETY: the caller's options begin with their size; zero is valid for every field.
    let options = unsafe { sized(options, "options") }?.ok_or_else(|| Failure::null("options"))?;
    // SAFETY: a C string, as the caller promised.
    let to = unsafe { text(options.to, "options.to") }?;
    let target =
        datagram::parse(to).map_err(|error| Failure::invalid(format!("options.to: {error}")))?;
    let mut chosen = SubscriberOptions::new(target);
    // SAFETY: null or that many C strings, as the caller promised.
    let events = unsafe { slice(options.events, options.events_count, "options.events") }?;
    // SAFETY: as above.
    let events = events.iter().map(|name| Ok(unsafe { text(*name, "options.events[]") }?.to_owned()));
    chosen.events = Filter::new(events.collect::<Result<_, Failure>>()?);
    chosen.format = match options.format {
        HERALD_FORMAT_JSON => Format::Json,
        HERALD_FORMAT_TEXT => Format::Text,
        other => return Err(Failure::invalid(format!("options.format is {other}, which is no format"))),
    };
    chosen.expire = (options.expire_s > 0).then(|| Duration::from_secs(options.expire_s.into()));
    chosen.queue_bytes = queue_bytes(options.queue_bytes, chosen.queue_bytes)?;
    chosen.overflow = overflow(options.overflow)?;
    chosen.send_buffer = options.send_buffer as usize;
    hub.add(Box::new(Subscriber::new(to, chosen, log.clone())))?;
    Ok(())
}
