//! Redis's publish and subscribe, through a server of our own on a unix socket.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::Contestant;
use crate::frame::Frame;
use crate::wire::redis::PUBLISH_HEAD;

/// How many requests go out in one write when they come one right after the other.
const BATCH: usize = 64;

/// How many answers may be due before the publisher waits for some.
const DUE: usize = 4096;

/// The server's version; an error if it is not installed.
pub(super) fn version() -> Result<String> {
    let output = Command::new("redis-server")
        .arg("--version")
        .output()
        .context("redis-server is not installed (Debian: redis-server)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split("v=").nth(1).and_then(|rest| rest.split(' ').next());
    Ok(format!("redis-server {}", version.unwrap_or("of an unknown version")))
}

pub(super) struct Redis {
    server: Child,
    socket: UnixStream,
    pipelined: bool,
    requests: Vec<u8>,
    /// How many requests are in `requests`.
    waiting: usize,
    /// How many answers are to come; each is one line.
    due: usize,
}

impl Redis {
    pub(super) fn start(directory: &Path, path: &Path, pipelined: bool) -> Result<Self> {
        let path = path.display().to_string();
        let directory = directory.display().to_string();
        let options = [
            ["--port", "0"],
            ["--unixsocket", &path],
            ["--dir", &directory],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--maxclients", "2000"],
        ];
        let mut server = Command::new("redis-server");
        server.args(options.as_flattened());
        // By default a subscriber that is 32 MB behind, or 8 MB for a minute, is disconnected.
        server.args(["--client-output-buffer-limit", "pubsub", "0", "0", "0"]);
        let server = server.stdout(Stdio::null()).spawn().context("cannot start redis-server")?;
        // From here on an error ends the server.
        let mut starting = Starting(Some(server));
        let deadline = Instant::now() + Duration::from_secs(5);
        let socket = loop {
            match UnixStream::connect(&path) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > deadline => {
                    bail!("redis-server does not answer: {error}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let server = starting.0.take().expect("it was put there");
        Ok(Redis { server, socket, pipelined, requests: Vec::new(), waiting: 0, due: 0 })
    }

    fn send(&mut self) -> Result<()> {
        self.socket.write_all(&self.requests)?;
        self.due += self.waiting;
        self.waiting = 0;
        self.requests.clear();
        Ok(())
    }

    fn count_answers(&mut self, answers: &[u8]) {
        let lines = answers.iter().filter(|&&byte| byte == b'\n').count();
        self.due = self.due.saturating_sub(lines);
    }

    /// Takes the answers that are there, and waits while more than so many are due.
    fn hear(&mut self, most: usize) -> Result<()> {
        let mut answers = [0; 16 * 1024];
        while self.due > most {
            let count = self.socket.read(&mut answers)?;
            ensure!(count > 0, "redis-server hung up");
            ensure!(answers[0] != b'-', "redis-server: {}", String::from_utf8_lossy(&answers[..count]));
            self.count_answers(&answers[..count]);
        }
        while self.due > 0 {
            match recv(self.socket.as_raw_fd(), &mut answers, MsgFlags::MSG_DONTWAIT) {
                Ok(count) => self.count_answers(&answers[..count]),
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Contestant for Redis {
    #[inline]
    fn publish(&mut self, number: u64, stamp: u64) -> bool {
        self.requests.extend_from_slice(PUBLISH_HEAD);
        self.requests.extend_from_slice(&Frame::Event { number, stamp }.bytes());
        self.requests.extend_from_slice(b"\r\n");
        self.waiting += 1;
        let done = if !self.pipelined {
            self.send().and_then(|()| self.hear(0))
        } else if self.waiting >= BATCH {
            self.send().and_then(|()| self.hear(DUE))
        } else {
            Ok(())
        };
        done.expect("redis-server serves as long as we do");
        true
    }

    fn flush(&mut self) {
        if self.waiting > 0 {
            self.send().and_then(|()| self.hear(DUE)).expect("redis-server serves as long as we do");
        }
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.id())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A server that nobody talks to yet.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(server) = &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
