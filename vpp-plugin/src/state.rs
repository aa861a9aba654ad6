//! All that the plugin knows. It lives on VPP's main thread, where everything happens.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use herald::log::{Level, Log};

use crate::bridge::Bridge;
use crate::ffi::clients::Connection;
use crate::ffi::output;
use crate::gtp::GtpError;
use crate::journal::{self, Journal};
use crate::messages::Messages;
use crate::reporter::Reporter;

/// How long a turn of ours may take. VPP asks the same of its own API handlers, with 1 ms.
const TURN: Duration = Duration::from_micros(300);
/// When what is left over from a turn goes on: VPP's main loop runs meanwhile.
const NEXT_TURN: Duration = Duration::from_millis(1);
/// How often there is a turn when there is nothing to do but to write down what other threads have logged.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes that a client is sent between two looks at the clock.
const PIECE: usize = 16 << 10;
/// Events of a burst between two looks at the clock.
const BATCH: u64 = 32;
/// Bursts that may wait.
const MAX_BURSTS: usize = 16;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// GTP errors reported.
    pub reported: u64,
    /// Clients that went without ending their registration.
    pub clients_gone: u64,
    /// Replies for which a client had left no room.
    pub replies_lost: u64,
}

/// The state.
#[derive(Default)]
pub struct State {
    /// The messages of the API, once VPP knows them.
    pub messages: Option<Messages>,
    /// The clients, and what waits for them.
    pub journal: Journal,
    /// The interfaces that there are.
    pub interfaces: BTreeSet<u32>,
    /// The periodic reporter.
    pub reporter: Reporter,
    /// The hub, if it has subscribers.
    pub bridge: Option<Bridge>,
    /// What has been counted.
    pub counts: Counts,
    bursts: VecDeque<(GtpError, u64)>,
    turns: usize,
    scratch: Vec<u8>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Does something with the state; nothing, and None, if that is already being done further up.
pub fn with<T>(body: impl FnOnce(&mut State) -> T) -> Option<T> {
    STATE
        .try_with(|state| {
            let mut state = state.try_borrow_mut().ok()?;
            #[cfg(feature = "test-panics")]
            crate::on_purpose::panic_if_armed();
            Some(body(&mut state))
        })
        .ok()?
}

/// Starts the plugin.
pub fn start() -> Result<(), String> {
    let log = host_log();
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        panics.write(Level::Error, format_args!("{}", panic.to_string().replace('\n', " ")));
    }));
    #[cfg(feature = "test-panics")]
    std::env::var("HERALD_PANIC").iter().for_each(|name| crate::on_purpose::arm(name));
    let messages = Messages::register().map_err(|error| format!("herald: {error}"))?;
    let bridge = Bridge::start(&log).unwrap_or_else(|error| {
        log.write(Level::Error, format_args!("no datagrams: {error}"));
        None
    });
    with(|state| {
        state.messages = Some(messages);
        state.bridge = bridge;
    });
    Ok(())
}

/// Ends the plugin, when VPP ends.
pub fn stop() {
    if let Some(bridge) = with(|state| state.bridge.take()).flatten() {
        bridge.close();
    }
}

impl State {
    /// Reports a GTP error to everybody. It is sent in this turn or the next ones.
    pub fn report(&mut self, error: &GtpError) {
        self.counts.reported += 1;
        self.scratch.clear();
        if let Some(messages) = &self.messages
            && messages.event(error, &mut self.scratch).is_ok()
        {
            self.journal.push(&self.scratch);
        }
        if let Some(bridge) = &mut self.bridge {
            error.with_event(|event| bridge.publish(event));
        }
    }

    /// Reports a GTP error many times, in the turns to come.
    pub fn burst(&mut self, error: GtpError, count: u64) -> Result<(), String> {
        if self.bursts.len() == MAX_BURSTS {
            return Err(format!(
                "{MAX_BURSTS} bursts are waiting already; try again when they are done"
            ));
        }
        self.bursts.push_back((error, count));
        Ok(())
    }

    /// Events of bursts that are still to be reported.
    pub fn in_bursts(&self) -> u64 {
        self.bursts.iter().fold(0, |sum, (_, left)| left.saturating_add(sum))
    }

    /// Does what is to be done, within [`TURN`]; answers when the next turn is to be.
    pub fn turn(&mut self) -> Duration {
        let start = Instant::now();
        write_log();
        for error in self.reporter.reports(start) {
            self.report(&error);
        }
        self.raise_bursts(start + TURN / 2);
        self.serve(start + TURN);
        if self.journal.is_pending() || !self.bursts.is_empty() {
            return NEXT_TURN;
        }
        self.reporter.due().map_or(IDLE, |due| due.saturating_duration_since(start)).min(IDLE)
    }

    fn raise_bursts(&mut self, deadline: Instant) {
        while let Some((error, left)) = self.bursts.pop_front() {
            let count = left.min(BATCH);
            (0..count).for_each(|_| self.report(&error));
            if left > count {
                self.bursts.push_front((error, left - count));
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    /// Sends the clients what their connections have room for, a piece at a time.
    fn serve(&mut self, deadline: Instant) {
        let mut clients: Vec<(u32, u32)> =
            self.journal.clients().iter().map(|client| (client.index, client.pid)).collect();
        // Whoever is first in this turn is last in the next.
        self.turns = self.turns.wrapping_add(1);
        let first = self.turns.checked_rem(clients.len()).unwrap_or(0);
        clients.rotate_left(first);
        while !clients.is_empty() {
            let mut late = false;
            clients.retain(|&(index, pid)| {
                late |= Instant::now() >= deadline;
                !late && self.serve_client(index, pid)
            });
            if late {
                return;
            }
        }
    }

    /// Sends a client a piece; false if there is nothing to send or no room for it.
    fn serve_client(&mut self, index: u32, pid: u32) -> bool {
        let Some(mut connection) = Connection::find(index) else {
            let _ = self.journal.unregister(index);
            self.counts.clients_gone += 1;
            return false;
        };
        let scratch = &mut self.scratch;
        let mut sent = 0;
        self.journal.take(index, connection.room().min(PIECE), |frames| {
            scratch.clear();
            scratch.extend_from_slice(frames);
            journal::address(scratch, index, pid);
            sent = connection.send(scratch);
            sent
        });
        sent > 0
    }
}

/// Lines that other threads have logged: VPP's log is the main thread's alone.
static LOGGED: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());
/// Lines that wait there, at most.
const MAX_LOGGED: usize = 64;

fn host_log() -> Log {
    static MAIN: OnceLock<ThreadId> = OnceLock::new();
    let main = *MAIN.get_or_init(|| thread::current().id());
    Log::new(move |level, text| {
        // VPP puts the name before the line, as the library does.
        let text = text.strip_prefix("herald: ").unwrap_or(text);
        if thread::current().id() == main {
            output::log(level, text);
            return;
        }
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MAX_LOGGED {
            logged.push((level, text.to_owned()));
        }
    })
}

fn write_log() {
    // Who holds the lock is adding a line, which comes with the next turn then.
    let Ok(mut logged) = LOGGED.try_lock() else { return };
    let lines = std::mem::take(&mut *logged);
    drop(logged);
    lines.into_iter().for_each(|(level, text)| output::log(level, &text));
}
