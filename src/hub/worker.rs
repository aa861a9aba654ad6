//! The thread that does all I/O.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::lane::Popped;
use super::promise::Promiser;
use super::{BELL, Command, Poll, Readiness, Shared, Transport};
use crate::event::Event;
use crate::log::{Log, log};

/// How many events are taken from a lane before the subscribers' sockets get their turn: enough
/// for writes of tens of kilobytes, few enough that a client is accepted during any flood.
const BATCH: usize = 1024;

/// A sleep shorter than this many times the spin, its own cost included, is one that a spin might
/// have saved: the next time there is one. Events that come one by one get none, since the reader
/// of the last may be waiting for this very core.
const SHORT_SLEEP: u32 = 10;

/// Starts the worker. It blocks every signal: they are the host's.
pub(super) fn spawn(
    shared: Arc<Shared>,
    poll: Poll,
    inbox: mpsc::Receiver<Command>,
    done: Promiser<()>,
    log: Log,
) -> io::Result<JoinHandle<()>> {
    // A thread inherits the mask of its creator, so that there is no moment in which a signal
    // could be delivered to it.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let thread = Builder::new().name("herald".into()).spawn(move || {
        let _done = done;
        let mut worker = Worker {
            shared,
            inbox,
            poll,
            log,
            transports: Vec::new(),
            buffer: Vec::new(),
            found: Vec::new(),
        };
        let why = match catch_unwind(AssertUnwindSafe(|| worker.run())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("cannot wait on its sockets: {error}")),
            Err(_) => Some("panicked".into()),
        };
        if let Some(why) = why {
            worker.shared.failed.store(true, Ordering::Release);
            log!(worker.log, Error, "herald: the worker {why}; this hub delivers no more events");
        }
        let _ = catch_unwind(AssertUnwindSafe(|| worker.close()));
    });
    before.thread_set_mask()?;
    thread
}

struct Worker {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Command>,
    poll: Poll,
    log: Log,
    transports: Vec<Box<dyn Transport>>,
    buffer: Vec<[u8; 8]>,
    found: Vec<(u16, u64, Readiness)>,
}

impl Worker {
    /// Serves until the hub is closed.
    fn run(&mut self) -> io::Result<()> {
        let mut expectant = false;
        loop {
            // Looked at before it is written: publishers read from the same cache line.
            let summoned = self.shared.summoned.load(Ordering::Relaxed)
                && self.shared.summoned.swap(false, Ordering::Acquire);
            if summoned {
                if self.obey() {
                    return self.send_what_is_left();
                }
                self.flush();
            }
            self.drain(BATCH);
            if self.has_work() || expectant && self.spin() {
                expectant = true;
                self.serve_sockets(Duration::ZERO)?;
            } else {
                expectant = self.sleep()? < self.shared.options.spin * SHORT_SLEEP;
            }
        }
    }

    /// Carries out the commands; true if the hub is to be closed.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Add(mut transport, answer) => {
                    let started = transport.start(self.poll.of(self.transports.len() as u16));
                    if started.is_ok() {
                        self.transports.push(transport);
                    } else {
                        transport.close(&self.poll);
                    }
                    answer.keep(started);
                }
                Command::Close => return true,
            }
        }
        false
    }

    /// Takes up to `most` events from every lane, but none that is published meanwhile, and writes
    /// what they put in the queues; false if there were none.
    fn drain(&mut self, most: usize) -> bool {
        let mut any = false;
        for lane in self.shared.lanes.iter() {
            lane.look();
            for _ in 0..most {
                let (event, lost) = match lane.pop(&mut self.buffer) {
                    // What does not unpack was not written by a publisher.
                    Popped::Event { lost_before } => {
                        (Event::unpack(self.buffer.as_flattened()), lost_before)
                    }
                    Popped::Empty { lost: 0 } => break,
                    Popped::Empty { lost } => (None, lost),
                };
                any = true;
                for (number, transport) in self.transports.iter_mut().enumerate() {
                    if lost > 0 {
                        transport.lost(lost);
                    }
                    if let Some(event) = &event {
                        transport.event(self.poll.of(number as u16), event);
                    }
                }
            }
            lane.release();
        }
        if any {
            self.flush();
        }
        any
    }

    fn flush(&mut self) {
        for (number, transport) in self.transports.iter_mut().enumerate() {
            transport.flush(self.poll.of(number as u16));
        }
    }

    /// Looks for work a little longer, since a sleeping worker costs the next publisher a system
    /// call; false when it is time to sleep.
    fn spin(&self) -> bool {
        let since = Instant::now();
        while since.elapsed() < self.shared.options.spin {
            for _ in 0..16 {
                if self.has_work() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    fn has_work(&self) -> bool {
        self.shared.summoned.load(Ordering::Relaxed)
            || self.shared.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// Sleeps until a publisher or a command ends that, and sees to the sockets meanwhile; for how long.
    fn sleep(&mut self) -> io::Result<Duration> {
        let since = Instant::now();
        self.found.clear();
        let waited = if self.shared.epoch.fall_asleep() { self.wait_for_work() } else { Ok(()) };
        self.shared.epoch.wake_up();
        waited?;
        let slept = since.elapsed();
        self.serve_found();
        Ok(slept)
    }

    /// What happens on sockets alone does not end the sleep: to fall asleep again would cost a barrier,
    /// and whoever waits for a reply may wait for this very core.
    fn wait_for_work(&mut self) -> io::Result<()> {
        while !self.has_work() {
            let deadline = self.transports.iter().filter_map(|transport| transport.deadline()).min();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.poll.wait(timeout, &mut self.found)?;
            if self.found.iter().any(|(number, ..)| *number == BELL) {
                break;
            }
            self.serve_found();
            self.found.clear();
        }
        Ok(())
    }

    /// Waits on the sockets for at most `timeout`, and sees to those on which something happened.
    fn serve_sockets(&mut self, timeout: Duration) -> io::Result<()> {
        self.poll.wait(Some(timeout), &mut self.found)?;
        self.serve_found();
        Ok(())
    }

    /// Sees to the sockets on which something happened, and to what is due.
    fn serve_found(&mut self) {
        if !self.found.is_empty() {
            // What a client asks for now is not meant for what was published before.
            self.drain(usize::MAX);
        }
        for &(number, key, readiness) in &self.found {
            // The bell has nothing to say but that.
            if let Some(transport) = self.transports.get_mut(usize::from(number)) {
                transport.ready(self.poll.of(number), key, readiness);
            }
        }
        for (number, transport) in self.transports.iter_mut().enumerate() {
            if transport.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                transport.timeout(self.poll.of(number as u16));
            }
        }
    }

    /// Sends what publishers left in the lanes and what waits in the queues, within the bound.
    fn send_what_is_left(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.shared.options.flush;
        while self.drain(BATCH) && Instant::now() < deadline {}
        while self.transports.iter().any(|transport| transport.has_pending()) {
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => self.serve_sockets(left)?,
                _ => break,
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        for (number, transport) in self.transports.iter_mut().enumerate() {
            transport.close(self.poll.of(number as u16));
        }
    }
}
