//! One subscriber is stopped (SIGSTOP): what the publisher and the others notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};

use super::{Bench, present, progress};
use crate::contestant::{Kind, Limit, QUEUE_BYTES, Waiting, ZeroMqReader};
use crate::frame::SIZE;
use crate::pace::{self, Pace};
use crate::report::{Table, change, median, percentile, sorted, time};
use crate::session::Session;

const KINDS: [Kind; 4] = [
    Kind::Herald(Waiting::Never),
    Kind::ZeroMq { limit: Limit::Drop, reader: ZeroMqReader::Lean },
    Kind::RedisPipelined,
    Kind::SendLoop,
];

const PACE: Pace = Pace::Hertz(2000);

/// The numbers of one run, in the order of [`WHAT`].
type Figures = [f64; 4];

const WHAT: [&str; 4] =
    ["publish p50", "publish p99", "latency of the others p50", "latency of the others p99"];

pub fn measure(bench: &mut Bench) -> Result<()> {
    bench.report.heading("One subscriber is stopped");
    bench.report.text(&format!(
        "{} events a second. The stopped subscriber's queue and socket are full before the clock starts. \
         Short runs without and with it alternate, now the one first, now the other; each pair gives a \
         change. Medians over the runs, then the median of the pairs' changes, and in brackets where it is \
         with 95 % confidence (order statistics of the pairs). Latency is that of the last of the \
         subscribers that are not stopped. The send loop's subscriber is continued after half a second, or \
         the host would wait for ever. ZeroMQ drops at its default high-water mark; Redis's queue has no \
         bound.",
        match PACE {
            Pace::Hertz(hertz) => hertz,
            Pace::FlatOut => unreachable!("this one is paced"),
        }
    ));
    let mut head = vec!["".to_owned(), "subscribers".into()];
    head.extend(WHAT.map(str::to_owned));
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
            let pairs = if is_herald { bench.rounds(100, 10) } else { bench.rounds(8, 2) };
            let pairs = alternate(bench, kind, size, pairs)?;
            let mut row = vec![kind.label(), size.to_string()];
            for (index, what) in WHAT.iter().enumerate() {
                let base = median(pairs.iter().map(|(without, _)| without[index]));
                let stopped = median(pairs.iter().map(|(_, with)| with[index]));
                let changes =
                    pairs.iter().map(|(without, with)| change(without[index], with[index])).collect();
                let (low, moved, high) = confident_median(&sorted(changes));
                row.push(format!(
                    "{} → {}: {moved:+.1} % [{low:+.1} to {high:+.1} %]",
                    time(base),
                    time(stopped)
                ));
                if is_herald && *what != WHAT[0] {
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

/// The median of numbers in ascending order, and between which of them the true one is with 95 %
/// confidence: half of all samples fall below it, so that a binomial distribution says how many.
fn confident_median(sorted: &[f64]) -> (f64, f64, f64) {
    let count = sorted.len() as f64;
    let off = 0.98 * count.sqrt();
    let rank = |rank: f64| sorted[(rank.max(1.0) as usize).min(sorted.len()) - 1];
    (rank((count / 2.0 - off).floor()), percentile(sorted, 50.0), rank((count / 2.0 + off).ceil() + 1.0))
}

/// Pairs of runs without and with a stopped subscriber, in alternating order.
fn alternate(bench: &Bench, kind: Kind, size: usize, pairs: usize) -> Result<Vec<(Figures, Figures)>> {
    let duration = bench.milliseconds(150, 100);
    let mut session = Session::start(kind, &[size - 1, 1])?;
    let mut measured = Vec::new();
    for pair in 0..pairs {
        let mut run = |stopped: bool| {
            if !stopped {
                return figures(bench, &mut session, duration);
            }
            session.settle()?;
            session.readers[1].signal(Signal::SIGSTOP)?;
            fill(&mut session)?;
            let with = figures(bench, &mut session, duration)?;
            session.readers[1].signal(Signal::SIGCONT)?;
            session.settle()?;
            Ok(with)
        };
        measured.push(if pair % 2 == 0 {
            let without = run(false)?;
            (without, run(true)?)
        } else {
            let with = run(true)?;
            (run(false)?, with)
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

fn figures(bench: &Bench, session: &mut Session, duration: u64) -> Result<Figures> {
    session.forget_latencies();
    let first = session.next();
    let run = pace::run(session, &bench.stopwatch, PACE, duration, true);
    session.settle_readers(1)?;
    let costs = sorted(run.costs);
    let latencies = session.latencies(first, 1).into_iter().map(|latency| latency as f64);
    let latencies = sorted(latencies.collect());
    Ok([
        percentile(&costs, 50.0),
        percentile(&costs, 99.0),
        percentile(&latencies, 50.0),
        percentile(&latencies, 99.0),
    ])
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
