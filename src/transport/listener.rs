//! A unix socket that listens in a place where it does no harm.
//!
//! The directory entry has its final mode and owner before anybody can connect. A socket that
//! nobody listens on any more is replaced, one that somebody serves is not, and anything else in
//! the way is left alone. On closing, only the inode that was bound here is removed.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    shutdown, socket, sockopt,
};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::hub::Fd;

/// Who may connect, besides what the mode of the socket says. With both lists empty everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// User ids that may connect.
    pub uids: Vec<u32>,
    /// Primary group ids that may connect.
    pub gids: Vec<u32>,
}

impl Allow {
    fn permits(&self, peer: &Peer) -> bool {
        (self.uids.is_empty() && self.gids.is_empty())
            || self.uids.contains(&peer.uid)
            || self.gids.contains(&peer.gid)
    }
}

/// Where to listen, and how the directory entry looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// The path; at most 107 bytes, which is what a `sockaddr_un` holds.
    pub path: PathBuf,
    /// The permission bits.
    pub mode: u32,
    /// The owner; none leaves it to the process.
    pub owner: Option<u32>,
    /// The group; none leaves it to the process and the directory.
    pub group: Option<u32>,
    /// Whose connections are accepted.
    pub allow: Allow,
}

impl ListenOptions {
    /// At a path, with mode 0660 and nothing else that is special.
    pub fn at(path: &str) -> Self {
        ListenOptions {
            path: PathBuf::from(path),
            mode: 0o660,
            owner: None,
            group: None,
            allow: Allow::default(),
        }
    }
}

