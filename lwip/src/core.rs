//! The core: lwIP's timeouts in the libevent loop, and what all parts share.
//!
//! lwIP is one stack per process and not for several threads. It belongs to the thread that called
//! libevent_timeouts_init(), and everything here hangs on that thread's [`Stack`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, answer, status};
use crate::event::{self, Event};
use crate::netif::Netif;
use crate::sys;
use crate::timer::Timer;

/// libevent's clock is coarse and its timers fire up to 4 ms early (measured with 2.1.12); a timeout
/// that is not yet due would be one more wake-up.
const COARSE: Duration = Duration::from_millis(4);

/// The least sleep in tickless mode while no TCP connection needs its timer.
const TICKLESS: Duration = Duration::from_secs(1);

/// So many packets to itself does lwIP get at once; then the loop's other events have their turn.
const LOOPED: usize = 64;

/// What has been told to end, and is waited for: dropping it ends it at once.
pub(crate) struct Ending {
    /// What tells its end, by [`Stack::ended`].
    pub fd: RawFd,
    pub _event: Event,
    pub _owner: Box<dyn Any>,
}

/// What collects while lwIP is at work, and goes out when it has come to rest.
pub(crate) trait Collect {
    fn flush(&self);
}

/// What the thread that owns lwIP has.
pub(crate) struct Stack {
    process: u32,
    base: NonNull<sys::event_base>,
    /// When lwIP's timer is set to fire.
    due: Cell<Option<Instant>>,
    tickless: Cell<bool>,
    settling: Cell<bool>,
    /// How many callbacks of ours are running, one within the other.
    depth: Cell<usize>,
    collected: RefCell<Vec<Weak<dyn Collect>>>,
    netifs: RefCell<Vec<Rc<Netif>>>,
    timers: RefCell<Vec<Rc<Timer>>>,
    deferred: RefCell<VecDeque<Box<dyn FnOnce()>>>,
    endings: RefCell<Vec<Ending>>,
    /// lwIP's timer and the event of `deferred`: made after the stack that they refer to.
    events: RefCell<Option<(Event, Event)>>,
}

/// The stack of a thread. One that ends without libevent_timeouts_fini() may have freed the event_base
/// before, so nothing of it is touched any more: descriptors, files and processes of the netifs go, what
/// lwIP and libevent refer to stays.
struct Own(RefCell<Option<Rc<Stack>>>);

impl Drop for Own {
    fn drop(&mut self) {
        let Some(stack) = self.0.get_mut().take() else { return };
        if stack.process != std::process::id() {
            // A child of the program's that ends: all of it is its parent's.
            return std::mem::forget(stack);
        }
        event::abandon_loop();
        drop(stack);
    }
}

thread_local! {
    static STACK: Own = const { Own(RefCell::new(None)) };
}

/// Whether some thread has a stack.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The stack, if this is its thread. Every exported function begins with it.
pub(crate) fn stack() -> Result<Rc<Stack>> {
    let found = STACK.try_with(|own| own.0.borrow().clone()).ok().flatten();
    found.ok_or_else(|| match TAKEN.load(Ordering::Acquire) {
        true => Error::new(
            libc::EPERM,
            "lwIP belongs to another thread: call from the one that called libevent_timeouts_init()",
        ),
        false => Error::new(libc::ENXIO, "libevent_timeouts_init() comes first"),
    })
}

/// The stack, for a function that is passed an event_base.
pub(crate) fn stack_on(base: *mut sys::event_base) -> Result<Rc<Stack>> {
    let stack = stack()?;
    if base != stack.base.as_ptr() {
        return Err(Error::invalid(
            "the event_base is not the one that libevent_timeouts_init() was called with",
        ));
    }
    Ok(stack)
}

/// Runs a callback from libevent or lwIP, then lets lwIP come to rest. A panic stays in here.
pub(crate) fn run(callback: impl FnOnce()) {
    // The panic hook has reported it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let within = stack().ok().map(Within::new);
        callback();
        drop(within);
        if let Ok(stack) = stack() {
            stack.settle();
        }
    }));
}

/// While it lives, a callback of ours is running.
struct Within(Rc<Stack>);

impl Within {
    fn new(stack: Rc<Stack>) -> Within {
        stack.depth.set(stack.depth.get() + 1);
        Within(stack)
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}

impl Stack {
    pub fn base(&self) -> NonNull<sys::event_base> {
        self.base
    }

    /// The netifs of this library, in the order in which they were added.
    pub fn netifs(&self) -> Vec<Rc<Netif>> {
        self.netifs.borrow().clone()
    }

    pub fn netif(&self, raw: *const sys::netif) -> Option<Rc<Netif>> {
        self.netifs.borrow().iter().find(|netif| netif.raw().cast_const() == raw).cloned()
    }

    pub fn keep_netif(&self, netif: Rc<Netif>) {
        self.netifs.borrow_mut().push(netif);
    }

    pub fn forget_netif(&self, raw: *const sys::netif) {
        let found = {
            let mut netifs = self.netifs.borrow_mut();
            let place = netifs.iter().position(|netif| netif.raw().cast_const() == raw);
            place.map(|place| netifs.remove(place))
        };
        // Dropped out of the borrow: a driver's end may run anything.
        drop(found);
    }

