//! lwipevbuf_bev_join: a bufferevent and an lwipevbuf made into a pipe, each direction of which ends for
//! itself.
//!
//! The lwipevbuf owns the join as its user; the bufferevent refers to it by its address, until the join
//! is dropped.

use std::cell::Cell;
use std::ffi::{c_short, c_void};
use std::mem::take;
use std::ptr::null_mut;
use std::rc::{Rc, Weak};

use libc::ssize_t;

use crate::core;
use crate::error::{Error, Result, answer};
use crate::evbuf::{self, EOF, ERROR, Stream, User, WINDOW, lwipevbuf, transfer};
use crate::sys::{self, bufferevent};

const READ: c_short = sys::EV_READ as c_short;
const WRITE: c_short = sys::EV_WRITE as c_short;

/// Something about a join is over.
pub type lwipevbuf_join_cb = Option<unsafe extern "C" fn(ctx: *mut c_void)>;

/// A callback of the program's, to be called once.
#[derive(Clone, Copy, Default)]
struct Told {
    callback: lwipevbuf_join_cb,
    ctx: Option<*mut c_void>,
}

impl Told {
    fn call(self) {
        if let (Some(callback), Some(ctx)) = (self.callback, self.ctx) {
            // SAFETY: the program's callback, with what it asked for.
            unsafe { callback(ctx) };
        }
    }
}

/// A is the bufferevent, B the lwipevbuf.
struct Join {
    bev: *mut bufferevent,
    stream: Weak<Stream>,
    own: Weak<Join>,
    watermark: usize,
    /// Whether the join frees both, since nobody is told when they can be.
    owns: bool,
    done: Cell<[Told; 3]>,
    /// A's end has been seen; all before it, and the end, has been passed on.
    a_ended: Cell<bool>,
    a_passed: Cell<bool>,
    b_passed: Cell<bool>,
    /// A is not read from, since B does not keep up.
    paused: Cell<bool>,
    over: Cell<bool>,
}

const A: usize = 0;
const B: usize = 1;
const ALL: usize = 2;

impl Join {
    fn input(&self) -> *mut sys::evbuffer {
        // SAFETY: the bufferevent is there until the join is over.
        unsafe { sys::bufferevent_get_input(self.bev) }
    }

    fn output(&self) -> *mut sys::evbuffer {
        // SAFETY: likewise.
        unsafe { sys::bufferevent_get_output(self.bev) }
    }

    /// Tells the program, once. False if that was the end of the join.
    fn tell(&self, which: usize) -> bool {
        let mut done = self.done.get();
        let told = take(&mut done[which]);
        self.done.set(done);
        told.call();
        !self.over.get() && self.stream.upgrade().is_some_and(|stream| !stream.is_freed())
    }

    /// Moves on what can be, in both directions.
    fn work(&self) {
        if self.over.get() {
            return;
        }
        let Some(stream) = self.stream.upgrade() else { return };
        if self.a_to_b(&stream) && self.b_to_a(&stream) && self.a_passed.get() && self.b_passed.get() {
            self.finish(&stream);
        }
    }

    fn a_to_b(&self, stream: &Rc<Stream>) -> bool {
        let ended = self.a_ended.get();
        let mut full = stream.output.len() >= self.watermark;
        if !full || ended {
            // SAFETY: both are valid. If there is no memory, it stays where it is until later.
            unsafe { transfer(self.input(), stream.output.raw()) };
            full = stream.output.len() >= self.watermark;
        }
        // SAFETY: the bufferevent is there until the join is over.
        unsafe {
            if full && !self.paused.replace(true) {
                sys::bufferevent_disable(self.bev, READ);
            } else if !full && self.paused.replace(false) && !ended {
                sys::bufferevent_enable(self.bev, READ);
            }
        }
        if ended && sized(self.input()) == 0 {
            stream.end();
            if stream.has_ended() && !self.a_passed.replace(true) {
                return self.tell(A);
            }
        }
        true
    }

