//! openl2tpd loads us as its event_sock plugin (openl2tp 1.8).
//!
//! The daemon calls `openl2tp_plugin_init` once it runs in the background, its hook variables as
//! sessions and tunnels come and go, and `openl2tp_plugin_cleanup` from an exit handler. All of
//! these come on its main thread. A hook can be left by `siglongjmp` at any instruction, so hooks
//! take no lock and own nothing; init and clean-up run with all signals blocked.

mod hooks;
mod signals;

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
use crate::transport::listener;
use crate::transport::vpp_api::VppApi;

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
    boundary!(-1, {
        let result = with_signals_blocked(init);
        hold_signals();
        result
    })
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

/// What init does with the mask of its caller in place.
fn hold_signals() {
    if !HUB.load(Ordering::Acquire).is_null() {
        signals::hold(&host_log());
    }
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
    let mut serve = |what: &dyn Display, transport: Result<Box<dyn Transport>, String>| {
        let added =
            transport.and_then(|transport| hub.add(transport).map_err(|error| error.to_string()));
        match added {
            Ok(()) => served = true,
            Err(error) => log!(log, Error, "herald: no {what}: {error}"),
        }
    };
    let event_sock = EventSock::listen(config.event_sock, log.clone());
    serve(
        &"event socket",
        event_sock.map(|server| Box::new(server) as _).map_err(|error| error.to_string()),
    );
    if let Some(options) = config.vpp_api {
        let vpp_api = VppApi::listen(options, Vec::new(), &hub, log.clone());
        serve(
            &"VPP API",
            vpp_api.map(|(server, _)| Box::new(server) as _).map_err(|error| error.to_string()),
        );
    }
    for (name, options) in config.datagrams {
        serve(&name, Ok(Box::new(Subscriber::new(&name, options, log.clone()))));
        log!(log, Info, "herald: datagrams go to {name}");
    }
    if served {
        // The hooks run on this thread, and must not allocate.
        let _ = hub.attach_thread();
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
    signals::release();
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
        // The daemon's abort handler runs on our worker: main may be within a hook right now, and
        // nobody is left to close the transports.
        std::mem::forget(hub);
        listener::remove_all_entries();
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
        let message = CString::new(message).unwrap_or_default();
        // SAFETY: the format takes one string, and both strings outlive the call.
        unsafe { l2tp_log(level as c_int, c"%s".as_ptr(), message.as_ptr()) };
    })
}