    pub fn timers(&self) -> &RefCell<Vec<Rc<Timer>>> {
        &self.timers
    }

    pub fn keep_until_ended(&self, ending: Ending) {
        self.endings.borrow_mut().push(ending);
    }

    pub fn ended(&self, fd: RawFd) {
        self.endings.borrow_mut().retain(|ending| ending.fd != fd);
    }

    /// Runs something soon, from the loop: what must not happen within the call that is going on.
    pub fn defer(&self, task: impl FnOnce() + 'static) {
        self.deferred.borrow_mut().push_back(Box::new(task));
        if let Some((_, deferred)) = &*self.events.borrow() {
            // A timer of no time, and not event_active(), which libevent would serve before it looks
            // at descriptors again: what defers itself for ever is not to stop the rest.
            let _ = deferred.add(Some(Duration::ZERO));
        }
    }

    /// Has something flushed when lwIP comes to rest: at the end of the callback that is running, or from
    /// the loop if there is none.
    pub fn flush_at_rest(&self, what: Weak<dyn Collect>) {
        self.collected.borrow_mut().push(what);
        if self.depth.get() == 0 {
            self.defer(|| {});
        }
    }

    fn run_deferred(&self) {
        // What these defer in turn waits for the next round of the loop.
        let count = self.deferred.borrow().len();
        for _ in 0..count {
            let task = self.deferred.borrow_mut().pop_front();
            let Some(task) = task else { break };
            task();
        }
    }

    /// Delivers what lwIP has sent to itself, and sets the timer for lwIP's next timeout. Runs after
    /// every callback of ours; a part that calls lwIP for the program outside of callbacks calls it too.
    pub fn settle(&self) {
        if self.settling.replace(true) {
            return;
        }
        let mut budget = LOOPED;
        for netif in self.netifs() {
            netif.deliver_looped(&mut budget);
        }
        if budget == 0 {
            // The event settles again when it has run.
            self.defer(|| {});
        }
        let collected = std::mem::take(&mut *self.collected.borrow_mut());
        for what in collected {
            if let Some(what) = what.upgrade() {
                what.flush();
            }
        }
        self.settling.set(false);
        self.set_timer();
    }

    fn set_timer(&self) {
        // SAFETY: reads lwIP's list of timeouts, on its thread.
        let sleep = unsafe { sys::sys_timeouts_sleeptime() };
        let mut sleep = Duration::from_millis(u64::from(sleep)).min(Duration::from_secs(60)) + COARSE;
        // SAFETY: lwIP's lists of connections, read on its thread.
        let quiet = unsafe { sys::tcp_active_pcbs.is_null() && sys::tcp_tw_pcbs.is_null() };
        if self.tickless.get() && quiet {
            sleep = sleep.max(TICKLESS);
        }
        let due = Instant::now() + sleep;
        // A timer that fires too early sets itself anew; only a later one is wrong. The millisecond
        // is sys_timeouts_sleeptime's rounding.
        if self.due.get().is_some_and(|set| set <= due + Duration::from_millis(1)) {
            return;
        }
        if let Some((timer, _)) = &*self.events.borrow()
            && timer.add(Some(sleep)).is_ok()
        {
            self.due.set(Some(due));
        }
    }

    fn timeouts(&self) {
        self.due.set(None);
        // SAFETY: on lwIP's thread. Callbacks of lwIP's users may call us again.
        unsafe { sys::sys_check_timeouts() };
    }
}

fn init(base: *mut sys::event_base) -> Result<()> {
    let base = NonNull::new(base).ok_or_else(|| Error::null("the event_base"))?;
    if let Ok(stack) = stack() {
        return match stack.base == base {
            true => Ok(()),
            false => Err(Error::new(
                libc::EBUSY,
                "lwIP runs in another event_base: call libevent_timeouts_fini() first",
            )),
        };
    }
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(Error::new(
            libc::EPERM,
            "lwIP belongs to another thread, or to one that has ended without libevent_timeouts_fini()",
        ));
    }
    let made = start(base);
    if made.is_err() {
        TAKEN.store(false, Ordering::Release);
    }
    made
}

fn start(base: NonNull<sys::event_base>) -> Result<()> {
    /// sys_timeouts_sleeptime() of a stack without timeouts (SYS_TIMEOUTS_SLEEPTIME_INFINITE).
    const NEVER: u32 = u32::MAX;
    // SAFETY: this thread has just become lwIP's. A program may have called lwip_init() before;
    // a second time would double lwIP's timers.
    unsafe {
        if sys::sys_timeouts_sleeptime() == NEVER {
            // lwIP draws ports and ids from rand(), which without a seed says the same in every run.
            libc::srand(random()?);
            sys::lwip_init();
        }
    }
    let stack = Rc::new(Stack {
        process: std::process::id(),
        base,
        due: Cell::default(),
        tickless: Cell::default(),
        settling: Cell::default(),
        depth: Cell::default(),
        collected: RefCell::default(),
        netifs: RefCell::default(),
        timers: RefCell::default(),
        deferred: RefCell::default(),
        endings: RefCell::default(),
        events: RefCell::default(),
    });
    let within = |act: fn(&Stack)| {
        let stack = Rc::downgrade(&stack);
        move || {
            if let Some(stack) = stack.upgrade() {
                act(&stack);
            }
        }
    };
    let timer = Event::timer(base, within(Stack::timeouts))?;
    let deferred = Event::timer(base, within(Stack::run_deferred))?;
    *stack.events.borrow_mut() = Some((timer, deferred));
    stack.set_timer();
    STACK.with(|own| *own.0.borrow_mut() = Some(stack));
    Ok(())
}

