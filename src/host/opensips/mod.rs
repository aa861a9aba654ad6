//! OpenSIPS loads us as its event_datagram module, whatever its version from 2.4.0 to 4.0.
//!
//! The order of things: [`exports`] is filled in at dlopen; `init` runs once, in the process that
//! forks all others; then any process may raise events, told of its birth (`child_init`) or not. So
//! what is shared is made in `init`, and everything else when a process first needs it.

mod abi;
mod arena;
mod exports;
mod log;
mod places;
mod sender;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::iter::successors;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use abi::{EviExport, ParamExport, Params, ReplySock, StatExport, Str};
use arena::{Arena, Count, MAX_ADDRESS};
use sender::Common;

use super::symbol;
use crate::event::Value;
use crate::log::log;
use crate::transport::datagram::{AddressError, Format, SourcePorts, Target, parse_udp, parse_unix};

/// What the host reads.
#[repr(transparent)]
struct Table<T>(T);

// SAFETY: the tables are constant; the host reads them, and writes only through pointers to atomics.
unsafe impl<T> Sync for Table<T> {}

/// Module parameters, as the host writes them while it reads its configuration.
static FORMAT: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static QUEUE: AtomicI32 = AtomicI32::new(1 << 20);
static MAX_SUBSCRIBERS: AtomicI32 = AtomicI32::new(1024);
static SEND_BUFFER: AtomicI32 = AtomicI32::new(0);

static PARAMS: Table<[ParamExport; 5]> = {
    const fn param(name: &'static CStr, kind: c_int, pointer: *mut c_void) -> ParamExport {
        ParamExport { name: name.as_ptr(), kind, pointer }
    }
    Table([
        param(c"format", abi::STRING_PARAM, (&raw const FORMAT) as *mut c_void),
        param(c"queue", abi::INT_PARAM, (&raw const QUEUE) as *mut c_void),
        param(c"max_subscribers", abi::INT_PARAM, (&raw const MAX_SUBSCRIBERS) as *mut c_void),
        param(c"send_buffer", abi::INT_PARAM, (&raw const SEND_BUFFER) as *mut c_void),
        ParamExport { name: null(), kind: 0, pointer: null_mut() },
    ])
};

/// Defines a function for each statistic, and their table.
macro_rules! stats {
    ($($function:ident $name:literal = $count:expr;)*) => {
        $(
            extern "C" fn $function(_context: *mut c_void) -> u64 {
                boundary!(0, {
                    let count: fn(&Arena) -> u64 = $count;
                    Arena::get().map_or(0, |arena| count(&arena))
                })
            }
        )*
        static STATS: Table<[StatExport; { [$($name),*].len() + 1 }]> = Table([
            $(StatExport {
                name: $name.as_ptr(),
                flags: abi::STAT_IS_FUNCTION,
                pointer: $function as extern "C" fn(*mut c_void) -> u64 as *const c_void,
            },)*
            StatExport { name: null(), flags: 0, pointer: null() },
        ]);
    };
}

stats! {
    stat_raised c"raised" = |arena| arena.counted(Count::Raised);
    stat_sent c"sent" = |arena| arena.counted(Count::Sent);
    stat_queued c"queued" = |arena| arena.counted(Count::Queued);
    stat_retried c"retried" = |arena| arena.counted(Count::Retried);
    stat_dropped c"dropped" = |arena| {
        [Count::DroppedFull, Count::DroppedGone, Count::DroppedTooLarge, Count::DroppedError]
            .iter()
            .map(|count| arena.counted(*count))
            .sum()
    };
    stat_dropped_full c"dropped_full" = |arena| arena.counted(Count::DroppedFull);
    stat_dropped_gone c"dropped_gone" = |arena| arena.counted(Count::DroppedGone);
    stat_dropped_too_large c"dropped_too_large" = |arena| arena.counted(Count::DroppedTooLarge);
    stat_dropped_error c"dropped_error" = |arena| arena.counted(Count::DroppedError);
    stat_subscribers c"subscribers" = |arena| arena.live() as u64;
}

static UDP: Table<EviExport> = Table(EviExport {
    proto: Str::new("udp"),
    raise,
    parse: parse_udp_socket,
    matches,
    free,
    print,
    flags: abi::UDP,
});

static UNIX: Table<EviExport> = Table(EviExport {
    proto: Str::new("unix"),
    raise,
    parse: parse_unix_socket,
    matches,
    free,
    print,
    flags: abi::UNIX,
});

/// What `init` made.
static MODULE: OnceLock<(Common, Format)> = OnceLock::new();

/// `init_f`: 0 if the module works.
extern "C" fn init() -> c_int {
    boundary!(-1, {
        match start() {
            Ok(()) => 0,
            Err(message) => {
                log!(log::log(), Error, "{message}");
                -1
            }
        }
    })
}

