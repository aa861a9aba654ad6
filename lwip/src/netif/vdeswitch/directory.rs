//! The directory of a switch: its sockets, whose it is, and what others have left in it.

use std::fs::{self, DirBuilder, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::netif::unix::{self, Entry, PATH_ROOM};

/// What the longest name in the directory takes, beside the directory's own: `/`, a client's number,
/// a dot and a process's number.
const NAMES: usize = 1 + 20 + 1 + 10;

/// A directory that is the switch's while this lives.
pub(super) struct Directory {
    listener: UnixListener,
    mode: u32,
    // Dropped in this order.
    _control: Entry,
    _made: Option<Made>,
    path: PathBuf,
}

/// A directory that we have made, and take away if nobody has put anything into it.
struct Made {
    path: PathBuf,
    process: u32,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Not empty: then somebody uses it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl Directory {
    /// Takes a directory, unless a live switch has it.
    pub fn take(path: &Path, mode: u32) -> Result<Directory> {
        let io_error = |error: std::io::Error| Error::io(path.display(), &error);
        if path.as_os_str().len() + NAMES >= PATH_ROOM {
            return Err(Error::new(
                libc::ENAMETOOLONG,
                format!("{}: longer than {} bytes", path.display(), PATH_ROOM - NAMES - 1),
            ));
        }
        // Clients are told where our sockets are, wherever they run.
        let path = &std::path::absolute(path).map_err(io_error)?;
        // Whoever may connect may search.
        let search = mode | (mode & 0o444) >> 2;
        let made = match DirBuilder::new().mode(search | 0o700).create(path) {
            Ok(()) => Some(Made { path: path.clone(), process: std::process::id() }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            Err(error) => return Err(io_error(error)),
        };
        let lock = File::open(path).map_err(io_error)?;
        wait_for_turn(&lock);
        let control = path.join("ctl");
        clear_the_way(&control)?;
        clear_leftovers(path);
        let socket = unix::socket(libc::SOCK_STREAM)?;
        unix::bind(&socket, &control, mode)?;
        let entry = Entry::of(control);
        // SAFETY: the socket is bound.
        if unsafe { libc::listen(socket.as_raw_fd(), 128) } != 0 {
            return Err(Error::os(entry.path.display()));
        }
        Ok(Directory {
            listener: UnixListener::from(socket),
            mode,
            _control: entry,
            _made: made,
            path: path.clone(),
        })
    }

    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Gives a socket for a client its name.
    pub fn bind(&self, socket: &OwnedFd, client: u64) -> Result<Entry> {
        let path = self.path.join(format!("{client:03}.{}", std::process::id()));
        unix::bind(socket, &path, self.mode)?;
        Ok(Entry::of(path))
    }
}

/// Two switches that find a dead one must not both take its place: who holds the directory's lock goes
/// first. Anybody who can read the directory can hold it, so after a second we go on without it.
fn wait_for_turn(directory: &File) {
    for _ in 0..100 {
        // SAFETY: locks an open file; closing it unlocks.
        if unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes the socket of a dead switch.
fn clear_the_way(control: &Path) -> Result<()> {
    let shown = control.display();
    let found = match fs::symlink_metadata(control) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(shown, &error)),
    };
    if !found.is_socket() {
        return Err(Error::new(
            libc::EEXIST,
            format!("{shown} is not a socket: remove it, or name another directory"),
        ));
    }
    if unix::is_live(control, libc::SOCK_STREAM)? {
        return Err(Error::new(
            libc::EADDRINUSE,
            format!("a VDE switch lives at {shown}: end it, or name another directory"),
        ));
    }
    fs::remove_file(control).map_err(|error| Error::io(shown, &error))
}

/// Removes what a dead switch and its dead clients have left. What cannot be removed stays.
fn clear_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if is_socket
            && is_leftover(entry.file_name().as_bytes())
            && unix::is_live(&entry.path(), libc::SOCK_DGRAM).is_ok_and(|live| !live)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether switches (`003.77`) or their clients (`.4711-00000`) make sockets of that name.
fn is_leftover(name: &[u8]) -> bool {
    let numbers = |name: &[u8], between: u8| {
        let mut parts = name.splitn(2, |&byte| byte == between);
        let mut number =
            || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
        number() && number()
    };
    match name.split_first() {
        Some((b'.', rest)) => numbers(rest, b'-'),
        _ => numbers(name, b'.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sockets_of_switches_and_clients_are_left_over() {
        for name in ["001.6", "12.4711", ".20644-00000"] {
            assert!(is_leftover(name.as_bytes()), "{name}");
        }
        for name in ["ctl", "", ".", "1", ".1", "1.", "1.2.3", "a.1", ".1-", ".-1", "mgmt"] {
            assert!(!is_leftover(name.as_bytes()), "{name}");
        }
    }
}
