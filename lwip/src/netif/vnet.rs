//! Descriptors of the kernel that carry a header for its offloads before each packet (struct
//! virtio_net_hdr of linux/virtio_net.h): TUN with IFF_VNET_HDR, AF_PACKET with PACKET_VNET_HDR.
//!
//! In: a packet may be a burst of TCP of up to 64 KiB, and lack its checksum. lwIP takes it in one piece,
//! once the checksum is there. Out: lwIP's segments of one turn of the loop become bursts.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::{Rc, Weak};

use super::reader::{BURST, Read, Reader};
use super::segment::Segment;
use super::{Driver, ETHERNET, Netif, checksum};
use crate::core::{self, Collect};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::packet::{MAX, Packet};

/// struct virtio_net_hdr, in this machine's byte order.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

const HEADER: usize = size_of::<Header>();
const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// A flag beside the type.
const GSO_ECN: u8 = 0x80;

/// Where TCP has its checksum.
const TCP_CHECKSUM: u16 = 16;

/// The most bytes of link, IP and TCP headers of a segment.
const HEADERS: usize = ETHERNET + 40 + 60;

/// So many pieces does a burst have at most; the kernel takes 1024.
const PIECES: usize = 64;

pub(super) struct VnetDriver {
    readable: Event,
    out: Rc<Out>,
}

impl VnetDriver {
    /// A driver over a non-blocking descriptor. `bursts`: whether the kernel may be given them.
    pub fn new(netif: Weak<Netif>, fd: OwnedFd, ether: bool, bursts: bool) -> Result<VnetDriver> {
        let stack = core::stack()?;
        let raw = fd.as_raw_fd();
        let link = if ether { ETHERNET } else { 0 };
        let reader = Reader::default();
        let weak = netif.clone();
        let readable = Event::readable(stack.base(), raw, move || {
            if let Some(netif) = weak.upgrade() {
                read(&netif, &reader, raw, link);
            }
        })?;
        let out = Rc::new(Out {
            fd,
            link,
            bursts,
            netif,
            burst: RefCell::default(),
            promised: Cell::default(),
        });
        Ok(VnetDriver { readable, out })
    }
}

impl Driver for VnetDriver {
    fn transmit(&self, packet: &Packet) -> Result<()> {
        self.out.transmit(packet)
    }

    fn failed(&self) {
        self.readable.del();
    }
}

fn read(netif: &Netif, reader: &Reader, fd: i32, link: usize) {
    for _ in 0..BURST {
        let mut header = Header::default();
        let read = reader.read_with(MAX, |[packet, _]| {
            let vectors = [libc::iovec { iov_base: (&raw mut header).cast(), iov_len: HEADER }, *packet];
            // SAFETY: the vectors are of memory that is ours to write; any bytes are a header.
            let length = unsafe { libc::readv(fd, vectors.as_ptr(), vectors.len() as i32) };
            if length < 0 { length } else { (length - HEADER as isize).max(0) }
        });
        match read {
            Ok(Read::Packet(packet)) => {
                if !complete(&header, &packet, link) {
                    netif.counters().receive_error();
                } else if !netif.receive(packet) {
                    return;
                }
            }
            Ok(Read::Nothing) => return,
            Ok(Read::Empty) => netif.counters().receive_error(),
            // A packet of AF_PACKET that the header cannot describe.
            Err(error) if error.errno == libc::EINVAL => netif.counters().receive_error(),
            Err(error) => {
                netif.counters().receive_error();
                return netif.fail_if_final(error);
            }
        }
    }
}

/// Computes the checksum that the kernel has left out; false if the packet is nothing for lwIP: a burst of
/// something else than TCP, which would have to be cut, or one whose header points out of it.
fn complete(header: &Header, packet: &Packet, link: usize) -> bool {
    if !matches!(header.gso_type & !GSO_ECN, 0 | GSO_TCPV4 | GSO_TCPV6) {
        return false;
    }
    if header.flags & NEEDS_CSUM == 0 {
        return true;
    }
    let start = usize::from(header.csum_start);
    let place = start + usize::from(header.csum_offset);
    // SAFETY: the packet is in one piece and has just been read: nobody else refers to it.
    let bytes = unsafe { std::slice::from_raw_parts_mut(packet.payload(), packet.len()) };
    if start < link || bytes.len() < start {
        return false;
    }
    let sum = checksum::fold(checksum::add(0, bytes.get(start..).unwrap_or_default()));
    match bytes.get_mut(place..place + 2) {
        // UDP means "none" by zero (RFC 768).
        Some(checksum) => {
            checksum.copy_from_slice(&if sum == 0xffff { sum } else { !sum }.to_be_bytes())
        }
        None => return false,
    }
    true
}

/// The way out.
struct Out {
    fd: OwnedFd,
    link: usize,
    bursts: bool,
    netif: Weak<Netif>,
    burst: RefCell<Option<Burst>>,
    /// Whether the loop will see to the burst.
    promised: Cell<bool>,
}

