//! A publisher and its subscribers, and an account of every event between them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use herald::hub::Hub;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::board::{Balance, Mapped};
use crate::clock;
use crate::contestant::{Contestant, Kind};
use crate::frame::TIMED;
use crate::reader::ReaderArgs;

/// How long subscribers may take to connect, or to read what is under way.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of subscribers.
pub struct Reader {
    process: Child,
    pub board: Mapped,
    pub connections: usize,
}

impl Reader {
    fn start(kind: Kind, directory: &Path, name: &str, connections: usize) -> Result<Self> {
        let path = directory.join(name);
        let board = Mapped::create(&path)?;
        let arguments =
            ReaderArgs::command_line(kind.wire(), &directory.join("socket"), connections, &path);
        let process = Command::new(std::env::current_exe()?)
            .arg("subscriber")
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a reader")?;
        Ok(Reader { process, board, connections })
    }

    /// Sends the process a signal, SIGSTOP or SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal)?;
        Ok(())
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    fn balances(&self) -> impl Iterator<Item = Balance> {
        self.board.accounts[..self.connections].iter().map(|account| account.balance())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where all accounts stood at a moment.
pub struct Mark {
    next: u64,
    balances: Vec<Balance>,
    time: u64,
    cpu: u64,
}

/// What came of the events since a mark, over all subscribers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Events published, refused ones included.
    pub published: u64,
    /// Deliveries.
    pub received: u64,
    /// Losses that a subscriber was told of.
    pub told: u64,
    /// Losses that a subscriber was not told of.
    pub silent: u64,
    /// Nanoseconds until the last subscriber had everything.
    pub time: u64,
    /// Nanoseconds of processor that the publishing side took, a server of its own included.
    pub cpu: u64,
}

/// A publisher with its subscribers.
pub struct Session {
    pub kind: Kind,
    contestant: Box<dyn Contestant>,
    pub readers: Vec<Reader>,
    /// The number of the next event. Numbers begin at 1.
    next: u64,
    /// Last, since it holds the others' files.
    directory: TempDir,
}

impl Session {
    /// Starts with one reader process for each element, which says how many connections it has.
    pub fn start(kind: Kind, readers: &[usize]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("herald-bench.").tempdir_in("/dev/shm")?;
        let contestant = kind.start(directory.path())?;
        let mut session = Session { kind, contestant, readers: Vec::new(), next: 1, directory };
        session.connect(readers).with_context(|| format!("{} does not start", kind.label()))?;
        Ok(session)
    }

