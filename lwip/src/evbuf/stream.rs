//! A TCP connection of lwIP's between two evbuffers.
//!
//! lwIP's callbacks, the program's calls and changes of the evbuffers only note what there is to do;
//! it is done by [`Stream::service`], from the loop. So the program's callbacks never run within a call
//! of lwIP or of the program, and may do anything, freeing the stream included.

mod callbacks;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_short, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::rc::Rc;

use super::buffer::{Buffer, PIECES};
use super::{lwipevbuf, pcb};
use crate::core;
use crate::error::{Error, Result};
use crate::host::{Failure, Found, LookUp};
use crate::packet::Packet;
use crate::sys::{self, OK, ip_addr_t};
use callbacks::{acknowledged, changed, connected, failed, polled, received};

pub(crate) const CONNECTED: c_short = sys::BEV_EVENT_CONNECTED as c_short;
pub(crate) const EOF: c_short = sys::BEV_EVENT_EOF as c_short;
pub(crate) const ERROR: c_short = sys::BEV_EVENT_ERROR as c_short;
const READING: c_short = sys::BEV_EVENT_READING as c_short;

/// The window of Debian's lwIP: what a peer may always send at first.
pub(crate) const WINDOW: usize = sys::TCP_WND as usize;

/// The least window: with less than two segments a peer would wait for its own timer again and again.
const LEAST_WINDOW: usize = 2 * sys::TCP_MSS as usize;

/// After so many seconds the next address of a host is tried, if there is one.
const PATIENCE: u32 = 5;

/// After so many seconds without an acknowledgement a connection that was freed is aborted.
const LINGER: u32 = 60;

/// Whom a stream tells.
pub(crate) trait User {
    /// There is more in the input buffer.
    fn readable(&self, stream: &Rc<Stream>);

    /// lwIP has taken all that was in the output buffer.
    fn drained(&self, stream: &Rc<Stream>);

    /// The sending direction has ended, as [`Stream::end`] asked for.
    fn ended(&self, _: &Rc<Stream>) {}

    /// CONNECTED, EOF or ERROR.
    fn event(&self, stream: &Rc<Stream>, what: c_short);

    /// Whether it is a join, which is not to be replaced.
    fn is_join(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not connected, and not about to be.
    Idle,
    /// Looks up a host, or waits for a peer's answer.
    Connecting,
    Open,
    /// Nothing more comes or goes.
    Over,
}

/// A connection, which may outlive the program's use of it: then it lingers until what was left in the
/// output buffer has been acknowledged.
pub(crate) struct Stream {
    /// What C sees; its address is the handle, and lwIP's argument.
    fields: UnsafeCell<lwipevbuf>,
    pub input: Buffer,
    pub output: Buffer,
    user: RefCell<Option<Rc<dyn User>>>,
    phase: Cell<Phase>,
    read_max: Cell<usize>,
    /// Received bytes that the window has not been opened for again.
    withheld: Cell<usize>,
    peer_ended: Cell<bool>,
    end_wanted: Cell<bool>,
    ended: Cell<bool>,
    freed: Cell<bool>,
    /// What the user is to be told.
    readable: Cell<bool>,
    drained: Cell<bool>,
    just_ended: Cell<bool>,
    events: Cell<c_short>,
    scheduled: Cell<bool>,
    /// Where else to connect to, and how long the present attempt, or the linger, has gone on.
    addresses: RefCell<VecDeque<ip_addr_t>>,
    look_up: RefCell<Option<LookUp>>,
    seconds: Cell<u32>,
}

thread_local! {
    /// All streams: those that the program has, and those that linger. A thread that ends leaves them: see
    /// core::Own.
    static STREAMS: ManuallyDrop<RefCell<HashMap<usize, Rc<Stream>>>> = ManuallyDrop::default();
}

pub(super) fn find(handle: *const c_void) -> Option<Rc<Stream>> {
    STREAMS.try_with(|streams| streams.borrow().get(&handle.addr()).cloned()).ok().flatten()
}

/// lwIP no longer runs in the loop: nobody lingers, or looks anything up.
pub(crate) fn stop() {
    let all: Vec<_> = STREAMS.with(|streams| streams.borrow().values().cloned().collect());
    for stream in all {
        stream.scheduled.set(false);
        if stream.look_up.borrow_mut().take().is_some() {
            stream.phase.set(Phase::Idle);
        }
        if stream.freed.get() {
            stream.abort();
        }
    }
}

impl Stream {
    /// Takes over a pcb, or none for now.
    pub fn new(raw: *mut sys::tcp_pcb) -> Result<Rc<Stream>> {
        core::stack()?;
        let phase = pcb::phase(raw)?;
        let (input, output) = (Buffer::new()?, Buffer::new()?);
        let fields = lwipevbuf {
            pcb: null_mut(),
            tcp_err: OK,
            input_buffer: input.raw(),
            output_buffer: output.raw(),
            host_err: 0,
            port: 0,
        };
        let stream = Rc::new(Stream {
            fields: UnsafeCell::new(fields),
            input,
            output,
            user: RefCell::default(),
            phase: Cell::new(match phase {
                pcb::Phase::New => Phase::Idle,
                pcb::Phase::Connecting => Phase::Connecting,
                pcb::Phase::Open | pcb::Phase::PeerEnded => Phase::Open,
            }),
            read_max: Cell::new(WINDOW),
            withheld: Cell::default(),
            peer_ended: Cell::new(phase == pcb::Phase::PeerEnded),
            end_wanted: Cell::default(),
            ended: Cell::default(),
            freed: Cell::default(),
            readable: Cell::default(),
            drained: Cell::default(),
            just_ended: Cell::default(),
            events: Cell::default(),
            scheduled: Cell::default(),
            addresses: RefCell::default(),
            look_up: RefCell::default(),
            seconds: Cell::default(),
        });
        stream.input.watch(Some(changed), stream.handle().cast())?;
        stream.output.watch(Some(changed), stream.handle().cast())?;
        STREAMS.with(|streams| streams.borrow_mut().insert(stream.handle().addr(), Rc::clone(&stream)));
        if !raw.is_null() {
            stream.attach(raw);
        }
        if stream.peer_ended.get() {
            stream.raise(EOF | READING);
        }
        Ok(stream)
    }

