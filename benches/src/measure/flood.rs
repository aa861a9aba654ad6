//! Deliveries a second when the publisher does nothing but publish, and what is lost.

use anyhow::Result;

use super::{Bench, present, progress};
use crate::clock;
use crate::contestant::{Kind, Limit, Waiting, ZeroMqReader};
use crate::report::{Table, count, median, percentile, share, sorted};
use crate::session::{Outcome, Session};

const NEVER: Kind = Kind::Herald(Waiting::Never);
const SLOWEST: Kind = Kind::Herald(Waiting::Slowest);
const ZEROMQ_WAITS: Kind = Kind::ZeroMq { limit: Limit::Wait, reader: ZeroMqReader::Lean };
const ZEROMQ_DROPS: Kind = Kind::ZeroMq { limit: Limit::Drop, reader: ZeroMqReader::Lean };

const KINDS: [Kind; 11] = [
    SLOWEST,
    Kind::Herald(Waiting::RingFull),
    NEVER,
    Kind::SendLoop,
    ZEROMQ_WAITS,
    Kind::ZeroMq { limit: Limit::Wait, reader: ZeroMqReader::Libzmq },
    ZEROMQ_DROPS,
    Kind::Redis,
    Kind::RedisPipelined,
    Kind::HeraldEventSock,
    Kind::SendLoop12,
];

pub fn measure(bench: &mut Bench) -> Result<()> {
    bench.report.heading("Flood");
    bench.report.text(
        "The publisher publishes without a pause; deliveries are events that a subscriber has read, summed \
         over all of them, until the last one has read the last event. The contestants take turns; medians, \
         and the spread from the lowest to the highest. \"waits for the slowest\" is a publisher that looks \
         at the hub's statistics and stays at most 2000 events ahead of the slowest subscriber, as ZeroMQ's \
         that waits at its high-water mark (1000 messages, the default, with XPUB_NODROP) and the send loop \
         in its blocking sends do by nature: none of these loses anything. \"waits when the ring is full\" \
         pauses for 50 µs when a publish is refused. Plain \"Herald\" never waits, nor does ZeroMQ that \
         drops. For every subscriber and run, published = received + told lost + lost silently is \
         checked; a refused publish counts as published, and is told as lost. CPU is that of the publishing \
         side for each delivery (Redis's server included).",
    );
    let mut table = Table::new([
        "",
        "subscribers",
        "deliveries/s",
        "spread",
        "publishes/s",
        "told lost",
        "lost silently",
        "CPU each",
        "÷ ZeroMQ, waits",
    ]);
    for size in bench.sizes.clone() {
        let outcomes = turns(bench, size)?;
        let rate = |kind: Kind| {
            let found = outcomes.iter().find(|(other, _)| *other == kind);
            found.map(|(_, outcomes)| median(outcomes.iter().map(deliveries)))
        };
        for (kind, outcomes) in &outcomes {
            let rates = sorted(outcomes.iter().map(deliveries).collect());
            let sum = |field: fn(&Outcome) -> u64| outcomes.iter().map(field).sum::<u64>();
            let wanted = sum(|outcome| outcome.published) * size as u64;
            let middle = median(rates.iter().copied());
            let ratio =
                rate(ZEROMQ_WAITS).map_or("–".into(), |zeromq| format!("{:.2}", middle / zeromq));
            let each = sum(|outcome| outcome.cpu) as f64 / sum(|outcome| outcome.received) as f64;
            table.row([
                kind.label(),
                size.to_string(),
                count(middle),
                format!("{} – {}", count(rates[0]), count(percentile(&rates, 100.0))),
                count(median(outcomes.iter().map(|outcome| per_second(outcome.published, outcome)))),
                share(sum(|outcome| outcome.told), wanted),
                share(sum(|outcome| outcome.silent), wanted),
                format!("{each:.0} ns"),
                ratio,
            ]);
            if matches!(kind, Kind::Herald(_) | Kind::HeraldEventSock) {
                let silent = sum(|outcome| outcome.silent);
                bench.report.target(
                    format!("flood, {size} subscribers, {}: lost without a word", kind.label()),
                    "0",
                    silent.to_string(),
                    silent == 0,
                );
            }
        }
        for (herald, zeromq) in [(SLOWEST, ZEROMQ_WAITS), (NEVER, ZEROMQ_DROPS)] {
            if let (Some(ours), Some(theirs)) = (rate(herald), rate(zeromq))
                && [5, 64].contains(&size)
            {
                bench.report.target(
                    format!("flood, {size} subscribers: {} beside {}", herald.label(), zeromq.label()),
                    "≥ 3 × the deliveries",
                    format!("{:.1} × ({}/s, {}/s)", ours / theirs, count(ours), count(theirs)),
                    ours >= 3.0 * theirs,
                );
            }
        }
    }
    bench.report.table(&table);
    without_loss(bench)
}

