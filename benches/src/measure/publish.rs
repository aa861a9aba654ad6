//! What one publish costs the host.

use anyhow::Result;

use super::{Bench, present, progress};
use crate::contestant::{Kind, Waiting};
use crate::pace::{self, Bursts, Pace, Run};
use crate::report::{Table, count, distribution, percentile, share, sorted, time};
use crate::session::Session;

const KINDS: [Kind; 7] = [
    Kind::Herald(Waiting::Never),
    Kind::SendLoop,
    Kind::ZEROMQ,
    Kind::Redis,
    Kind::RedisPipelined,
    Kind::HeraldEventSock,
    Kind::SendLoop12,
];

const PACES: [Pace; 4] = [Pace::Hertz(100), Pace::Hertz(1000), Pace::Hertz(10_000), Pace::FlatOut];

struct Cell {
    kind: Kind,
    pace: Pace,
    size: usize,
    run: Run,
}

pub fn measure(bench: &mut Bench) -> Result<()> {
    let mut cells = Vec::new();
    let mut bursts = Vec::new();
    for &size in &bench.sizes {
        for kind in present(&KINDS) {
            progress(&format!("cost of a publish: {}, {size} subscribers", kind.label()));
            let mut session = Session::start(kind, &[size])?;
            for pace in PACES {
                let duration = match pace {
                    Pace::Hertz(100) => bench.milliseconds(2000, 300),
                    Pace::Hertz(1000) => bench.milliseconds(1000, 200),
                    Pace::Hertz(_) => bench.milliseconds(400, 100),
                    Pace::FlatOut => bench.milliseconds(300, 100),
                };
                let run = pace::run(&mut session, &bench.stopwatch, pace, duration, false);
                session.settle()?;
                cells.push(Cell { kind, pace, size, run });
            }
            if kind == KINDS[0] {
                let duration = bench.milliseconds(1000, 300);
                bursts.push((size, pace::bursts(&mut session, &bench.stopwatch, duration)));
            }
        }
    }
    awake(bench, &bursts);
    paces(bench, &cells);
    Ok(())
}

/// Herald with the worker awake, and asleep.
fn awake(bench: &mut Bench, bursts: &[(usize, Bursts)]) {
    bench.report.heading("One publish: worker awake, worker asleep");
    bench.report.text(&format!(
        "Bursts of 50 events, 2 µs apart, after a pause in which the worker fell asleep. Each publish is \
         timed by itself with the serialised cycle counter; its own {} are subtracted. A publish during \
         which the host's thread made no system call found the worker awake. p50 / p99 / p99.9 / max.",
        time(bench.stopwatch.overhead())
    ));
    let mut table = Table::new([
        "subscribers",
        "awake",
        "publishes",
        "asleep",
        "publishes",
        "most system calls of one publish",
    ]);
    for (size, Bursts { awake, asleep, most_calls }) in bursts {
        table.row([
            size.to_string(),
            distribution(awake),
            awake.len().to_string(),
            distribution(asleep),
            asleep.len().to_string(),
            most_calls.to_string(),
        ]);
    }
    bench.report.table(&table);
    let medians: Vec<f64> =
        bursts.iter().map(|(_, bursts)| percentile(&sorted(bursts.awake.clone()), 50.0)).collect();
    let all = medians.iter().map(|&median| time(median)).collect::<Vec<_>>().join(", ");
    let sizes = bench.sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    bench.report.target(
        format!("publish, worker awake, p50 at {sizes} subscribers"),
        "≤ 100 ns",
        all,
        medians.iter().all(|&median| median <= 100.0),
    );
    if let [first, .., last] = medians[..] {
        bench.report.target(
            "the same with most subscribers as with fewest",
            "1 ×",
            format!("{:.2} ×", last / first),
            last <= 1.25 * first,
        );
    }
    let most = bursts.iter().map(|(_, bursts)| bursts.most_calls).max().unwrap_or(0);
    bench.report.target("wake-ups of one publish", "≤ 1", most.to_string(), most <= 1);
}

/// Everybody at every pace.
fn paces(bench: &mut Bench, cells: &[Cell]) {
    bench.report.heading("One publish: everybody, at four paces");
    bench.report.text(
        "What the host's thread spends in one publish: p50 / p99 / p99.9 / max. Between publishes at a \
         pace the thread sleeps, so that caches and cores are as cold as in a daemon. With fewer than 1000 \
         publishes p99.9 is the maximum. Refused publishes (Herald's ring is full) are counted and not \
         timed. Redis's publish is a request and its answer; pipelined, it is one write, at most 64 \
         requests at a time. ZeroMQ has no high-water mark here, and a run ends when a million deliveries \
         are under way.",
    );
    for pace in PACES {
        bench.report.text(&format!("### {}", pace.label()));
        let mut table = Table::new(
            ["".into(), "subscribers".into(), "p50 / p99 / p99.9 / max".into(), "publishes".into()]
                .into_iter()
                .chain(["a second".to_owned(), "refused".into(), "system calls each".into()]),
        );
        for kind in KINDS {
            for Cell { size, run, .. } in
                cells.iter().filter(|cell| cell.kind == kind && cell.pace == pace)
            {
                let calls = run.calls as f64 / (run.costs.len() as u64 + run.refused) as f64;
                let counted = !matches!(kind, Kind::ZeroMq { .. } | Kind::Redis | Kind::RedisPipelined);
                table.row([
                    kind.label(),
                    size.to_string(),
                    distribution(&run.costs),
                    run.costs.len().to_string(),
                    count(run.rate()),
                    share(run.refused, run.refused + run.costs.len() as u64),
                    if counted { format!("{calls:.2}") } else { "–".into() },
                ]);
            }
        }
        bench.report.table(&table);
    }
}