fn start() -> Result<(), String> {
    let format = format()?;
    let within = |name: &str, value: &AtomicI32, least: i32, most: i32| {
        let value = value.load(Ordering::Relaxed);
        match (least..=most).contains(&value) {
            true => Ok(value as usize),
            false => Err(format!("modparam {name} is {value}, and must be from {least} to {most}")),
        }
    };
    let slots = within("max_subscribers", &MAX_SUBSCRIBERS, 1, arena::MAX_SUBSCRIBERS as i32)?;
    let queue = within("queue", &QUEUE, 4096, 1 << 30)?;
    let send_buffer = within("send_buffer", &SEND_BUFFER, 0, 1 << 30)?;
    super::watch_forks();
    let source = SourcePorts::take().map_err(|error| format!("cannot take a UDP port: {error}"))?;
    Arena::map(slots).map_err(|error| format!("cannot map {slots} subscriptions: {error}"))?;
    let arena = Arena::get().ok_or("cannot map the subscriptions")?;
    let common = Common { arena, source: Arc::new(source), queue, send_buffer };
    if MODULE.set((common, format)).is_err() {
        return Err("the module is initialised already".into());
    }
    type Register = unsafe extern "C" fn(*const EviExport) -> c_int;
    let register =
        symbol::find(c"register_event_mod").ok_or("this OpenSIPS has no register_event_mod")?;
    for transport in [&UDP.0, &UNIX.0] {
        // SAFETY: the type of register_event_mod in every supported version; it keeps the pointer,
        // which is static.
        let result =
            unsafe { std::mem::transmute::<*mut c_void, Register>(register.as_ptr())(transport) };
        if result != 0 {
            return Err(
                "OpenSIPS did not accept the transports; is another event_datagram loaded?".into()
            );
        }
    }
    Ok(())
}

/// The format that was asked for, or else the one that the host's version speaks.
fn format() -> Result<Format, String> {
    let chosen = FORMAT.load(Ordering::Relaxed);
    if chosen.is_null() {
        let text =
            exports::host_version().is_some_and(|version| (version.major, version.minor) <= (3, 0));
        return Ok(if text { Format::Text } else { Format::Json });
    }
    // SAFETY: the host wrote a C string of its own that it keeps.
    match unsafe { CStr::from_ptr(chosen) }.to_bytes() {
        b"text" => Ok(Format::Text),
        b"json" => Ok(Format::Json),
        other => {
            let other = String::from_utf8_lossy(other);
            Err(format!("modparam format is \"{other}\", and must be \"text\" or \"json\""))
        }
    }
}

/// `child_init_f`: nothing to do, since a process makes what it needs when it needs it.
extern "C" fn child_init(_rank: c_int) -> c_int {
    boundary!(0, { 0 })
}

/// `destroy_f`: sends what waits in this process, for at most 200 ms.
extern "C" fn destroy() {
    boundary!((), { sender::end() })
}

unsafe extern "C" fn parse_udp_socket(socket: Str) -> *mut ReplySock {
    // SAFETY: the host's text lives during the call.
    boundary!(null_mut(), { unsafe { parse(socket, "udp", parse_udp) } })
}

unsafe extern "C" fn parse_unix_socket(socket: Str) -> *mut ReplySock {
    // SAFETY: the host's text lives during the call.
    boundary!(null_mut(), { unsafe { parse(socket, "unix", parse_unix) } })
}

/// Makes a subscription from what follows `udp:` or `unix:`; null, with a log line, if it is none.
///
/// # Safety
///
/// The text lives during the call.
unsafe fn parse(
    socket: Str,
    scheme: &str,
    understand: fn(&[u8]) -> Result<Target, AddressError>,
) -> *mut ReplySock {
    let refuse = |why: &dyn std::fmt::Display| {
        log!(log::log(), Error, "refused the {scheme} subscriber {why}");
        null_mut()
    };
    let Some((common, _)) = MODULE.get() else { return null_mut() };
    // SAFETY: as the caller promised.
    let text = unsafe { socket.bytes() }.unwrap_or_default();
    let target = match understand(text) {
        Ok(target) => target,
        Err(error) => return refuse(&error),
    };
    let (host, port, own) = match target {
        Target::Unix(_) => (text, 0, abi::UNIX),
        Target::Udp(address) => {
            let host = text.iter().rposition(|&byte| byte == b':').map_or(text, |colon| &text[..colon]);
            (host, address.port(), abi::UDP | abi::HAS_PORT)
        }
    };
    if host.len() > MAX_ADDRESS {
        return refuse(&format_args!("an address of {} bytes is too long", host.len()));
    }
    let made = common.arena.add(host, target, |host| ReplySock {
        flags: abi::HAS_ADDRESS | abi::HAS_SOCKET | abi::HAS_EXPIRE | own,
        port,
        address: Str { s: host.as_ptr().cast(), len: host.len() as c_int },
        expire: 0,
        subscription_time: 0,
        src_addr: [0; 14],
        params: null_mut(),
    });
    if made.is_null() {
        let most = common.arena.capacity();
        let text = String::from_utf8_lossy(text);
        let why =
            format_args!("<{text}>: there are {most} subscriptions already; raise max_subscribers");
        return refuse(&why);
    }
    made
}

