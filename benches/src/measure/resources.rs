//! What subscribers cost that do nothing, or do not read.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use herald::hub::{Hub, HubStats};
use nix::sys::signal::Signal;

use super::{Bench, present, progress};
use crate::contestant::{Kind, QUEUE_BYTES, Waiting};
use crate::report::Table;
use crate::session::Session;

const HERALD: Kind = Kind::Herald(Waiting::Never);

/// Wake-ups with connected, silent clients.
pub fn idle(bench: &mut Bench) -> Result<()> {
    const CLIENTS: usize = 64;
    let seconds = bench.rounds(10, 2);
    bench.report.heading("Idle");
    bench.report.text(&format!(
        "{CLIENTS} clients are connected and nothing is published for {seconds} s: how often the threads \
         that serve them woke up (voluntary and other context switches in /proc)."
    ));
    progress(&format!("idle: {seconds} s"));
    let mut watched: Vec<(Kind, Session, Vec<PathBuf>)> = Vec::new();
    let mut known = tasks("self")?;
    for kind in present(&[HERALD, Kind::HeraldEventSock, Kind::ZEROMQ, Kind::Redis]) {
        let session = Session::start(kind, &[CLIENTS])?;
        let all = tasks("self")?;
        let mut own: Vec<_> = all.iter().filter(|task| !known.contains(task)).cloned().collect();
        if kind == Kind::Redis {
            own = server_tasks(&session)?;
        }
        known = all;
        watched.push((kind, session, own));
    }
    std::thread::sleep(Duration::from_millis(100));
    let before: Vec<_> = watched.iter().map(|(_, _, tasks)| switches(tasks)).collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let mut table = Table::new(["", "threads", "wake-ups"]);
    for ((kind, _, tasks), before) in watched.iter().zip(before) {
        let wakeups = switches(tasks)? - before;
        table.row([kind.label(), tasks.len().to_string(), wakeups.to_string()]);
        if matches!(kind, Kind::Herald(_) | Kind::HeraldEventSock) {
            bench.report.target(
                format!("idle, {CLIENTS} silent clients, {seconds} s: wake-ups, {}", kind.label()),
                "0",
                wakeups.to_string(),
                wakeups == 0,
            );
        }
    }
    bench.report.table(&table);
    Ok(())
}

fn tasks(process: &str) -> Result<Vec<PathBuf>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(tasks.map(|task| task.map(|task| task.path())).collect::<Result<_, _>>()?)
}

fn server_tasks(session: &Session) -> Result<Vec<PathBuf>> {
    tasks(&session.server().context("Redis has a server")?.to_string())
}

/// How often these threads have been switched away from.
fn switches(tasks: &[PathBuf]) -> Result<u64> {
    let mut sum = 0;
    for task in tasks {
        let status = fs::read_to_string(task.join("status"))?;
        for line in status.lines().filter(|line| line.contains("voluntary_ctxt_switches:")) {
            sum += line.split_whitespace().nth(1).context("a count")?.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// How much memory clients take that are idle, and that do not read. Each in a process of its own,
/// so that nothing of the other measurements is in it.
pub fn memory(bench: &mut Bench) -> Result<()> {
    let clients = bench.sizes.last().copied().unwrap_or(1);
    let bound = clients as u64 * QUEUE_BYTES as u64;
    bench.report.heading("Memory");
    bench.report.text(&format!(
        "The host's own resident memory (RssAnon) with {clients} clients and queue_bytes = {QUEUE_BYTES}, the default: {} for \
         all queues. Stuck clients are stopped, and events are published until their queues and sockets are \
         full and for a while nothing but dropped. In brackets: for each client. What the kernel holds for \
         their sockets comes on top (at most net.core.wmem_default a client).",
        bytes(bound)
    ));
    let mut table = Table::new([
        "",
        "no clients",
        "idle clients",
        "stuck clients",
        "the same when they have read everything",
        "events published",
    ]);
    for protocol in MemoryOf::value_variants() {
        progress(&format!("memory: {clients} clients, {protocol:?}"));
        let name = protocol.to_possible_value().context("no protocol is skipped")?.get_name().to_owned();
        let output = Command::new(std::env::current_exe()?)
            .args(["memory", &clients.to_string(), &name])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let sizes: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [empty, idle, stuck, after, events] = sizes[..] else {
            anyhow::bail!("the memory measurement failed");
        };
        let each = |size: u64| {
            let one = size.saturating_sub(empty) as f64 / clients as f64 / 1024.0;
            format!("{} ({one:.1} KiB)", bytes(size))
        };
        let label = protocol.kind().label();
        table.row([
            label.clone(),
            bytes(empty),
            each(idle),
            each(stuck),
            each(after),
            events.to_string(),
        ]);
        let queues = stuck.saturating_sub(idle);
        bench.report.target(
            format!("memory, {clients} stuck clients, {label}: their queues"),
            "≤ 1.33 × queue_bytes × clients, as herald.toml(5) says".to_owned(),
            format!("{:.2} × ({})", queues as f64 / bound as f64, bytes(queues)),
            queues * 3 <= bound * 4,
        );
    }
    bench.report.table(&table);
    Ok(())
}

fn bytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Which server's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemoryOf {
    Frames,
    EventSock,
}

impl MemoryOf {
    fn kind(self) -> Kind {
        match self {
            MemoryOf::Frames => HERALD,
            MemoryOf::EventSock => Kind::HeraldEventSock,
        }
    }
}

/// The process that [`memory`] starts: prints resident bytes without clients, with idle and with
/// stuck ones, and after they have read; and how many events made them stuck.
pub fn memory_host(clients: usize, of: MemoryOf) -> Result<()> {
    const ROUND: usize = 2000;
    let mut session = Session::start(of.kind(), &[])?;
    let empty = resident()?;
    session.connect(&[clients])?;
    let idle = resident()?;
    session.readers[0].signal(Signal::SIGSTOP)?;
    let hub = session.hub().context("this is Herald")?;
    let first = session.next();
    let mut before = at_rest(&hub);
    loop {
        for _ in 0..ROUND {
            session.publish(false);
        }
        let now = at_rest(&hub);
        if now.delivered == before.delivered && now.dropped - before.dropped == (ROUND * clients) as u64
        {
            break;
        }
        before = now;
    }
    let stuck = resident()?;
    let events = session.next() - first;
    session.readers[0].signal(Signal::SIGCONT)?;
    session.settle()?;
    std::thread::sleep(Duration::from_millis(200));
    println!("{empty} {idle} {stuck} {} {events}", resident()?);
    Ok(())
}

/// What the hub has counted, when the worker has done all it can.
fn at_rest(hub: &Hub) -> HubStats {
    let mut before = hub.stats();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = hub.stats();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Resident bytes that are not shared with a reader: its board is not Herald's.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse::<u64>()? * 1024)
}
