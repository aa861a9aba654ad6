//! The VPP API: the real clients.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Bench, progress};
use crate::clock;
use crate::report::{Table, count, median};

/// A server in a process of its own; killed when dropped.
struct Process(Child);

impl Process {
    fn start(mut command: Command, socket: &Path) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut process = Process(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            ensure!(process.0.try_wait()?.is_none(), "{command:?} has ended");
            ensure!(Instant::now() < deadline, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn measure(bench: &mut Bench) -> Result<()> {
    clock::sleep_as_usual();
    let directory = tempfile::Builder::new().prefix("herald-bench.").tempdir_in("/dev/shm")?;
    let go = directory.path().join("govpp");
    let mut build = Command::new("go");
    build
        .args(["build", "-o"])
        .arg(&go)
        .current_dir(root().join("examples/govpp"))
        .stderr(Stdio::null());
    let go = build.status().is_ok_and(|status| status.success()).then_some(go.as_path());
    bench.report.heading("VPP API: events to GoVPP");
    match go {
        Some(go) => highest_rate(bench, go, directory.path())?,
        None => bench.report.text("Skipped: the example cannot be built; Go is needed."),
    }
    bench.report.heading("VPP API: control_ping");
    pings(bench, go, directory.path())
}

/// `c_examples/testgovpp_host`.
fn host(socket: &Path, options: &[&str]) -> Result<Process> {
    let mut host = Command::new(root().join("target/c_examples/testgovpp_host"));
    host.arg("--socket").arg(socket).arg("--api").arg(root().join("c_examples/api")).args(options);
    Process::start(host, socket)
}

/// What a GoVPP client says of the events that it got.
struct Seen {
    rate: f64,
    missing: u64,
}

/// Has GoVPP take `events` events of 49 bytes, of which so many are sent a second; 0 is flat out.
fn listen(go: &Path, directory: &Path, rate: u64, events: u64) -> Result<Seen> {
    let socket = directory.join(format!("{rate}.sock"));
    let _host = host(&socket, &["--size", "9", "--rate", &rate.to_string()])?;
    let mut client = Command::new(go);
    client.arg("-socket").arg(&socket).args([
        "-quiet",
        "-buffer",
        "1000000",
        "-count",
        &events.to_string(),
    ]);
    let output = client.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = said.lines().find_map(|line| {
        let (rate, missing) = line.split_once(" events, ")?.1.split_once(" per second, ")?;
        let missing = missing.strip_suffix(" missing")?;
        Some(Seen { rate: rate.parse().ok()?, missing: missing.parse().ok()? })
    });
    seen.with_context(|| format!("GoVPP: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The highest rate at which GoVPP misses nothing, beside what it reads when it is flooded.
fn highest_rate(bench: &mut Bench, go: &Path, directory: &Path) -> Result<()> {
    bench.report.text(
        "examples/govpp with room for a million events, from c_examples/testgovpp_host. Events are numbered by the \
         host, so that one which anybody has dropped is missing at the client. First flat out, then at rates that \
         fall until the client keeps up and nothing is missing in any of the runs.",
    );
    let events = |rate: f64| (rate * if bench.quick { 0.5 } else { 2.0 }) as u64;
    let mut table = Table::new(["sent, events/s", "read, events/s", "missing"]);
    let mut row = |sent: String, runs: &[Seen]| {
        let missing: u64 = runs.iter().map(|run| run.missing).sum();
        table.row([sent, count(median(runs.iter().map(|run| run.rate))), missing.to_string()]);
        missing
    };
    let rounds = bench.rounds(3, 1);
    let times = |rate: u64, events: u64| -> Result<Vec<Seen>> {
        progress(&format!("VPP API, GoVPP at {rate} events/s"));
        (0..rounds).map(|_| listen(go, directory, rate, events)).collect()
    };
    let flood = times(0, events(400_000.0))?;
    let flat_out = median(flood.iter().map(|run| run.rate));
    row("flat out".into(), &flood);
    let mut highest = 0.0;
    for percent in [140.0, 120.0, 110.0, 100.0, 90.0, 80.0, 65.0, 50.0] {
        let rate = flat_out * percent / 100.0;
        let runs = times(rate as u64, events(rate))?;
        let read = median(runs.iter().map(|run| run.rate));
        if row(count(rate), &runs) == 0 && read >= 0.97 * rate {
            highest = read;
            break;
        }
    }
    bench.report.table(&table);
    bench.report.target(
        "VPP API, GoVPP with large buffers: the highest rate without a loss",
        "≥ what it reads of a flood",
        format!("{}/s, {}/s", count(highest), count(flat_out)),
        highest >= 0.95 * flat_out,
    );
    Ok(())
}

fn pings(bench: &mut Bench, go: Option<&Path>, directory: &Path) -> Result<()> {
    bench.report.text(
        "Each after the reply to the one before, from the example clients; the plain server is \
         benches/vpp_api/reference_server.py. By turns.",
    );
    let path = |name: &str| directory.join(name);
    let mut json = Vec::new();
    for (name, file) in [("memclnt", "memclnt.api"), ("testgovpp", "testgovpp.api")] {
        let source = ["vpp-api/api", "c_examples/api"].map(|folder| root().join(folder).join(file));
        let source = source.iter().find(|source| source.exists()).context("no .api file")?;
        let out = path(&format!("{name}.api.json"));
        let made = Command::new(built("herald-apigen")?).arg(source).arg("--json").arg(&out).status()?;
        ensure!(made.success(), "herald-apigen fails");
        json.push(out);
    }
    let python = root().join(".venv/bin/python");
    ensure!(python.exists(), "{} is missing: run `make setup`", python.display());
    let (plain, ours) = (path("plain.sock"), path("herald.sock"));
    let mut reference = Command::new(&python);
    reference
        .arg(root().join("benches/vpp_api/reference_server.py"))
        .arg("--socket")
        .arg(&plain)
        .args(&json);
    let _reference = Process::start(reference, &plain)?;
    let _host = host(&ours, &[])?;

    // Each client, and how many pings are one turn. Whether Linux has client and server share a core changes
    // from turn to turn, and the rate with it: many short turns say more than a few long ones.
    let mut clients: Vec<(&str, Command, u32)> = Vec::new();
    let mut papi = Command::new(&python);
    // The plain server has no get_api_json.
    papi.arg(root().join("examples/vpp_papi/listen.py")).arg("--apidir").arg(directory);
    clients.push(("vpp_papi", papi, 1000));
    let types = Command::new(built("herald-apigen")?)
        .args(["vnet/ip/ip_types.api", "--json"])
        .arg(path("ip_types.api.json"))
        .status()?;
    ensure!(types.success(), "herald-apigen fails");
    match go {
        Some(go) => clients.push(("GoVPP", Command::new(go), 4000)),
        None => bench.report.text("GoVPP: skipped: the example cannot be built; Go is needed."),
    }
    let mut table = Table::new(["", "Herald, pings/s", "plain server, pings/s", "ratio"]);
    for (name, client, number) in clients {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 1..=bench.rounds(25, 3) {
            progress(&format!("VPP API, control_ping from {name}: round {round}"));
            for (socket, rates) in [&ours, &plain].into_iter().zip(&mut rates) {
                rates.push(rate_of(&client, name, socket, number)?);
            }
        }
        let [ours, plain] = rates.map(median);
        table.row([name.to_owned(), count(ours), count(plain), format!("{:.2}", ours / plain)]);
        bench.report.target(
            format!("VPP API, control_ping from {name}"),
            "≥ that of a plain server",
            format!("{:.2} × ({}/s, {}/s)", ours / plain, count(ours), count(plain)),
            ours >= plain,
        );
    }
    bench.report.table(&table);
    Ok(())
}

/// What the client says that it has reached.
fn rate_of(client: &Command, name: &str, socket: &Path, pings: u32) -> Result<f64> {
    let dash = if name == "GoVPP" { "-" } else { "--" };
    let mut command = Command::new(client.get_program());
    command.args(client.get_args()).arg(format!("{dash}socket")).arg(socket);
    let output = command.arg(format!("{dash}pings")).arg(pings.to_string()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate =
        said.lines().find_map(|line| line.split(" pings, ").nth(1)?.split(' ').next()?.parse().ok());
    match rate {
        Some(rate) => Ok(rate),
        None => bail!("{name}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// A program of the workspace, which is built beside this one.
fn built(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

pub(super) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