    fn b_to_a(&self, stream: &Rc<Stream>) -> bool {
        if sized(self.output()) < self.watermark {
            // SAFETY: as above.
            unsafe { transfer(stream.input.raw(), self.output()) };
        }
        let ended = stream.peer_has_ended() && stream.input.is_empty() && sized(self.output()) == 0;
        if ended && !self.b_passed.replace(true) {
            // SAFETY: the bufferevent is there until the join is over.
            unsafe {
                match sys::bufferevent_getfd(self.bev) {
                    -1 => sys::bufferevent_flush(self.bev, WRITE, sys::BEV_FINISHED),
                    fd => libc::shutdown(fd, libc::SHUT_WR),
                };
            }
            return self.tell(B);
        }
        true
    }

    /// One of them has failed: the other's peer is not to believe that it has seen everything.
    fn break_off(&self) {
        let Some(stream) = self.stream.upgrade() else { return };
        stream.reset(sys::ERR_ABRT as sys::err_t);
        // SAFETY: the bufferevent is there until the join is over. With nothing to linger for, closing
        // resets a TCP connection; other sockets refuse the option, or ignore it.
        unsafe {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            libc::setsockopt(
                sys::bufferevent_getfd(self.bev),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            );
        }
        if self.tell(A) && self.tell(B) {
            self.finish(&stream);
        }
    }

    /// Lets go of both, and says so.
    fn finish(&self, stream: &Rc<Stream>) {
        self.let_go();
        // This may be the last reference but for those on the stack.
        stream.set_user(None);
        if self.owns {
            // SAFETY: the program has left it to the join.
            unsafe { sys::bufferevent_free(self.bev) };
            stream.free();
        }
        self.tell(ALL);
    }