    /// Adds reader processes and waits until all of their subscribers receive events.
    pub fn connect(&mut self, readers: &[usize]) -> Result<()> {
        for &connections in readers {
            let name = format!("board{}", self.readers.len());
            self.readers.push(Reader::start(self.kind, self.directory.path(), &name, connections)?);
        }
        self.contestant.accept(readers.iter().sum())?;
        let deadline = Instant::now() + PATIENCE;
        for reader in &mut self.readers {
            while reader.board.connected.load(Ordering::Acquire) < reader.connections as u64 {
                ensure!(reader.process.try_wait()?.is_none(), "a reader has ended");
                ensure!(Instant::now() < deadline, "a reader cannot connect");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // Subscriptions take effect when they take effect: what every subscriber receives is the
        // proof.
        while self.balances().any(|balance| balance.next == 0) {
            ensure!(Instant::now() < deadline, "a subscriber receives nothing");
            self.publish(false);
            self.flush();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.settle()?;
        self.contestant.complete();
        Ok(())
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        self.readers.iter().map(|reader| reader.connections).sum()
    }

    /// Herald's hub, if this is Herald.
    pub fn hub(&self) -> Option<Arc<Hub>> {
        self.contestant.hub()
    }

    /// The process that serves the subscribers, if it is not this one.
    pub fn server(&self) -> Option<u32> {
        self.contestant.server()
    }

    /// The number that the next event gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Publishes the next event; false if it was refused.
    #[inline]
    pub fn publish(&mut self, timed: bool) -> bool {
        let (number, stamp) = self.prepare(timed);
        self.publish_prepared(number, stamp)
    }

    /// The next event's number and stamp.
    #[inline]
    pub fn prepare(&mut self, timed: bool) -> (u64, u64) {
        let number = self.next | if timed { TIMED } else { 0 };
        self.next += 1;
        (number, clock::now())
    }

    /// Publishes what has been prepared; false if it was refused.
    #[inline]
    pub fn publish_prepared(&mut self, number: u64, stamp: u64) -> bool {
        self.contestant.publish(number, stamp)
    }

    /// Sends what the contestant has put off.
    #[inline]
    pub fn flush(&mut self) {
        self.contestant.flush();
    }

    /// How many events the first subscriber has not read.
    #[inline]
    pub fn behind(&self) -> u64 {
        self.next - self.readers[0].board.accounts[0].next()
    }

    fn balances(&self) -> impl Iterator<Item = Balance> {
        self.readers.iter().flat_map(Reader::balances)
    }

    /// Waits until every subscriber knows of every event, be it as lost.
    pub fn settle(&mut self) -> Result<()> {
        self.settle_readers(self.readers.len())
    }

    /// Waits for the subscribers of the first `readers` processes.
    pub fn settle_readers(&mut self, readers: usize) -> Result<()> {
        self.flush();
        // How far all have come, and since when.
        let mut last = (0, Instant::now());
        let mut nudged = Instant::now();
        loop {
            let (mut missing, mut sum) = (false, 0u64);
            for balance in self.readers[..readers].iter().flat_map(Reader::balances) {
                missing |= balance.next < self.next;
                sum = sum.wrapping_add(balance.next);
            }
            if !missing {
                return Ok(());
            }
            if sum != last.0 {
                last = (sum, Instant::now());
                nudged = Instant::now();
            } else if last.1.elapsed() > PATIENCE {
                bail!("{}: events are under way that do not arrive", self.kind.label());
            } else if nudged.elapsed() > Duration::from_millis(50) {
                // The last event may have been dropped without a word: the next one shows it.
                self.publish(false);
                self.flush();
                nudged = Instant::now();
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Remembers where all accounts stand. Everything must be settled.
    pub fn mark(&self) -> Mark {
        Mark {
            next: self.next,
            balances: self.balances().collect(),
            cpu: self.cpu(),
            time: clock::now(),
        }
    }

    /// Waits until everything is settled, and says what came of it.
    pub fn outcome(&mut self, mark: &Mark) -> Result<Outcome> {
        self.settle()?;
        let mut outcome = Outcome {
            time: clock::now() - mark.time,
            cpu: self.cpu() - mark.cpu,
            published: self.next - mark.next,
            ..Outcome::default()
        };
        for (now, then) in self.balances().zip(&mark.balances) {
            let received = now.received - then.received;
            let told = now.told - then.told;
            let silent = now.silent.wrapping_sub(then.silent);
            ensure!(
                received + told + silent == outcome.published,
                "{}: {} published, but a subscriber received {received}, was told that it lost {told}, and \
                 misses {silent}",
                self.kind.label(),
                outcome.published
            );
            outcome.received += received;
            outcome.told += told;
            outcome.silent += silent;
        }
        Ok(outcome)
    }

    /// Nanoseconds of processor so far.
    fn cpu(&self) -> u64 {
        let own = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
            (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) * 1000
        });
        let server = self.contestant.server().and_then(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        own as u64 + server.unwrap_or(0)
    }

    /// Latencies to the last subscriber of the first `readers` processes, for the timed events
    /// from number `first` on that arrived at all of them.
    pub fn latencies(&self, first: u64, readers: usize) -> Vec<u64> {
        let readers = &self.readers[..readers];
        let wanted: usize = readers.iter().map(|reader| reader.connections).sum();
        let mut latencies = Vec::new();
        for number in first..self.next {
            let (mut last, mut arrived) = (0, 0);
            for reader in readers {
                let (latency, count) = reader.board.arrival(number).read();
                last = last.max(latency);
                arrived += count;
            }
            if arrived == wanted as u64 {
                latencies.push(last);
            }
        }
        latencies
    }

    /// Forgets all latencies so far. Everything must be settled.
    pub fn forget_latencies(&self) {
        for reader in &self.readers {
            reader.board.forget_arrivals();
        }
    }
}
