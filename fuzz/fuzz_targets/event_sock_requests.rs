//! Whatever a client sends, and in whatever pieces it arrives, it means the same: the requests
//! that one who has all the bytes before him would read there.

#![no_main]

use herald::wire::event_sock::{BadLength, Request, RequestParser};
use libfuzzer_sys::fuzz_target;

/// The requests in order, and what was wrong at the end if anything was.
type Meaning = (Vec<Request>, Option<BadLength>);

/// Reads the document's protocol off bytes that are all there.
fn read(bytes: &[u8]) -> Meaning {
    let mut requests = Vec::new();
    let mut rest = bytes;
    while let Some((header, tail)) = rest.split_at_checked(4) {
        let length = u16::from_ne_bytes([header[2], header[3]]);
        if length != 1 {
            return (requests, Some(BadLength(length)));
        }
        let Some((operation, tail)) = tail.split_first() else { break };
        let mask = u16::from_ne_bytes([header[0], header[1]]);
        requests.push(Request { mask, set: *operation != 0 });
        rest = tail;
    }
    (requests, None)
}

/// Feeds the parser pieces of these lengths, over and over.
fn parse(bytes: &[u8], lengths: &[u8]) -> Meaning {
    let mut requests = Vec::new();
    let mut parser = RequestParser::default();
    let mut lengths = lengths.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |&length| usize::from(length).max(1));
        let (mut piece, tail) = rest.split_at(length.min(rest.len()));
        rest = tail;
        loop {
            match parser.next(&mut piece) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(bad) => return (requests, Some(bad)),
            }
        }
        assert!(piece.is_empty(), "the parser has left bytes behind");
    }
    (requests, None)
}

fuzz_target!(|input: (&[u8], [u8; 4])| {
    let (bytes, lengths) = input;
    let meaning = read(bytes);
    assert_eq!(parse(bytes, &[]), meaning);
    assert_eq!(parse(bytes, &[1]), meaning);
    assert_eq!(parse(bytes, &lengths), meaning);
});
