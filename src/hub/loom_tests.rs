//! The publish path under loom: every interleaving, every allowed reordering.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::lane::{Lane, Popped};
use super::wake::Epoch;
use crate::event::{Event, Param, Value};

fn push(lane: &Lane, number: u64) -> bool {
    lane.push(&Event::new("", &[Param { name: "", value: Value::Uint(number) }])).is_ok()
}

/// Takes everything that is there, and checks that every number is an event or within a gap.
fn take(lane: &Lane, expected: &mut u64) {
    let mut buffer = Vec::new();
    lane.look();
    loop {
        match lane.pop(&mut buffer) {
            Popped::Event { lost_before } => {
                *expected += lost_before;
                let event = Event::unpack(buffer.as_flattened()).expect("a whole event");
                let number = event.params().next().expect("its parameter").value;
                assert_eq!(number, Value::Uint(*expected));
                *expected += 1;
            }
            Popped::Empty { lost } => {
                *expected += lost;
                return;
            }
        }
    }
}

// The consumer is the spawned thread in these tests: loom goes back to an access only from a later
// one of another thread that conflicts with the very last, and the producer's loads of its own
// positions would hide its stores.

#[test]
fn what_is_pushed_is_popped_whole_in_order_and_losses_are_told_in_their_place() {
    loom::model(|| {
        // Room for four records of four words: the last ones find it full unless the worker is quick.
        let lane = Arc::new(Lane::new(128));
        for number in 0..3 {
            push(&lane, number);
        }
        let consumer = thread::spawn({
            let lane = lane.clone();
            move || {
                let mut expected = 0;
                take(&lane, &mut expected);
                take(&lane, &mut expected);
                expected
            }
        });
        for number in 3..6 {
            push(&lane, number);
        }
        let mut expected = consumer.join().expect("the consumer ends");
        take(&lane, &mut expected);
        assert_eq!(expected, 6);
    });
}

/// Pushes so many events beside a worker, which says whether it sleeps in the end: then one of them has
/// rung the bell.
fn no_push_leaves_the_worker_asleep(pushes: u64, worker: fn(&Lane, &Epoch) -> bool) {
    loom::model(move || {
        let shared = Arc::new((Lane::new(128), Epoch::new(), AtomicBool::new(false)));
        let worker = thread::spawn({
            let shared = shared.clone();
            move || worker(&shared.0, &shared.1)
        });
        let (lane, epoch, bell) = &*shared;
        for number in 0..pushes {
            push(lane, number);
            epoch.after_push(lane, || bell.store(true, Ordering::SeqCst));
        }
        let asleep = worker.join().expect("the worker ends");
        assert!(!asleep || bell.load(Ordering::SeqCst), "the worker sleeps with an event in the lane");
    });
}

#[test]
fn a_push_is_seen_by_a_worker_that_goes_to_sleep_or_wakes_it() {
    no_push_leaves_the_worker_asleep(1, |lane, epoch| epoch.fall_asleep() && lane.is_empty());
}

#[test]
fn a_push_is_seen_or_ends_a_sleep_in_which_the_worker_takes_events() {
    no_push_leaves_the_worker_asleep(2, |lane, epoch| {
        let mut taken = 0;
        let asleep = epoch.fall_asleep();
        // As sockets have it, that does not end the sleep.
        take(lane, &mut taken);
        asleep && taken < 2 && lane.is_empty()
    });
}

#[test]
fn one_sleep_is_ended_once_by_each_publisher() {
    loom::model(|| {
        let shared = Arc::new((Lane::new(128), Epoch::new()));
        assert!(shared.1.fall_asleep());
        let producer = thread::spawn({
            let shared = shared.clone();
            move || {
                let (lane, epoch) = &*shared;
                let mut rings = 0;
                for number in 0..2 {
                    push(lane, number);
                    epoch.after_push(lane, || rings += 1);
                }
                rings
            }
        });
        assert_eq!(producer.join().expect("the producer ends"), 1);
    });
}
