//! Clients of the event socket.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;

use super::wire::*;
use super::{Host, SOON, c_example, wait_for};

/// A connection; what it has read and not yet been asked about waits in `bytes`.
pub struct Client {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Client {
    /// Connects; panics if it cannot.
    pub fn connect(path: &Path) -> Client {
        Self::try_connect(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Connects, if it can.
    pub fn try_connect(path: &Path) -> io::Result<Client> {
        Ok(Client { stream: UnixStream::connect(path)?, bytes: Vec::new() })
    }

    /// Sends `bytes` and waits until the other side has read them all. What it then publishes it
    /// publishes knowing them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.send_only(bytes);
        self.wait_until_read();
    }

    /// Sends `bytes` with copies of descriptors attached, and waits until they are read.
    pub fn send_with_descriptors(&mut self, bytes: &[u8], descriptors: &[RawFd]) {
        let size = size_of_val(descriptors) as u32;
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
        // Of u64, for the alignment of the header.
        let mut control = vec![0u64; space.div_ceil(8)];
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all zeroes is an empty message.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), space);
        // SAFETY: `control` has room for one header with these descriptors behind it.
        unsafe {
            let header = &mut *libc::CMSG_FIRSTHDR(&message);
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = libc::SCM_RIGHTS;
            header.cmsg_len = len;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            data.copy_from_nonoverlapping(descriptors.as_ptr(), descriptors.len());
        }
        // SAFETY: the message and what it points to are alive.
        let sent = unsafe { libc::sendmsg(self.stream.as_raw_fd(), &message, 0) };
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
        self.wait_until_read();
    }

    /// Waits until the other side has read, or by closing thrown away, what was sent.
    pub fn wait_until_read(&self) {
        wait_for("the request is read", || (self.unread() == 0).then_some(()));
    }

