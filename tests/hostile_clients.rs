//! The promise: whatever clients do, and whatever becomes of them, the host does not notice, the
//! other clients do not notice, the log does not fill up, and the next client is served.

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::*;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What must be true of a host afterwards.
fn is_unharmed(host: &mut Host) {
    host.serves_a_fresh_client();
    host.does_not_wait_for_clients();
    // Ten lines in ten seconds is what clients can provoke.
    let lines = host.log_lines("herald");
    assert!(lines.len() < 50, "{} lines in the log: {:#?}", lines.len(), &lines[..50]);
}

/// Runs `misbehave` again and again in a thread of its own while `meanwhile` runs, at least once.
fn while_a_client<T>(misbehave: impl Fn() + Sync, meanwhile: impl FnOnce(&AtomicU64) -> T) -> T {
    let (enough, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    /// Ends the thread also when `meanwhile` panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                misbehave();
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = Stop(&enough);
        wait_for("the first round", || (rounds.load(Ordering::Relaxed) > 0).then_some(()));
        meanwhile(&rounds)
    })
}

/// Publishes floods, and sees that the healthy client gets all of every one.
fn floods_reach(host: &mut Host, healthy: &mut Client, floods: usize) {
    let mut account = Account::of_floods(500);
    for n in 1..=floods as u64 {
        host.flood(500);
        account = healthy.account(account, 2000 * n);
        assert_eq!(account.lost, 0);
    }
}

/// Raises the number of descriptors that this process and its children may have open; how many
/// there may be.
fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call stores into `limit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads `limit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    limit.rlim_cur
}

#[test]
fn a_thousand_connections_at_once_leave_room_for_those_who_were_first() {
    raise_descriptor_limit();
    let mut host = Host::start();
    let mut first: Vec<_> = (0..5).map(|_| host.subscriber(DOCUMENT)).collect();
    let mut crowd: Vec<_> = (0..1000).map(|_| host.client()).collect();
    for client in &mut crowd {
        client.expect_end();
    }
    host.life(1, 2);
    for client in &mut first {
        client.expect(&life(1, 2));
    }
    host.wait_for_log("there are 5 clients already");
    drop(first);
    is_unharmed(&mut host);
    host.worker_sleeps();
}

#[test]
fn clients_that_come_and_go_without_pause_delay_nobody() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    let path = host.socket().to_owned();
    let come_and_go = || {
        for _ in 0..50 {
            drop(Client::try_connect(&path));
            let Ok(mut client) = Client::try_connect(&path) else { continue };
            let _ = client.try_send(&request(ALL, 1));
        }
    };
    while_a_client(come_and_go, |_| {
        while_a_client(come_and_go, |_| floods_reach(&mut host, &mut healthy, 50));
    });
    drop(healthy);
    is_unharmed(&mut host);
}

/// What garbage means: the mask, or none if it is a protocol error.
fn meaning(mut bytes: &[u8]) -> Option<u16> {
    let mut mask = 0;
    while let Some((header, rest)) = bytes.split_at_checked(4) {
        let bits = u16::from_ne_bytes([header[0], header[1]]);
        if header[2..] != 1u16.to_ne_bytes() {
            return None;
        }
        let Some((operation, rest)) = rest.split_first() else { break };
        mask = if *operation == 0 { mask & !bits } else { mask | bits };
        bytes = rest;
    }
    Some(mask)
}