    pub fn handle(&self) -> *mut lwipevbuf {
        self.fields.get()
    }

    fn pcb(&self) -> *mut sys::tcp_pcb {
        // SAFETY: C only reads the fields.
        unsafe { (*self.handle()).pcb }
    }

    fn set_pcb(&self, raw: *mut sys::tcp_pcb) {
        // SAFETY: on the one thread, and no reference to a field is ever kept.
        unsafe { (*self.handle()).pcb = raw };
    }

    pub fn error(&self) -> sys::err_t {
        // SAFETY: as above.
        unsafe { (*self.handle()).tcp_err }
    }

    fn set_error(&self, error: sys::err_t) {
        // SAFETY: as above.
        unsafe { (*self.handle()).tcp_err = error };
    }

    pub fn set_user(&self, user: Option<Rc<dyn User>>) {
        let before = self.user.replace(user);
        // Dropped out of the borrow: a user's end may call us.
        drop(before);
    }

    pub fn user(&self) -> Option<Rc<dyn User>> {
        self.user.borrow().clone()
    }

    pub fn is_freed(&self) -> bool {
        self.freed.get()
    }

    /// Whether all that is to be sent has been passed to lwIP, the end included.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    pub fn peer_has_ended(&self) -> bool {
        self.peer_ended.get()
    }

    /// How much the input buffer may hold: at least two segments; 0 for one window.
    pub fn set_read_max(self: &Rc<Self>, bytes: usize) {
        self.read_max.set(if bytes == 0 { WINDOW } else { bytes.max(LEAST_WINDOW) });
        self.schedule();
    }

    // ---- connecting

    /// Connects to the first of these that answers.
    pub fn connect(self: &Rc<Self>, addresses: Vec<ip_addr_t>, port: u16) -> Result<()> {
        self.may_connect()?;
        self.set_port(port);
        *self.addresses.borrow_mut() = addresses.into();
        self.connect_next().map_err(|error| pcb::error(error, "connecting"))
    }

    /// Looks up a host, and connects to the first of its addresses that answers.
    pub fn connect_host(self: &Rc<Self>, family: i32, name: &str, port: u16) -> Result<()> {
        self.may_connect()?;
        let weak = Rc::downgrade(self);
        let look_up = crate::host::look_up(name, family, move |result| {
            if let Some(stream) = weak.upgrade() {
                stream.looked_up(result);
            }
        })?;
        self.set_port(port);
        *self.look_up.borrow_mut() = Some(look_up);
        self.phase.set(Phase::Connecting);
        Ok(())
    }

    fn set_port(&self, port: u16) {
        // SAFETY: on the one thread, and no reference to a field is ever kept.
        unsafe { (*self.handle()).port = port.into() };
    }

    fn may_connect(&self) -> Result<()> {
        match self.phase.get() {
            Phase::Idle => Ok(()),
            Phase::Connecting => Err(Error::new(libc::EALREADY, "it is already connecting")),
            Phase::Open => Err(Error::new(libc::EISCONN, "it is already connected")),
            Phase::Over => {
                Err(Error::new(libc::EISCONN, "its connection is over: make a new lwipevbuf"))
            }
        }
    }

