//! A running OpenSIPS.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::config::Config;
use crate::event::{Raise, request};
use crate::listener::Listener;
use crate::mi::Mi;
use crate::tree::Version;

/// How long anything that ought to happen may take, on a machine that is very busy.
pub const LONG: Duration = Duration::from_secs(60);

/// Polls until `look` has an answer; panics if it has none after a long time.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    within(LONG, &mut look).unwrap_or_else(|| panic!("{what}: not within {LONG:?}"))
}

fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(Duration::from_millis(5));
    }
}

/// Whether a datagram holds a text.
pub fn holds(datagram: &[u8], text: &str) -> bool {
    datagram.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Those that take SIP requests.
fn receivers(processes: &[(u32, String)]) -> Vec<u32> {
    let receivers = processes.iter().filter(|(_, what)| what.starts_with("SIP receiver"));
    receivers.map(|(pid, _)| *pid).collect()
}

/// An address of this program alone. All of 127.0.0.0/8 is ours: so ports need not be searched, and do not
/// collide, and nobody gets what was sent to another who had the same port before.
pub fn own_ip(number: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, number, high, low)
}

/// How to start an OpenSIPS.
pub struct Launch {
    tree: PathBuf,
    args: Vec<&'static str>,
    /// What its configuration says.
    pub config: Config,
}

