//! What waits for the clients: each gets every event from its registration on, in order, or it is counted
//! how many it lost.

#[path = "../src/journal.rs"]
#[allow(dead_code)]
mod journal;

use journal::{InvalidRegistration, Journal, address, each};

const HEADER: usize = 16;
const ALL: usize = usize::MAX;

/// An event with its number, with empty space for client index and pid.
fn event(number: u32) -> Vec<u8> {
    let mut message = vec![0, 105, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend(number.to_be_bytes());
    message.extend([0; 35]);
    message
}

fn push(journal: &mut Journal, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| journal.push(&event(number)));
}

/// Takes what there is for a client, `room` bytes at a time.
fn read(journal: &mut Journal, index: u32, room: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let before = numbers.len();
        journal.take(index, room, |frames| {
            assert!(frames.len() <= room);
            numbers.extend(each(frames).map(|frame| {
                let number = &frame[HEADER + 10..HEADER + 14];
                u32::from_be_bytes(number.try_into().unwrap())
            }));
            frames.len()
        });
        if numbers.len() == before {
            return numbers;
        }
    }
}

#[test]
fn everybody_gets_what_comes_after_the_registration() {
    let mut journal = Journal::default();
    push(&mut journal, 0..5);
    journal.register(1, 11).unwrap();
    push(&mut journal, 5..8);
    journal.register(2, 22).unwrap();
    push(&mut journal, 8..3000);
    assert_eq!(read(&mut journal, 1, ALL), (5..3000).collect::<Vec<_>>());
    assert_eq!(read(&mut journal, 2, 200), (8..3000).collect::<Vec<_>>());
    assert!(!journal.is_pending());
    push(&mut journal, 3000..3001);
    assert!(journal.is_pending());
    assert_eq!(read(&mut journal, 1, ALL), [3000]);
    assert_eq!(journal.clients()[0].sent, 2996);
    assert_eq!(journal.waiting(&journal.clients()[1]), 1);
}

#[test]
fn registering_twice_and_leaving_twice_are_invalid() {
    let mut journal = Journal::default();
    assert_eq!(journal.unregister(7), Err(InvalidRegistration));
    journal.register(7, 1).unwrap();
    assert_eq!(journal.register(7, 2), Err(InvalidRegistration));
    journal.unregister(7).unwrap();
    assert_eq!(journal.unregister(7), Err(InvalidRegistration));
    journal.register(7, 3).unwrap();
}

#[test]
fn who_does_not_read_loses_the_oldest_and_the_others_nothing() {
    let mut journal = Journal::default();
    journal.register(1, 0).unwrap();
    journal.register(2, 0).unwrap();
    for part in 0..300 {
        push(&mut journal, part * 1000..(part + 1) * 1000);
        let expected: Vec<u32> = (part * 1000..(part + 1) * 1000).collect();
        assert_eq!(read(&mut journal, 1, ALL), expected);
    }
    let numbers = read(&mut journal, 2, ALL);
    let slow = &journal.clients()[1];
    assert!(slow.lost > 100_000, "{} lost", slow.lost);
    assert!(numbers.len() > 100_000, "the journal holds {}", numbers.len());
    assert_eq!(slow.lost + numbers.len() as u64, 300_000);
    assert_eq!(numbers, (slow.lost as u32..300_000).collect::<Vec<_>>());
    assert_eq!(journal.clients()[0].lost, 0);
}

#[test]
fn frames_are_whole_and_carry_who_they_are_for() {
    let mut journal = Journal::default();
    journal.register(0x8000_0001, 0x4cf3).unwrap();
    push(&mut journal, 1..4);
    let size = HEADER + event(0).len();
    journal.take(0x8000_0001, size - 1, |_| panic!("less than a frame"));
    let mut sent = Vec::new();
    journal.take(0x8000_0001, 2 * size + 1, |frames| {
        sent = frames.to_vec();
        0
    });
    address(&mut sent, 0x8000_0001, 0x4cf3);
    assert_eq!(each(&sent).count(), 2);
    for frame in each(&sent) {
        let (header, message) = frame.split_at(HEADER);
        assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 49, 0, 0, 0, 0]);
        assert_eq!(message[..10], [0, 105, 0x80, 0, 0, 1, 0, 0, 0x4c, 0xf3]);
    }
}

#[test]
fn what_a_connection_had_no_room_for_after_all_comes_again() {
    let mut journal = Journal::default();
    journal.register(1, 0).unwrap();
    push(&mut journal, 0..10);
    let size = HEADER + event(0).len();
    journal.take(1, ALL, |frames| {
        assert_eq!(frames.len(), 10 * size);
        4 * size
    });
    assert_eq!(journal.clients()[0].sent, 4);
    journal.take(1, ALL, |_| 0);
    assert_eq!(journal.waiting(&journal.clients()[0]), 6);
    assert_eq!(read(&mut journal, 1, ALL), [4, 5, 6, 7, 8, 9]);
}
