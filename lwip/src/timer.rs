//! Timers of the program's own, in the manner of lwIP's.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::time::Duration;

use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::event::{Event, PERSIST};
use crate::sys;

/// What a timer calls.
pub type herald_lwip_timer_cb = Option<unsafe extern "C" fn(ctx: *mut c_void)>;

/// A timer that fires again and again, until it is deleted. The C side's handle is its address.
pub(crate) struct Timer(RefCell<Option<Event>>);

impl Timer {
    pub fn stop(&self) {
        self.0.borrow_mut().take();
    }
}

fn add(base: *mut sys::event_base, msec: c_int, callback: impl Fn() + 'static) -> Result<*const Timer> {
    let stack = core::stack_on(base)?;
    let Some(period) = u64::try_from(msec).ok().filter(|&msec| msec > 0) else {
        return Err(Error::invalid(format!("a timer of {msec} ms: must be at least 1")));
    };
    let event = Event::new(stack.base(), None, PERSIST, move |_| callback())?;
    event.add(Some(Duration::from_millis(period)))?;
    let timer = Rc::new(Timer(RefCell::new(Some(event))));
    let handle = Rc::as_ptr(&timer);
    stack.timers().borrow_mut().push(timer);
    Ok(handle)
}

/// Calls a function every `msec` milliseconds, until libevent_timeouts_fini().
///
/// # Safety
///
/// The callback may be called for as long as the stack runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sys_timer_add_internal(
    base: *mut sys::event_base,
    msec: c_int,
    cb: Option<unsafe extern "C" fn()>,
) {
    answer((), || {
        let cb = cb.ok_or_else(|| Error::null("the callback"))?;
        // SAFETY: the program's callback, with nothing to pass.
        add(base, msec, move || unsafe { cb() }).map(drop)
    });
}

/// Calls a function every `msec` milliseconds, with what is passed to it, until the timer is deleted.
/// Returns a handle for herald_lwip_timer_del(), or NULL with errno.
///
/// # Safety
///
/// The callback may be called, with `ctx`, until the timer is deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_lwip_timer_add(
    base: *mut sys::event_base,
    msec: c_int,
    cb: herald_lwip_timer_cb,
    ctx: *mut c_void,
) -> *const c_void {
    answer(std::ptr::null(), || {
        let cb = cb.ok_or_else(|| Error::null("the callback"))?;
        // SAFETY: the program's callback, with what it asked for.
        add(base, msec, move || unsafe { cb(ctx) }).map(<*const Timer>::cast)
    })
}

/// Deletes a timer, from within its callback too. Returns 0, or -1 with ENOENT if it is not (or no
/// longer) one.
#[unsafe(no_mangle)]
pub extern "C" fn herald_lwip_timer_del(timer: *const c_void) -> c_int {
    status(|| {
        let stack = core::stack()?;
        let mut timers = stack.timers().borrow_mut();
        let place = timers.iter().position(|known| Rc::as_ptr(known).cast() == timer);
        let place = place.ok_or_else(|| Error::new(libc::ENOENT, "no such timer"))?;
        timers.swap_remove(place).stop();
        Ok(())
    })
}