impl Drop for Out {
    fn drop(&mut self) {
        // lwIP's farewells of the netif that goes.
        self.end_burst();
    }
}

impl Collect for Out {
    fn flush(&self) {
        self.promised.set(false);
        self.end_burst();
    }
}

/// Segments that follow each other.
struct Burst {
    first: Segment,
    /// All data, that of the first included.
    bytes: usize,
    push: bool,
    packets: Vec<Packet>,
}

impl Out {
    fn transmit(self: &Rc<Self>, packet: &Packet) -> Result<()> {
        // lwIP sends TCP in one piece (LWIP_NETIF_TX_SINGLE_PBUF).
        let segment = match packet.first().len() == packet.len() && self.bursts {
            true => Segment::find(packet.first(), self.link),
            false => None,
        };
        let Some(segment) = segment else {
            self.end_burst();
            return self.write(
                &Header::default(),
                &[],
                [packet.first()].into_iter().chain(packet.pieces().skip(1)),
            );
        };
        if self.joins(&segment, packet) {
            return Ok(());
        }
        self.end_burst();
        // lwIP leaves what it has sent alone while there is a reference to it.
        let push = segment.ends_burst();
        let packets = vec![packet.share()];
        *self.burst.borrow_mut() = Some(Burst { first: segment, bytes: segment.length, push, packets });
        if push {
            self.end_burst();
            return Ok(());
        }
        self.promise()
    }

    /// Adds a segment to the burst, if it belongs to it.
    fn joins(self: &Rc<Self>, segment: &Segment, packet: &Packet) -> bool {
        let full = {
            let mut burst = self.burst.borrow_mut();
            let Some(burst) = &mut *burst else { return false };
            let Some(first) = burst.packets.first() else { return false };
            let whole = burst.first.data + burst.bytes + segment.length;
            if whole - self.link > MAX
                || !burst.first.continues(first.first(), burst.bytes, self.link, segment, packet.first())
            {
                return false;
            }
            burst.bytes += segment.length;
            burst.push |= segment.ends_burst();
            burst.packets.push(packet.share());
            // A shorter one ends a burst: the kernel cuts it into equal parts.
            burst.push || segment.length < burst.first.length || burst.packets.len() == PIECES
        };
        if full {
            // lwIP has been told that the first of them are sent: this one, too, is or is lost.
            self.end_burst();
        }
        true
    }

    fn promise(self: &Rc<Self>) -> Result<()> {
        if !self.promised.replace(true) {
            let own: Weak<dyn Collect> = Rc::<Out>::downgrade(self);
            core::stack()?.flush_at_rest(own);
        }
        Ok(())
    }

    /// Writes the burst. An error is that of packets that count as sent already, so it is counted here.
    fn end_burst(&self) {
        let Some(burst) = self.burst.borrow_mut().take() else { return };
        let written = match burst.packets.as_slice() {
            [alone] => self.write(&Header::default(), &[], [alone.first()].into_iter()),
            several => self.write_burst(&burst, several),
        };
        if let Err(error) = written
            && let Some(netif) = self.netif.upgrade()
        {
            netif.counters().send_error();
            netif.fail_if_final(error);
        }
    }

    fn write_burst(&self, burst: &Burst, packets: &[Packet]) -> Result<()> {
        let first = &burst.first;
        let Some(source) = packets.first().and_then(|packet| packet.first().get(..first.data)) else {
            return Ok(());
        };
        let mut headers = [0u8; HEADERS];
        let Some(headers) = headers.get_mut(..source.len()) else { return Ok(()) };
        headers.copy_from_slice(source);
        first.make_burst(headers, self.link, burst.bytes, burst.push);
        let header = Header {
            flags: NEEDS_CSUM,
            gso_type: if first.ipv6 { GSO_TCPV6 } else { GSO_TCPV4 },
            hdr_len: first.data as u16,
            gso_size: first.length as u16,
            csum_start: first.tcp as u16,
            csum_offset: TCP_CHECKSUM,
        };
        self.write(
            &header,
            headers,
            packets.iter().filter_map(|packet| packet.first().get(first.data..)),
        )
    }

    fn write<'a>(
        &self,
        header: &Header,
        headers: &[u8],
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<()> {
        let vector = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut vectors = [vector(&[]); PIECES + 2];
        vectors[0] = libc::iovec { iov_base: (&raw const *header).cast_mut().cast(), iov_len: HEADER };
        vectors[1] = vector(headers);
        let mut count = 2;
        for (place, piece) in vectors.iter_mut().skip(2).zip(pieces) {
            *place = vector(piece);
            count += 1;
        }
        loop {
            // SAFETY: the vectors are of what is only read.
            let written = unsafe { libc::writev(self.fd.as_raw_fd(), vectors.as_ptr(), count) };
            if written >= 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                // A TUN interface that is down: it may come up again.
                error if error.raw_os_error() == Some(libc::EIO) => {
                    return Err(Error::new(libc::ENETDOWN, "the kernel's interface is down"));
                }
                error => return Err(Error::io("write", &error)),
            }
        }
    }
}
