//! A client of the event socket.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::frame::{self, Session};
use crate::lab::{SOON, wait_for};

/// A connection; what it has read and not yet been asked about waits in `bytes`.
pub struct Client {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Client {
    /// Connects, once there is something to connect to.
    pub fn connect(path: &Path) -> Client {
        let what = format!("something listens at {}", path.display());
        let stream = wait_for(&what, || UnixStream::connect(path).ok());
        Client { stream, bytes: Vec::new() }
    }

    /// Sends `bytes` and waits until the other side has read them. What it then raises it raises
    /// knowing them: it reads requests and sends events in one and the same thread.
    pub fn send(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).unwrap();
        wait_for("the request is read", || {
            let mut unread: libc::c_int = 0;
            // SAFETY: TIOCOUTQ stores one int, and `unread` is one.
            let result = unsafe { libc::ioctl(self.stream.as_raw_fd(), libc::TIOCOUTQ, &mut unread) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            (unread == 0).then_some(())
        });
    }

    /// Sends `bytes`, though the other side may have closed.
    pub fn send_only(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
    }

    /// Closes our half.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads what comes until `enough`; false if the time or the stream ends first.
    fn read_until(&mut self, limit: Duration, enough: impl Fn(&[u8]) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut chunk = [0; 4096];
        while !enough(&self.bytes) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => self.bytes.extend(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return false,
                Err(e) => panic!("read: {e}"),
            }
        }
        true
    }

    /// Takes these very bytes off the stream.
    pub fn expect(&mut self, bytes: &[u8]) {
        let whole = self.read_until(SOON, |got| got.len() >= bytes.len());
        assert!(
            whole && self.bytes.starts_with(bytes),
            "expected {bytes:02x?}\n     got {:02x?}",
            self.bytes
        );
        self.bytes.drain(..bytes.len());
    }

    /// Takes frames off the stream until `counted` of one event have come.
    pub fn expect_events(&mut self, event: u16, counted: usize) {
        let count = |mut bytes: &[u8]| {
            let mut seen = 0;
            while let Some((found, _, rest)) = frame::split(bytes) {
                seen += usize::from(found == event);
                bytes = rest;
            }
            (seen, bytes.len())
        };
        let whole = self.read_until(SOON, |got| count(got).0 >= counted);
        assert!(whole, "{} of {counted} events {event:#06x}", count(&self.bytes).0);
        let torn = count(&self.bytes).1;
        self.bytes.drain(..self.bytes.len() - torn);
    }

    /// Takes frames off the stream until `session` has come and gone, whatever others do.
    pub fn expect_life(&mut self, session: &Session) {
        let frames_of_it = |mut bytes: &[u8]| {
            let mut found: Vec<u8> = Vec::new();
            while let Some((_, data, rest)) = frame::split(bytes) {
                if data.starts_with(&session.created()[4..]) {
                    found.extend(&bytes[..bytes.len() - rest.len()]);
                }
                bytes = rest;
            }
            found
        };
        let life = session.life();
        self.read_until(SOON, |got| frames_of_it(got).len() >= life.len());
        assert_eq!(frames_of_it(&self.bytes), life, "the frames of {session:?}");
        self.bytes.clear();
    }

    /// Asserts that nothing has come.
    pub fn expect_nothing(&mut self) {
        self.drain();
        assert!(self.bytes.is_empty(), "unexpected {:02x?}", self.bytes);
    }

    /// Reads what is there, without waiting; false if the stream has ended.
    pub fn drain(&mut self) -> bool {
        let mut chunk = [0; 65536];
        self.stream.set_nonblocking(true).unwrap();
        let open = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break false,
                Ok(n) => self.bytes.extend(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break true,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => break false,
                Err(e) => panic!("read: {e}"),
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        open
    }

    /// Takes all whole frames that have been read; how many there were.
    pub fn take_whole(&mut self) -> usize {
        let (mut bytes, mut count) = (&self.bytes[..], 0);
        while let Some((_, _, rest)) = frame::split(bytes) {
            (bytes, count) = (rest, count + 1);
        }
        self.bytes = bytes.to_vec();
        count
    }

    /// Waits for the end of the stream. Events may come before it, but no torn one.
    pub fn expect_end(&mut self) {
        wait_for("the stream ends", || (!self.drain()).then_some(()));
        self.take_whole();
        assert!(self.bytes.is_empty(), "a torn frame: {:02x?}", self.bytes);
    }
}
