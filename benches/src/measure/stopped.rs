//! One subscriber is stopped (SIGSTOP): what the publisher and the others notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};

use super::{Bench, present, progress};
use crate::contestant::{Kind, Limit, QUEUE_BYTES, Waiting, ZeroMqReader};
use crate::frame::SIZE;
use crate::pace::{self, Pace};
use crate::report::{Table, change, percentile, sorted, time};
use crate::session::Session;

const KINDS: [Kind; 4] = [
    Kind::Herald(Waiting::Never),
    Kind::ZeroMq { limit: Limit::Drop, reader: ZeroMqReader::Lean },
    Kind::RedisPipelined,
    Kind::SendLoop,
];

const PACE: Pace = Pace::Hertz(2000);

/// What one run measured: the cost of each publish, and each latency, in nanoseconds.
type Run = [Vec<f64>; 2];

/// A run without and one with the stopped subscriber, one right after the other.
type Pair = [Run; 2];

/// What is asked: of which numbers of a run, and at which percentile.
const WHAT: [(&str, usize, f64); 4] = [
    ("publish p50", 0, 50.0),
    ("publish p99", 0, 99.0),
    ("latency of the others p50", 1, 50.0),
    ("latency of the others p99", 1, 99.0),
];

pub fn measure(bench: &mut Bench) -> Result<()> {
    bench.report.heading("One subscriber is stopped");
    bench.report.text(&format!(
        "{} events a second. The stopped subscriber's queue and socket are full before the clock starts. \
         Short runs without and with it alternate, now the one first, now the other. Percentiles over all \
         runs of either kind, their change, and in brackets where that is with 95 % confidence (bootstrap \
         over the pairs). Latency is that of the last of the \
         subscribers that are not stopped. The send loop's subscriber is continued after half a second, or \
         the host would wait for ever. ZeroMQ drops at its default high-water mark; Redis's queue has no \
         bound.",
        match PACE {
            Pace::Hertz(hertz) => hertz,
            Pace::FlatOut => unreachable!("this one is paced"),
        }
    ));
    let mut head = vec!["".to_owned(), "subscribers".into()];
    head.extend(WHAT.map(|(what, ..)| what.to_owned()));
    let mut table = Table::new(head);
    for size in bench.sizes_among(&[5, 64]) {
        for kind in present(&KINDS) {
            progress(&format!("one subscriber stopped: {}, {size} subscribers", kind.label()));
            if kind == Kind::SendLoop {
                let longest = send_loop(bench, size)?;
                table.row([
                    kind.label(),
                    size.to_string(),
                    format!("the host stands still: {}", time(longest)),
                ]);
                continue;
            }
            let is_herald = kind == KINDS[0];
            let pairs = if is_herald { bench.rounds(150, 10) } else { bench.rounds(8, 2) };
            let pairs = alternate(bench, kind, size, pairs)?;
            let mut row = vec![kind.label(), size.to_string()];
            for (what, numbers, percent) in WHAT {
                let all: Vec<&Pair> = pairs.iter().collect();
                let [base, stopped] = both(&all, numbers, percent);
                let moved = change(base, stopped);
                let (low, high) = bootstrap(&pairs, numbers, percent);
                row.push(format!(
                    "{} → {}: {moved:+.1} % [{low:+.1} to {high:+.1} %]",
                    time(base),
                    time(stopped)
                ));
                if is_herald && what != WHAT[0].0 {
                    bench.report.target(
                        format!("one of {size} subscribers stopped: {what}"),
                        "< 5 %",
                        format!("{moved:+.1} % (95 %: {low:+.1} to {high:+.1} %)"),
                        high < 5.0,
                    );
                }
            }
            table.row(row);
        }
    }
    bench.report.table(&table);
    Ok(())
}

/// A percentile of the runs without and of those with the stopped subscriber.
fn both(pairs: &[&Pair], numbers: usize, percent: f64) -> [f64; 2] {
    [0, 1].map(|side| {
        let all = pairs.iter().flat_map(|pair| &pair[side][numbers]).copied();
        percentile(&sorted(all.collect()), percent)
    })
}

/// Between which changes 95 % of those are that pairs drawn from the measured ones, with repetition,
/// would have given.
fn bootstrap(pairs: &[Pair], numbers: usize, percent: f64) -> (f64, f64) {
    const DRAWS: usize = 200;
    // Xorshift (Marsaglia 2003): the same draws for everybody.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        &pairs[(state % pairs.len() as u64) as usize]
    };
    let changes = (0..DRAWS).map(|_| {
        let drawn: Vec<&Pair> = (0..pairs.len()).map(|_| draw()).collect();
        let [base, stopped] = both(&drawn, numbers, percent);
        change(base, stopped)
    });
    let changes = sorted(changes.collect());
    (percentile(&changes, 2.5), percentile(&changes, 97.5))
}

/// Pairs of runs without and with a stopped subscriber, in alternating order.
fn alternate(bench: &Bench, kind: Kind, size: usize, pairs: usize) -> Result<Vec<Pair>> {
    let duration = bench.milliseconds(150, 100);
    let mut session = Session::start(kind, &[size - 1, 1])?;
    let mut measured = Vec::new();
    for pair in 0..pairs {
        let mut run = |stopped: bool| {
            if !stopped {
                return one(bench, &mut session, duration);
            }
            session.settle()?;
            session.readers[1].signal(Signal::SIGSTOP)?;
            fill(&mut session)?;
            let with = one(bench, &mut session, duration)?;
            session.readers[1].signal(Signal::SIGCONT)?;
            session.settle()?;
            Ok(with)
        };
        measured.push(if pair % 2 == 0 {
            let without = run(false)?;
            [without, run(true)?]
        } else {
            let with = run(true)?;
            [run(false)?, with]
        });
    }
    Ok(measured)
}

/// Publishes until the queue of the stopped subscriber is full, with regard for the others.
fn fill(session: &mut Session) -> Result<()> {
    // What the queue holds, and about as much again in the socket.
    for _ in 0..2 * QUEUE_BYTES / SIZE {
        session.publish(false);
        if session.behind() > 500 {
            session.settle_readers(1)?;
        }
    }
    session.settle_readers(1)
}

fn one(bench: &Bench, session: &mut Session, duration: u64) -> Result<Run> {
    session.forget_latencies();
    let first = session.next();
    let run = pace::run(session, &bench.stopwatch, PACE, duration, true);
    session.settle_readers(1)?;
    let latencies = session.latencies(first, 1).into_iter().map(|latency| latency as f64);
    Ok([run.costs, latencies.collect()])
}

/// The longest publish of the send loop while a subscriber is stopped for half a second from
/// the moment when it reads no more.
fn send_loop(bench: &Bench, size: usize) -> Result<f64> {
    let mut session = Session::start(Kind::SendLoop, &[size - 1, 1])?;
    session.readers[1].signal(Signal::SIGSTOP)?;
    let victim = session.readers[1].pid();
    let over = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            over.store(true, Ordering::Relaxed);
            let _ = kill(victim, Signal::SIGCONT);
        });
        let mut longest: f64 = 0.0;
        while !over.load(Ordering::Relaxed) {
            let start = bench.stopwatch.start();
            session.publish(false);
            longest = longest.max(bench.stopwatch.nanoseconds(bench.stopwatch.stop(start)));
        }
        longest
    });
    session.settle()?;
    Ok(longest)
}
