//! openl2tpd loads us as its event_sock plugin (openl2tp 1.8).
//!
//! The daemon calls `openl2tp_plugin_init` once it runs in the background, its hook variables as
//! sessions and tunnels come and go, and `openl2tp_plugin_cleanup` from an exit handler. All of
//! these come on its main thread. A hook can be left by `siglongjmp` at any instruction, so hooks
//! take no lock and own nothing; init and clean-up run with all signals blocked.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Display;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::symbol;
use crate::config::Config;
use crate::event::{L2tp, L2tpKind};
use crate::hub::{Hub, HubOptions, PublishError, Transport};
use crate::log::{Level, Log, log};
use crate::transport::datagram::Subscriber;
use crate::transport::event_sock::EventSock;
use crate::transport::listener::ListenError;

const VERSION_TEXT: &str = concat!("herald ", env!("CARGO_PKG_VERSION"), "\0");

const fn version() -> [u8; VERSION_TEXT.len()] {
    let mut text = [0; VERSION_TEXT.len()];
    let mut at = 0;
    while at < text.len() {
        text[at] = VERSION_TEXT.as_bytes()[at];
        at += 1;
    }
    text
}

/// The plugin's version, which the daemon logs: an array of characters, ended by zero.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static openl2tp_plugin_version: [u8; VERSION_TEXT.len()] = version();

/// The running hub; null while there is none.
static HUB: AtomicPtr<Hub> = AtomicPtr::new(null_mut());

/// Starts the plugin: reads the configuration, serves the event socket, and takes its place in
/// the daemon's hooks. Trouble is reported in the daemon's log; the daemon goes on without events
/// rather than not at all. Initialising what is initialised does nothing.
///
/// The result is 0, or -1 if no subscriber can be served; openl2tpd ignores it.
///
/// # Safety
///
/// To be called by openl2tpd, or a program that offers the same hook variables, on its main thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openl2tp_plugin_init() -> c_int {
    boundary!(-1, { with_signals_blocked(init) })
}

/// Ends the plugin: gives the hooks back, sends what is queued, within 200 ms, and removes the
/// socket. Cleaning up twice, in a forked child, or from a thread of our own does no harm.
///
/// # Safety
///
/// Not to be called while a hook runs on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openl2tp_plugin_cleanup() {
    boundary!((), { with_signals_blocked(cleanup) })
}

/// Whether the mask could be read or not, the body runs.
fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let value = body();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    value
}

fn init() -> c_int {
    let log = host_log();
    if !HUB.load(Ordering::Acquire).is_null() {
        log!(log, Notice, "herald: the plugin is loaded already; its second loading has no effect");
        return 0;
    }
    super::watch_forks();
    if !start(&log) {
        return -1;
    }
    hooks::install(&log);
    0
}

/// Starts a hub that serves subscribers as the configuration says; false if there are none to serve.
fn start(log: &Log) -> bool {
    let config = Config::load().unwrap_or_else(|error| {
        log!(log, Error, "herald: {error}; the defaults are used instead");
        Config::default()
    });
    let hub = match Hub::start(HubOptions::default(), log.clone()) {
        Ok(hub) => hub,
        Err(error) => {
            log!(log, Error, "herald: cannot start: {error}");
            return false;
        }
    };
    let mut served = false;
    let mut serve = |what: &dyn Display, transport: Result<Box<dyn Transport>, ListenError>| {
        let added = transport
            .map_err(|error| error.to_string())
            .and_then(|transport| hub.add(transport).map_err(|error| error.to_string()));
        match added {
            Ok(()) => served = true,
            Err(error) => log!(log, Error, "herald: no {what}: {error}"),
        }
    };
    let event_sock = EventSock::listen(config.event_sock, log.clone());
    serve(&"event socket", event_sock.map(|server| Box::new(server) as Box<dyn Transport>));
    for (name, options) in config.datagrams {
        serve(&name, Ok(Box::new(Subscriber::new(&name, options, log.clone()))));
        log!(log, Info, "herald: datagrams go to {name}");
    }
    if served {
        // The hooks run on this thread, and must not allocate.
        hub.attach_thread();
        HUB.store(Box::into_raw(Box::new(hub)), Ordering::Release);
    }
    served
}