#[test]
fn garbage_is_a_request_or_ends_the_connection_and_nothing_else() {
    let host = RefCell::new(Host::start());
    let healthy = RefCell::new(host.borrow().subscriber(DOCUMENT));
    // Headers with a length of 1 more often than chance would make them.
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (any::<u16>(), any::<u8>()).prop_map(|(mask, operation)| request(mask, operation)),
    ];
    let garbage = prop::collection::vec(piece, 1..8);
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&garbage, |pieces| {
        let (mut host, mut healthy) = (host.borrow_mut(), healthy.borrow_mut());
        let mut client = host.subscriber_when_there_is_room(0);
        let mut sent = Vec::new();
        for piece in pieces {
            // An error is the end of the connection.
            if client.try_send(&piece).is_err() {
                break;
            }
            sent.extend(piece);
            client.wait_until_read();
            if meaning(&sent).is_none() {
                break;
            }
        }
        host.life(1, 2);
        healthy.expect(&life(1, 2));
        match meaning(&sent) {
            None => client.expect_end(),
            Some(mask) => {
                let names = [(CREATED, 0..8), (UP, 8..20), (DOWN, 20..28), (DELETED, 28..36)];
                for (_, bytes) in names.into_iter().filter(|(event, _)| mask & event != 0) {
                    client.expect(&life(1, 2)[bytes]);
                }
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    is_unharmed(&mut host.borrow_mut());
}

#[test]
fn a_client_that_sends_requests_for_ever_delays_nobody() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    let busy = host.subscriber(0);
    let requests = request(MODIFIED, 1).repeat(10_000);
    // Whole requests, whatever the sizes of the writes.
    let send = || busy.stream().write_all(&requests).unwrap();
    while_a_client(send, |rounds| {
        floods_reach(&mut host, &mut healthy, 50);
        // It was not simply left alone.
        let before = rounds.load(Ordering::Relaxed);
        wait_for("more rounds", || (rounds.load(Ordering::Relaxed) > before + 3).then_some(()));
        host.serves_a_fresh_client();
    });
    healthy.expect(&life(7, 8));
    is_unharmed(&mut host);
}

#[test]
fn half_a_request_from_every_client_costs_nothing() {
    let mut host = Host::with("max_clients = 51");
    let mut fence = Fence::new(&host);
    let mut clients: Vec<_> = (0..50).map(|_| host.client()).collect();
    for client in &mut clients {
        client.send(&request(DOCUMENT, 1)[..3]);
    }
    host.client().expect_end();
    host.worker_sleeps();
    host.life(1, 2);
    fence.pass(&mut host);
    for client in &mut clients {
        client.expect_nothing();
        client.send(&request(DOCUMENT, 1)[3..]);
    }
    host.life(3, 4);
    for client in &mut clients {
        client.expect(&life(3, 4));
    }
    drop(clients);
    is_unharmed(&mut host);
}

#[test]
fn four_thousand_and_ninety_six_clients_are_served() {
    const MOST: usize = 4096;
    if raise_descriptor_limit() < MOST as u64 + 100 {
        return skipped("four_thousand_and_ninety_six_clients_are_served", "too few descriptors");
    }
    let mut host = Host::with("max_clients = 4096");
    let mut clients: Vec<_> = (0..MOST).map(|_| host.subscriber(DOCUMENT)).collect();
    host.client().expect_end();
    for session in 1..=3 {
        host.life(1, session);
        for client in &mut clients {
            client.expect(&life(1, session));
        }
    }
    host.worker_sleeps();
    drop(clients);
    is_unharmed(&mut host);
}

#[test]
fn clients_that_never_read_cost_their_queues_and_no_more() {
    for overflow in ["drop-newest", "drop-oldest", "disconnect"] {
        let config = format!("max_clients = 42\nqueue_bytes = 65536\noverflow = \"{overflow}\"");
        let mut host = Host::with(&config);
        let mut healthy = host.subscriber(DOCUMENT | LOST);
        floods_reach(&mut host, &mut healthy, 2);
        let before = proc::memory_kb(host.pid());
        let stuck: Vec<_> = (0..40).map(|_| host.subscriber(ALL | LOST)).collect();
        floods_reach(&mut host, &mut healthy, 40);
        let grown = proc::memory_kb(host.pid()) - before;
        // For each client 64 KiB of frames, and a third of that for the lengths of these frames.
        assert!(grown < 40 * 64 * 4 / 3 + 4096, "{overflow}: {grown} kB");
        host.worker_sleeps();
        drop(stuck);
        is_unharmed(&mut host);
    }
}

#[test]
fn of_many_clients_those_that_do_not_read_are_told_of_their_losses_and_no_other_has_any() {
    const FLOODS: u64 = 500;
    let mut host = Host::with("max_clients = 101\nqueue_bytes = 4096");
    let subscribers = |count| (0..count).map(|_| host.subscriber(DOCUMENT | LOST)).collect::<Vec<_>>();
    let (mut healthy, stuck, mut leaving) = (subscribers(80), subscribers(10), subscribers(10));
    let mut accounts: Vec<_> = healthy.iter().map(|_| Account::of_floods(1)).collect();
    for n in 1..=FLOODS {
        // A few events at a time, as a daemon has them.
        host.flood(1);
        for (client, account) in healthy.iter_mut().zip(&mut accounts) {
            *account = client.account(std::mem::replace(account, Account::of_floods(1)), 4 * n);
            assert_eq!(account.lost, 0);
        }
        if n % 50 == 0 {
            leaving.pop();
        }
    }
    for mut client in stuck {
        let account = client.account(Account::of_floods(1), 4 * FLOODS);
        assert!(account.lost > 0, "{account:?}");
    }
    drop(healthy);
    is_unharmed(&mut host);
}

#[test]
fn clients_killed_in_the_middle_of_the_stream_are_forgotten() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    for _ in 0..10 {
        let output = host.dir().join("output");
        let clients = [0, 1, 2].map(|_| EventClient::start(host.socket(), &[], &output));
        // Until the last of them is in the middle of it.
        wait_for("a client prints", || {
            floods_reach(&mut host, &mut healthy, 1);
            (output.metadata().unwrap().len() > 0).then_some(())
        });
        for client in &clients {
            client.signal(Signal::SIGKILL);
        }
        host.flood(500);
        healthy.account(Account::of_floods(500), 2000);
    }
    is_unharmed(&mut host);
}