impl Launch {
    /// An OpenSIPS at an address of its own.
    pub fn new(tree: &std::path::Path, version: Version, event_datagram: PathBuf) -> Launch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 250 + 2;
        let ip = own_ip(number as u8).to_string();
        let config = Config::new(tree, version, ip, event_datagram);
        Launch { tree: tree.to_owned(), args: Vec::new(), config }
    }

    /// Sets a parameter of event_datagram; a string is written with its quotes.
    pub fn modparam(mut self, name: &str, value: &str) -> Launch {
        self.config.modparams += &format!("modparam(\"event_datagram\", \"{name}\", {value})\n");
        self
    }

    /// Loads one more module of the tree, after event_datagram.
    pub fn module(mut self, name: &str) -> Launch {
        self.config.modules += &self.config.load(name);
        self
    }

    /// Statements for the startup route.
    pub fn startup(mut self, statements: &str) -> Launch {
        self.config.startup += statements;
        self
    }

    /// Whole further routes.
    pub fn routes(mut self, routes: &str) -> Launch {
        self.config.routes += routes;
        self
    }

    /// Lines at the beginning.
    pub fn globals(mut self, lines: &str) -> Launch {
        self.config.globals += lines;
        self
    }

    /// How many processes take SIP requests.
    pub fn workers(mut self, workers: usize) -> Launch {
        self.config.workers = workers;
        self
    }

    /// One more argument of the command.
    pub fn arg(mut self, arg: &'static str) -> Launch {
        self.args.push(arg);
        self
    }

    /// Starts it, and waits until it answers.
    pub fn start(self) -> Opensips {
        let workers = self.config.workers;
        let mut host = self.spawn();
        eventually("OpenSIPS answers", || {
            if let Some(status) = host.child.try_wait().unwrap() {
                panic!("OpenSIPS {} does not start: {status}", host.version());
            }
            let patience = Duration::from_millis(500);
            request(&host.sip, "PING", "", &[], patience).ok()?;
            host.mi.patience = patience;
            // A process can answer before it is listed.
            (receivers(&host.mi.processes()?).len() >= workers).then_some(())
        });
        host.mi.patience = LONG;
        host
    }

    /// Runs it to its end, which must be soon: how it ended, and its log.
    pub fn end(self) -> (ExitStatus, String) {
        let mut host = self.spawn();
        let status = host.exit();
        (status, host.log())
    }

    fn spawn(self) -> Opensips {
        let dir = TempDir::new().unwrap();
        let (config, log) = (dir.path().join("opensips.cfg"), dir.path().join("log"));
        fs::write(&config, self.config.text()).unwrap();
        let output = File::create(&log).unwrap();
        let mut command = Command::new(self.tree.join("opensips"));
        command
            .arg("-F")
            .arg("-f")
            .arg(&config)
            .arg("-w")
            .arg(dir.path())
            .arg("-P")
            .arg(dir.path().join("pid"))
            .args(&self.args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        // SAFETY: prctl is async-signal-safe and takes no pointer here.
        unsafe {
            // Were this program killed, OpenSIPS would go on for ever.
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().expect("opensips");
        let mi = Mi { address: self.config.mi(), version: self.config.version, patience: LONG };
        Opensips { child, dir, sip: self.config.sip(), mi, ended: None }
    }
}

/// An OpenSIPS; killed when dropped, if it still runs.
pub struct Opensips {
    child: Child,
    dir: TempDir,
    sip: String,
    /// Its management interface.
    pub mi: Mi,
    ended: Option<ExitStatus>,
}

impl Opensips {
    pub fn version(&self) -> Version {
        self.mi.version
    }

    /// Where it takes SIP requests.
    pub fn sip(&self) -> &str {
        &self.sip
    }

    /// The main process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    /// Waits until it has logged a line that holds all of these.
    pub fn logs(&self, parts: &[&str]) -> String {
        eventually(&format!("a log line with {parts:?}"), || {
            let log = self.log();
            let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)))?;
            Some(line.to_owned())
        })
    }

    /// How many of its log lines hold this.
    pub fn logged(&self, part: &str) -> usize {
        self.log().lines().filter(|line| line.contains(part)).count()
    }

    /// Subscribes, which must be accepted.
    pub fn subscribe(&self, event: &str, listener: &Listener) {
        self.subscribe_for(event, listener, 3600);
    }

    /// Subscribes for some seconds, which must be accepted.
    pub fn subscribe_for(&self, event: &str, listener: &Listener, expire: u32) {
        let address = &listener.address;
        if let Err(error) = self.mi.try_subscribe(event, address, Some(expire)) {
            panic!("OpenSIPS {}: {address} is refused: {error}", self.version());
        }
    }

    /// Raises events; returns when they are raised.
    pub fn raise(&self, raise: &Raise) {
        let answer = raise.send(&self.sip, LONG);
        let answer =
            answer.unwrap_or_else(|e| panic!("OpenSIPS {} does not answer: {e}", self.version()));
        assert_eq!(answer, "SIP/2.0 200 OK", "OpenSIPS {}", self.version());
    }

    /// Raises events by so many requests at once; returns when all are raised.
    pub fn raise_together(&self, raise: &Raise, requests: usize) {
        thread::scope(|scope| {
            for _ in 0..requests {
                scope.spawn(|| self.raise(raise));
            }
        });
    }

    /// What has been sent to a listener so far, and that it has not yet read, but for fences. It must
    /// have subscribed to E_FENCE.
    pub fn sent_to(&self, listener: &Listener) -> Vec<Vec<u8>> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let token = format!("fence-{}-", NEXT.fetch_add(1, Ordering::Relaxed));
        self.raise(&Raise::plain().event("E_FENCE").named("token", token.as_str()));
        let mut sent = Vec::new();
        loop {
            let datagram = listener.next();
            if holds(&datagram, &token) {
                return sent;
            }
            // Another listener's fence may be here, too.
            if !holds(&datagram, "E_FENCE") {
                sent.push(datagram);
            }
        }
    }

    /// Waits until the library's statistics are as they should be.
    pub fn counts(&self, what: &str, wanted: &[(&str, u64)]) {
        let mut found = None;
        let count = || {
            let statistics = self.mi.statistics();
            let right = wanted.iter().all(|(name, count)| statistics.get(*name) == Some(count));
            found = Some(statistics);
            right.then_some(())
        };
        within(LONG, count).unwrap_or_else(|| panic!("{what}: {found:?}, not {wanted:?}"));
    }

    /// Waits until nothing waits any more; the library's statistics, which must add up by then.
    pub fn settled(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let adds_up = || {
            found = self.mi.statistics();
            let causes = ["dropped_full", "dropped_gone", "dropped_too_large", "dropped_error"];
            let dropped: u64 = causes.iter().map(|cause| found[*cause]).sum();
            (dropped == found["dropped"] && found["sent"] + dropped == found["raised"]).then_some(())
        };
        let settled = within(LONG, adds_up);
        settled.unwrap_or_else(|| panic!("the statistics do not add up: {found:?}"));
        found
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.ended.is_none() && {
            self.ended = self.child.try_wait().unwrap();
            self.ended.is_none()
        }
    }

    /// Its processes that take SIP requests.
    pub fn receivers(&self) -> Vec<u32> {
        receivers(&self.mi.processes().expect("MI answers ps"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Waits until it has exited: how.
    pub fn exit(&mut self) -> ExitStatus {
        eventually("OpenSIPS exits", || (!self.lives()).then_some(()));
        self.ended.unwrap()
    }

    /// Ends it as an operator does. It must exit with 0, with all of its processes.
    pub fn stop(&mut self, signal: Signal) {
        let processes = self.mi.processes().expect("MI answers ps");
        self.signal(signal);
        let status = self.exit();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "OpenSIPS {}", self.version());
        for (pid, what) in processes {
            eventually(&format!("{what} exits"), || (!crate::common::proc::lives(pid)).then_some(()));
        }
    }
}

impl Drop for Opensips {
    fn drop(&mut self) {
        // Its processes are in its group, whose number is not used anew while one of them lives.
        if self.ended.is_none() {
            let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of OpenSIPS {} ---\n{}", self.version(), self.log());
        }
    }
}
