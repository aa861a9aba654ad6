//! Sockets of the Unix domain, made so that they harm nobody: non-blocking, with their mode set before
//! anybody can see them, and without following what a peer says further than it may go itself.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What sun_path has room for, its final zero included.
pub(super) const PATH_ROOM: usize = 108;

/// A new socket of a kind: SOCK_STREAM or SOCK_DGRAM.
pub(super) fn socket(kind: c_int) -> Result<OwnedFd> {
    // SAFETY: makes a descriptor, which is then owned.
    unsafe {
        match libc::socket(libc::AF_UNIX, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) {
            -1 => Err(Error::os("socket")),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn address(path: &Path) -> Result<libc::sockaddr_un> {
    // SAFETY: all-zero is an address without a path.
    let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_un>() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() >= PATH_ROOM || bytes.contains(&0) {
        return Err(Error::new(
            libc::ENAMETOOLONG,
            format!("{}: the path of a socket is 1 to {} bytes", path.display(), PATH_ROOM - 1),
        ));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as _;
    }
    Ok(address)
}

/// Gives a socket a place in the file system. The mode is never more than this, less the umask.
pub(super) fn bind(socket: &OwnedFd, path: &Path, mode: u32) -> Result<()> {
    let address = address(path)?;
    // SAFETY: the address is as long as is said. The entry takes its mode from the socket's own inode.
    let bound = unsafe {
        libc::fchmod(socket.as_raw_fd(), mode & 0o777);
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    match bound {
        0 => Ok(()),
        _ => Err(Error::os(path.display())),
    }
}

/// Connects a socket; a listener without room is EAGAIN.
pub(super) fn connect(socket: &OwnedFd, path: &Path) -> Result<()> {
    let address = address(path)?;
    // SAFETY: the address is as long as is said.
    let connected = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    match connected {
        0 => Ok(()),
        _ => Err(Error::os(path.display())),
    }
}

/// Connects to a path that a peer has named: only to a socket that belongs to the peer's user, or
/// naming one would be a way to have us write to sockets that the peer itself cannot.
pub(super) fn connect_for(socket: &OwnedFd, path: &Path, uid: u32) -> Result<()> {
    let found = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = found.map_err(|error| Error::io(path.display(), &error))?;
    if !metadata.file_type().is_socket() || metadata.uid() != uid {
        return Err(Error::new(
            libc::EACCES,
            format!("{}: not a socket of user {uid}, who asks for it", path.display()),
        ));
    }
    // What was looked at is what is connected to, whatever the path is now.
    connect(socket, Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// The user at the other end of a stream.
pub(super) fn peer_uid(stream: &impl AsRawFd) -> Result<u32> {
    // SAFETY: a ucred is plain numbers, and as long as is said.
    unsafe {
        let mut peer = std::mem::zeroed::<libc::ucred>();
        let mut length = size_of_val(&peer) as libc::socklen_t;
        let got = libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut length,
        );
        match got {
            0 => Ok(peer.uid),
            _ => Err(Error::os("SO_PEERCRED")),
        }
    }
}

/// Whether somebody has the socket at this path open. Asks by connecting, which a datagram socket does
/// not notice.
pub(super) fn is_live(path: &Path, kind: c_int) -> Result<bool> {
    match connect(&socket(kind)?, path) {
        // No room in the backlog: somebody listens, if not attentively.
        Ok(()) => Ok(true),
        Err(error) if error.errno == libc::EAGAIN => Ok(true),
        // EPERM: a datagram socket that is connected to another.
        Err(error) if error.errno == libc::EPERM => Ok(true),
        Err(error) if matches!(error.errno, libc::ECONNREFUSED | libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The entry of a socket of ours in the file system, removed when dropped: unless it is by then somebody
/// else's, or we are a child that has been forked.
#[derive(Debug)]
pub(super) struct Entry {
    pub path: PathBuf,
    inode: Option<(u64, u64)>,
    process: u32,
}

impl Entry {
    /// The entry of a socket that has just been bound.
    pub fn of(path: PathBuf) -> Entry {
        Entry { inode: inode(&path).ok(), path, process: std::process::id() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.process == std::process::id()
            && self.inode.is_some()
            && inode(&self.path).ok() == self.inode
        {
            // If it cannot be removed it stays, and the next to come finds it dead.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
