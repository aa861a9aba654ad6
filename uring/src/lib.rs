//! Short messages to many sockets in one system call, over `io_uring(7)` (Linux 5.6).
//!
//! With one `send(2)` after the other, each reader that wakes up may take the processor from the sender
//! before the next one is sent to. In one system call all of them are sent to first.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use io_uring::{IoUring, Probe, opcode, types};

/// What is to be sent next, and what became of what was sent last.
pub struct Ring {
    uring: IoUring,
    bytes: Vec<u8>,
    sends: Vec<Send>,
}

struct Send {
    socket: RawFd,
    /// Where its bytes end.
    end: usize,
    /// As the kernel says it: how many bytes were taken, or an error number below zero.
    result: Option<i32>,
}

impl Ring {
    /// To how many sockets one call sends. The caller has the processor for as long as that takes.
    pub const SENDS: usize = 64;

    /// Opens a ring. Its descriptor is close-on-exec; a forked child does not have its memory.
    ///
    /// # Errors
    ///
    /// `EPERM` in a thread with a filter of system calls (`seccomp(2)`): many do not know these, and
    /// some kill who makes a call that they do not know. Otherwise that of `io_uring_setup(2)` or
    /// `io_uring_register(2)`, where the kernel does not have it, cannot send by it, or does not allow it.
    pub fn new() -> io::Result<Self> {
        // SAFETY: this call takes one number and touches no memory.
        if unsafe { libc::prctl(libc::PR_GET_SECCOMP) } > 0 {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        let uring = IoUring::builder().dontfork().build(Self::SENDS as u32)?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        Ok(Ring { uring, bytes: Vec::new(), sends: Vec::with_capacity(Self::SENDS) })
    }

    /// Whether [`Ring::send`] is due before the next [`Ring::push`].
    pub fn is_full(&self) -> bool {
        self.sends.len() >= Self::SENDS
    }

    /// Copies what is to be sent to a socket; nothing happens if the ring is full.
    pub fn push(&mut self, socket: RawFd, bytes: &[u8]) {
        if !self.is_full() {
            self.bytes.extend_from_slice(bytes);
            self.sends.push(Send { socket, end: self.bytes.len(), result: None });
        }
    }

    /// Sends what has been pushed, without waiting for room in any socket (`MSG_DONTWAIT`) and without
    /// signals (`MSG_NOSIGNAL`). The results come in the order of the pushes: how many bytes a socket
    /// took, or its error.
    ///
    /// # Errors
    ///
    /// That of `io_uring_enter(2)`. Nothing is known then of those whose result is none, and the
    /// ring is of no more use.
    pub fn send(&mut self) -> io::Result<()> {
        let mut begin = 0;
        for (index, Send { socket, end, .. }) in self.sends.iter().enumerate() {
            let bytes = &self.bytes[begin..*end];
            let send = opcode::Send::new(types::Fd(*socket), bytes.as_ptr(), bytes.len() as u32)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build()
                .user_data(index as u64);
            // SAFETY: the bytes are ours and stay where they are until the kernel is done with them:
            // `finish` returns when it is, or leaks them. The queue has room for all sends.
            let _ = unsafe { self.uring.submission().push(&send) };
            begin = *end;
        }
        let finished = self.finish();
        if finished.is_err() {
            mem::forget(mem::take(&mut self.bytes));
        }
        finished
    }

    /// Waits until every send has its result.
    fn finish(&mut self) -> io::Result<()> {
        let mut missing = self.sends.len();
        while missing > 0 {
            match self.uring.submit_and_wait(missing) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for completion in self.uring.completion() {
                if let Some(send) = self.sends.get_mut(completion.user_data() as usize) {
                    send.result = Some(completion.result());
                    missing -= 1;
                }
            }
        }
        Ok(())
    }

    /// What became of the sends, in the order of the pushes; none was known when [`Ring::send`] failed.
    pub fn results(&self) -> impl Iterator<Item = Option<io::Result<usize>>> {
        self.sends.iter().map(|send| {
            let result = send.result?;
            Some(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)))
        })
    }

    /// Makes the ring ready for the next pushes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sends.clear();
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring's descriptor is open as long as the ring.
        unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) }
    }
}

impl IntoRawFd for Ring {
    /// Gives the descriptor away, and leaks the memory that belongs to it.
    fn into_raw_fd(self) -> RawFd {
        let fd = self.uring.as_raw_fd();
        mem::forget(self);
        fd
    }
}
