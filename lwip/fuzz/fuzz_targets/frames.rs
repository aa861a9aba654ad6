//! A peer that sends anything: frames into netifs over Ethernet, IP, and the kernel's header for offloads.
//!
//! The first byte says which netif; then each frame begins with its length, in two bytes, which counts up
//! to what there is. With bit 3 of the first byte the checksums of IPv4, ICMP, UDP and TCP are put right, since
//! a fuzzer does not guess them and lwIP looks no further at what is wrong; with bit 4 frames have no headers
//! of their own, but get those of a packet to the netif, of the protocol that their first byte chooses. A server
//! of TCP and one of UDP are there to be reached. Bits 5 and 6 say what carries the packets: sockets of datagrams,
//! those of processif, or pipes, which are read as tunif's device is.

#![no_main]

use std::os::fd::RawFd;
use std::ptr::null;

use herald_lwip::core::herald_lwip_kick;
use herald_lwip::netif::{fdif_add, herald_netif_remove};
use herald_lwip::nettest::{herald_nettest_options, nettest_add_ex};
use herald_lwip::sys;
use libfuzzer_sys::fuzz_target;
use packets::{Ends, addressed, correct, forget_fragments, start};

#[path = "../packets.rs"]
mod packets;

/// The peer is at .2, the netif at .1.
const fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// Our end and the peer's, each to read from and to write to.
fn connected(kind: u8) -> [[RawFd; 2]; 2] {
    let (mut there, mut back) = ([0; 2], [0; 2]);
    // SAFETY: room for two descriptors each.
    unsafe {
        let mode = match kind >> 5 & 3 {
            0 | 1 => libc::SOCK_DGRAM,
            2 => libc::SOCK_SEQPACKET,
            _ => {
                let mode = libc::O_DIRECT | libc::O_NONBLOCK;
                assert_eq!(libc::pipe2(there.as_mut_ptr(), mode), 0);
                assert_eq!(libc::pipe2(back.as_mut_ptr(), mode), 0);
                return [[back[0], there[1]], [there[0], back[1]]];
            }
        };
        assert_eq!(
            libc::socketpair(libc::AF_UNIX, mode | libc::SOCK_NONBLOCK, 0, there.as_mut_ptr()),
            0
        );
        there.map(|fd| [fd, libc::dup(fd)])
    }
}

fuzz_target!(|input: &[u8]| {
    thread_local!(static BASE: *mut sys::event_base = start());
    let Some((&kind, mut rest)) = input.split_first() else { return };
    let base = BASE.with(|base| *base);
    // SAFETY: the calls of a program whose peer has the other end.
    unsafe {
        let ether = i32::from(kind & 1);
        let vnet = kind & 2 != 0;
        // The driver of tunif and packetif has one descriptor for both directions.
        let [near, far] = connected(if vnet { 0 } else { kind });
        let netif = match vnet {
            false => fdif_add(base, near[0], near[1], ether),
            true => herald_lwip::fuzzing::vnetif_add(base, libc::dup(near[0]), ether),
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
            let before = if vnet { 10 } else { 0 };
            let mut frame = frame.to_vec();
            if kind & 16 != 0 {
                let ends = Ends {
                    v4: [[10, 9, 0, 2], [10, 9, 0, 1]],
                    v6: [v6(2), v6(1)],
                    hwaddr: (ether == 1).then_some((*netif).hwaddr),
                };
                let data = frame;
                frame = vec![0; before];
                frame.extend(addressed(&data, &ends));
            }
            if kind & 8 != 0 {
                let link = before + if ether == 1 { 14 } else { 0 };
                correct(frame.get_mut(link..).unwrap_or_default());
            }
            libc::write(far[1], frame.as_ptr().cast(), frame.len());
            rest = after;
            sys::event_base_loop(base, (sys::EVLOOP_NONBLOCK | sys::EVLOOP_ONCE) as i32);
            let mut answer = [0u8; 2048];
            while libc::read(far[0], answer.as_mut_ptr().cast(), answer.len()) >= 0 {}
        }
        assert_eq!(herald_lwip_kick(), 0);
        assert_eq!(herald_netif_remove(netif), 0);
        for fd in [near, far].concat() {
            libc::close(fd);
        }
    }
    forget_fragments();
});