/// Why listening failed.
#[derive(Debug)]
pub enum ListenError {
    /// A process serves this socket already.
    InUse(PathBuf),
    /// Something that is no stream socket stands at this path.
    InTheWay(PathBuf, &'static str),
    /// The path does not fit into a socket address.
    PathTooLong(PathBuf),
    /// A system call failed.
    Io(PathBuf, &'static str, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::InUse(path) => write!(
                f,
                "{}: another process serves this socket; stop it or choose another path",
                path.display()
            ),
            ListenError::InTheWay(path, what) => write!(
                f,
                "{}: {what} is in the way and is left alone; remove it or choose another path",
                path.display()
            ),
            ListenError::PathTooLong(path) => write!(
                f,
                "{}: a socket path has at most {} bytes, this one has {}",
                path.display(),
                MAX_PATH,
                path.as_os_str().len()
            ),
            ListenError::Io(path, action, error) => {
                write!(f, "{}: cannot {action}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ListenError {}

/// `sizeof(sockaddr_un.sun_path)` less the terminating zero (`unix(7)`).
const MAX_PATH: usize = 107;

/// Who is at the other end, as the kernel says (`SO_PEERCRED`, `unix(7)`).
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The process, 0 if it is in a namespace that we cannot see.
    pub pid: u32,
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
}

/// What came of an accept.
pub enum Accepted {
    /// A connection.
    Peer(OwnedFd, Peer),
    /// A connection of somebody who may not connect; it is closed.
    NotAllowed(Peer),
    /// Nobody waits.
    Nobody,
    /// There are no descriptors or no memory left; try again later.
    Exhausted(io::Error),
}

/// The name of a socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    inode: (u64, u64),
}

impl Entry {
    /// Removes the name, if it still is that of our socket.
    fn remove(&self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The names of all listeners, for a process that ends without closing them.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Removes the names of all listeners of the process, which is about to end. Not to be called in a
/// forked child: they are its parent's.
pub fn remove_all_entries() {
    // Whoever holds the lock may have crashed.
    if let Ok(entries) = ENTRIES.try_lock() {
        entries.iter().for_each(Entry::remove);
    }
}

/// A listening unix stream socket. Closing it removes its directory entry.
#[derive(Debug)]
pub struct Listener {
    socket: Fd<UnixListener>,
    entry: Entry,
    allow: Allow,
}

impl Listener {
    /// Binds and listens.
    pub fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        // The host may change its working directory before we remove the entry.
        let path = std::path::absolute(&options.path)
            .map_err(|error| ListenError::Io(options.path.clone(), "use this path", error))?;
        let failed = |action| {
            let path = path.clone();
            move |errno: Errno| ListenError::Io(path, action, errno.into())
        };
        if path.as_os_str().len() > MAX_PATH {
            return Err(ListenError::PathTooLong(path));
        }
        let address = UnixAddr::new(&path).map_err(failed("use this path"))?;
        let _turn = wait_for_turn(&path);
        clear_the_way(&path, &address)?;

        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(failed("make a socket"))?;
        let mode = Mode::from_bits_truncate(options.mode & 0o777);
        // The entry takes its mode from the socket's own inode, less the umask: never more than
        // wanted, and without touching the umask, which belongs to the whole process.
        fchmod(&socket, mode).map_err(failed("set the mode"))?;
        bind(socket.as_raw_fd(), &address).map_err(failed("bind"))?;
        let inode =
            inode(&path).map_err(|error| ListenError::Io(path.clone(), "look at the socket", error))?;
        let entry = Entry { path: path.clone(), inode };
        let listener = Listener {
            socket: Fd::new(socket.into()),
            entry: entry.clone(),
            allow: options.allow.clone(),
        };
        entries().push(entry);

        // From here on an error drops the listener, which removes the entry.
        if options.owner.is_some() || options.group.is_some() {
            let (owner, group) = (options.owner.map(Uid::from_raw), options.group.map(Gid::from_raw));
            fchownat(AT_FDCWD, &path, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(failed("set owner and group"))?;
        }
        let has = std::fs::symlink_metadata(&path)
            .map_err(|error| ListenError::Io(path.clone(), "look at the socket", error))?;
        if has.mode() & 0o777 != mode.bits() {
            fchmodat(AT_FDCWD, &path, mode, FchmodatFlags::NoFollowSymlink)
                .map_err(failed("set the mode"))?;
        }
        let backlog = Backlog::new(1024).unwrap_or(Backlog::MAXCONN);
        listen(&listener.socket, backlog).map_err(failed("listen"))?;
        Ok(listener)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.entry.path
    }

    /// Takes the next connection. Never blocks.
    pub fn accept(&self) -> Accepted {
        loop {
            let accepted = self.socket.get().accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                Ok(OwnedFd::from(stream))
            });
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accepted::Nobody,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Accepted::Exhausted(error),
            };
            // Only a connection that is gone has no credentials.
            let Ok(peer) = getsockopt(&socket, sockopt::PeerCredentials) else { continue };
            let peer = Peer { pid: peer.pid() as u32, uid: peer.uid(), gid: peer.gid() };
            return if self.allow.permits(&peer) {
                Accepted::Peer(socket, peer)
            } else {
                Accepted::NotAllowed(peer)
            };
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A child of the host may hold a copy of the socket: nobody can connect to it from now on.
        let _ = shutdown(self.socket.get().as_raw_fd(), Shutdown::Both);
        self.entry.remove();
        entries().retain(|entry| *entry != self.entry);
    }
}

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Two processes that find the same dead socket must not both replace it: the second would take
/// the place of the first's live one. Who holds the directory's lock goes first. Anybody who can
/// read the directory can hold that lock, so after a second we go on without it.
fn wait_for_turn(path: &Path) -> Option<Flock<File>> {
    let mut directory = File::open(path.parent()?).ok()?;
    for _ in 0..100 {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((returned, _)) => directory = returned,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Removes a socket on which nobody listens.
fn clear_the_way(path: &Path, address: &UnixAddr) -> Result<(), ListenError> {
    let io_error = |action| {
        let path = path.to_path_buf();
        move |error: io::Error| ListenError::Io(path, action, error)
    };
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at this path")(error)),
    };
    if !found.is_socket() {
        let what = if found.is_symlink() {
            "a symbolic link"
        } else if found.is_dir() {
            "a directory"
        } else {
            "a file"
        };
        return Err(ListenError::InTheWay(path.to_path_buf(), what));
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| io_error("make a socket")(errno.into()))?;
    match connect(probe.as_raw_fd(), address) {
        // No room in the backlog: somebody listens, if not attentively.
        Ok(()) | Err(Errno::EAGAIN) => Err(ListenError::InUse(path.to_path_buf())),
        Err(Errno::ECONNREFUSED) => {
            std::fs::remove_file(path).map_err(io_error("remove the dead socket"))
        }
        Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EPROTOTYPE) => {
            Err(ListenError::InTheWay(path.to_path_buf(), "a socket of another type"))
        }
        Err(errno) => Err(io_error("find out whether this socket is in use")(errno.into())),
    }
}