#[test]
fn a_stopped_client_is_told_of_all_its_losses_when_it_continues() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    let output = host.dir().join("output");
    let mut client = EventClient::start(host.socket(), &["-m", "820f"], &output);
    // The first event that it prints says that it has subscribed.
    wait_for("the client prints", || {
        host.ok("tunnel-modified 1");
        (output.metadata().unwrap().len() > 0).then_some(())
    });
    client.signal(Signal::SIGSTOP);
    floods_reach(&mut host, &mut healthy, 40);
    client.signal(Signal::SIGCONT);
    // Received or lost, none twice, none missing.
    wait_for("all events are accounted for", || {
        assert!(!client.has_ended());
        let printed = std::fs::read_to_string(&output).unwrap();
        let whole = &printed[..printed.rfind('\n')? + 1];
        let sessions = whole.lines().filter(|line| line.starts_with("SESSION_")).count() as u64;
        let lost = whole.lines().filter_map(|line| line.strip_prefix("EVENTS_LOST "));
        let lost: u64 = lost.map(|count| count.parse::<u64>().unwrap()).sum();
        assert!(sessions + lost <= 40 * 2000);
        (sessions + lost == 40 * 2000 && lost > 0).then_some(())
    });
    is_unharmed(&mut host);
}

#[test]
fn clients_that_close_with_events_unread_are_forgotten() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    for round in 0..60 {
        let client = host.subscriber_when_there_is_room(ALL);
        floods_reach(&mut host, &mut healthy, 1);
        // To close now resets the connection. Some say beforehand that they do not listen.
        match round % 3 {
            0 => client.stream().shutdown(Shutdown::Read).unwrap(),
            1 => client.stream().shutdown(Shutdown::Both).unwrap(),
            _ => {}
        }
        drop(client);
        floods_reach(&mut host, &mut healthy, 1);
    }
    is_unharmed(&mut host);
}

#[test]
fn closing_one_direction_or_both_in_two_steps_costs_nothing() {
    let mut host = Host::start();
    let clients: Vec<_> = (0..5).map(|_| host.client()).collect();
    clients[0].stream().shutdown(Shutdown::Read).unwrap();
    clients[1].stream().shutdown(Shutdown::Write).unwrap();
    clients[2].stream().shutdown(Shutdown::Both).unwrap();
    for client in &clients[3..] {
        client.stream().write_all(&request(DOCUMENT, 1)).unwrap();
        client.stream().shutdown(Shutdown::Write).unwrap();
    }
    host.worker_sleeps();
    host.life(1, 2);
    drop(clients);
    is_unharmed(&mut host);
    host.worker_sleeps();
}

#[test]
fn urgent_data_and_passed_descriptors_are_not_kept() {
    let mut host = Host::start();
    let fds = || proc::fds(host.pid()).len();
    let mut client = host.subscriber(DOCUMENT);
    let before = fds();
    let file = tempfile::tempfile().unwrap();
    let requests = request(DOCUMENT, 1);
    for _ in 0..20 {
        client.send_with_descriptors(&requests, &[file.as_raw_fd(); 10]);
    }
    assert_eq!(fds(), before);
    host.life(1, 2);
    client.expect(&life(1, 2));
    // A kernel without urgent data on unix sockets says so.
    for _ in 0..3 {
        let _ = send(client.stream().as_raw_fd(), b"!", MsgFlags::MSG_OOB);
        host.worker_sleeps();
    }
    is_unharmed(&mut host);
}

#[test]
fn a_storm_of_subscriptions_leaves_the_stream_whole_and_in_order() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    let mut client = host.subscriber(DOCUMENT);
    let stormy = client.stream().try_clone().unwrap();
    let storm = || {
        for mask in [CREATED, UP | DOWN, DOCUMENT, DELETED | MODIFIED] {
            (&stormy).write_all(&[request(DOCUMENT, 0), request(mask, 1)].concat()).unwrap();
        }
    };
    let (mut seen, mut next) = (0, 0);
    while_a_client(storm, |_| {
        for flood in 1..=40 {
            floods_reach(&mut host, &mut healthy, 1);
            for (event, data) in client.events_so_far() {
                let mut bytes = words(&[event, data.len() as u16]);
                bytes.extend(data);
                // A part of what was published, in its order.
                while next < flood * 2000 && flood_frame(500, next) != bytes {
                    next += 1;
                }
                assert!(next < flood * 2000, "out of order: {bytes:02x?}");
                next += 1;
                seen += 1;
            }
        }
    });
    assert!(seen > 0 && seen < 40 * 2000, "{seen} events seen");
    client.wait_until_read();
    is_unharmed(&mut host);
}

#[test]
fn a_host_without_descriptors_left_serves_clients_when_it_has_some_again() {
    let mut host = Setup::new().config("max_clients = 100").shell("ulimit -n 20").start();
    let mut clients: Vec<_> = (0..50).map(|_| host.client()).collect();
    clients[0].subscribe(DOCUMENT);
    host.wait_for_log("cannot accept a client");
    // The worker tries again now and then, and sleeps in between.
    let (pid, worker) = (host.pid(), proc::worker(host.pid()));
    let slept = proc::sleeps(pid, worker);
    wait_for("the worker sleeps", || (proc::sleeps(pid, worker) > slept + 3).then_some(()));
    host.life(1, 2);
    clients[0].expect(&life(1, 2));
    drop(clients);
    is_unharmed(&mut host);
}
