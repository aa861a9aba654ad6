//! nettest: a netif made worse, to see how a program bears it.
//!
//! What netem is to the kernel: packets are delayed, lost, slowed down and overtaken, in both directions,
//! each of which is a line of its own.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{c_float, c_int, c_uint};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::event::Event;
use crate::netif::{Direction, Hook, HookId, Netif, Verdict};
use crate::options;
use crate::packet::Packet;
use crate::sys;

/// Options of nettest_add_ex(), for each direction.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_nettest_options {
    /// The size of this struct.
    pub size: usize,
    /// How long a packet takes, in microseconds.
    pub delay_us: u32,
    /// By how much that varies, in microseconds: evenly between delay_us - jitter_us and delay_us +
    /// jitter_us. Packets keep their order.
    pub jitter_us: u32,
    /// How many packets are lost: 0.0 for none to 1.0 for all.
    pub drop_rate: c_float,
    /// How many packets take no time at all, and so overtake those before them: 0.0 to 1.0.
    pub reorder_rate: c_float,
    /// Bytes per second; 0 for no limit.
    pub rate: u64,
    /// How many bytes are on their way at most, in both directions together; what is too much is lost.
    /// 0 for 4 MiB.
    pub limit: usize,
    /// Where the random numbers start, to have the same losses again; 0 for somewhere.
    pub seed: u64,
}

const LIMIT: usize = 4 << 20;

/// A packet on its way, ordered by when it arrives; then by when it came.
struct Held {
    due: Instant,
    number: u64,
    direction: Direction,
    packet: Packet,
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.number == other.number
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// One direction of the line.
#[derive(Default)]
struct Line {
    /// When the last byte that was sent has left, at the line's rate.
    free: Cell<Option<Instant>>,
    /// When the last packet in order arrives.
    last: Cell<Option<Instant>>,
}

struct Nettest {
    settings: Cell<herald_nettest_options>,
    random: Cell<u64>,
    lines: [Line; 2],
    held: RefCell<BinaryHeap<Reverse<Held>>>,
    bytes: Cell<usize>,
    number: Cell<u64>,
    /// libevent counts milliseconds; the kernel's timer counts what we need.
    timer: OwnedFd,
    event: RefCell<Option<Event>>,
    place: Cell<Option<HookId>>,
}

impl Nettest {
    fn add(netif: &Rc<Netif>, settings: herald_nettest_options) -> Result<()> {
        // SAFETY: a new descriptor, which is ours.
        let timer = unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd == -1 {
                return Err(Error::os("timerfd_create"));
            }
            OwnedFd::from_raw_fd(fd)
        };
        let fd = timer.as_raw_fd();
        let nettest = Rc::new(Nettest {
            settings: Cell::new(settings),
            random: Cell::new(seed(settings.seed)?),
            lines: Default::default(),
            held: RefCell::default(),
            bytes: Cell::default(),
            number: Cell::default(),
            timer,
            event: RefCell::default(),
            place: Cell::default(),
        });
        let own: Weak<Nettest> = Rc::downgrade(&nettest);
        let far = Rc::downgrade(netif);
        let event = Event::readable(core::stack()?.base(), fd, move || {
            if let (Some(nettest), Some(netif)) = (own.upgrade(), far.upgrade()) {
                nettest.arrive(&netif, Some(Instant::now()));
            }
        })?;
        *nettest.event.borrow_mut() = Some(event);
        let id = netif.add_hook(Rc::clone(&nettest) as Rc<dyn Hook>);
        nettest.place.set(Some(id));
        Ok(())
    }

    /// A number from 0 up to, but not including, 1. The generator is splitmix64.
    fn chance(&self) -> f64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// When a packet arrives that is sent now.
    fn arrival(&self, direction: Direction, length: usize) -> Instant {
        let settings = self.settings.get();
        let line = &self.lines[usize::from(direction == Direction::Out)];
        let now = Instant::now();
        let mut left = now;
        if settings.rate > 0 {
            left = line.free.get().map_or(now, |free| free.max(now))
                + Duration::from_secs_f64(length as f64 / settings.rate as f64);
            line.free.set(Some(left));
        }
        if settings.reorder_rate > 0.0 && self.chance() < f64::from(settings.reorder_rate) {
            return left;
        }
        let (delay, jitter) = (f64::from(settings.delay_us), f64::from(settings.jitter_us));
        let spread = if jitter > 0.0 { (2.0 * self.chance() - 1.0) * jitter } else { 0.0 };
        let mut due = left + Duration::from_secs_f64((delay + spread).max(0.0) / 1e6);
        if let Some(last) = line.last.get() {
            due = due.max(last);
        }
        line.last.set(Some(due));
        due
    }

    /// Lets go on what has arrived; all if there is no time.
    fn arrive(&self, netif: &Netif, now: Option<Instant>) {
        let mut expirations = [0u8; 8];
        // SAFETY: a timerfd gives eight bytes, or nothing.
        unsafe {
            libc::read(self.timer.as_raw_fd(), expirations.as_mut_ptr().cast(), expirations.len())
        };
        let Some(id) = self.place.get() else { return };
        loop {
            let next = {
                let mut held = self.held.borrow_mut();
                match held.peek() {
                    Some(Reverse(next)) if now.is_none_or(|now| next.due <= now) => held.pop(),
                    _ => None,
                }
            };
            let Some(Reverse(next)) = next else { break };
            self.bytes.set(self.bytes.get().saturating_sub(next.packet.len()));
            netif.resume(id, next.direction, next.packet);
        }
        self.set_timer();
    }

