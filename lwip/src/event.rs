//! Events of libevent, owned by whoever waits for them.

use std::cell::Cell;
use std::ffi::{c_int, c_short, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null};
use std::rc::Rc;
use std::time::Duration;

use crate::core;
use crate::error::{Error, Result};
use crate::sys;

pub(crate) const READ: c_short = sys::EV_READ as c_short;
pub(crate) const WRITE: c_short = sys::EV_WRITE as c_short;
pub(crate) const PERSIST: c_short = sys::EV_PERSIST as c_short;
pub(crate) const TIMEOUT: c_short = sys::EV_TIMEOUT as c_short;

type Callback = dyn Fn(c_short);

thread_local!(static LOOP_GONE: Cell<bool> = const { Cell::new(false) });

/// From here on, on this thread, events are left alone: the program may have freed their event_base.
pub(crate) fn abandon_loop() {
    LOOP_GONE.set(true);
}

fn loop_gone() -> bool {
    LOOP_GONE.get()
}

/// A registered event. Dropping it takes it out of the loop, from within its own callback too.
///
/// The callback runs on the loop's thread. When it returns, packets that lwIP has for itself are
/// delivered and lwIP's timer is set anew, so a callback may do with lwIP what it likes.
pub(crate) struct Event {
    raw: NonNull<sys::event>,
    // The callback's address is libevent's argument, so it stays where it is.
    callback: ManuallyDrop<Box<Rc<Callback>>>,
}

impl Event {
    /// An event of the stack's loop; it waits for nothing until [`Event::add`].
    pub fn new(
        base: NonNull<sys::event_base>,
        fd: Option<RawFd>,
        what: c_short,
        callback: impl Fn(c_short) + 'static,
    ) -> Result<Event> {
        let callback: Box<Rc<Callback>> = Box::new(Rc::new(callback));
        let argument = (&raw const *callback).cast_mut().cast::<c_void>();
        // SAFETY: the base is the program's, alive as long as the stack; the argument lives as long
        // as the event.
        let raw =
            unsafe { sys::event_new(base.as_ptr(), fd.unwrap_or(-1), what, Some(fired), argument) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::new(libc::ENOMEM, "event_new failed"))?;
        Ok(Event { raw, callback: ManuallyDrop::new(callback) })
    }

    /// Waits for a descriptor to become readable, again and again.
    pub fn readable(
        base: NonNull<sys::event_base>,
        fd: RawFd,
        callback: impl Fn() + 'static,
    ) -> Result<Event> {
        let event = Event::new(base, Some(fd), READ | PERSIST, move |_| callback())?;
        event.add(None)?;
        Ok(event)
    }

    /// A timer that is not yet set: [`Event::add`] does, for one time.
    pub fn timer(base: NonNull<sys::event_base>, callback: impl Fn() + 'static) -> Result<Event> {
        Event::new(base, None, 0, move |_| callback())
    }

    /// Waits, or waits anew.
    pub fn add(&self, timeout: Option<Duration>) -> Result<()> {
        if loop_gone() {
            return Err(Error::new(libc::ENXIO, "the loop has gone"));
        }
        let time = timeout.map(|timeout| libc::timeval {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: libc::suseconds_t::from(timeout.subsec_micros()),
        });
        let time = time.as_ref().map_or(null(), |time| &raw const *time);
        // SAFETY: the event is registered; the time is copied.
        match unsafe { sys::event_add(self.raw.as_ptr(), time) } {
            0 => Ok(()),
            _ => Err(Error::os("event_add")),
        }
    }

    /// Waits no longer.
    pub fn del(&self) {
        if !loop_gone() {
            // SAFETY: the event is registered.
            unsafe { sys::event_del(self.raw.as_ptr()) };
        }
    }

    /// Runs the callback soon, from the loop.
    pub fn activate(&self) {
        if !loop_gone() {
            // SAFETY: the event is registered.
            unsafe { sys::event_active(self.raw.as_ptr(), c_int::from(TIMEOUT), 1) };
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !loop_gone() {
            // SAFETY: made by event_new, and freed nowhere else. libevent does not call it afterwards.
            unsafe {
                sys::event_free(self.raw.as_ptr());
                ManuallyDrop::drop(&mut self.callback);
            }
        }
    }
}

extern "C" fn fired(_: c_int, what: c_short, argument: *mut c_void) {
    // SAFETY: the argument is the box of an event that is still registered. The clone keeps the
    // callback alive if it drops its own event.
    let callback = unsafe { Rc::clone(&*argument.cast::<Rc<Callback>>()) };
    core::run(|| callback(what));
}
