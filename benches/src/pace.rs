//! Publishing at a given pace, with every publish measured.

use crate::clock::{self, Stopwatch};
use crate::session::Session;

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many a second, evenly, sleeping in between.
    Hertz(u32),
    /// One right after the other.
    FlatOut,
}

impl Pace {
    pub fn label(self) -> String {
        match self {
            Pace::Hertz(hertz) if hertz >= 1000 => format!("{} kHz", hertz / 1000),
            Pace::Hertz(hertz) => format!("{hertz} Hz"),
            Pace::FlatOut => "flat out".into(),
        }
    }
}

/// What was measured.
pub struct Run {
    /// Nanoseconds that each publish took; those that were refused are not among them.
    pub costs: Vec<f64>,
    pub refused: u64,
    /// Nanoseconds from the first publish to after the last.
    pub time: u64,
    /// System calls of the publishing thread, as [`crate::syscalls`] counts them.
    pub calls: u64,
}

impl Run {
    /// Publishes a second.
    pub fn rate(&self) -> f64 {
        (self.costs.len() as u64 + self.refused) as f64 / (self.time as f64 / 1e9)
    }
}

/// How many deliveries may be under way from a publisher that queues without bound.
const UNDER_WAY: usize = 1_000_000;

/// The most publishes of one run.
const MOST: usize = 500_000;

/// Publishes for a while. A publisher that queues without bound stops early, when too much is
/// under way.
pub fn run(session: &mut Session, stopwatch: &Stopwatch, pace: Pace, duration: u64, timed: bool) -> Run {
    let bound = if session.kind.queues_without_bound() {
        (UNDER_WAY / session.subscribers()).max(1000) as u64
    } else {
        u64::MAX
    };
    // Written once, so that no page is missing later.
    let mut ticks = vec![1u64; MOST];
    let mut count = 0;
    let mut refused = 0;
    let calls = crate::syscalls::calls();
    let begin = clock::now();
    let mut tick = begin;
    while count < MOST {
        if let Pace::Hertz(hertz) = pace {
            tick += 1_000_000_000 / u64::from(hertz);
            clock::sleep_until(tick);
        }
        let (number, stamp) = session.prepare(timed);
        if stamp >= begin + duration || session.behind() > bound {
            // This one is published too, since it has its number; but not measured.
            session.publish_prepared(number, stamp);
            break;
        }
        let start = stopwatch.start();
        let accepted = session.publish_prepared(number, stamp);
        if pace != Pace::FlatOut {
            session.flush();
        }
        let took = stopwatch.stop(start);
        if accepted {
            ticks[count] = took;
            count += 1;
        } else {
            refused += 1;
        }
    }
    let time = clock::now() - begin;
    let calls = crate::syscalls::calls() - calls;
    let costs = ticks[..count].iter().map(|&ticks| stopwatch.nanoseconds(ticks)).collect();
    Run { costs, refused, time, calls }
}

/// What was measured in bursts.
#[derive(Default)]
pub struct Bursts {
    /// Nanoseconds of each publish that called nothing.
    pub awake: Vec<f64>,
    /// Nanoseconds of each publish that woke the worker.
    pub asleep: Vec<f64>,
    /// The most system calls of one publish.
    pub most_calls: u64,
}

/// Publishes bursts of 50 events, 2 µs apart; before each, the worker has had the time to fall
/// asleep, and within each it is awake.
pub fn bursts(session: &mut Session, stopwatch: &Stopwatch, duration: u64) -> Bursts {
    let mut measured = Bursts::default();
    let end = clock::now() + duration;
    while clock::now() < end {
        while session.behind() > 0 {
            clock::sleep_until(clock::now() + 100_000);
        }
        clock::sleep_until(clock::now() + 1_000_000);
        let mut due = clock::now();
        for _ in 0..50 {
            let (number, stamp) = session.prepare(false);
            let calls = crate::syscalls::calls();
            let start = stopwatch.start();
            let accepted = session.publish_prepared(number, stamp);
            let cost = stopwatch.nanoseconds(stopwatch.stop(start));
            let calls = crate::syscalls::calls() - calls;
            measured.most_calls = measured.most_calls.max(calls);
            if accepted {
                let costs = if calls == 0 { &mut measured.awake } else { &mut measured.asleep };
                costs.push(cost);
            }
            due += 2000;
            while clock::now() < due {
                std::hint::spin_loop();
            }
        }
    }
    measured
}