    fn let_go(&self) {
        if self.over.replace(true) {
            return;
        }
        // SAFETY: the bufferevent is there until the join is over, which is now.
        unsafe {
            sys::bufferevent_setcb(self.bev, None, None, None, null_mut());
            sys::bufferevent_disable(self.bev, READ);
            sys::bufferevent_setwatermark(self.bev, READ | WRITE, 0, 0);
        }
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl User for Join {
    fn readable(&self, _: &Rc<Stream>) {
        self.work();
    }

    fn drained(&self, _: &Rc<Stream>) {
        self.work();
    }

    fn ended(&self, _: &Rc<Stream>) {
        self.work();
    }

    fn event(&self, _: &Rc<Stream>, what: c_short) {
        if what & ERROR != 0 {
            self.break_off();
        } else {
            self.work();
        }
    }

    fn is_join(&self) -> bool {
        true
    }
}

fn sized(buffer: *mut sys::evbuffer) -> usize {
    std::ptr::NonNull::new(buffer).map_or(0, evbuf::length)
}

/// Runs with the join that a callback of the bufferevent is for.
fn with(ctx: *mut c_void, body: impl FnOnce(&Join)) {
    core::run(|| {
        // SAFETY: the callbacks are taken out of the bufferevent before the join is dropped.
        let join = unsafe { ctx.cast::<Join>().as_ref() }.and_then(|join| join.own.upgrade());
        if let Some(join) = join {
            body(&join);
        }
    });
}

unsafe extern "C" fn moved(_: *mut bufferevent, ctx: *mut c_void) {
    with(ctx, Join::work);
}

unsafe extern "C" fn happened(_: *mut bufferevent, what: c_short, ctx: *mut c_void) {
    with(ctx, |join| {
        if what & (ERROR | sys::BEV_EVENT_TIMEOUT as c_short) != 0 {
            join.break_off();
        } else if what & EOF != 0 {
            join.a_ended.set(true);
            join.work();
        }
    });
}

fn join(bev: *mut bufferevent, b: *mut lwipevbuf, watermark: ssize_t, done: [Told; 3]) -> Result<()> {
    if bev.is_null() {
        return Err(Error::null("the bufferevent"));
    }
    let stream = evbuf::find(b)?;
    // SAFETY: a bufferevent of the program's.
    let stack = core::stack_on(unsafe { sys::bufferevent_get_base(bev) })?;
    if stream.user().is_some_and(|user| user.is_join()) {
        return Err(Error::new(libc::EBUSY, "the lwipevbuf is joined already"));
    }
    let watermark = match usize::try_from(watermark) {
        Ok(0) | Err(_) => WINDOW,
        Ok(watermark) => watermark,
    };
    let join = Rc::new_cyclic(|own| Join {
        bev,
        stream: Rc::downgrade(&stream),
        own: own.clone(),
        watermark,
        owns: done.iter().all(|told| told.callback.is_none()),
        done: Cell::new(done),
        a_ended: Cell::default(),
        a_passed: Cell::default(),
        b_passed: Cell::default(),
        paused: Cell::default(),
        over: Cell::default(),
    });
    let ctx = Rc::as_ptr(&join).cast_mut().cast();
    // SAFETY: a bufferevent of the program's, which is there until the join is over; the join takes its
    // callbacks out before it is dropped.
    unsafe {
        sys::bufferevent_setcb(bev, Some(moved), Some(moved), Some(happened), ctx);
        sys::bufferevent_setwatermark(bev, READ, 0, watermark);
        sys::bufferevent_setwatermark(bev, WRITE, watermark / 2, 0);
        sys::bufferevent_enable(bev, READ | WRITE);
    }
    stream.set_read_max(watermark);
    let weak = Rc::downgrade(&join);
    stream.set_user(Some(join));
    // What is there already.
    stack.defer(move || {
        let Some(join) = weak.upgrade() else { return };
        let stream = join.stream.upgrade();
        match stream.is_some_and(|stream| stream.is_over() && !stream.peer_has_ended()) {
            true => join.break_off(),
            false => join.work(),
        }
    });
    Ok(())
}

/// Makes a bufferevent (A) and an lwipevbuf (B) into a pipe: all that comes from either goes to the other.
/// Either may still be connecting. When one has ended its side, and all before that has been passed on,
/// the other's is ended too, and the opposite direction goes on. When one fails, the other is reset.
///
/// `watermark` bounds what is held in each direction: about so many bytes wait for the other side, then
/// TCP's window or the bufferevent's socket holds the sender back; 0 or less for 65535.
///
/// `a_done(a_ctx)` is called when all that A sent has been passed on, with its end; `b_done(b_ctx)` likewise;
/// `all_done(all_ctx)` when the join is over and uses neither any more, to free them. Each is called once,
/// from the loop, `all_done` last, after a failure too. Each may be NULL; if all are, the join frees both
/// itself. Until `all_done` the bufferevent may not be freed. The lwipevbuf may, at any time: that ends the
/// join without a call, and then the bufferevent may be freed as well.
///
/// A bufferevent over a socket wants SIGPIPE to be ignored. What cannot be joined (NULL, another event_base,
/// joined already) is left alone, and herald_lwip_last_error() says why.
///
/// # Safety
///
/// `bev` is NULL or a bufferevent that lives until the join is over; the callbacks may be called with what
/// is passed for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lwipevbuf_bev_join(
    bev: *mut bufferevent,
    lwipevbuf: *mut lwipevbuf,
    watermark: ssize_t,
    a_done: lwipevbuf_join_cb,
    a_ctx: *mut c_void,
    b_done: lwipevbuf_join_cb,
    b_ctx: *mut c_void,
    all_done: lwipevbuf_join_cb,
    all_ctx: *mut c_void,
) {
    let told = |callback, ctx| Told { callback, ctx: Some(ctx) };
    let done = [told(a_done, a_ctx), told(b_done, b_ctx), told(all_done, all_ctx)];
    answer((), || join(bev, lwipevbuf, watermark, done));
}
