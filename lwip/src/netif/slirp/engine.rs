//! libslirp in the event loop.
//!
//! libslirp is made for a loop around poll(2): `fill` says what to wait for, `poll` is told what happened.
//! Here libevent waits, with two events for each descriptor that libslirp has; all that they do is to note
//! which descriptor it was, and to have [`Slirp::turn`] run, once for all that happened at the same time:
//!
//! 1. `poll`, if something happened, with what poll(2) says of the descriptors that were noted;
//! 2. the frames that libslirp has for lwIP, which only now are lwIP's: lwIP answers at once, and would
//!    enter libslirp again from within it;
//! 3. the segments of TCP that lwIP has sent since the last turn, as [`Burst`]s;
//! 4. `fill`, and a comparison with what libevent waits for.
//!
//! libslirp's functions call nothing of ours but the callbacks in here, which call neither lwIP nor it.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_char, c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::Config;
use super::burst::Burst;
use crate::core;
use crate::error::{Error, Result};
use crate::event::{Event, PERSIST, READ, WRITE};
use crate::netif::{Driver, Netif};
use crate::packet::Packet;
use crate::sys::slirp as sys;

/// The version of SlirpConfig that is filled in.
const CONFIG: u32 = 4;

/// So many frames go to lwIP before the loop's other events have their turn.
const BURST: usize = 128;

/// While so many bytes wait for lwIP, libslirp reads from no socket.
const HOLD: usize = 1 << 20;

/// More than this is not kept. One turn of libslirp can go beyond HOLD by what its sockets have read
/// before it.
const LIMIT: usize = 4 << 20;

pub(super) struct Slirp {
    raw: Cell<Option<NonNull<sys::Slirp>>>,
    /// What libslirp has for lwIP.
    frames: RefCell<VecDeque<Packet>>,
    bytes: Cell<usize>,
    /// What lwIP has for libslirp.
    burst: RefCell<Burst>,
    /// What libslirp wants to know, by its index; what has happened is in `revents`.
    polls: RefCell<Vec<libc::pollfd>>,
    watches: RefCell<HashMap<RawFd, Watch>>,
    noted: RefCell<Vec<RawFd>>,
    ticked: Cell<bool>,
    turn: OnceCell<Event>,
    tick: OnceCell<Event>,
    since: Instant,
    netif: Weak<Netif>,
    own: Weak<Slirp>,
}

/// What libevent waits for at a descriptor.
struct Watch {
    read: Event,
    write: Event,
    waits: (bool, bool),
    /// Where it is in `polls`.
    index: usize,
}

