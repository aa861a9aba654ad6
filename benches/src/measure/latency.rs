//! How long it takes from a publish until the last of 64 subscribers has the event.

use anyhow::Result;

use super::{Bench, present, progress};
use crate::contestant::{Kind, Limit, Waiting, ZeroMqReader};
use crate::pace::{self, Pace};
use crate::report::{Table, median, percentile, sorted, time};
use crate::session::Session;

const HERALD: Kind = Kind::Herald(Waiting::Never);

const KINDS: [Kind; 6] = [
    HERALD,
    Kind::SendLoop,
    Kind::ZEROMQ,
    Kind::ZeroMq { limit: Limit::None, reader: ZeroMqReader::Libzmq },
    Kind::Redis,
    Kind::RedisPipelined,
];

const SUBSCRIBERS: usize = 64;

/// How the subscribers share processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Processes {
    One,
    Each,
}

impl Processes {
    fn readers(self) -> Vec<usize> {
        match self {
            Processes::One => vec![SUBSCRIBERS],
            Processes::Each => vec![1; SUBSCRIBERS],
        }
    }

    fn label(self) -> &'static str {
        match self {
            Processes::One => "64 in one process",
            Processes::Each => "64 processes",
        }
    }
}

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.sizes.contains(&SUBSCRIBERS) {
        return Ok(());
    }
    bench.report.heading("Latency to the last of 64 subscribers");
    bench.report.text(
        "From before the publish until the last subscriber has read the event. The contestants take \
         turns; medians over the turns of p50 / p99, and the spread of the p50 from the lowest to the \
         highest.",
    );
    let mut table =
        Table::new(["", "subscribers", "pace", "p50 / p99", "spread of p50", "p50 ÷ Herald's"]);
    for processes in [Processes::One, Processes::Each] {
        let kinds = present(&KINDS);
        let mut sessions = Vec::new();
        for &kind in &kinds {
            sessions.push(Session::start(kind, &processes.readers())?);
        }
        for pace in [Pace::Hertz(100), Pace::Hertz(1000)] {
            progress(&format!("latency: {}, {}", processes.label(), pace.label()));
            let duration = match pace {
                Pace::Hertz(100) => bench.milliseconds(1000, 200),
                _ => bench.milliseconds(400, 100),
            };
            let mut turns: Vec<Vec<[f64; 2]>> = vec![Vec::new(); kinds.len()];
            for _ in 0..bench.rounds(3, 2) {
                for (session, turns) in sessions.iter_mut().zip(&mut turns) {
                    session.forget_latencies();
                    let first = session.next();
                    pace::run(session, &bench.stopwatch, pace, duration, true);
                    session.settle()?;
                    let latencies = session.latencies(first, session.readers.len());
                    let latencies =
                        sorted(latencies.into_iter().map(|latency| latency as f64).collect());
                    turns.push([percentile(&latencies, 50.0), percentile(&latencies, 99.0)]);
                }
            }
            let middle = |turns: &[[f64; 2]], index: usize| median(turns.iter().map(|turn| turn[index]));
            let herald = middle(&turns[0], 0);
            for (kind, turns) in kinds.iter().zip(&turns) {
                let p50 = middle(turns, 0);
                let all = sorted(turns.iter().map(|turn| turn[0]).collect());
                table.row([
                    kind.label(),
                    processes.label().into(),
                    pace.label(),
                    format!("{} / {}", time(p50), time(middle(turns, 1))),
                    format!("{} – {}", time(all[0]), time(all[all.len() - 1])),
                    format!("{:.2}", p50 / herald),
                ]);
                if *kind == Kind::SendLoop {
                    bench.report.target(
                        format!("latency to the last of {}, {}, p50", processes.label(), pace.label()),
                        format!("≤ {} (the send loop's)", time(p50)),
                        time(herald),
                        herald <= p50,
                    );
                }
            }
        }
    }
    bench.report.table(&table);
    Ok(())
}
