//! Packets of IP that are more than noise, and a program that answers them.

use std::ptr::null_mut;

use herald_lwip::core::libevent_timeouts_init;
use herald_lwip::sys;

unsafe extern "C" fn accept(_: *mut libc::c_void, pcb: *mut sys::tcp_pcb, _: sys::err_t) -> sys::err_t {
    // SAFETY: lwIP's new connection.
    unsafe { sys::tcp_recv(pcb, Some(received)) };
    0
}

unsafe extern "C" fn received(
    _: *mut libc::c_void,
    pcb: *mut sys::tcp_pcb,
    packet: *mut sys::pbuf,
    _: sys::err_t,
) -> sys::err_t {
    // SAFETY: the packet is ours now, the connection lwIP's. What came is sent back.
    unsafe {
        if packet.is_null() {
            sys::tcp_close(pcb);
        } else {
            sys::tcp_write(pcb, (*packet).payload, (*packet).len, sys::TCP_WRITE_FLAG_COPY as u8);
            sys::tcp_recved(pcb, (*packet).tot_len);
            sys::pbuf_free(packet);
        }
    }
    0
}

unsafe extern "C" fn echo(
    _: *mut libc::c_void,
    pcb: *mut sys::udp_pcb,
    packet: *mut sys::pbuf,
    from: *const sys::ip_addr_t,
    port: u16,
) {
    // SAFETY: the packet is ours.
    unsafe {
        sys::udp_sendto(pcb, packet, from, port);
        sys::pbuf_free(packet);
    }
}

/// Starts lwIP, with servers of TCP and UDP on port 7 that send back what comes.
pub fn start() -> *mut sys::event_base {
    // SAFETY: the calls of a program that serves TCP and UDP on port 7.
    unsafe {
        let base = sys::event_base_new();
        libevent_timeouts_init(base);
        let any = &raw const sys::ip_addr_any_type;
        let tcp = sys::tcp_new_ip_type(sys::IPADDR_TYPE_ANY as u8);
        assert_eq!(sys::tcp_bind(tcp, any, 7), 0);
        sys::tcp_accept(sys::tcp_listen_with_backlog(tcp, 255), Some(accept));
        let udp = sys::udp_new_ip_type(sys::IPADDR_TYPE_ANY as u8);
        assert_eq!(sys::udp_bind(udp, any, 7), 0);
        sys::udp_recv(udp, Some(echo), null_mut());
        base
    }
}

/// The Internet checksum of bytes and what goes before them.
fn checksum(before: u32, bytes: &[u8]) -> [u8; 2] {
    let mut sum = before;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// Puts the checksums of an IP packet right, as far as it is one.
pub fn correct(packet: &mut [u8]) {
    let (header, protocol, addresses) = match packet {
        [first, ..] if *first >> 4 == 4 && packet.len() >= 20 => {
            let header = 4 * usize::from(packet[0] & 15);
            if header < 20 || header > packet.len() {
                return;
            }
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            packet[10..12].fill(0);
            let sum = checksum(0, &packet[..header]);
            packet[10..12].copy_from_slice(&sum);
            (header, packet[9], 12..20)
        }
        [first, ..] if *first >> 4 == 6 && packet.len() >= 40 => {
            let length = packet.len() as u16 - 40;
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            (40, packet[6], 8..40)
        }
        _ => return,
    };
    let place = header
        + match protocol {
            1 | 58 => 2,
            6 => 16,
            17 => 6,
            _ => return,
        };
    if packet.len() < place + 2 {
        return;
    }
    packet[place..place + 2].fill(0);
    let pseudo = if protocol == 1 {
        0
    } else {
        let addresses = checksum(0, &packet[addresses]);
        u32::from(!u16::from_be_bytes(addresses)) + u32::from(protocol) + (packet.len() - header) as u32
    };
    let sum = checksum(pseudo, &packet[header..]);
    packet[place..place + 2].copy_from_slice(&sum);
}

/// Who sends to whom.
pub struct Ends {
    pub v4: [[u8; 4]; 2],
    pub v6: [[u8; 16]; 2],
    /// The receiver's hardware address, on Ethernet.
    pub hwaddr: Option<[u8; 6]>,
}

/// The headers of a packet, of the protocol that the first byte chooses, and what follows them.
pub fn addressed(data: &[u8], ends: &Ends) -> Vec<u8> {
    let Some((&choice, data)) = data.split_first() else { return Vec::new() };
    let six = choice & 1 == 1;
    let mut frame = Vec::new();
    if let Some(hwaddr) = &ends.hwaddr {
        frame.extend_from_slice(hwaddr);
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame.extend_from_slice(if six { &[0x86, 0xdd] } else { &[8, 0] });
    }
    let choice = usize::from(choice >> 1);
    if six {
        // Hop-by-hop, TCP, UDP, routing, fragment, ICMPv6, none, destination options.
        let next = [0, 6, 17, 43, 44, 58, 59, 60][choice % 8];
        frame.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, next, 255]);
        frame.extend(ends.v6.as_flattened());
    } else {
        // ICMP, IGMP, TCP, UDP, UDP-Lite; a fragment of these.
        let (protocol, offset) = ([1, 2, 6, 17, 136][choice % 5], [0, 0x20][choice / 5 % 2]);
        frame.extend_from_slice(&[0x45, 0, 0, 0, 0, 1, offset, 0, 64, protocol, 0, 0]);
        frame.extend(ends.v4.as_flattened());
    }
    frame.extend_from_slice(data);
    frame
}

unsafe extern "C" {
    fn ip_reass_tmr();
    fn ip6_reass_tmr();
}

/// Has lwIP forget the fragments that it keeps. It links them by pointers inside of the packets, where the leak
/// detector does not find them.
pub fn forget_fragments() {
    /// More than IP_REASS_MAXAGE and IPV6_REASS_MAXAGE, in seconds.
    const AGE: usize = 100;
    for _ in 0..AGE {
        // SAFETY: on lwIP's thread.
        unsafe {
            ip_reass_tmr();
            ip6_reass_tmr();
        }
    }
}