/// 1 if both subscriptions are the same.
unsafe extern "C" fn matches(a: *const ReplySock, b: *const ReplySock) -> c_int {
    boundary!(0, {
        // SAFETY: null, or subscriptions that the host holds.
        let (Some(a), Some(b)) = (unsafe { a.as_ref() }, unsafe { b.as_ref() }) else { return 0 };
        let kind = abi::UDP | abi::UNIX | abi::HAS_PORT;
        // SAFETY: their texts live as long as they do.
        let same_address = unsafe { a.address.bytes() == b.address.bytes() };
        c_int::from(a.flags & kind == b.flags & kind && a.port == b.port && same_address)
    })
}

unsafe extern "C" fn free(sock: *mut ReplySock) {
    boundary!((), {
        if let Some(arena) = Arena::get() {
            arena.free(sock);
        }
    })
}

/// The subscription as text, without its scheme, which the host writes.
unsafe extern "C" fn print(sock: *const ReplySock) -> Str {
    boundary!(Str::EMPTY, {
        /// What the host gets, until it asks again. Each process has one thread that asks.
        struct Printed(std::cell::UnsafeCell<[u8; MAX_ADDRESS + 8]>);
        // SAFETY: only the host's one thread calls us.
        unsafe impl Sync for Printed {}
        static PRINTED: Printed = Printed(std::cell::UnsafeCell::new([0; MAX_ADDRESS + 8]));

        // SAFETY: null, or a subscription that the host holds.
        let Some(sock) = (unsafe { sock.as_ref() }) else { return Str::EMPTY };
        // SAFETY: its text lives as long as it does.
        let address = unsafe { sock.address.bytes() }.unwrap_or_default();
        // SAFETY: nobody else writes, as above.
        let buffer = unsafe { &mut *PRINTED.0.get() };
        let mut rest = &mut buffer[..];
        let written = || -> std::io::Result<()> {
            use std::io::Write;
            rest.write_all(address)?;
            if sock.flags & abi::HAS_PORT != 0 {
                write!(rest, ":{}", sock.port)?;
            }
            Ok(())
        };
        if { written }().is_err() {
            return Str::EMPTY;
        }
        let len = MAX_ADDRESS + 8 - rest.len();
        Str { s: PRINTED.0.get().cast(), len: len as c_int }
    })
}

/// Raises an event for one subscription: 0 if it is sent, or waits to be sent. From 3.2 on the host
/// passes one argument more, which we have no use for.
unsafe extern "C" fn raise(
    _message: *mut c_void,
    name: *const Str,
    sock: *mut ReplySock,
    params: *const Params,
) -> c_int {
    boundary!(-1, {
        let Some((common, format)) = MODULE.get() else { return -1 };
        let sent = sender::with(common, |sender| {
            let Some(key) = sender.arena().key(sock) else { return false };
            // SAFETY: a subscription that the host holds during the call.
            if unsafe { arena::has_expired(sock, 0) } {
                return true;
            }
            sender.count(Count::Raised);
            sender.buffer.clear();
            // SAFETY: the host's event lives during the call.
            unsafe { encode(name, params, *format, &mut sender.buffer) };
            sender.send(key)
        });
        if sent { 0 } else { -1 }
    })
}

/// Encodes the host's event.
///
/// # Safety
///
/// The name and the parameters live during the call.
unsafe fn encode(name: *const Str, params: *const Params, format: Format, out: &mut Vec<u8>) {
    // SAFETY: null, or a name that lives during the call.
    let name = unsafe { name.as_ref().and_then(|name| name.bytes()) }.unwrap_or_default();
    // SAFETY: null, or a list that lives during the call, with all its texts.
    let params = unsafe {
        let first = params.as_ref().and_then(|params| params.first.as_ref());
        successors(first, |param| param.next.as_ref()).map(|param| convert(param))
    };
    format.encode_parts(name, params, out);
}

/// # Safety
///
/// The parameter's texts live as long as the result is used.
unsafe fn convert<'a>(param: &abi::Param) -> (&'a [u8], Value<'a>) {
    let value = if param.flags & abi::INT_VALUE != 0 {
        // SAFETY: the flag says that an int is there.
        Value::Int(unsafe { (&raw const param.value).cast::<c_int>().read() }.into())
    } else {
        // SAFETY: as the caller promised.
        unsafe { param.value.bytes() }.map_or(Value::Null, Value::Str)
    };
    // SAFETY: as the caller promised.
    (unsafe { param.name.bytes() }.unwrap_or_default(), value)
}
