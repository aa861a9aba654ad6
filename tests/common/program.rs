//! A program that a test runs, and the lines that it has printed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything that ought to happen may take, on a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills it.
pub struct Program {
    child: Child,
    output: Arc<(Mutex<Output>, Condvar)>,
}

#[derive(Default, Debug)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

impl Program {
    /// Starts it.
    pub fn start(command: &mut Command) -> Program {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let (shared, stdout) = (output.clone(), BufReader::new(child.stdout.take().unwrap()));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                shared.0.lock().unwrap().lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        Program { child, output }
    }

    /// Waits until it has printed this line.
    pub fn expect(&self, line: &str) {
        self.expect_times(line, 1);
    }

    /// Waits until it has printed this line so many times.
    pub fn expect_times(&self, line: &str, times: usize) {
        let there = |lines: &[String]| lines.iter().filter(|printed| *printed == line).count() >= times;
        self.expect_that(line, there);
    }

    /// Waits until what it has printed is as is wanted; `what` that is.
    pub fn expect_that(&self, what: &str, there: impl Fn(&[String]) -> bool) {
        let (output, news) = &*self.output;
        let waits = |output: &mut Output| !output.ended && !there(&output.lines);
        let (output, _) = news.wait_timeout_while(output.lock().unwrap(), SOON, waits).unwrap();
        let last = &output.lines[output.lines.len().saturating_sub(20)..];
        assert!(there(&output.lines), "no {what:?}; ended: {}; the last lines: {last:#?}", output.ended);
    }

    /// Waits until it has printed a line that begins so, and answers with the rest of it.
    pub fn says(&self, beginning: &str) -> String {
        let of = |lines: &[String]| {
            lines.iter().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned)
        };
        self.expect_that(beginning, |lines| of(lines).is_some());
        of(&self.output.0.lock().unwrap().lines).unwrap_or_default()
    }

    /// Waits for the end, which must be a good one, and answers with all that it has printed.
    pub fn finish(mut self) -> Vec<String> {
        let end = Instant::now() + 2 * SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < end,
                "not ended: {:#?}",
                self.output.0.lock().unwrap().lines.last()
            );
            thread::sleep(Duration::from_millis(5));
        };
        let (output, news) = &*self.output;
        let running = |output: &mut Output| !output.ended;
        let (output, _) = news.wait_timeout_while(output.lock().unwrap(), SOON, running).unwrap();
        assert!(status.success(), "{status}: {:#?}", output.lines);
        output.lines.clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