/// The driver. When it goes, libslirp does.
pub(super) struct Handle(Rc<Slirp>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Driver for Handle {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.0.transmit(packet)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl std::ops::Deref for Handle {
    type Target = Slirp;

    fn deref(&self) -> &Slirp {
        &self.0
    }
}

impl Slirp {
    pub fn start(config: &Config, netif: Weak<Netif>) -> Result<Handle> {
        let slirp = Rc::new_cyclic(|own: &Weak<Slirp>| Slirp {
            raw: Cell::default(),
            frames: RefCell::default(),
            bytes: Cell::default(),
            burst: RefCell::default(),
            polls: RefCell::default(),
            watches: RefCell::default(),
            noted: RefCell::default(),
            ticked: Cell::default(),
            turn: OnceCell::new(),
            tick: OnceCell::new(),
            since: Instant::now(),
            netif,
            own: own.clone(),
        });
        let base = core::stack()?.base();
        let _ = slirp.turn.set(Event::timer(base, slirp.within(Slirp::turn))?);
        let tick = slirp.within(|slirp| {
            slirp.ticked.set(true);
            slirp.turn();
        });
        let _ = slirp.tick.set(Event::timer(base, tick)?);
        // SAFETY: all-zero is a config without anything.
        let mut its = unsafe { std::mem::zeroed::<sys::SlirpConfig>() };
        its.version = CONFIG;
        its.restricted = config.restricted.into();
        its.in_enabled = true;
        its.vnetwork = in_addr(config.v4.network);
        its.vnetmask = in_addr(config.v4.mask);
        its.vhost = in_addr(config.v4.host());
        its.vdhcp_start = in_addr(config.v4.guest());
        its.vnameserver = in_addr(config.v4.name_server());
        its.in6_enabled = true;
        its.vprefix_addr6 = in6_addr(config.v6.prefix);
        its.vprefix_len = config.v6.length;
        its.vhost6 = in6_addr(config.v6.host());
        its.vnameserver6 = in6_addr(config.v6.name_server());
        // What it takes from us, and what it cuts TCP into: lwIP's bursts are for it alone, not for a wire.
        its.if_mtu = super::burst::LONGEST;
        its.if_mru = config.mtu.into();
        its.disable_host_loopback = config.no_host_loopback;
        // SAFETY: config and callbacks are copied or static; what the callbacks are passed lives until
        // `end`, since whoever calls it holds it.
        let raw = unsafe { sys::slirp_new(&its, &CALLBACKS, Rc::as_ptr(&slirp).cast_mut().cast()) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::invalid("libslirp refuses its options"))?;
        slirp.raw.set(Some(raw));
        slirp.turn_soon();
        Ok(Handle(slirp))
    }

    /// Frees what libslirp has; its sockets are closed.
    fn end(&self) {
        if let Some(raw) = self.raw.take() {
            // SAFETY: made by slirp_new, and not within one of its functions.
            unsafe { sys::slirp_cleanup(raw.as_ptr()) };
        }
        self.watches.borrow_mut().clear();
    }

    fn within(self: &Rc<Self>, act: fn(&Slirp)) -> impl Fn() + 'static {
        let slirp = Rc::downgrade(self);
        move || {
            if let Some(slirp) = slirp.upgrade() {
                act(&slirp);
            }
        }
    }

    fn turn_soon(&self) {
        if let Some(turn) = self.turn.get() {
            turn.activate();
        }
    }

    fn transmit(&self, packet: &Packet) -> Result<()> {
        let copy;
        let whole = match packet.first() {
            first if first.len() == packet.len() => first,
            _ => {
                copy = packet.copy()?;
                copy.first()
            }
        };
        if !self.burst.borrow_mut().add(whole) {
            self.send_burst();
            if !self.burst.borrow_mut().add(whole) {
                self.input(whole);
            }
        }
        self.turn_soon();
        Ok(())
    }

    fn send_burst(&self) {
        let mut burst = self.burst.take();
        if let Some(frame) = burst.finish() {
            self.input(frame);
        }
        burst.clear();
        self.burst.replace(burst);
    }

    /// Gives libslirp a frame.
    fn input(&self, frame: &[u8]) {
        if let Some(raw) = self.raw.get() {
            // SAFETY: the bytes are only read, during the call.
            unsafe { sys::slirp_input(raw.as_ptr(), frame.as_ptr(), frame.len() as c_int) };
        }
    }

    fn turn(&self) {
        if !self.noted.borrow().is_empty() || self.ticked.replace(false) {
            self.poll();
        }
        if self.deliver() {
            self.send_burst();
            self.fill();
        }
    }

    /// Tells libslirp what has happened at its descriptors.
    fn poll(&self) {
        let Some(raw) = self.raw.get() else { return };
        let mut noted: Vec<(usize, libc::pollfd)> = {
            let (watches, polls) = (self.watches.borrow(), self.polls.borrow());
            let at = |fd| {
                let index = watches.get(&fd)?.index;
                polls.get(index).filter(|poll| poll.fd == fd).map(|&poll| (index, poll))
            };
            self.noted.take().into_iter().filter_map(at).collect()
        };
        let mut fds: Vec<libc::pollfd> = noted.iter().map(|&(_, poll)| poll).collect();
        // SAFETY: as many as there are, without waiting. If it fails, nothing has happened.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
        {
            let mut polls = self.polls.borrow_mut();
            for ((index, _), poll) in noted.drain(..).zip(fds) {
                if let Some(place) = polls.get_mut(index) {
                    place.revents = poll.revents;
                }
            }
        }
        // SAFETY: libslirp lives; the callback finds us by what it is passed.
        unsafe { sys::slirp_pollfds_poll(raw.as_ptr(), 0, Some(get_revents), self.opaque()) };
        for poll in &mut *self.polls.borrow_mut() {
            poll.revents = 0;
        }
    }

    /// Gives lwIP its frames; false if the netif is gone.
    fn deliver(&self) -> bool {
        let Some(netif) = self.netif.upgrade() else { return false };
        for _ in 0..BURST {
            let Some(frame) = self.frames.borrow_mut().pop_front() else { return true };
            self.bytes.set(self.bytes.get() - frame.len());
            if !netif.receive(frame) {
                return false;
            }
        }
        self.turn_soon();
        true
    }

    /// Asks libslirp what to wait for.
    fn fill(&self) {
        let Some(raw) = self.raw.get() else { return };
        self.polls.borrow_mut().clear();
        let mut timeout = u32::MAX;
        // SAFETY: libslirp lives; the callback finds us by what it is passed.
        unsafe {
            sys::slirp_pollfds_fill(raw.as_ptr(), &mut timeout, Some(add_poll), self.opaque());
        }
        if let Some(tick) = self.tick.get() {
            match timeout {
                u32::MAX => tick.del(),
                // If it cannot be set, the next turn sets it.
                timeout => drop(tick.add(Some(Duration::from_millis(timeout.into())))),
            }
        }
        if let Err(error) = self.wait_for_polls()
            && let Some(netif) = self.netif.upgrade()
        {
            netif.fail(error);
        }
    }

    /// Has libevent wait for what is in `polls`, and for nothing else.
    fn wait_for_polls(&self) -> Result<()> {
        let (polls, mut watches) = (self.polls.borrow(), self.watches.borrow_mut());
        for (index, poll) in polls.iter().enumerate() {
            let watch = match watches.entry(poll.fd) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.watch(poll.fd)?),
            };
            watch.index = index;
            watch.wait(poll.events & libc::POLLIN != 0, poll.events & libc::POLLOUT != 0)?;
        }
        for (&fd, watch) in &mut *watches {
            if polls.get(watch.index).is_none_or(|poll| poll.fd != fd) {
                watch.wait(false, false)?;
            }
        }
        Ok(())
    }

    fn watch(&self, fd: RawFd) -> Result<Watch> {
        let base = core::stack()?.base();
        let event = |what| {
            let slirp = self.own.clone();
            Event::new(base, Some(fd), what | PERSIST, move |_| {
                if let Some(slirp) = slirp.upgrade() {
                    slirp.noted.borrow_mut().push(fd);
                    slirp.turn_soon();
                }
            })
        };
        Ok(Watch { read: event(READ)?, write: event(WRITE)?, waits: (false, false), index: usize::MAX })
    }

    /// Keeps a frame for lwIP.
    fn keep(&self, frame: &[u8]) {
        let kept = match self.bytes.get() + frame.len() {
            bytes if bytes <= LIMIT => Packet::copy_of(frame).map(|packet| (packet, bytes)),
            _ => Err(Error::new(libc::ENOBUFS, "lwIP does not keep up")),
        };
        match kept {
            Ok((packet, bytes)) => {
                self.bytes.set(bytes);
                self.frames.borrow_mut().push_back(packet);
                self.turn_soon();
            }
            Err(_) => {
                if let Some(netif) = self.netif.upgrade() {
                    netif.counters().drop_received();
                }
            }
        }
    }

    fn opaque(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    pub fn add_forward(&self, udp: bool, host: (IpAddr, u16), guest: (IpAddr, u16)) -> Result<()> {
        let Some(raw) = self.raw.get() else { return Ok(()) };
        let (from, to) = (Address::new(host), Address::new(guest));
        // SAFETY: the addresses are as long as is said.
        let added = unsafe {
            let (from, to) = (from.as_raw(), to.as_raw());
            sys::slirp_add_hostxfwd(raw.as_ptr(), from.0, from.1, to.0, to.1, flags(udp, &host))
        };
        if added != 0 {
            return Err(Error::os(format_args!("forwarding {}, port {}", host.0, host.1)));
        }
        self.turn_soon();
        Ok(())
    }

    pub fn remove_forward(&self, udp: bool, host: (IpAddr, u16)) -> Result<()> {
        let Some(raw) = self.raw.get() else { return Ok(()) };
        let from = Address::new(host);
        // SAFETY: the address is as long as is said.
        let removed = unsafe {
            let from = from.as_raw();
            sys::slirp_remove_hostxfwd(raw.as_ptr(), from.0, from.1, flags(udp, &host))
        };
        if removed != 0 {
            let text = format!("{}, port {}, is not forwarded", host.0, host.1);
            return Err(Error::new(libc::ENOENT, text));
        }
        self.turn_soon();
        Ok(())
    }
}