    fn looked_up(self: &Rc<Self>, result: std::result::Result<Found, Failure>) {
        *self.look_up.borrow_mut() = None;
        match result {
            Ok(found) => {
                *self.addresses.borrow_mut() = found.addresses.into_iter().map(sys::ip_addr).collect();
                if let Err(error) = self.connect_next() {
                    self.fail(error);
                }
            }
            Err(failure) => {
                // SAFETY: on the one thread, and no reference to a field is ever kept.
                unsafe { (*self.handle()).host_err = failure.eai() };
                self.fail(sys::ERR_VAL as sys::err_t);
            }
        }
    }

    /// Tries the addresses that are left, until lwIP takes one; the last error if none.
    fn connect_next(self: &Rc<Self>) -> std::result::Result<(), sys::err_t> {
        let mut error = sys::ERR_VAL as sys::err_t;
        loop {
            let Some(address) = self.addresses.borrow_mut().pop_front() else {
                self.phase.set(Phase::Idle);
                return Err(error);
            };
            let raw = match pcb::for_family(self.pcb(), &address) {
                Ok(raw) => raw,
                Err(failed) => {
                    error = failed;
                    continue;
                }
            };
            self.attach(raw);
            self.seconds.set(0);
            // SAFETY: the port is in range since set_port().
            let port = unsafe { (*self.handle()).port } as u16;
            // SAFETY: a pcb of ours that is not connected.
            match unsafe { sys::tcp_connect(raw, &address, port, Some(connected)) } {
                OK => {
                    self.phase.set(Phase::Connecting);
                    return Ok(());
                }
                failed => error = failed,
            }
        }
    }

    /// The attempt to connect, or the connection, has failed.
    fn fail(self: &Rc<Self>, error: sys::err_t) {
        self.set_error(error);
        let connecting = self.phase.replace(Phase::Over) == Phase::Connecting;
        self.raise(if connecting { ERROR } else { ERROR | READING });
    }

    // ---- lwIP's side

    fn attach(&self, raw: *mut sys::tcp_pcb) {
        self.set_pcb(raw);
        // SAFETY: the pcb is ours from now on, and its callbacks find this stream as long as it is
        // registered, which it is while it has a pcb.
        unsafe {
            sys::tcp_arg(raw, self.handle().cast());
            sys::tcp_recv(raw, Some(received));
            sys::tcp_sent(raw, Some(acknowledged));
            sys::tcp_err(raw, Some(failed));
            // Every second.
            sys::tcp_poll(raw, Some(polled), 2);
            (*raw).connected = Some(connected);
            // With Nagle's algorithm on, lwIP holds back acknowledgements together with a last, short
            // segment, and both sides wait for each other's timer.
            (*raw).flags |= sys::TF_NODELAY as sys::tcpflags_t;
        }
    }

    /// Lets go of the pcb.
    fn detach(&self) -> *mut sys::tcp_pcb {
        let raw = self.pcb();
        self.set_pcb(null_mut());
        if !raw.is_null() {
            pcb::forget(raw);
        }
        raw
    }

    fn receive(self: &Rc<Self>, packet: Packet) -> std::result::Result<(), Packet> {
        let length = packet.len();
        if !self.freed.get() {
            if self.input.add_packet(&packet).is_err() {
                return Err(packet);
            }
            self.readable.set(true);
        }
        self.withheld.set(self.withheld.get() + length);
        self.schedule();
        Ok(())
    }

    fn raise(self: &Rc<Self>, what: c_short) {
        self.events.set(self.events.get() | what);
        self.schedule();
    }

    // ---- what there is to do

    pub fn schedule(self: &Rc<Self>) {
        let Ok(stack) = core::stack() else { return };
        if self.scheduled.replace(true) {
            return;
        }
        let own = Rc::clone(self);
        stack.defer(move || {
            own.scheduled.set(false);
            own.service();
        });
    }

    fn service(self: &Rc<Self>) {
        self.try_next();
        self.open_window();
        self.flush();
        if self.freed.get() {
            return self.linger();
        }
        self.tell();
    }

    fn tell(self: &Rc<Self>) {
        let events = self.events.replace(0);
        if events & CONNECTED != 0 {
            self.call(|user| user.event(self, CONNECTED));
        }
        if self.readable.replace(false) {
            self.call(|user| user.readable(self));
        }
        if self.drained.replace(false) {
            self.call(|user| user.drained(self));
        }
        if self.just_ended.replace(false) {
            self.call(|user| user.ended(self));
        }
        let events = events & !CONNECTED;
        if events & ERROR != 0 {
            self.call(|user| user.event(self, events & !EOF));
        } else if events & EOF != 0 {
            self.call(|user| user.event(self, events));
        }
        self.let_go();
    }

    fn call(&self, call: impl FnOnce(&dyn User)) {
        if let Some(user) = self.user() {
            call(&*user);
        }
    }

