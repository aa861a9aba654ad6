//! Clients of a udptapif that send any datagrams, to either port and from several places.
//!
//! Each datagram begins with a byte that says from where and to which port, and one with its length.

#![no_main]

use std::net::UdpSocket;

use herald_lwip::core::{libevent_timeouts_fini, libevent_timeouts_init};
use herald_lwip::netif::udptapif_add_ex;
use herald_lwip::sys;
use libfuzzer_sys::fuzz_target;

struct Lab {
    base: *mut sys::event_base,
    ports: [u16; 2],
    clients: Vec<UdpSocket>,
}

/// At the end, so that nothing counts as leaked.
impl Drop for Lab {
    fn drop(&mut self) {
        libevent_timeouts_fini();
    }
}

fn start() -> Lab {
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    // Ports that were free a moment ago.
    let ports = [client(), client()].map(|socket| socket.local_addr().unwrap().port());
    // SAFETY: the calls of a program that takes two clients. All-zero are the defaults.
    let base = unsafe {
        let base = sys::event_base_new();
        libevent_timeouts_init(base);
        let mut options = std::mem::zeroed::<herald_lwip::netif::herald_udptapif_options>();
        options.size = size_of_val(&options);
        options.max_clients = 2;
        options.address = c"127.0.0.1".as_ptr();
        let netif = udptapif_add_ex(base, ports[0], ports[1], &options);
        assert!(!netif.is_null());
        sys::netif_set_up(netif);
        base
    };
    Lab { base, ports, clients: (0..4).map(|_| client()).collect() }
}

fuzz_target!(|input: &[u8]| {
    thread_local!(static LAB: Lab = start());
    LAB.with(|lab| {
        let mut rest = input;
        while let [kind, length, datagrams @ ..] = rest {
            let (datagram, after) = datagrams.split_at(usize::from(*length).min(datagrams.len()));
            let client = &lab.clients[usize::from(kind >> 1) % lab.clients.len()];
            let _ = client.send_to(datagram, ("127.0.0.1", lab.ports[usize::from(kind & 1)]));
            // SAFETY: the loop of the program.
            unsafe { sys::event_base_loop(lab.base, (sys::EVLOOP_NONBLOCK | sys::EVLOOP_ONCE) as i32) };
            rest = after;
        }
        let mut answer = [0; 2048];
        for client in &lab.clients {
            while client.recv(&mut answer).is_ok() {}
        }
    });
});