impl Watch {
    fn wait(&mut self, read: bool, write: bool) -> Result<()> {
        for (event, before, after) in
            [(&self.read, self.waits.0, read), (&self.write, self.waits.1, write)]
        {
            match (before, after) {
                (false, true) => event.add(None)?,
                (true, false) => event.del(),
                _ => {}
            }
        }
        self.waits = (read, write);
        Ok(())
    }
}

fn flags(udp: bool, host: &(IpAddr, u16)) -> c_int {
    let udp = if udp { sys::SLIRP_HOSTFWD_UDP } else { 0 };
    // Both families of a port can be forwarded, to different places.
    let v6 = if host.0.is_ipv6() { sys::SLIRP_HOSTFWD_V6ONLY } else { 0 };
    (udp | v6) as c_int
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

fn in6_addr(address: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: address.octets() }
}

enum Address {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl Address {
    fn new((address, port): (IpAddr, u16)) -> Address {
        match address {
            IpAddr::V4(v4) => Address::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: port.to_be(),
                sin_addr: in_addr(v4),
                sin_zero: [0; 8],
            }),
            IpAddr::V6(v6) => Address::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: port.to_be(),
                sin6_flowinfo: 0,
                sin6_addr: in6_addr(v6),
                sin6_scope_id: 0,
            }),
        }
    }

    fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            Address::V4(v4) => ((&raw const *v4).cast(), size_of_val(v4) as libc::socklen_t),
            Address::V6(v6) => ((&raw const *v6).cast(), size_of_val(v6) as libc::socklen_t),
        }
    }
}

