//! Captures: the packets of a netif in a file that tcpdump and Wireshark read.

mod format;

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, c_char, c_int};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::event::Event;
use crate::netif::{Direction, Hook, Netif, Verdict, c_text};
use crate::options;
use crate::packet::Packet;
use crate::sigpipe;
use crate::sys;
use format::{Format, Record};

/// A classic pcap file, which everything reads.
pub const HERALD_PCAP: c_int = 0;

/// A pcapng file: nanoseconds, the direction of each packet, the name of the netif.
pub const HERALD_PCAPNG: c_int = 1;

/// Options of pcap_dump_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_pcap_options {
    /// The size of this struct.
    pub size: usize,
    /// HERALD_PCAP or HERALD_PCAPNG.
    pub format: c_int,
    /// How many bytes of a packet are kept, at most; 0 for all.
    pub snaplen: u32,
}

/// So much is collected before it is written to the file.
const BUFFER: usize = 64 << 10;

/// So long does a packet wait for others to be written with.
const PATIENCE: Duration = Duration::from_secs(1);

/// libpcap's own limit of a packet in a file.
const LONGEST: u32 = 262_144;

/// A capture of one netif.
struct Capture {
    sink: Rc<Sink>,
    format: Format,
    snaplen: usize,
    /// Writes what waits, when it has waited long enough.
    later: Event,
}

/// The file, and what is still to be written to it.
struct Sink {
    file: File,
    buffer: RefCell<Vec<u8>>,
    waiting: Cell<bool>,
    /// What has made the capture stop.
    trouble: RefCell<Option<Error>>,
}

impl Sink {
    fn flush(&self) -> Result<()> {
        self.waiting.set(false);
        if let Some(error) = &*self.trouble.borrow() {
            return Err(error.clone());
        }
        let mut buffer = self.buffer.borrow_mut();
        let written = write_all(&self.file, &buffer);
        buffer.clear();
        written.map_err(|error| {
            let error = Error::io("the capture has stopped", &error);
            *self.trouble.borrow_mut() = Some(error.clone());
            error
        })
    }
}

fn write_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the bytes are ours to read. The file may be a pipe.
        let written = sigpipe::held_back(|| unsafe {
            libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len())
        });
        match usize::try_from(written) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

impl Capture {
    fn open(netif: &Netif, path: &Path, options: &herald_pcap_options) -> Result<Capture> {
        let format = match options.format {
            HERALD_PCAP => Format::Pcap,
            HERALD_PCAPNG => Format::Pcapng,
            other => {
                return Err(Error::invalid(format!(
                    "format {other}: must be HERALD_PCAP (0) or HERALD_PCAPNG (1)"
                )));
            }
        };
        let snaplen = match options.snaplen {
            0 => LONGEST,
            snaplen => snaplen.min(LONGEST),
        };
        // What goes over a network is not for everybody to read.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| Error::io(path.display(), &error))?;
        let mut buffer = Vec::with_capacity(BUFFER);
        format.header(netif.is_ether(), snaplen, &netif.name(), &mut buffer);
        let sink = Rc::new(Sink {
            file,
            buffer: RefCell::new(buffer),
            waiting: Cell::default(),
            trouble: RefCell::default(),
        });
        let later = Event::timer(core::stack()?.base(), {
            let sink = Rc::clone(&sink);
            move || {
                // Kept for whoever asks.
                let _ = sink.flush();
            }
        })?;
        // A file that cannot be written to is told at once.
        sink.flush()?;
        Ok(Capture { sink, format, snaplen: snaplen as usize, later })
    }

    fn take(&self, direction: Direction, packet: &Packet) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut left = self.snaplen;
        let pieces: Vec<&[u8]> = packet
            .pieces()
            .map(|piece| {
                let kept = piece.get(..left).unwrap_or(piece);
                left -= kept.len();
                kept
            })
            .collect();
        let record = Record {
            time: now,
            outgoing: direction == Direction::Out,
            length: packet.len(),
            pieces: &pieces,
        };
        let full = {
            let mut buffer = self.sink.buffer.borrow_mut();
            self.format.record(&record, &mut buffer);
            buffer.len() >= BUFFER
        };
        // Either's trouble is kept for whoever asks.
        if full {
            let _ = self.sink.flush();
        } else if !self.sink.waiting.replace(true) {
            let _ = self.later.add(Some(PATIENCE));
        }
    }
}

impl Hook for Capture {
    fn see(&self, _: &Netif, direction: Direction, packet: &Packet) -> Verdict {
        if self.sink.trouble.borrow().is_none() {
            self.take(direction, packet);
        }
        Verdict::Pass
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.sink.flush();
    }
}

/// Writes every packet that a netif receives and sends to a pcap file, which is created with mode 0600
/// or emptied. Packets are written some at a time, at the latest a second after they went by, and when
/// the capture or the netif is removed. The capture's place is between what is attached to the netif
/// already and lwIP: behind a nettest it shows what lwIP sees, before one what the wire does. Returns 0,
/// or -1 with errno; EBUSY if the netif has a capture.
///
/// # Safety
///
/// `file` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pcap_dump_add(netif: *mut sys::netif, file: *const c_char) -> c_int {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { pcap_dump_add_ex(netif, file, std::ptr::null()) }
}

/// pcap_dump_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `file` is NULL or a C string; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pcap_dump_add_ex(
    netif: *mut sys::netif,
    file: *const c_char,
    options: *const herald_pcap_options,
) -> c_int {
    status(|| {
        let netif = Netif::find(netif)?;
        if netif.find_hook::<Capture>().is_some() {
            return Err(Error::new(
                libc::EBUSY,
                "the netif has a capture: pcap_dump_remove() comes first",
            ));
        }
        // SAFETY: as the caller promised.
        let (file, options) =
            unsafe { (c_text(file, "the file")?, options::read_sized(options, "the options of pcap")?) };
        let path = Path::new(OsStr::from_bytes(file.to_bytes()));
        netif.add_hook(Rc::new(Capture::open(&netif, path, &options)?));
        Ok(())
    })
}

/// Ends the capture of a netif, and closes its file. Without a capture it does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn pcap_dump_remove(netif: *mut sys::netif) {
    answer((), || {
        let netif = Netif::find(netif)?;
        if let Some((id, _)) = netif.find_hook::<Capture>() {
            netif.remove_hook(id);
        }
        Ok(())
    });
}

/// Writes what the capture of a netif has not yet written. Returns 0, or -1 with errno: ENOENT if there
/// is no capture, or what made the capture stop, such as ENOSPC.
#[unsafe(no_mangle)]
pub extern "C" fn pcap_dump_flush(netif: *mut sys::netif) -> c_int {
    status(|| match Netif::find(netif)?.find_hook::<Capture>() {
        Some((_, capture)) => capture.sink.flush(),
        None => Err(Error::new(libc::ENOENT, "the netif has no capture")),
    })
}
