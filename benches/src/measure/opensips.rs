//! What an event costs the script of a real OpenSIPS, with its own event_datagram and with Herald's.

use std::env;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Bench, progress};
use crate::clock;
use crate::report::{Table, median, percentile, sorted};

/// Events by one request: fewer than a subscriber's socket holds.
const EVENTS: u32 = 200;

pub fn measure(bench: &mut Bench) -> Result<()> {
    clock::sleep_as_usual();
    bench.report.heading("OpenSIPS itself");
    let Some(trees) = env::var_os("HERALD_OPENSIPS") else {
        bench.report.text("Skipped: HERALD_OPENSIPS names no built OpenSIPS.");
        return Ok(());
    };
    bench.report.text(&format!(
        "A request makes the script raise {EVENTS} events of four parameters in a loop; the next request waits \
         until the subscriber, a blocking recv over UDP, has read them all. ns per event from the request to \
         its answer, less those of a request that raises none: so what the script and the core do for an event \
         is in it. Two OpenSIPS, each with one of the modules, take turns; the middle of the turns and of half \
         of them."
    ));
    let mut table = Table::new(["OpenSIPS", "Herald", "its own module", "ratio"]);
    for tree in env::split_paths(&trees).filter(|tree| tree != Path::new("")) {
        let version = version(&tree)?;
        progress(&format!("OpenSIPS {}", version.join(".")));
        table.row(row(&tree, &version, bench.rounds(500, 50))?);
    }
    bench.report.table(&table);
    Ok(())
}

fn row(tree: &Path, version: &[String], turns: usize) -> Result<[String; 4]> {
    let (address, read) = subscriber()?;
    let start = |module: &Path, number| Host::start(tree, version, module, number, &address);
    let stock = start(&module(tree, "event_datagram"), 1)?;
    let herald = start(&env::current_exe()?.with_file_name("libherald.so"), 2)?;
    let mut costs = [const { Vec::new() }; 3];
    let hosts = [herald, stock];
    for turn in 0..turns {
        // They take turns in being the first, too.
        let mut cost = [0.0; 2];
        for which in [turn % 2, (turn + 1) % 2] {
            cost[which] = hosts[which].cost(&read)?;
        }
        let [ours, theirs] = cost;
        for (costs, cost) in costs.iter_mut().zip([ours, theirs, ours / theirs]) {
            costs.push(cost);
        }
    }
    let [ours, theirs, ratios] = costs;
    let quartiles = |costs: Vec<f64>| {
        let costs = sorted(costs);
        let [low, middle, high] = [25.0, 50.0, 75.0].map(|percent| percentile(&costs, percent));
        format!("{middle:.0} ({low:.0}–{high:.0})")
    };
    Ok([version.join("."), quartiles(ours), quartiles(theirs), format!("{:.2}", median(ratios))])
}

/// A subscriber's address, and how many datagrams it has read. It reads as long as this program runs.
fn subscriber() -> Result<(String, Arc<AtomicU64>)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (address, read) = (format!("udp:{}", socket.local_addr()?), Arc::<AtomicU64>::default());
    let counter = read.clone();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while socket.recv(&mut buffer).is_ok() {
            counter.fetch_add(1, Ordering::Release);
        }
    });
    Ok((address, read))
}

