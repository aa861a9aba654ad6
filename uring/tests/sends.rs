//! The promise: one call sends to all, waits for none, and says what became of each.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use herald_uring::Ring;

fn ring() -> Option<Ring> {
    Ring::new().inspect_err(|error| eprintln!("skipped: io_uring cannot be used here: {error}")).ok()
}

fn results(ring: &Ring) -> Vec<Result<usize, ErrorKind>> {
    let known = ring.results().map(|result| result.expect("every send has its result"));
    known.map(|result| result.map_err(|error| error.kind())).collect()
}

#[test]
fn each_socket_gets_its_own_bytes_as_often_as_asked() {
    let Some(mut ring) = ring() else { return };
    let mut pairs: Vec<_> = (0..Ring::SENDS).map(|_| UnixStream::pair().unwrap()).collect();
    for round in 0..100 {
        let message = |index: usize| format!("{round} to {index}").into_bytes();
        for (index, (ours, _)) in pairs.iter().enumerate() {
            assert!(!ring.is_full());
            ring.push(ours.as_raw_fd(), &message(index));
        }
        assert!(ring.is_full());
        ring.send().unwrap();
        let lengths: Vec<_> = (0..Ring::SENDS).map(|index| Ok(message(index).len())).collect();
        assert_eq!(results(&ring), lengths);
        ring.clear();
        for (index, (_, theirs)) in pairs.iter_mut().enumerate() {
            let mut bytes = vec![0; message(index).len()];
            theirs.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, message(index));
        }
    }
}

#[test]
fn a_full_socket_and_a_closed_one_fail_by_themselves() {
    let Some(mut ring) = ring() else { return };
    let (mut full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    // It waits for room now, but is not to be waited for.
    full.set_nonblocking(false).unwrap();
    let (closed, _) = UnixStream::pair().unwrap();
    let (good, mut reader) = UnixStream::pair().unwrap();
    for socket in [&full, &closed, &good] {
        ring.push(socket.as_raw_fd(), b"event");
    }
    ring.send().unwrap();
    assert_eq!(results(&ring), [Err(ErrorKind::WouldBlock), Err(ErrorKind::BrokenPipe), Ok(5)]);
    let mut bytes = [0; 5];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"event");
}
