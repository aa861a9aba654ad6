//! A slirpif between a host that says anything and a network that says anything: what services and clients of the
//! host send, to ports of lwIP's too, and what hosts behind lwIP would have sent on.
//!
//! Each piece begins with a byte that says what it is, and one with its length.

#![no_main]

use std::ffi::CStr;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ptr::{NonNull, null_mut};

use herald_lwip::netif::{
    herald_netif_remove, herald_slirpif_add_hostfwd, herald_slirpif_options, slirpif_add_ex,
};
use herald_lwip::sys;
use libfuzzer_sys::fuzz_target;
use packets::{Ends, addressed, correct, forget_fragments, start};

#[path = "../packets.rs"]
mod packets;

/// The host's network. It is a namespace with nothing but a loopback; without the right to make one, libslirp
/// lets nothing out but what has come in.
struct Host {
    base: *mut sys::event_base,
    alone: bool,
    service: TcpListener,
    datagrams: UdpSocket,
}

fn host() -> Host {
    // SAFETY: of this thread, which does everything.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
    if alone {
        loopback_up();
    }
    let (service, datagrams) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    service.set_nonblocking(true).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    Host { base: start(), alone, service, datagrams }
}

fn loopback_up() {
    // SAFETY: the request names an interface, and is as large as is said.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request = std::mem::zeroed::<libc::ifreq>();
        request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
        assert_eq!(libc::ioctl(fd, libc::SIOCSIFFLAGS, &request), 0);
        libc::close(fd);
    }
}

fn lwip_address(text: &CStr) -> sys::ip_addr_t {
    // SAFETY: lwIP reads the text, and writes the address.
    unsafe {
        let mut address = std::mem::zeroed();
        assert_eq!(sys::ipaddr_aton(text.as_ptr(), &mut address), 1);
        address
    }
}

/// Forwards a port of the host that was free a moment ago to port 7 of lwIP.
fn forward(netif: *mut sys::netif, udp: i32) -> SocketAddr {
    let port = match udp {
        0 => TcpListener::bind("127.0.0.1:0").unwrap().local_addr(),
        _ => UdpSocket::bind("127.0.0.1:0").unwrap().local_addr(),
    };
    let port = port.unwrap().port();
    let address = |ip: [u8; 4], port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip) },
        sin_zero: [0; 8],
    };
    let (from, to) = (address([127, 0, 0, 1], port), address([0; 4], 7));
    let length = size_of_val(&from) as u32;
    // SAFETY: a call of the program; the addresses are as long as is said.
    unsafe {
        let (from, to) = ((&raw const from).cast(), (&raw const to).cast());
        herald_slirpif_add_hostfwd(netif, udp, from, length, to, length);
    }
    ([127, 0, 0, 1], port).into()
}

/// Sends as if for a host behind lwIP.
fn send_on(netif: *mut sys::netif, frame: &[u8]) {
    // SAFETY: the netif lives; lwIP's own would call the same.
    unsafe {
        let packet = sys::pbuf_alloc(sys::PBUF_RAW, frame.len() as u16, sys::PBUF_RAM);
        sys::pbuf_take(packet, frame.as_ptr().cast(), frame.len() as u16);
        ((*netif).linkoutput.unwrap())(netif, packet);
        sys::pbuf_free(packet);
    }
}

const fn v6(last: u8) -> [u8; 16] {
    [0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fuzz_target!(|input: &[u8]| {
    thread_local!(static HOST: Host = host());
    HOST.with(|host| {
        // SAFETY: the calls of a program. All-zero are the defaults.
        let netif = unsafe {
            let mut options = std::mem::zeroed::<herald_slirpif_options>();
            (options.size, options.restricted) = (size_of_val(&options), !host.alone);
            let netif = slirpif_add_ex(host.base, &options);
            assert!(!netif.is_null());
            sys::netif_set_default(netif);
            sys::netif_set_up(netif);
            netif
        };
        let (tcp, udp) = (forward(netif, 0), forward(netif, 1));
        let mut streams: Vec<TcpStream> = Vec::new();
        let mut rest = input;
        while let [kind, length, pieces @ ..] = rest {
            let (piece, after) = pieces.split_at(usize::from(*length).min(pieces.len()));
            rest = after;
            match kind % 8 {
                0 => send_on(netif, piece),
                1 | 2 => {
                    let ends = Ends {
                        v4: [[10, 0, 2, 15], [10, 0, 2, 2]],
                        v6: [v6(15), v6(2)],
                        hwaddr: Some([0x52, 0x55, 10, 0, 2, 2]),
                    };
                    let mut frame = addressed(piece, &ends);
                    correct(frame.get_mut(14..).unwrap_or_default());
                    send_on(netif, &frame);
                }
                3 => streams.extend(TcpStream::connect(tcp)),
                4 => drop(host.datagrams.send_to(piece, udp)),
                // SAFETY: calls of the program.
                5 => unsafe {
                    let (address, pcb) = (lwip_address(c"10.0.2.2"), sys::tcp_new());
                    sys::tcp_connect(pcb, &address, host.service.local_addr().unwrap().port(), None);
                },
                6 => drop(streams.pop()),
                _ => {
                    for stream in &mut streams {
                        let _ = stream.set_nonblocking(true);
                        let _ = stream.write(piece);
                    }
                }
            }
            // SAFETY: the loop of the program.
            unsafe { sys::event_base_loop(host.base, (sys::EVLOOP_NONBLOCK | sys::EVLOOP_ONCE) as i32) };
            streams.extend(host.service.accept().map(|(stream, _)| stream));
        }
        // SAFETY: the end of the program's connections, and of the netif.
        unsafe {
            while let Some(pcb) = NonNull::new(sys::tcp_active_pcbs) {
                sys::tcp_recv(pcb.as_ptr(), None);
                sys::tcp_arg(pcb.as_ptr(), null_mut());
                sys::tcp_abort(pcb.as_ptr());
            }
            assert_eq!(herald_netif_remove(netif), 0);
        }
        while host.datagrams.recv(&mut [0; 2048]).is_ok() {}
    });
    forget_fragments();
});