/// Replaces a hub that has failed, as it does when the host closes descriptors that are not its
/// own. Clients have seen the end of their connections, and come back.
fn restart(event: L2tp) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64);
    if LAST.swap(now, Ordering::Relaxed) == now {
        // Whatever makes it fail is still there.
        return;
    }
    let log = host_log();
    log!(log, Warning, "herald: the hub has failed and is started anew");
    close();
    if start(&log) {
        publish(event);
    }
}

fn cleanup() {
    hooks::remove();
    close();
}

fn close() {
    let hub = HUB.swap(null_mut(), Ordering::AcqRel);
    if hub.is_null() {
        return;
    }
    // SAFETY: the pointer came from Box::into_raw, and the swap took it from everybody else.
    let hub = unsafe { Box::from_raw(hub) };
    hub.close();
    if hub.is_served_by_this_thread() {
        // The daemon's abort handler runs on our worker: main may be within a hook right now.
        std::mem::forget(hub);
    }
}

fn publish(event: L2tp) {
    // SAFETY: the pointer is null or a hub that lives until clean-up, and clean-up never runs
    // during a hook, except on the worker thread, where it leaves the hub in place.
    if let Some(hub) = unsafe { HUB.load(Ordering::Acquire).as_ref() } {
        // What does not fit is counted, and subscribers are told.
        if hub.publish(&event.into()) == Err(PublishError::Failed) {
            with_signals_blocked(|| restart(event));
        }
    }
}

/// The daemon's log, or standard error in a program that has none.
fn host_log() -> Log {
    type L2tpLog = unsafe extern "C" fn(level: c_int, format: *const c_char, ...);
    let Some(found) = symbol::find(c"l2tp_log") else {
        return Log::new(|_, message| eprintln!("{message}"));
    };
    // SAFETY: this is the type of l2tp_log in openl2tp 1.8.
    let l2tp_log = unsafe { std::mem::transmute::<*mut c_void, L2tpLog>(found.as_ptr()) };
    Log::new(move |level: Level, message: &str| {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the format takes one string, and both strings outlive the call.
        unsafe { l2tp_log(level as c_int, c"%s".as_ptr(), message.as_ptr()) };
    })
}

/// Our place in the daemon's hooks.
///
/// A hook variable is a function pointer that plugins replace: each saves the old value and calls
/// it first. The last plugin loaded is outermost. At clean-up a plugin can take itself out only if
/// it is the outermost; otherwise its hook stays in the chain, and from then on only passes calls
/// through.
mod hooks {
    use std::sync::atomic::{AtomicBool, AtomicU32};

    use super::*;

    type Session = *const c_void;
    type SessionHook = unsafe extern "C" fn(Session, u16, u16) -> c_int;
    type SessionUpHook = unsafe extern "C" fn(Session, u16, u16, u16, u16) -> c_int;
    type TunnelHook = unsafe extern "C" fn(u16) -> c_int;
    type TunnelUpHook = unsafe extern "C" fn(u16, u16) -> c_int;

    /// One hook variable of the daemon.
    struct Hook {
        name: &'static CStr,
        /// The variable; null unless we are in its chain.
        variable: AtomicPtr<AtomicPtr<c_void>>,
        /// What was there before us.
        previous: AtomicPtr<c_void>,
    }

    impl Hook {
        const fn new(name: &'static CStr) -> Self {
            Hook { name, variable: AtomicPtr::new(null_mut()), previous: AtomicPtr::new(null_mut()) }
        }

