//! processif: a process whose standard input and output carry the packets.

use std::ffi::{OsStr, c_char, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::time::Duration;

use super::fd::FdDriver;
use super::{Driver, Netif, Setup, c_text};
use crate::core::{self, Ending};
use crate::error::{Error, Result, answer};
use crate::event::{Event, READ};
use crate::options;
use crate::packet::Packet;
use crate::sys;

/// Options of processif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_processif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address of an Ethernet netif; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// How long the process has after SIGTERM until SIGKILL when the netif is removed, in milliseconds; 0
    /// for 2000.
    pub grace_ms: u32,
}

struct ProcessDriver {
    packets: FdDriver,
    child: Option<Descendants>,
}

impl Driver for ProcessDriver {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.packets.transmit(packet)
    }

    fn failed(&self) {
        self.packets.failed();
    }
}

impl Drop for ProcessDriver {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        child.signal(libc::SIGTERM);
        // Whoever it is, it gets its time outside of this call.
        if let Ok(stack) = core::stack()
            && let Ok(event) = child.await_end(&stack)
        {
            let fd = child.ended.as_raw_fd();
            stack.keep_until_ended(Ending { fd, _event: event, _owner: Box::new(child) });
        }
    }
}

/// The process and its own children, which are a process group. Dropping it ends them.
struct Descendants {
    child: Child,
    ended: OwnedFd,
    grace: Duration,
}

impl Descendants {
    fn start(script: &OsStr, packets: OwnedFd, grace: Duration) -> Result<Descendants> {
        let output = packets.try_clone().map_err(|error| Error::io("processif", &error))?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).stdin(Stdio::from(packets)).stdout(Stdio::from(output));
        let child = command.process_group(0).spawn();
        let mut child = child.map_err(|error| Error::io("/bin/sh", &error))?;
        // SAFETY: a new descriptor, of a child that nobody has waited for.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
        if fd == -1 {
            let error = Error::os("pidfd_open");
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        // SAFETY: as above; descriptors are small.
        let ended = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Ok(Descendants { child, ended, grace })
    }

    fn signal(&self, signal: c_int) {
        // SAFETY: the group of a child that has not been waited for, so the number is still its own.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), signal) };
    }

    /// Waits for the end; when the grace is over, the drop makes it.
    fn await_end(&self, stack: &core::Stack) -> Result<Event> {
        let fd = self.ended.as_raw_fd();
        let event = Event::new(stack.base(), Some(fd), READ, move |_| {
            if let Ok(stack) = core::stack() {
                stack.ended(fd);
            }
        })?;
        event.add(Some(self.grace))?;
        Ok(event)
    }
}

impl Drop for Descendants {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        // A process that is killed ends. If the program has waited for it, there is nothing to wait for.
        let _ = self.child.wait();
    }
}

/// A seqpacket socketpair: each write is a packet, and the end of one side is seen by the other.
fn socketpair() -> Result<[OwnedFd; 2]> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, which are ours.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) == -1 {
            return Err(Error::os("socketpair"));
        }
        Ok(fds.map(|fd| OwnedFd::from_raw_fd(fd)))
    }
}

/// Adds a netif whose peer is a process: `script`, run by /bin/sh -c in a process group of its own. Each
/// write(2) of it to its standard output is a packet received, each packet sent is a read(2) of its standard
/// input; both are one socket of packets. Standard error is the program's. `ether`: whether the packets are
/// Ethernet frames, and not of IP. When the process ends, the netif goes down. When the netif is removed,
/// the process gets SIGTERM, and SIGKILL after two seconds. Returns NULL with errno.
///
/// # Safety
///
/// `script` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn processif_add(
    base: *mut sys::event_base,
    script: *const c_char,
    ether: c_int,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { processif_add_ex(base, script, ether, std::ptr::null()) }
}

/// processif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `script` is NULL or a C string; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn processif_add_ex(
    base: *mut sys::event_base,
    script: *const c_char,
    ether: c_int,
    options: *const herald_processif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        core::stack_on(base)?;
        // SAFETY: as the caller promised.
        let (script, options) = unsafe {
            (c_text(script, "the script")?, options::read_sized(options, "the options of processif")?)
        };
        let mut setup = Setup::new(b"pr", ether != 0);
        (setup.mtu, setup.hwaddr) = (options.mtu, options.hwaddr);
        let grace = if options.grace_ms == 0 { 2000 } else { options.grace_ms };
        let netif = Netif::add(&setup, |netif| {
            let [ours, theirs] = socketpair()?;
            let fd = ours.as_raw_fd();
            let packets = FdDriver::new(netif, fd, fd, vec![ours])?;
            let grace = Duration::from_millis(grace.into());
            let child = Descendants::start(OsStr::from_bytes(script.to_bytes()), theirs, grace)?;
            Ok(Box::new(ProcessDriver { packets, child: Some(child) }))
        })?;
        Ok(netif.raw())
    })
}