    /// Sends `bytes`, whether or not anyone reads them.
    pub fn send_only(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what can be sent without waiting; an error once the connection is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.stream.as_raw_fd(), bytes, flags) {
            Err(Errno::EAGAIN) => Ok(0),
            sent => sent,
        }
    }

    /// The connection itself.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// How much of what was sent has not been read.
    fn unread(&self) -> libc::c_int {
        let mut unread = 0;
        // SAFETY: TIOCOUTQ stores one int, and `unread` is one.
        let result = unsafe { libc::ioctl(self.stream.as_raw_fd(), libc::TIOCOUTQ, &mut unread) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        unread
    }

    /// Puts events on the mask.
    pub fn subscribe(&mut self, mask: u16) {
        self.send(&request(mask, 1));
    }

    /// Takes events off the mask.
    pub fn unsubscribe(&mut self, mask: u16) {
        self.send(&request(mask, 0));
    }

    /// Closes our half.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads what comes until `enough`; false if the stream ends first. Panics if neither comes.
    fn read_until(&mut self, what: &str, mut enough: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        let end = Instant::now() + SOON;
        let mut chunk = [0; 65536];
        while !enough(&mut self.bytes) {
            let left = end.saturating_duration_since(Instant::now());
            let late = || format!("{what}: not within {SOON:?}; unread: {:02x?}", self.bytes);
            assert!(!left.is_zero(), "{}", late());
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => self.bytes.extend(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("{}", late()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return false,
                Err(e) => panic!("{what}: {e}"),
            }
        }
        true
    }

    /// Takes the next event off the stream; none at its end.
    pub fn next(&mut self) -> Option<(u16, Vec<u8>)> {
        if !self.read_until("an event", |bytes| split(bytes).is_some()) {
            return None;
        }
        let (event, data, rest) = split(&self.bytes)?;
        let (data, rest) = (data.to_vec(), rest.to_vec());
        self.bytes = rest;
        Some((event, data))
    }

    /// Takes the events that are there off the stream, without waiting.
    pub fn events_so_far(&mut self) -> Vec<(u16, Vec<u8>)> {
        assert!(self.read_what_is_there(), "the stream has ended");
        let mut events = Vec::new();
        let mut rest = &self.bytes[..];
        while let Some((event, data, tail)) = split(rest) {
            events.push((event, data.to_vec()));
            rest = tail;
        }
        self.bytes = rest.to_vec();
        events
    }

    /// Takes these very bytes off the stream.
    pub fn expect(&mut self, expected: &[u8]) {
        let what = format!("{expected:02x?}");
        self.read_until(&what, |bytes| bytes.len() >= expected.len() || !expected.starts_with(bytes));
        assert!(
            self.bytes.starts_with(expected),
            "expected {expected:02x?}\n     got {:02x?}",
            self.bytes
        );
        self.bytes.drain(..expected.len());
    }

    /// Asserts that nothing has come. Says something only after a [`Fence`] or an event that this
    /// client was to see as well.
    pub fn expect_nothing(&mut self) {
        assert!(self.read_what_is_there(), "the stream has ended");
        assert!(self.bytes.is_empty(), "unexpected: {:02x?}", self.bytes);
    }

    /// Asserts that these bytes, then the end of the stream, is what comes.
    pub fn expect_last(&mut self, expected: &[u8]) {
        self.read_until("the end of the stream", |_| false);
        assert_eq!(self.bytes, expected);
    }

    /// Asserts that the stream ends, and that nothing more comes before.
    pub fn expect_end(&mut self) {
        self.expect_last(&[]);
    }

    /// Reads to the end, whatever comes.
    pub fn skip_to_end(&mut self) {
        self.read_until("the end of the stream", |bytes| {
            bytes.clear();
            false
        });
    }

    /// Reads what is there, without waiting; false if the stream has ended.
    pub fn read_what_is_there(&mut self) -> bool {
        let mut chunk = [0; 65536];
        loop {
            match recv(self.stream.as_raw_fd(), &mut chunk, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => return false,
                Ok(n) => self.bytes.extend(&chunk[..n]),
                Err(Errno::EAGAIN) => return true,
                Err(e) => panic!("read: {e}"),
            }
        }
    }

    /// Reads this many bytes.
    pub fn read_some(&mut self, count: usize) {
        let had = self.bytes.len();
        self.bytes.resize(had + count, 0);
        self.stream.read_exact(&mut self.bytes[had..]).expect("the bytes that a full socket holds");
    }

    /// Reads floods until `published` events are accounted for.
    pub fn account(&mut self, mut account: Account, published: u64) -> Account {
        let whole = self.read_until("the whole flood", |bytes| {
            account.take(bytes, published);
            account.position >= published
        });
        assert!(whole, "the stream ended: {account:?}");
        assert_eq!(account.position, published, "more than was published: {account:?}");
        account
    }

    /// Reads floods up to the end of the stream, as fast as it can.
    pub fn account_to_end(&mut self, mut account: Account) -> Account {
        self.read_until("the end of the stream", |_| false);
        account.take(&mut self.bytes, u64::MAX);
        account
    }
}

/// A client whose only purpose is to know when everything that the host published before has been
/// written to everybody.
pub struct Fence {
    client: Client,
    passed: u16,
}

impl Fence {
    /// It takes the place of one client.
    pub fn new(host: &Host) -> Fence {
        Fence { client: host.subscriber(TUNNEL_MODIFIED), passed: 0 }
    }

    /// Returns once all has been written. The result is what those see who want TUNNEL_MODIFIED.
    pub fn pass(&mut self, host: &mut Host) -> Vec<u8> {
        let mut seen = Vec::new();
        // Twice: when the first is here, others may still be written to in the same round.
        for _ in 0..2 {
            self.passed += 1;
            host.ok(&format!("tunnel-modified {}", self.passed));
            seen.extend(frame(TUNNEL_MODIFIED, &[self.passed]));
            while self.client.next().expect("the fence is closed").1 != words(&[self.passed]) {}
        }
        seen
    }
}

/// The example client, a process of its own. Dropping it kills it.
pub struct EventClient(Child);

impl EventClient {
    /// Starts it; what it prints goes to a file.
    pub fn start(path: &Path, options: &[&str], output: &Path) -> EventClient {
        let mut command = Command::new(c_example("event_client"));
        command.stdout(fs::File::create(output).unwrap());
        Self::spawn(command, path, options)
    }

    /// Starts it as another user, for whom the socket's directory is opened.
    pub fn start_as(uid: u32, gid: u32, path: &Path, options: &[&str]) -> EventClient {
        let dir = path.parent().unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        // The target directory may be closed to others.
        let copy = dir.join("event_client");
        if !copy.exists() {
            fs::copy(c_example("event_client"), &copy).unwrap();
        }
        let mut command = Command::new(copy);
        command.uid(uid).gid(gid).current_dir("/").stdout(Stdio::piped());
        Self::spawn(command, path, options)
    }

    fn spawn(mut command: Command, path: &Path, options: &[&str]) -> EventClient {
        command.args(options).arg(path);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        EventClient(command.spawn().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end: what it printed, if not to a file, and what it complained of.
    pub fn wait(mut self) -> (String, String) {
        wait_for("the client ends", || self.has_ended().then_some(()));
        let (mut printed, mut complaint) = (String::new(), String::new());
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut printed).unwrap();
        }
        self.0.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        (printed, complaint)
    }
}

impl Drop for EventClient {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
