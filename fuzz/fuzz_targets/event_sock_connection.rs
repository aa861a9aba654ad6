//! Whatever a client does on its connection, it gets what its requests add up to or is closed for
//! breaking the protocol, and everybody else is served as if it were not there.

#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use herald::event::{L2tp, L2tpKind};
use herald::hub::{Hub, HubOptions};
use herald::log::Log;
use herald::transport::event_sock::EventSock;
use libfuzzer_sys::fuzz_target;

/// A server, for as long as the fuzzer runs, and a client that behaves.
struct Server {
    hub: Hub,
    path: PathBuf,
    client: Mutex<UnixStream>,
    _directory: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let hub = Hub::start(HubOptions::default(), Log::silent()).expect("a hub");
    let mut options = EventSock::default_options();
    options.listen.path = directory.path().join("evt");
    options.max_clients = 1000;
    let path = options.listen.path.clone();
    hub.add(Box::new(EventSock::listen(options, Log::silent()).expect("a socket"))).expect("a server");
    let client = connect(&path);
    request(&client, ALL);
    Server { hub, path, client: Mutex::new(client), _directory: directory }
});

/// The bits of all events, in the order of `L2tpKind::ALL`.
const ALL: u16 = 0x03ff;

fn connect(path: &PathBuf) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
}

/// Asks for events, and waits until the server has read that.
fn request(mut stream: &UnixStream, mask: u16) {
    let mut bytes = mask.to_ne_bytes().to_vec();
    bytes.extend(1u16.to_ne_bytes());
    bytes.push(1);
    stream.write_all(&bytes).expect("a request is taken");
    assert!(is_read(stream), "a good client is closed");
}

/// Waits until the server has read all that was sent; false if it has closed the connection.
fn is_read(stream: &UnixStream) -> bool {
    loop {
        let mut unread: libc::c_int = 0;
        let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: both calls are given one valid object each.
        let failed = unsafe {
            libc::poll(&mut poll, 1, 0);
            libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut unread) != 0
        };
        if failed || poll.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
            return false;
        }
        if unread == 0 {
            return true;
        }
        std::thread::yield_now();
    }
}

/// Publishes one event of every kind.
fn publish(hub: &Hub, number: u16) {
    for kind in L2tpKind::ALL {
        let l2tp =
            L2tp { kind, tunnel_id: number, session_id: !number, peer_tunnel_id: 1, peer_session_id: 2 };
        hub.publish(&l2tp.into()).expect("the ring has room");
    }
}

/// What a client with this mask sees of that.
fn seen(number: u16, mask: u16) -> Vec<u8> {
    let mut seen = Vec::new();
    for index in 0..L2tpKind::ALL.len() {
        let bit = 1 << index;
        let ids: &[u16] = match index {
            2 => &[number, !number, 1, 2],
            0..=4 => &[number, !number],
            7 => &[number, 1],
            _ => &[number],
        };
        if mask & bit != 0 {
            let words = [bit, 2 * ids.len() as u16];
            seen.extend(words.iter().chain(ids).flat_map(|word| word.to_ne_bytes()));
        }
    }
    seen
}

/// The next bytes of a stream are these.
fn expect(mut stream: &UnixStream, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    stream.read_exact(&mut found).expect("the events arrive");
    assert_eq!(found, bytes);
}

/// The stream ends, whatever comes before.
fn expect_end(mut stream: &UnixStream) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the connection is not closed: {error}"),
        }
    }
}

/// The mask that requests add up to; none if they break the protocol.
fn mask_of(mut bytes: &[u8]) -> Option<u16> {
    let mut mask = 0;
    while let Some((header, rest)) = bytes.split_at_checked(4) {
        if u16::from_ne_bytes([header[2], header[3]]) != 1 {
            return None;
        }
        let Some((operation, rest)) = rest.split_first() else { break };
        let named = u16::from_ne_bytes([header[0], header[1]]);
        mask = if *operation == 0 { mask & !named } else { mask | named };
        bytes = rest;
    }
    Some(mask)
}

fuzz_target!(|input: (&[u8], u8, u8)| {
    let (bytes, piece, how) = input;
    let Server { hub, path, client, .. } = &*SERVER;
    let good = client.lock().expect("nobody panics and goes on");
    let mut bad = connect(path);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        // It may have been closed by now; what it meant is asked below.
        if bad.write_all(piece).is_err() || (how & 1 != 0 && !is_read(&bad)) {
            break;
        }
    }
    if how & 2 != 0 {
        let _ = bad.shutdown(Shutdown::Write);
    }
    let number = u16::from_ne_bytes([piece, how]);
    match mask_of(bytes) {
        // It goes away in the middle of everything.
        _ if how & 4 != 0 => drop(bad),
        None => expect_end(&bad),
        Some(mask) => {
            assert!(is_read(&bad), "a client that keeps to the protocol is closed");
            publish(hub, !number);
            expect(&bad, &seen(!number, mask));
            expect(&good, &seen(!number, ALL));
        }
    }
    publish(hub, number);
    expect(&good, &seen(number, ALL));
    if how & 8 != 0 {
        let fresh = connect(path);
        request(&fresh, ALL);
        publish(hub, number);
        expect(&fresh, &seen(number, ALL));
        expect(&good, &seen(number, ALL));
    }
});