static CALLBACKS: sys::SlirpCb = sys::SlirpCb {
    send_packet: Some(send_packet),
    guest_error: Some(guest_error),
    clock_get_ns: Some(clock_get_ns),
    timer_new: None,
    timer_free: Some(timer_free),
    timer_mod: Some(timer_mod),
    register_poll_fd: Some(register_poll_fd),
    unregister_poll_fd: Some(unregister_poll_fd),
    notify: Some(notify),
    init_completed: None,
    timer_new_opaque: Some(timer_new_opaque),
};

/// What libslirp calls: a panic stays in here.
///
/// # Safety
///
/// `opaque` is what slirp_new() was passed, and libslirp has not ended.
unsafe fn respond<T>(opaque: *mut c_void, otherwise: T, body: impl FnOnce(&Slirp) -> T) -> T {
    // SAFETY: as the caller promised; it is only ever used by shared references.
    let slirp = unsafe { &*opaque.cast::<Slirp>() };
    catch_unwind(AssertUnwindSafe(|| body(slirp))).unwrap_or(otherwise)
}

unsafe extern "C" fn send_packet(buffer: *const c_void, length: usize, opaque: *mut c_void) -> isize {
    // SAFETY: libslirp passes a frame, and what it was told to.
    unsafe {
        let frame = std::slice::from_raw_parts(buffer.cast(), length);
        respond(opaque, (), |slirp| slirp.keep(frame));
    }
    length as isize
}

/// lwIP has sent something that libslirp does not understand.
unsafe extern "C" fn guest_error(_: *const c_char, opaque: *mut c_void) {
    let count = |slirp: &Slirp| {
        if let Some(netif) = slirp.netif.upgrade() {
            netif.counters().send_error();
        }
    };
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, (), count) }
}

unsafe extern "C" fn clock_get_ns(opaque: *mut c_void) -> i64 {
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, 0, |slirp| slirp.since.elapsed().as_nanos() as i64) }
}

