//! Herald beside what else there is, in one run: `make bench`.
//!
//! - [`contestant`]: who is compared. [`reader`]: the subscribers, each process a re-run of this
//!   program. [`session`]: one publisher with its subscribers, and the account of every event.
//! - [`measure`]: the questions. [`report`]: the answers, in markdown.
//! - [`frame`] and [`wire`]: the bytes. [`board`]: what readers and host share. [`clock`] and
//!   [`pace`]: when, and how long it took. [`zeromq`], [`syscalls`]: libzmq, and counting.

mod board;
mod clock;
mod contestant;
mod frame;
mod measure;
mod pace;
mod reader;
mod report;
mod session;
mod syscalls;
mod wire;
mod zeromq;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use clock::Stopwatch;
use measure::Bench;
use report::Report;

/// Herald beside the send loop, ZeroMQ and Redis, on this machine.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// Take a look only: half a minute instead of six
    #[arg(long)]
    quick: bool,
    /// Write the report here as well
    #[arg(long, value_name = "PATH")]
    write: Option<PathBuf>,
    /// Measure only these
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<What>,
    /// Numbers of subscribers, up to 1000 [default: 1,5,64,1000; with --quick 5,64]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    subscribers: Vec<usize>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The host's cost of one publish
    Publish,
    /// One subscriber stopped
    Stopped,
    /// Deliveries a second, and losses
    Flood,
    /// From the publish to the last subscriber
    Latency,
    /// Wake-ups with silent clients
    Idle,
    /// Resident memory
    Memory,
    /// Events over the VPP API
    VppApi,
    /// The real clients of the VPP API
    VppClients,
    /// Events of a real OpenSIPS
    Opensips,
}

/// What the program starts itself for.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Subscriber(reader::ReaderArgs),
    #[command(hide = true)]
    Memory { clients: usize, of: measure::resources::MemoryOf },
}

/// Descriptors for all contestants at once with 1000 subscribers each.
const DESCRIPTORS: u64 = 16_384;

fn main() -> Result<()> {
    let options = Options::parse();
    clock::sleep_exactly();
    match options.part {
        Some(Part::Subscriber(arguments)) => reader::run(&arguments),
        Some(Part::Memory { clients, of }) => {
            allow_descriptors()?;
            measure::resources::memory_host(clients, of)
        }
        None => bench(&options),
    }
}

fn allow_descriptors() -> Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

fn bench(options: &Options) -> Result<()> {
    let begin = Instant::now();
    let mut facts = report::machine();
    facts.extend(contestant::versions());
    let mut sizes = match &options.subscribers[..] {
        [] if options.quick => vec![5, 64],
        [] => vec![1, 5, 64, 1000],
        wanted => wanted.to_vec(),
    };
    sizes.sort_unstable();
    sizes.dedup();
    let most = allow_descriptors()?;
    if most < DESCRIPTORS && sizes.iter().any(|&size| size > 500) {
        sizes.retain(|&size| size <= 500);
        facts.push(format!(
            "More than 500 subscribers: skipped: {DESCRIPTORS} open files are needed, {most} are allowed (ulimit -Hn)"
        ));
    }
    let mut bench = Bench {
        stopwatch: Stopwatch::calibrate(),
        report: Report::default(),
        sizes,
        quick: options.quick,
    };
    let wanted = |what| options.only.is_empty() || options.only.contains(&what);
    type Measure = fn(&mut Bench) -> Result<()>;
    let measures: [(What, Measure); 9] = [
        (What::Publish, measure::publish::measure),
        (What::Stopped, measure::stopped::measure),
        (What::Flood, measure::flood::measure),
        (What::Latency, measure::latency::measure),
        (What::Idle, measure::resources::idle),
        (What::Memory, measure::resources::memory),
        (What::VppApi, measure::vpp_api::measure),
        (What::VppClients, measure::vpp_clients::measure),
        (What::Opensips, measure::opensips::measure),
    ];
    let mut failed = false;
    for (what, measure) in measures {
        if wanted(what) {
            let begin = Instant::now();
            if let Err(error) = measure(&mut bench) {
                failed = true;
                measure::progress(&format!("{what:?} failed: {error:#}"));
                bench.report.text(&format!("**{what:?} failed: {error:#}**"));
            }
            measure::progress(&format!("{what:?} took {:.0} s", begin.elapsed().as_secs_f64()));
        }
    }
    facts.push(format!(
        "Duration: {:.0} s; load average at the end, the benchmark's own included: {}",
        begin.elapsed().as_secs_f64(),
        report::load_average()
    ));
    if options.quick {
        facts.push("Quick: short runs, wide spreads; for figures run it without --quick".into());
    }
    let command = std::iter::once("herald-bench".to_owned()).chain(std::env::args().skip(1));
    let document = bench.report.document(&command.collect::<Vec<_>>().join(" "), &facts);
    print!("{document}");
    if let Some(path) = &options.write {
        std::fs::write(path, &document).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(!failed, "not everything could be measured");
    Ok(())
}
