//! The control protocol of VDE, from both ends: clients that ask a vdeswitchif for a port, and a switch that
//! answers a vdeportif; then frames from either.
//!
//! The first byte says which end, and whether what it has to say comes first; the second how much of the rest
//! is for the control stream. In it as in the frames, which are what is left, each piece begins with its
//! length.

#![no_main]

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use herald_lwip::core::{libevent_timeouts_fini, libevent_timeouts_init};
use herald_lwip::netif::{herald_netif_remove, vdeportif_add, vdeswitchif_add};
use herald_lwip::sys;
use libfuzzer_sys::fuzz_target;

struct Lab {
    base: *mut sys::event_base,
    directory: PathBuf,
    listener: UnixListener,
}

impl Lab {
    fn turn(&self) {
        // SAFETY: the loop of the program.
        unsafe { sys::event_base_loop(self.base, (sys::EVLOOP_NONBLOCK | sys::EVLOOP_ONCE) as i32) };
    }
}

/// At the end, so that nothing counts as leaked.
impl Drop for Lab {
    fn drop(&mut self) {
        libevent_timeouts_fini();
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn start() -> Lab {
    let directory = std::env::temp_dir().join(format!("herald-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(directory.join("theirs")).unwrap();
    let listener = UnixListener::bind(directory.join("theirs/ctl")).unwrap();
    // SAFETY: the calls of a program that has a switch.
    let base = unsafe {
        let base = sys::event_base_new();
        libevent_timeouts_init(base);
        let switch = vdeswitchif_add(base, c_path(&directory.join("ours")).as_ptr());
        assert!(!switch.is_null());
        sys::netif_set_up(switch);
        base
    };
    Lab { base, directory, listener }
}

/// A sockaddr_un.
fn address(path: &Path) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend(path.as_os_str().as_bytes());
    bytes.resize(110, 0);
    bytes
}

fn request(path: &Path) -> Vec<u8> {
    let words = [0xfeed_faceu32, 3, 0];
    words.iter().flat_map(|word| word.to_ne_bytes()).chain(address(path)).collect()
}

/// Connects to the path in a sockaddr_un.
fn connect(data: &UnixDatagram, address: Option<&[u8]>) {
    let path = address.and_then(|address| address.get(2..)?.split(|&byte| byte == 0).next());
    if let Some(path) = path.and_then(|path| std::str::from_utf8(path).ok()) {
        let _ = data.connect(path);
    }
}

/// The pieces of what was given, each after its length.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = bytes.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(length).min(rest.len()));
        bytes = rest;
        Some(piece)
    })
}

fuzz_target!(|input: &[u8]| {
    thread_local!(static LAB: Lab = start());
    let [kind, length, rest @ ..] = input else { return };
    let (as_client, properly) = (kind & 1 == 0, kind & 2 == 0);
    let (control, frames) = rest.split_at(usize::from(*length).min(rest.len()));
    LAB.with(|lab| {
        let own = lab.directory.join("own");
        let _ = std::fs::remove_file(&own);
        let data = UnixDatagram::bind(&own).unwrap();
        data.set_nonblocking(true).unwrap();
        let mut heard = [0; 2048];
        let (mut stream, netif) = if as_client {
            (UnixStream::connect(lab.directory.join("ours/ctl")).unwrap(), std::ptr::null_mut())
        } else {
            // SAFETY: a call of the program.
            let netif =
                unsafe { vdeportif_add(lab.base, c_path(&lab.directory.join("theirs")).as_ptr()) };
            assert!(!netif.is_null());
            let (mut stream, _) = lab.listener.accept().unwrap();
            let length = stream.read(&mut heard).unwrap();
            connect(&data, heard.get(12..length));
            (stream, netif)
        };
        stream.set_nonblocking(true).unwrap();
        if properly {
            stream.write_all(&if as_client { request(&own) } else { address(&own) }).unwrap();
        }
        lab.turn();
        for piece in pieces(control) {
            let _ = stream.write(piece);
            lab.turn();
        }
        if as_client && let Ok(length) = stream.read(&mut heard) {
            connect(&data, heard.get(..length));
        }
        for frame in pieces(frames) {
            let _ = data.send(frame);
            lab.turn();
            while data.recv(&mut heard).is_ok() {}
        }
        drop((stream, data));
        lab.turn();
        if !netif.is_null() {
            assert_eq!(herald_netif_remove(netif), 0);
        }
    });
});
