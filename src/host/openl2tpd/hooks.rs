//! Our place in the daemon's hooks.
//!
//! A hook variable is a function pointer that plugins replace: each saves the old value and calls
//! it first. The last plugin loaded is outermost. At clean-up a plugin can take itself out only if
//! it is the outermost; otherwise its hook stays in the chain, and from then on only passes calls
//! through.

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
        // SAFETY: null, or the daemon's variable, as below.
        if let Some(variable) = unsafe { self.variable.load(Ordering::Acquire).as_ref() } {
            let current = variable.load(Ordering::Relaxed);
            if !current.is_null() && current != self.previous() {
                // Still in the chain from before the last clean-up.
                return true;
            }
            // A plugin that gave back what it had found, and us with it.
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
