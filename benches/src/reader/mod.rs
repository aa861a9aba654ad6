//! The subscribers: one process that reads any number of connections through epoll, in the same
//! way whoever it is that publishes.

mod decode;
mod handshake;
mod libzmq;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::board::{CONNECTIONS, Mapped};
use crate::clock;

/// What a subscriber speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// Plain frames of 64 bytes, after one byte that subscribes.
    Frames,
    /// The protocol of openl2tpd's event socket.
    EventSock,
    /// ZeroMQ's protocol, ZMTP 3.0, spoken by this program.
    Zmtp,
    /// ZeroMQ, spoken by libzmq.
    Libzmq,
    /// Redis's protocol.
    Resp,
}

/// What the host tells a reader process.
#[derive(Debug, Args)]
pub struct ReaderArgs {
    #[arg(long)]
    wire: Wire,
    #[arg(long)]
    path: PathBuf,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    board: PathBuf,
}

impl ReaderArgs {
    /// The command line that parses into these.
    pub fn command_line(wire: Wire, path: &Path, connections: usize, board: &Path) -> Vec<String> {
        let wire = wire.to_possible_value().expect("no wire is skipped").get_name().to_owned();
        let [path, board] = [path, board].map(|path| path.display().to_string());
        let connections = connections.to_string();
        ["--wire", &wire, "--path", &path, "--connections", &connections, "--board", &board]
            .map(str::to_owned)
            .to_vec()
    }
}

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

struct Connection {
    socket: UnixStream,
    /// The beginning of a frame whose rest has not arrived.
    rest: Vec<u8>,
}

/// Reads until the host ends.
pub fn run(args: &ReaderArgs) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    ensure!(args.connections <= CONNECTIONS, "a reader has at most {CONNECTIONS} connections");
    let board = Mapped::open(&args.board)?;
    if args.wire == Wire::Libzmq {
        return libzmq::run(&args.path, args.connections, &board);
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut connections = Vec::with_capacity(args.connections);
    for number in 0..args.connections {
        let mut socket = UnixStream::connect(&args.path)
            .with_context(|| format!("cannot connect to {}", args.path.display()))?;
        handshake::subscribe(args.wire, &mut socket).context("the handshake failed")?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        connections.push(Connection { socket, rest: Vec::new() });
        board.connected.store(number as u64 + 1, Ordering::Release);
    }
    let mut buffer = vec![0; BUFFER];
    let mut ready = [EpollEvent::empty(); 256];
    let mut open = args.connections;
    while open > 0 {
        let count = match epoll.wait(&mut ready, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => result?,
        };
        for event in &ready[..count] {
            let number = event.data() as usize;
            let Connection { socket, rest } = &mut connections[number];
            let kept = rest.len();
            buffer[..kept].copy_from_slice(rest);
            let read = match socket.read(&mut buffer[kept..]) {
                Ok(0) | Err(_) => {
                    epoll.delete(&*socket)?;
                    open -= 1;
                    continue;
                }
                Ok(read) => read,
            };
            let now = clock::now();
            let bytes = &buffer[..kept + read];
            let used = decode::frames(args.wire, bytes, &board.accounts[number], &board, now)?;
            rest.clear();
            rest.extend_from_slice(&bytes[used..]);
        }
    }
    Ok(())
}