        /// Puts `ours` into the variable; false if the daemon does not have it.
        fn install(&self, ours: *mut c_void) -> bool {
            if !self.variable.load(Ordering::Acquire).is_null() {
                // Still in the chain from before the last clean-up.
                return true;
            }
            let Some(found) = symbol::find(self.name) else { return false };
            let variable = found.as_ptr().cast::<AtomicPtr<c_void>>();
            // SAFETY: the daemon's variable is a pointer, aligned and alive as long as the daemon,
            // and only touched by its main thread, where we are.
            let variable_ref = unsafe { &*variable };
            self.previous.store(variable_ref.load(Ordering::Relaxed), Ordering::Release);
            self.variable.store(variable, Ordering::Release);
            variable_ref.store(ours, Ordering::Release);
            true
        }

        fn remove(&self, ours: *mut c_void) {
            let variable = self.variable.load(Ordering::Acquire);
            // SAFETY: as in `install`, which found it.
            let Some(variable) = (unsafe { variable.as_ref() }) else { return };
            let previous = self.previous.load(Ordering::Acquire);
            if variable.compare_exchange(ours, previous, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                self.variable.store(null_mut(), Ordering::Release);
            }
        }

        fn previous(&self) -> *mut c_void {
            self.previous.load(Ordering::Acquire)
        }
    }

    /// Defines the hooks, and what installs and removes all of them.
    macro_rules! hooks {
        ($($hook:ident $function:ident: $type:ty = $name:literal, $kind:ident,
           ($($arg:ident: $arg_type:ty),*) { $($id:ident: $from:ident),* };)*) => {
            $(
                static $hook: Hook = Hook::new($name);

                unsafe extern "C" fn $function($($arg: $arg_type),*) -> c_int {
                    boundary!(0, {
                        // SAFETY: the variable held null or a function of this type, and we are
                        // called with the arguments that it would have been called with.
                        let result = unsafe {
                            std::mem::transmute::<*mut c_void, Option<$type>>($hook.previous())
                                .map_or(0, |previous| previous($($arg),*))
                        };
                        let mut event = L2tp::new(L2tpKind::$kind);
                        $(event.$id = $from;)*
                        if has_happened(&event, result) {
                            publish(event);
                        }
                        result
                    })
                }
            )*

            /// Takes our place in every hook that the daemon has.
            pub(super) fn install(log: &Log) {
                $(
                    let function: $type = $function;
                    if !$hook.install(function as *mut c_void) {
                        log!(log, Notice, "herald: this daemon has no {}: no {} events",
                             $hook.name.to_string_lossy(), L2tpKind::$kind.name());
                    }
                )*
            }

            /// Gives back what can be given back.
            pub(super) fn remove() {
                $(
                    let function: $type = $function;
                    $hook.remove(function as *mut c_void);
                )*
            }
        };
    }

    /// Sessions by tunnel and session id. Like everything that hooks touch it is written with
    /// single stores. When it is full it forgets what it is told, and an event too many is
    /// published.
    struct Sessions {
        keys: [AtomicU32; 256],
        any: AtomicBool,
    }

    impl Sessions {
        const fn new() -> Self {
            Sessions { keys: [const { AtomicU32::new(0) }; 256], any: AtomicBool::new(false) }
        }

        /// Finds the place that holds `key`. RFC 2661 reserves the id 0, so 0 is an empty place.
        fn find(&self, key: u32) -> Option<&AtomicU32> {
            self.keys.iter().find(|place| place.load(Ordering::Relaxed) == key)
        }

        fn contains(&self, event: &L2tp) -> bool {
            self.any.load(Ordering::Relaxed) && self.find(key(event)).is_some()
        }

        fn add(&self, event: &L2tp) {
            self.any.store(true, Ordering::Relaxed);
            if let Some(place) = self.find(key(event)).or_else(|| self.find(0)) {
                place.store(key(event), Ordering::Relaxed);
            }
        }