    fn set_timer(&self) {
        let held = self.held.borrow();
        let Some(Reverse(next)) = held.peek() else { return };
        // At least a nanosecond: zero would stop the timer.
        let wait = next.due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // SAFETY: the times are plain numbers; all-zero is a timer that fires once.
        unsafe {
            let mut time = std::mem::zeroed::<libc::itimerspec>();
            time.it_value.tv_sec = wait.as_secs() as libc::time_t;
            time.it_value.tv_nsec = wait.subsec_nanos().into();
            libc::timerfd_settime(self.timer.as_raw_fd(), 0, &time, std::ptr::null_mut());
        }
    }

    fn hold(&self, direction: Direction, packet: Packet) {
        let due = self.arrival(direction, packet.len());
        let number = self.number.replace(self.number.get() + 1);
        self.bytes.set(self.bytes.get() + packet.len());
        let first = {
            let mut held = self.held.borrow_mut();
            held.push(Reverse(Held { due, number, direction, packet }));
            held.peek().is_some_and(|Reverse(first)| first.number == number)
        };
        if first {
            self.set_timer();
        }
    }
}

impl Hook for Nettest {
    fn see(&self, _: &Netif, direction: Direction, packet: &Packet) -> Verdict {
        let settings = self.settings.get();
        if settings.drop_rate > 0.0 && self.chance() < f64::from(settings.drop_rate) {
            return Verdict::Drop;
        }
        if settings.delay_us == 0 && settings.jitter_us == 0 && settings.rate == 0 {
            // Behind what is still on its way from before.
            if self.held.borrow().is_empty() {
                return Verdict::Pass;
            }
        }
        let limit = if settings.limit == 0 { LIMIT } else { settings.limit };
        if self.bytes.get() + packet.len() > limit {
            return Verdict::Drop;
        }
        let kept = match direction {
            Direction::In => Ok(packet.share()),
            Direction::Out => packet.copy(),
        };
        match kept {
            Ok(kept) => {
                self.hold(direction, kept);
                Verdict::Held
            }
            Err(_) => Verdict::Drop,
        }
    }
}

fn seed(wanted: u64) -> Result<u64> {
    Ok(match wanted {
        0 => u64::from(core::random()?) << 32 | u64::from(core::random()?),
        seed => seed,
    })
}

fn check(settings: &herald_nettest_options) -> Result<()> {
    for (what, rate) in [("drop_rate", settings.drop_rate), ("reorder_rate", settings.reorder_rate)] {
        if !(0.0..=1.0).contains(&rate) {
            return Err(Error::invalid(format!("{what} is {rate}: must be 0.0 to 1.0")));
        }
    }
    Ok(())
}

fn add(
    base: *mut sys::event_base,
    netif: *mut sys::netif,
    settings: herald_nettest_options,
) -> Result<()> {
    core::stack_on(base)?;
    check(&settings)?;
    let netif = Netif::find(netif)?;
    match netif.find_hook::<Nettest>() {
        None => Nettest::add(&netif, settings),
        Some((_, nettest)) => {
            if settings.seed != 0 {
                nettest.random.set(settings.seed);
            }
            nettest.settings.set(settings);
            Ok(())
        }
    }
}

/// Makes a netif worse, in both directions: each packet takes `delay_us` microseconds, and `drop_rate` of
/// them (0.0 to 1.0) are lost, which the counters show as dropped. Its place is between what is attached to
/// the netif already and lwIP. If the netif has a nettest, that takes on the new settings. Returns 0, or -1
/// with errno.
///
/// # Safety
///
/// None beyond the arguments being what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nettest_add(
    base: *mut sys::event_base,
    netif: *mut sys::netif,
    delay_us: c_uint,
    drop_rate: c_float,
) -> c_int {
    status(|| {
        let settings = herald_nettest_options {
            size: 0,
            delay_us,
            jitter_us: 0,
            drop_rate,
            reorder_rate: 0.0,
            rate: 0,
            limit: 0,
            seed: 0,
        };
        add(base, netif, settings)
    })
}

/// nettest_add() with jitter, reordering and a rate.
///
/// # Safety
///
/// The options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nettest_add_ex(
    base: *mut sys::event_base,
    netif: *mut sys::netif,
    options: *const herald_nettest_options,
) -> c_int {
    status(|| {
        // SAFETY: as the caller promised.
        let settings = unsafe { options::read_sized(options, "the options of nettest") }?;
        add(base, netif, settings)
    })
}

/// Makes a netif good again. What is on its way arrives at once. Without a nettest it does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn nettest_remove(netif: *mut sys::netif) {
    answer((), || {
        let netif = Netif::find(netif)?;
        if let Some((id, nettest)) = netif.find_hook::<Nettest>() {
            netif.remove_hook(id);
            nettest.arrive(&netif, None);
            core::stack()?.settle();
        }
        Ok(())
    });
}