/// Major, minor, patch.
fn version(tree: &Path) -> Result<Vec<String>> {
    let output = Command::new(tree.join("opensips")).arg("-V").output();
    let output = output.with_context(|| format!("HERALD_OPENSIPS: {}", tree.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version =
        said.lines().find_map(|line| line.strip_prefix("version: opensips ")?.split(' ').next());
    let version = version.with_context(|| format!("{}: opensips -V says no version", tree.display()))?;
    Ok(version.split('.').map(str::to_owned).collect())
}

fn module(tree: &Path, name: &str) -> PathBuf {
    tree.join(format!("modules/{name}/{name}.so"))
}

/// A running OpenSIPS with one SIP worker; killed when dropped.
struct Host {
    child: Child,
    /// Connected to where it takes requests.
    socket: UdpSocket,
    _directory: tempfile::TempDir,
}

impl Host {
    fn start(
        tree: &Path,
        version: &[String],
        event_datagram: &Path,
        number: u8,
        subscriber: &str,
    ) -> Result<Host> {
        // An address of its own: all of 127.0.0.0/8 is ours.
        let [.., high, low] = std::process::id().to_be_bytes();
        let sip = format!("127.{number}.{high}.{low}:5060");
        let directory = tempfile::tempdir()?;
        let (config, log) = (directory.path().join("opensips.cfg"), directory.path().join("log"));
        fs::write(&config, configuration(tree, version, event_datagram, &sip, subscriber))?;
        let output = File::create(&log)?;
        let child = Command::new(tree.join("opensips"))
            .args(["-F", "-f"])
            .arg(&config)
            .arg("-w")
            .arg(directory.path())
            .arg("-P")
            .arg(directory.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(&sip)?;
        let host = Host { child, socket, _directory: directory };
        host.socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while host.request(0).is_err() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            ensure!(
                Instant::now() < deadline,
                "OpenSIPS {} does not answer: {}",
                version.join("."),
                said()
            );
            thread::sleep(Duration::from_millis(10));
        }
        host.socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(host)
    }

    /// What an event costs, in nanoseconds.
    fn cost(&self, read: &AtomicU64) -> Result<f64> {
        let wanted = read.load(Ordering::Acquire) + u64::from(EVENTS);
        let (none, all) = (self.request(0)?, self.request(EVENTS)?);
        let deadline = Instant::now() + Duration::from_secs(5);
        while read.load(Ordering::Acquire) < wanted {
            ensure!(Instant::now() < deadline, "the subscriber does not keep up");
            thread::sleep(Duration::from_micros(100));
        }
        Ok((all.as_nanos() as f64 - none.as_nanos() as f64) / f64::from(EVENTS))
    }

    /// How long it takes to answer a request that raises so many events.
    fn request(&self, events: u32) -> Result<Duration> {
        let from = self.socket.local_addr()?;
        let start = Instant::now();
        self.socket.send(
            format!(
                "EVENT sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1\r\n\
                 From: <sip:a@127.0.0.1>;tag=a\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: 1\r\n\
                 CSeq: 1 EVENT\r\nMax-Forwards: 70\r\nX-Events: {events}\r\nContent-Length: 0\r\n\r\n"
            )
            .as_bytes(),
        )?;
        self.socket.recv(&mut [0; 2048])?;
        Ok(start.elapsed())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn configuration(
    tree: &Path,
    version: &[String],
    event_datagram: &Path,
    sip: &str,
    subscriber: &str,
) -> String {
    let number = |part: usize| version.get(part).and_then(|part| part.parse().ok()).unwrap_or(0u32);
    let since = |major, minor| (number(0), number(1)) >= (major, minor);
    let pick = |new: bool, now: &'static str, before: &'static str| if new { now } else { before };
    let log = pick(
        since(3, 4),
        "stderror_enabled=yes\nsyslog_enabled=no",
        "log_stderror=yes\nauto_aliases=no",
    );
    let workers = pick(since(3, 0), "udp_workers", "children");
    let listen = pick(since(3, 1), "socket", "listen");
    let ok = pick(since(3, 0), "200", "\"200\"");
    let loads: String =
        ["signaling", "sl"].map(|name| module(tree, name)).iter().map(|path| load(path)).collect();
    let event_datagram = load(event_datagram);
    format!(
        r#"log_level=1
{log}
{workers}=1
{listen}=udp:{sip}
max_while_loops=1000000
loadmodule "proto_udp.so"
{loads}{event_datagram}
startup_route {{ subscribe_event("E_BENCH", "{subscriber}"); }}
route {{
	$avp(n) = "ip"; $(avp(n)[append]) = "method"; $(avp(n)[append]) = "hits"; $(avp(n)[append]) = "ua";
	$avp(v) = "192.168.2.11"; $(avp(v)[append]) = "REGISTER"; $(avp(v)[append]) = 42;
	$(avp(v)[append]) = "friendly-scanner/1.0 (x86)";
	$var(left) = $(hdr(X-Events){{s.int}});
	while ($var(left) > 0) {{
		raise_event("E_BENCH", $avp(n), $avp(v));
		$var(left) = $var(left) - 1;
	}}
	sl_send_reply({ok}, "OK");
	exit;
}}
"#
    )
}

fn load(module: &Path) -> String {
    format!("loadmodule \"{}\"\n", module.display())
}