        /// Takes a session out; true if it was there.
        fn take(&self, event: &L2tp) -> bool {
            if !self.any.load(Ordering::Relaxed) {
                return false;
            }
            self.find(key(event)).map(|place| place.store(0, Ordering::Relaxed)).is_some()
        }
    }

    fn key(event: &L2tp) -> u32 {
        u32::from(event.tunnel_id) << 16 | u32::from(event.session_id)
    }

    /// Sessions that another plugin rejected at their creation.
    static REJECTED: Sessions = Sessions::new();
    /// Sessions that another plugin kept from coming up.
    static NEVER_UP: Sessions = Sessions::new();

    /// Whether an event is true of the daemon, given the result of the inner hooks: a negative one
    /// rejects a session's creation or closes it as it comes up, and the daemon ignores all others.
    /// Of a session that was rejected nothing is published, of one that never came up no DOWN.
    fn has_happened(event: &L2tp, result: c_int) -> bool {
        match event.kind {
            L2tpKind::SessionCreated => {
                NEVER_UP.take(event);
                REJECTED.take(event);
                if result < 0 {
                    REJECTED.add(event);
                }
                result >= 0
            }
            L2tpKind::SessionUp => {
                NEVER_UP.take(event);
                if result < 0 {
                    NEVER_UP.add(event);
                }
                result >= 0 && !REJECTED.contains(event)
            }
            L2tpKind::SessionDown => !NEVER_UP.take(event) && !REJECTED.contains(event),
            L2tpKind::SessionDeleted => {
                NEVER_UP.take(event);
                !REJECTED.take(event)
            }
            L2tpKind::SessionModified => !REJECTED.contains(event),
            L2tpKind::TunnelCreated
            | L2tpKind::TunnelDeleted
            | L2tpKind::TunnelUp
            | L2tpKind::TunnelDown
            | L2tpKind::TunnelModified => true,
        }
    }

    hooks! {
        SESSION_CREATED session_created: SessionHook = c"l2tp_session_created_hook",
            SessionCreated, (it: Session, t: u16, s: u16) { tunnel_id: t, session_id: s };
        SESSION_DELETED session_deleted: SessionHook = c"l2tp_session_deleted_hook",
            SessionDeleted, (it: Session, t: u16, s: u16) { tunnel_id: t, session_id: s };
        SESSION_UP session_up: SessionUpHook = c"l2tp_session_up_hook",
            SessionUp, (it: Session, t: u16, s: u16, pt: u16, ps: u16)
            { tunnel_id: t, session_id: s, peer_tunnel_id: pt, peer_session_id: ps };
        SESSION_DOWN session_down: SessionHook = c"l2tp_session_down_hook",
            SessionDown, (it: Session, t: u16, s: u16) { tunnel_id: t, session_id: s };
        SESSION_MODIFIED session_modified: SessionHook = c"l2tp_session_modified_hook",
            SessionModified, (it: Session, t: u16, s: u16) { tunnel_id: t, session_id: s };
        TUNNEL_CREATED tunnel_created: TunnelHook = c"l2tp_tunnel_created_hook",
            TunnelCreated, (t: u16) { tunnel_id: t };
        TUNNEL_DELETED tunnel_deleted: TunnelHook = c"l2tp_tunnel_deleted_hook",
            TunnelDeleted, (t: u16) { tunnel_id: t };
        TUNNEL_UP tunnel_up: TunnelUpHook = c"l2tp_tunnel_up_hook",
            TunnelUp, (t: u16, pt: u16) { tunnel_id: t, peer_tunnel_id: pt };
        TUNNEL_DOWN tunnel_down: TunnelHook = c"l2tp_tunnel_down_hook",
            TunnelDown, (t: u16) { tunnel_id: t };
        TUNNEL_MODIFIED tunnel_modified: TunnelHook = c"l2tp_tunnel_modified_hook",
            TunnelModified, (t: u16) { tunnel_id: t };
    }
}