unsafe extern "C" fn timer_new_opaque(
    id: sys::SlirpTimerId,
    its: *mut c_void,
    opaque: *mut c_void,
) -> *mut c_void {
    let new = |slirp: &Slirp| {
        let own = slirp.own.clone();
        let fire = move || {
            if let Some(slirp) = own.upgrade()
                && let Some(raw) = slirp.raw.get()
            {
                // SAFETY: libslirp lives, and has not freed the timer.
                unsafe { sys::slirp_handle_timer(raw.as_ptr(), id, its) };
                slirp.turn_soon();
            }
        };
        let event = core::stack().and_then(|stack| Event::timer(stack.base(), fire));
        event.map_or(null_mut(), |event| Box::into_raw(Box::new(event)).cast())
    };
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, null_mut(), new) }
}

unsafe extern "C" fn timer_free(timer: *mut c_void, opaque: *mut c_void) {
    let Some(timer) = NonNull::new(timer.cast::<Event>()) else { return };
    // SAFETY: made by timer_new_opaque, and freed once.
    unsafe { respond(opaque, (), |_| drop(Box::from_raw(timer.as_ptr()))) }
}

unsafe extern "C" fn timer_mod(timer: *mut c_void, at: i64, opaque: *mut c_void) {
    let Some(timer) = NonNull::new(timer.cast::<Event>()) else { return };
    let set = |slirp: &Slirp| {
        let wait = at.saturating_sub(slirp.since.elapsed().as_millis() as i64);
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        // SAFETY: made by timer_new_opaque, and not freed. Without memory the timer does not fire.
        let _ = unsafe { timer.as_ref() }.add(Some(wait));
    };
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, (), set) }
}

/// A descriptor is waited for from when `fill` names it.
unsafe extern "C" fn register_poll_fd(_: RawFd, _: *mut c_void) {}

/// The descriptor is about to be closed; its number may soon be another's.
unsafe extern "C" fn unregister_poll_fd(fd: RawFd, opaque: *mut c_void) {
    let forget = |slirp: &Slirp| {
        let watch = slirp.watches.borrow_mut().remove(&fd);
        drop(watch);
        for poll in slirp.polls.borrow_mut().iter_mut().filter(|poll| poll.fd == fd) {
            (poll.fd, poll.revents) = (-1, 0);
        }
        slirp.noted.borrow_mut().retain(|&noted| noted != fd);
    };
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, (), forget) }
}

/// A buffer of libslirp has room again.
unsafe extern "C" fn notify(opaque: *mut c_void) {
    // SAFETY: libslirp passes what it was told to.
    unsafe { respond(opaque, (), Slirp::turn_soon) }
}

/// The bits of libslirp and those of poll(2).
const BITS: [(u32, libc::c_short); 5] = [
    (sys::SLIRP_POLL_IN, libc::POLLIN),
    (sys::SLIRP_POLL_OUT, libc::POLLOUT),
    (sys::SLIRP_POLL_PRI, libc::POLLPRI),
    (sys::SLIRP_POLL_ERR, libc::POLLERR),
    (sys::SLIRP_POLL_HUP, libc::POLLHUP),
];

unsafe extern "C" fn add_poll(fd: RawFd, events: c_int, opaque: *mut c_void) -> c_int {
    let add = |slirp: &Slirp| {
        let wanted = BITS.iter().filter(|(its, _)| events & *its as c_int != 0);
        let events = wanted.fold(0, |all, (_, bit)| all | bit);
        let mut polls = slirp.polls.borrow_mut();
        polls.push(libc::pollfd { fd, events, revents: 0 });
        polls.len() as c_int - 1
    };
    // SAFETY: it was passed to fill.
    unsafe { respond(opaque, -1, add) }
}

unsafe extern "C" fn get_revents(index: c_int, opaque: *mut c_void) -> c_int {
    let get = |slirp: &Slirp| {
        let polls = slirp.polls.borrow();
        let found = usize::try_from(index).ok().and_then(|index| polls.get(index));
        let mut revents = found.map_or(0, |poll| poll.revents);
        if slirp.bytes.get() > HOLD {
            revents &= !libc::POLLIN;
        }
        let happened = BITS.iter().filter(|(_, bit)| revents & bit != 0);
        happened.fold(0, |all, (its, _)| all | *its as c_int)
    };
    // SAFETY: it was passed to poll.
    unsafe { respond(opaque, 0, get) }
}