    /// Another address, if the present one has refused, or does not answer.
    fn try_next(self: &Rc<Self>) {
        let left = !self.addresses.borrow().is_empty();
        let given_up = self.pcb().is_null() || self.seconds.get() >= PATIENCE;
        if left && given_up && self.phase.get() == Phase::Connecting {
            let raw = self.detach();
            if !raw.is_null() {
                pcb::abort(raw);
            }
            if let Err(error) = self.connect_next() {
                self.phase.set(Phase::Connecting);
                self.fail(error);
            }
        }
    }

    /// Lets the peer send as much as there is room for: the input buffer and the window together never
    /// exceed `read_max`, once the window that a connection starts with has been used.
    fn open_window(&self) {
        let keep = match self.freed.get() {
            true => 0,
            false => (self.input.len() + WINDOW).saturating_sub(self.read_max.get()),
        };
        let open = self.withheld.get().saturating_sub(keep);
        let raw = self.pcb();
        if open > 0 && !raw.is_null() {
            self.withheld.set(self.withheld.get() - open);
            pcb::open_window(raw, open);
        }
    }

    /// Passes to lwIP what it takes. To be followed by the service.
    fn flush(self: &Rc<Self>) {
        if self.phase.get() != Phase::Open {
            return;
        }
        let before = self.output.len();
        while !self.pcb().is_null() && !self.output.is_empty() {
            let (vectors, count): ([_; PIECES], _) = self.output.peek(pcb::room(self.pcb()));
            let more = self.output.len();
            let written = pcb::write(self.pcb(), &vectors[..count], more);
            if written == 0 {
                break;
            }
            // This calls whoever watches the buffer.
            self.output.drain(written);
        }
        if before > 0 && self.output.is_empty() {
            self.drained.set(true);
        }
        let raw = self.pcb();
        if raw.is_null() {
            return;
        }
        if self.end_wanted.get() && self.output.is_empty() && !self.ended.replace(true) {
            pcb::end(raw);
            self.just_ended.set(true);
        }
        pcb::output(raw);
    }

    /// Passes to lwIP what it takes, now.
    pub fn output_now(self: &Rc<Self>) {
        self.flush();
        self.schedule();
    }

    /// Ends the sending direction, after what the output buffer holds.
    pub fn end(self: &Rc<Self>) {
        self.end_wanted.set(true);
        self.schedule();
    }

    /// When both sides have ended, the rest is lwIP's: it frees such a pcb without a word.
    fn let_go(self: &Rc<Self>) {
        if self.ended.get() && self.peer_ended.get() && !self.pcb().is_null() {
            self.phase.set(Phase::Over);
            pcb::close(self.detach());
            self.schedule();
        }
    }

    // ---- the end

    /// The program no longer uses it. What is in the output buffer is still sent, then the end.
    pub fn free(self: &Rc<Self>) {
        if self.freed.replace(true) {
            return;
        }
        self.quit();
        self.seconds.set(0);
        self.end_wanted.set(true);
        match self.phase.get() {
            Phase::Open if !self.pcb().is_null() => {
                self.open_window();
                self.flush();
                self.linger();
            }
            _ => self.abort(),
        }
    }

    /// Resets the connection, and drops what has not been sent.
    pub fn reset(&self, error: sys::err_t) {
        if self.phase.replace(Phase::Over) != Phase::Over {
            self.set_error(error);
        }
        let raw = self.detach();
        if !raw.is_null() {
            pcb::abort(raw);
        }
    }

    /// Resets the connection, and frees it.
    pub fn abort(self: &Rc<Self>) {
        self.freed.set(true);
        self.quit();
        self.reset(sys::ERR_ABRT as sys::err_t);
        self.forget();
    }

    fn quit(&self) {
        self.set_user(None);
        self.addresses.borrow_mut().clear();
        let look_up = self.look_up.borrow_mut().take();
        drop(look_up);
    }

    /// Lingers on, or is done.
    fn linger(self: &Rc<Self>) {
        let raw = self.pcb();
        if raw.is_null() {
            return self.forget();
        }
        if self.seconds.get() >= LINGER {
            return self.abort();
        }
        // Once closed, lwIP would answer more data with a reset, and drop what is on its way.
        if self.ended.get() && (self.peer_ended.get() || pcb::all_acknowledged(raw)) {
            self.phase.set(Phase::Over);
            pcb::close(self.detach());
            self.forget();
        }
    }

    /// Takes it out of the list. The evbuffers may be in use up the stack, so the last owner is the
    /// loop's.
    fn forget(self: &Rc<Self>) {
        let found = STREAMS.with(|streams| streams.borrow_mut().remove(&self.handle().addr()));
        if let (Some(found), Ok(stack)) = (found, core::stack()) {
            stack.defer(move || drop(found));
        }
    }
}