fn per_second(events: u64, outcome: &Outcome) -> f64 {
    events as f64 / (outcome.time as f64 / 1e9)
}

fn deliveries(outcome: &Outcome) -> f64 {
    per_second(outcome.received, outcome)
}

/// Everybody by turns, several times.
fn turns(bench: &Bench, size: usize) -> Result<Vec<(Kind, Vec<Outcome>)>> {
    let duration = bench.milliseconds(250, 100);
    let mut sessions = Vec::new();
    for kind in present(&KINDS) {
        progress(&format!("flood, {size} subscribers: {}", kind.label()));
        sessions.push((Session::start(kind, &[size])?, Vec::new()));
    }
    for round in 1..=bench.rounds(3, 2) {
        progress(&format!("flood, {size} subscribers: round {round}"));
        for (session, outcomes) in &mut sessions {
            let mark = session.mark();
            let end = clock::now() + duration;
            while clock::now() < end {
                for _ in 0..16 {
                    session.publish(false);
                }
            }
            outcomes.push(session.outcome(&mark)?);
        }
    }
    Ok(sessions.into_iter().map(|(session, outcomes)| (session.kind, outcomes)).collect())
}

/// The rate up to which nothing is lost when the publisher does not look back.
fn without_loss(bench: &mut Bench) -> Result<()> {
    bench.report.heading("Up to which rate nothing is lost");
    bench.report.text(
        "The publisher keeps a rate, whatever becomes of the events: what is due is published every 50 µs. \
         First the highest rate found at which nothing was lost and the last subscriber had the last event \
         within 1.1 times the run: it can be kept up for ever. Then the lowest rate found at which \
         that was not so, and which share was told as lost there; and how many of the publishes \
         were refused by the ring: the rest of the loss is that of the subscribers' queues.",
    );
    let mut table = Table::new([
        "",
        "subscribers",
        "kept up, nothing lost",
        "deliveries/s",
        "not kept up",
        "told lost there",
        "refused by the ring there",
    ]);
    for kind in [NEVER, Kind::HeraldEventSock] {
        for size in bench.sizes.clone() {
            progress(&format!("rate without loss: {}, {size} subscribers", kind.label()));
            let mut session = Session::start(kind, &[size])?;
            let (good, bad, lost) = search(bench, &mut session)?;
            table.row([
                kind.label(),
                size.to_string(),
                format!("{}/s", count(good)),
                count(good * size as f64),
                format!("{}/s", count(bad)),
                lost.0,
                lost.1,
            ]);
        }
    }
    bench.report.table(&table);
    Ok(())
}

/// The highest good rate, the lowest bad one, and what was lost and refused there.
fn search(bench: &Bench, session: &mut Session) -> Result<(f64, f64, (String, String))> {
    const SANE: std::ops::Range<f64> = 10.0..3e7;
    let duration = bench.milliseconds(200, 100);
    let size = session.subscribers();
    let hub = session.hub().expect("this is Herald");
    let (mut good, mut bad) = (0.0, f64::INFINITY);
    let mut lost = Default::default();
    let mut rate = 4e6 / (size as f64 + 4.0);
    while bad / good > 1.1 && SANE.contains(&rate) {
        let ring_full = hub.stats().ring_full;
        let mark = session.mark();
        keep(session, rate, duration);
        let outcome = session.outcome(&mark)?;
        if outcome.told == 0 && outcome.time as f64 <= 1.1 * duration as f64 {
            good = rate;
        } else {
            bad = rate;
            let refused = hub.stats().ring_full - ring_full;
            let whole = outcome.published * size as u64;
            lost = (share(outcome.told, whole), share(refused, outcome.published));
        }
        rate = match (good, bad) {
            (0.0, _) => rate / 2.0,
            (_, f64::INFINITY) => rate * 2.0,
            _ => (good * bad).sqrt(),
        };
    }
    Ok((good, bad, lost))
}

/// Publishes at a rate.
fn keep(session: &mut Session, rate: f64, duration: u64) {
    let begin = clock::now();
    let mut published = 0;
    loop {
        let passed = clock::now() - begin;
        if passed >= duration {
            break;
        }
        let due = (passed as f64 / 1e9 * rate) as u64;
        while published < due {
            session.publish(false);
            published += 1;
        }
        clock::sleep_until(clock::now() + 50_000);
    }
}
