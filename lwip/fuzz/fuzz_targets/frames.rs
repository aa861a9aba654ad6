//! A peer that sends anything: frames into netifs over Ethernet, IP, and the kernel's header for offloads.
//!
//! The first byte says which netif; then each frame begins with its length, in two bytes, which counts up
//! to what there is. With bit 3 of the first byte the checksums of IPv4, ICMP, UDP and TCP are put right, since
//! a fuzzer does not guess them and lwIP looks no further at what is wrong; with bit 4 frames have no headers
//! of their own, but get those of a packet to the netif, of the protocol that their first byte chooses. A server of TCP and one of UDP are there to be reached.

#![no_main]

use std::ptr::{null, null_mut};

use herald_lwip::core::{herald_lwip_kick, libevent_timeouts_init};
use herald_lwip::netif::{fdif_add, herald_netif_remove};
use herald_lwip::nettest::{herald_nettest_options, nettest_add_ex};
use herald_lwip::sys;
use libfuzzer_sys::fuzz_target;

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

fn start() -> *mut sys::event_base {
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
fn correct(packet: &mut [u8]) {
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

/// The headers of a packet to the netif, and what follows them.
fn addressed(data: &[u8], hwaddr: Option<[u8; 6]>) -> Vec<u8> {
    let Some((&choice, data)) = data.split_first() else { return Vec::new() };
    let six = choice & 1 == 1;
    let mut frame = Vec::new();
    if let Some(hwaddr) = hwaddr {
        frame.extend_from_slice(&hwaddr);
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame.extend_from_slice(if six { &[0x86, 0xdd] } else { &[8, 0] });
    }
    let choice = usize::from(choice >> 1);
    if six {
        // Hop-by-hop, TCP, UDP, routing, fragment, ICMPv6, none, destination options.
        let next = [0, 6, 17, 43, 44, 58, 59, 60][choice % 8];
        frame.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, next, 255]);
        frame.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        frame.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    } else {
        // ICMP, IGMP, TCP, UDP, UDP-Lite; a fragment of these.
        let (protocol, offset) = ([1, 2, 6, 17, 136][choice % 5], [0, 0x20][choice / 5 % 2]);
        frame.extend_from_slice(&[0x45, 0, 0, 0, 0, 1, offset, 0, 64, protocol, 0, 0]);
        frame.extend_from_slice(&[10, 9, 0, 2, 10, 9, 0, 1]);
    }
    frame.extend_from_slice(data);
    frame
}

fuzz_target!(|input: &[u8]| {
    thread_local!(static BASE: *mut sys::event_base = start());
    let Some((&kind, mut rest)) = input.split_first() else { return };
    let base = BASE.with(|base| *base);
    let mut fds = [0; 2];
    // SAFETY: the calls of a program whose peer has the other end of a socketpair.
    unsafe {
        let mode = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        assert_eq!(libc::socketpair(libc::AF_UNIX, mode, 0, fds.as_mut_ptr()), 0);
        let [near, far] = fds;
        let ether = i32::from(kind & 1);
        let netif = match kind & 2 {
            0 => fdif_add(base, near, near, ether),
            _ => herald_lwip::fuzzing::vnetif_add(base, libc::dup(near), ether),
        };
        assert!(!netif.is_null());
        if kind & 4 != 0 {
            let mut losses = std::mem::zeroed::<herald_nettest_options>();
            (losses.size, losses.drop_rate, losses.seed) = (size_of_val(&losses), 0.1, 1);
            nettest_add_ex(base, netif, &losses);
        }
        let address = |text: &std::ffi::CStr| {
            let mut address = std::mem::zeroed();
            assert_eq!(sys::ipaddr_aton(text.as_ptr(), &mut address), 1);
            address
        };
        let (own, mask, six) = (address(c"10.9.0.1"), address(c"255.255.255.0"), address(c"fd00::1"));
        sys::netif_set_addr(netif, &own.u_addr.ip4, &mask.u_addr.ip4, null());
        sys::netif_ip6_addr_set(netif, 1, &six.u_addr.ip6);
        sys::netif_ip6_addr_set_state(netif, 1, sys::IP6_ADDR_PREFERRED as u8);
        sys::netif_set_up(netif);
        while let [high, low, frames @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(frames.len());
            let (frame, after) = frames.split_at(length);
            let before = if kind & 2 == 0 { 0 } else { 10 };
            let mut frame = frame.to_vec();
            if kind & 16 != 0 {
                let (hwaddr, data) = ((*netif).hwaddr, frame);
                frame = vec![0; before];
                frame.extend(addressed(&data, (ether == 1).then_some(hwaddr)));
            }
            if kind & 8 != 0 {
                let link = before + if ether == 1 { 14 } else { 0 };
                correct(frame.get_mut(link..).unwrap_or_default());
            }
            libc::send(far, frame.as_ptr().cast(), frame.len(), 0);
            rest = after;
            sys::event_base_loop(base, (sys::EVLOOP_NONBLOCK | sys::EVLOOP_ONCE) as i32);
            let mut answer = [0u8; 2048];
            while libc::recv(far, answer.as_mut_ptr().cast(), answer.len(), 0) >= 0 {}
        }
        assert_eq!(herald_lwip_kick(), 0);
        assert_eq!(herald_netif_remove(netif), 0);
        libc::close(near);
        libc::close(far);
    }
});