/// Random bits that nobody can guess.
pub(crate) fn random() -> Result<u32> {
    let mut bytes = [0u8; 4];
    // SAFETY: the buffer is as long as is said.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(read) {
        Ok(read) if read == bytes.len() => Ok(u32::from_ne_bytes(bytes)),
        _ => Err(Error::os("getrandom")),
    }
}

/// Starts lwIP in an event loop: lwIP is initialized, unless the program has done so, and its
/// timeouts run from the loop. The calling thread is the one that all further calls come from, and
/// the one that runs the loop. Again with the same event_base it does nothing. In C the name is a
/// macro that checks lwIP's structs as well; herald_lwip_init() is the same with a result.
///
/// lwIP draws port numbers and ids from rand(), so that is seeded, once.
///
/// # Safety
///
/// The event_base lives until [`libevent_timeouts_fini`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libevent_timeouts_init(base: *mut sys::event_base) {
    answer((), || init(base));
}

/// What the macro herald_lwip_init() calls: libevent_timeouts_init() with the layout that lwIP's
/// structs have for the program. Returns 0, or -1 with errno: EPROTO if the program was compiled
/// against another version or configuration of lwIP than the library, EBUSY if lwIP runs in another
/// event_base, EPERM if it belongs to another thread.
///
/// # Safety
///
/// As [`libevent_timeouts_init`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_lwip_init_checked(
    base: *mut sys::event_base,
    version: u32,
    netif_size: usize,
    pcb_size: usize,
    pbuf_size: usize,
) -> c_int {
    status(|| {
        let theirs = (version, netif_size, pcb_size, pbuf_size);
        let ours = (
            sys::HERALD_LWIP_HEADERS,
            size_of::<sys::netif>(),
            size_of::<sys::tcp_pcb>(),
            size_of::<sys::pbuf>(),
        );
        if theirs != ours {
            return Err(Error::new(
                libc::EPROTO,
                format!(
                    "the program was compiled against another lwIP: version and sizes of netif, tcp_pcb \
                     and pbuf are {theirs:x?}, and must be {ours:x?}; use the lwipopts.h of liblwip-dev"
                ),
            ));
        }
        init(base)
    })
}

/// Stops lwIP in the event loop: removes every netif of this library with all that is attached to
/// it, and every timer, and leaves nothing in the loop. TCP and UDP pcbs are the program's, and stay.
/// libevent_timeouts_init() may follow, from any thread. It comes before event_base_free(); a program
/// that ends without it does no harm, but a thread that ends without it keeps lwIP for good.
#[unsafe(no_mangle)]
pub extern "C" fn libevent_timeouts_fini() {
    answer((), || {
        let stack = stack()?;
        crate::host::stop();
        crate::evbuf::stop();
        // Callbacks of the program may add while we remove.
        while let Some(netif) = stack.netifs().pop() {
            netif.remove();
        }
        for timer in std::mem::take(&mut *stack.timers.borrow_mut()) {
            timer.stop();
        }
        stack.deferred.borrow_mut().clear();
        stack.endings.borrow_mut().clear();
        *stack.events.borrow_mut() = None;
        STACK.with(|own| own.0.borrow_mut().take());
        TAKEN.store(false, Ordering::Release);
        Ok(())
    });
}

/// Lets lwIP come to rest: delivers what it sent to itself, and sets the timer for its next timeout.
/// The library does so after each callback of its own. To be called after calling lwIP from outside
/// of them (from main(), or from an event of the program's own) when what was called may talk to an
/// address of its own, or in tickless mode. Returns 0, or -1 with errno.
#[unsafe(no_mangle)]
pub extern "C" fn herald_lwip_kick() -> c_int {
    status(|| {
        stack()?.settle();
        Ok(())
    })
}

/// Sleeps longer when there is nothing to do: while no TCP connection is open, the loop wakes at most
/// once per second for lwIP, instead of ten times. The price: IGMP and MLD reports, which lwIP counts
/// in tenths of a second, come up to a second late; and a connection that the program opens outside of
/// the library's callbacks wants a herald_lwip_kick(), or its first retransmission may be late as
/// well. Off at first. Returns 0, or -1 with errno.
#[unsafe(no_mangle)]
pub extern "C" fn herald_lwip_set_tickless(tickless: bool) -> c_int {
    status(|| {
        let stack = stack()?;
        stack.tickless.set(tickless);
        stack.due.set(None);
        stack.set_timer();
        Ok(())
    })
}
