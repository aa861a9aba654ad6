//! The stand-in for OpenSIPS, c_examples/opensips_host.c, and subscribers of it.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::common::{self, SOON, library, retry};

/// The stand-in as one version of OpenSIPS.
pub struct OpenSips {
    pub program: PathBuf,
    pub directory: tempfile::TempDir,
}

impl OpenSips {
    pub fn build(version: &str, size: usize) -> Self {
        Self::build_with(version, size, &[])
    }

    pub fn build_with(version: &str, size: usize, definitions: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("opensips_host");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c_examples/opensips_host.c");
        let compiled = Command::new("cc")
            .args(["-std=gnu99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-rdynamic", source, "-o"])
            .arg(&program)
            .arg(format!("-DEXPORTS_SIZE={size}"))
            .arg(format!("-DOPENSIPS_VERSION=\"{version}\""))
            .args(definitions)
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("cc runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        OpenSips { program, directory }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(options)
            .arg(library())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, options: &[&str]) -> Host {
        let mut child = self.command(options).spawn().expect("the stand-in starts");
        let lines = |reader: Box<dyn std::io::Read + Send>| {
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
            lines
        };
        let stdin = child.stdin.take().expect("piped");
        let answers = lines(Box::new(child.stdout.take().expect("piped")));
        let log = lines(Box::new(child.stderr.take().expect("piped")));
        Host { child, stdin, answers, log }
    }

    /// What it logs when it is told to do nothing, and its exit status.
    pub fn refused(&self, options: &[&str]) -> (String, i32) {
        let output = self.command(options).stdin(Stdio::null()).output().expect("the stand-in runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (said, output.status.code().unwrap_or(-1))
    }
}

pub struct Host {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    log: Receiver<String>,
}

impl Host {
    /// Gives a command and returns its list and its answer.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        writeln!(self.stdin, "{command}").expect("the stand-in lives");
        let mut said = Vec::new();
        loop {
            let line =
                self.answers.recv_timeout(SOON).unwrap_or_else(|_| panic!("no answer to {command}"));
            let done = line.starts_with("ok ") || line.starts_with("error ");
            said.push(line);
            if done {
                return said;
            }
        }
    }

    pub fn ok(&mut self, command: &str) -> String {
        let answer = self.ask(command).pop().expect("an answer");
        assert!(answer.starts_with("ok "), "{command}: {answer}");
        answer
    }

    pub fn stat(&mut self, name: &str) -> u64 {
        let prefix = format!("stat {name} ");
        let lines = self.ask("stats");
        let line = lines.iter().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no statistic {name}: {lines:?}")).parse().expect("a number")
    }

    /// The process id of main, or of a child.
    pub fn pid(&mut self, process: &str) -> u32 {
        let prefix = format!("process {process} pid ");
        let lines = self.ask("ps");
        let pid = lines.iter().find_map(|line| line.strip_prefix(&prefix)?.split(' ').next());
        pid.unwrap_or_else(|| panic!("no process {process}: {lines:?}")).parse().expect("a number")
    }

    pub fn wait_for_stat(&mut self, name: &str, value: u64) {
        common::wait_for(&format!("{name} to be {value}"), || (self.stat(name) == value).then_some(()));
    }

    pub fn logged(&self, part: &str) -> String {
        loop {
            let line =
                self.log.recv_timeout(SOON).unwrap_or_else(|_| panic!("\"{part}\" is not logged"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Ends it, which must go well; what it has logged.
    pub fn end(mut self) -> Vec<String> {
        writeln!(self.stdin, "exit").expect("the stand-in lives");
        let status =
            common::wait_for("the end", || self.child.try_wait().expect("it can be waited for"));
        assert_eq!(status.code(), Some(0));
        self.log.iter().collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let address = format!("udp:{}", socket.local_addr().unwrap());
    (socket, address)
}

pub fn unix(path: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

pub fn text(received: std::io::Result<usize>, buffer: &[u8]) -> String {
    String::from_utf8(buffer[..received.expect("a datagram")].to_vec()).unwrap()
}

pub fn from_udp(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 70_000];
    text(retry(|| socket.recv(&mut buffer)), &buffer)
}

pub fn from_unix(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 300_000];
    text(retry(|| socket.recv(&mut buffer)), &buffer)
}

pub const TEXT: &str = "E_X\nstr::bob\nint::-7\n\n";
pub const JSON: &str = r#"{"jsonrpc":"2.0","method":"E_X","params":{"str":"bob","int":-7}}"#;
pub const RAISE: &str = "E_X str=bob int=#-7";

pub fn modern() -> OpenSips {
    OpenSips::build("3.6.8", 184)
}
