//! The promise: under the real openl2tpd, the library speaks the documented protocol, and nothing
//! that a client does is felt by the daemon. Most tests here provoke something that the daemon's
//! own event_sock plugin gets wrong.
//!
//! `HERALD_OPENL2TPD` names a built openl2tp tree (openl2tpd, l2tpconfig, plugins/ppp_null.so);
//! without it every test is skipped. Needs root, iproute2, util-linux, rpcbind and a C compiler.
//! `HERALD_LIB` names the library, if not the one that cargo built.

#[path = "real_openl2tpd/client.rs"]
mod client;
#[path = "real_openl2tpd/daemon.rs"]
mod daemon;
#[path = "real_openl2tpd/frame.rs"]
mod frame;
#[path = "real_openl2tpd/lab.rs"]
mod lab;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use daemon::served;
use frame::{DELETED, UP};
use lab::{Lab, wait_for};

/// All clients that the document permits.
const MAX_CLIENTS: usize = 5;

#[test]
fn the_four_events_arrive_at_both_ends() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.herald("lns.evt").start(&lab.lns);
    let mut lac = lab.herald("lac.evt").start(&lab.lac);
    let (mut here, mut there) = (lac.subscriber(), _lns.subscriber());
    lab.tunnel();
    for name in ["one", "two"] {
        let session = lab.up(name);
        here.expect(&[session.created(), session.up()].concat());
        there.expect(&[session.mirrored().created(), session.mirrored().up()].concat());
        lab.down(name);
        here.expect(&[session.down(), session.deleted()].concat());
        there.expect(&[session.mirrored().down(), session.mirrored().deleted()].concat());
    }
    here.expect_nothing();
    lac.terminate();
    here.expect_end();
}

#[test]
fn a_session_that_never_came_up_is_created_and_deleted() {
    let Some(lab) = Lab::new() else { return };
    let lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    lns.signal(libc::SIGSTOP);
    lab.create("one");
    let session = lab.session("one").expect("the session exists");
    lab.down("one");
    client.expect(&[session.created(), session.deleted()].concat());
    client.expect_nothing();
}

#[test]
fn a_daemon_in_the_background_serves_the_default_path() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let mut lac = lab.herald("").default_socket().background().start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    let session = lab.up("one");
    lab.down("one");
    client.expect(&session.life());
    lac.signal(libc::SIGTERM);
    lac.exit();
    assert!(lac.gone(), "SIGTERM ends it");
    assert!(!lac.socket.exists(), "the socket is removed");
}

#[test]
fn half_a_request_freezes_nothing() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let (mut half, mut whole) = (lac.client(), lac.subscriber());
    half.send(&[0x04, 0]);
    assert!(lab.lac.answers(), "the daemon answers RPC");
    lab.tunnel();
    let first = lab.up("first");
    lab.down("first");
    whole.expect(&first.life());
    half.expect_nothing();

    // The rest of the request: UP only. What was sent first must still count.
    half.send(&[1, 0, 1]);
    let second = lab.up("second");
    lab.down("second");
    whole.expect(&second.life());
    half.expect(&second.up());
    half.expect_nothing();
}

#[test]
fn a_wrong_length_ends_that_client_only() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let mut good = lac.subscriber();
    let wrong: [&[u8]; 5] = [
        &[0x0f, 0, 0, 0],
        &[0x0f, 0, 0, 0, 1],
        &[0x0f, 0, 5, 0],
        &[0x0f, 0, 5, 0, 1, 1, 1, 1, 1],
        &[0x0f, 0, 0xff, 0xff, 1],
    ];
    for request in wrong {
        let mut client = lac.client();
        client.send_only(request);
        client.expect_end();
        assert!(lab.lac.answers(), "the daemon answers RPC after {request:02x?}");
    }
    lab.tunnel();
    let session = lab.up("one");
    lab.down("one");
    good.expect(&session.life());
}

#[test]
fn a_client_gets_what_it_asked_for_and_nothing_else() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    // Before and after others, so that nobody inherits anybody's mask.
    let mut silent = vec![lac.client()];
    let mut all = lac.subscriber();
    let mut changing = lac.client();
    silent.push(lac.client());
    lab.tunnel();

    // Three requests at once: everything; not UP and DOWN; UP after all.
    changing.send(&[0x0f, 0, 1, 0, 1, 0x0c, 0, 1, 0, 0, 0x04, 0, 1, 0, 0xff]);
    let first = lab.up("first");
    lab.down("first");
    all.expect(&first.life());
    changing.expect(&[first.created(), first.up(), first.deleted()].concat());

    changing.send(&[0x0f, 0, 1, 0, 0]);
    silent[0].send(&[DELETED as u8, 0, 1, 0, 1]);
    let second = lab.up("second");
    lab.down("second");
    all.expect(&second.life());
    silent[0].expect(&second.deleted());
    changing.expect_nothing();
    silent.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn a_sixth_client_is_sent_away_and_costs_nothing() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| lac.subscriber()).collect();
    for _ in 0..3 {
        lac.client().expect_end();
    }
    // One second is the measure, not a delay. A daemon that spins takes 33 ticks or more.
    let sixth = lac.client();
    let before = lac.ticks();
    thread::sleep(Duration::from_secs(1));
    let spent = lac.ticks() - before;
    assert!(spent <= 5, "{spent} ticks in an idle second");
    drop(sixth);

    lab.tunnel();
    let first = lab.up("first");
    lab.down("first");
    clients.iter_mut().for_each(|client| client.expect(&first.life()));

    // A place that becomes free is given away again.
    drop(clients.pop());
    let mut next = wait_for("a place is free", || {
        let mut client = lac.client();
        client.send_only(&[0x0f, 0, 1, 0, 1]);
        let first = lab.up("probe");
        lab.down("probe");
        client.drain().then_some(())?;
        client.expect(&first.life());
        Some(client)
    });
    let last = lab.up("last");
    lab.down("last");
    next.expect(&last.life());
}

#[test]
fn clients_that_do_not_read_slow_nothing() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").options("queue_bytes = 4096\n").start(&lab.lac);
    let mut stuck: Vec<Client> = (1..MAX_CLIENTS).map(|_| lac.subscriber()).collect();
    let mut live = lac.subscriber();
    lab.tunnel();
    let sessions = 300;
    let start = Instant::now();
    for _ in 0..sessions {
        lab.create("one");
        live.expect_events(UP, 1);
        lab.down("one");
        live.expect_events(DELETED, 1);
        // 1200 events. Were each to cost 250 ms for each stuck client, it would be 15 minutes.
        assert!(start.elapsed() < Duration::from_secs(60), "the daemon is slow");
    }

    // And those who did not read have missed some: nothing is torn, nothing is wedged.
    for client in &mut stuck {
        assert!(client.drain(), "still connected");
        let whole = client.take_whole();
        assert!(whole >= 250, "{whole} events, less than a socket holds");
        assert!(whole < 4 * sessions, "all {whole} events: nothing was full");
    }
    // From now on they read: what comes is for them again.
    let session = lab.up("last");
    lab.down("last");
    live.expect(&session.life());
    stuck.iter_mut().for_each(|client| client.expect_life(&session));
}

#[test]
fn a_half_closed_client_keeps_receiving() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let mut client = lac.subscriber();
    client.half_close();
    let before = lac.ticks();
    lab.tunnel();
    for name in ["one", "two"] {
        let session = lab.up(name);
        lab.down(name);
        client.expect(&session.life());
    }
    thread::sleep(Duration::from_millis(500));
    let spent = lac.ticks() - before;
    assert!(spent <= 10, "{spent} ticks: an end of stream that stays readable must not spin");
}

#[test]
fn a_process_that_outlives_the_daemon_holds_no_socket() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let helper = lab.helper();
    for first in [false, true] {
        let launch = lab.herald("lac.evt").env("HELPER", "spawn");
        let launch = match first {
            true => launch.plugin_first(helper.clone()),
            false => launch.plugin(helper.clone()),
        };
        let mut lac = launch.start(&lab.lac);
        let mut client = lac.subscriber();
        lab.tunnel();
        let session = lab.up("one");
        client.expect(&[session.created(), session.up()].concat());
        let child = lac.helper_child(&lab.lac);
        // The worst end: nothing is cleaned up, the path stays.
        lac.signal(libc::SIGKILL);
        lac.exit().expect("it is gone");
        let status = fs::read_to_string(format!("/proc/{child}/status")).expect("the child lives");
        assert!(status.contains("SigBlk:\t0000000000000000\n"), "and can be signalled: {status}");
        client.expect_end();
        assert!(!served(&lac.socket), "a client connects to nobody");
    }
    // And a new daemon takes the path that the dead one left.
    let lac = lab.herald("lac.evt").start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    let session = lab.up("one");
    lab.down("one");
    client.expect(&session.life());
}

#[test]
fn a_directory_at_the_path_is_left_alone_and_reported() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let path = lab.path("lac.evt");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("precious"), "1").unwrap();
    let mut lac = lab.herald("lac.evt").start(&lab.lac);
    lab.tunnel();
    lab.up("one");
    lab.down("one");
    wait_for("the log names the path", || lac.log().contains("lac.evt").then_some(()));
    lac.terminate();
    assert_eq!(fs::read_to_string(path.join("precious")).unwrap(), "1");
}

#[test]
fn a_second_daemon_does_not_steal_the_path() {
    let Some(lab) = Lab::new() else { return };
    let mut first = lab.herald("both.evt").start(&lab.lac);
    let mut early = first.subscriber();
    let inode = fs::symlink_metadata(&first.socket).unwrap().ino();
    let mut second = lab.herald("both.evt").start(&lab.lns);
    lab.tunnel();

    let mut late = first.subscriber();
    let one = lab.up("one");
    lab.down("one");
    // Both clients belong to the first daemon: its view of the session, not the peer's.
    early.expect(&one.life());
    late.expect(&one.life());
    wait_for("the log names the path", || second.log().contains("both.evt").then_some(()));

    second.terminate();
    assert_eq!(fs::symlink_metadata(&first.socket).unwrap().ino(), inode);
    first.client().expect_nothing();
    assert!(served(&first.socket));
    first.terminate();
    early.expect_end();
    assert!(!first.socket.exists(), "the owner removes it");
}

#[test]
fn only_its_own_socket_is_removed() {
    let Some(lab) = Lab::new() else { return };
    let mut lac = lab.herald("lac.evt").start(&lab.lac);
    wait_for("the socket", || lac.socket.exists().then_some(()));
    fs::remove_file(&lac.socket).unwrap();
    let other = UnixListener::bind(&lac.socket).unwrap();
    lac.terminate();
    assert!(served(&lac.socket), "another's socket at the same path stays");
    drop(other);
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    let Some(lab) = Lab::new() else { return };
    for umask in ["000", "022", "077", "777"] {
        let mut lac = lab.herald("lac.evt").umask(umask).start(&lab.lac);
        drop(lac.client());
        let mode = fs::symlink_metadata(&lac.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660, "umask {umask}");
        lac.terminate();
        assert!(!lac.socket.exists());
    }
}

#[test]
fn whoever_is_not_allowed_is_sent_away() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let mut lac = lab.herald("lac.evt").options("allow_uids = [65534]\n").start(&lab.lac);
    lac.client().expect_end();
    lac.terminate();

    let lac = lab.herald("lac.evt").options("allow_uids = [65534, 0]\n").start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    let session = lab.up("one");
    lab.down("one");
    client.expect(&session.life());
}

#[test]
fn a_storm_of_hangups_does_no_harm() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let mut lac = lab.herald("lac.evt").start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    let calm = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !calm.load(Ordering::Relaxed) {
                lac.signal(libc::SIGHUP);
                thread::sleep(Duration::from_millis(2)); // the pace of the storm
            }
        });
        for n in 0..100 {
            // The daemon may drop the request, or the reply, that a signal lands in.
            let name = format!("session_name=storm{n}");
            for operation in ["create", "delete"] {
                let args = ["session", operation, "tunnel_name=t", &name];
                lab.lac.try_config(&args, Duration::from_millis(100));
            }
            client.drain();
        }
        calm.store(true, Ordering::Relaxed);
    });
    assert!(lab.lac.answers(), "the daemon answers RPC");

    // The old client and a fresh one see what comes now, whole and once.
    let mut fresh = lac.subscriber();
    let session = lab.up("calm");
    lab.down("calm");
    fresh.expect_life(&session);
    client.expect_life(&session);
    lac.terminate();
    assert!(!lac.socket.exists());
    client.expect_end();
}

#[test]
fn a_callback_that_is_abandoned_leaves_no_trace() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let flag = lab.path("flag");
    let mut lac = lab
        .herald("lac.evt")
        .plugin_first(lab.helper())
        .env("HELPER", "hangup")
        .env("HELPER_FLAG", &flag)
        .start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    for n in 0..50 {
        // The library calls the helper, which was loaded before it; the helper never returns.
        fs::write(&flag, "").unwrap();
        let name = format!("session_name=gone{n}");
        let args = ["session", "create", "tunnel_name=t", &name];
        wait_for("the callback is entered", || {
            lab.lac.try_config(&args, Duration::from_millis(50));
            (!flag.exists()).then_some(())
        });
    }
    assert!(lab.lac.answers(), "the daemon answers RPC");
    // The daemon does not raise CREATED again; most of the sessions come up all the same.
    let session = lab.up("one");
    lab.down("one");
    client.expect_life(&session);
    lac.terminate();
    assert!(!lac.socket.exists());
}

#[test]
fn sigterm_with_sessions_up_ends_the_stream_and_removes_the_socket() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let mut lac = lab.herald("lac.evt").start(&lab.lac);
    let mut client = lac.subscriber();
    let stuck = lac.subscriber();
    lab.tunnel();
    for name in ["one", "two", "three"] {
        lab.up(name);
    }
    let start = Instant::now();
    lac.terminate();
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(2), "took {spent:?}");
    assert!(!lac.socket.exists());
    client.expect_end();
    drop(stuck);
}

#[test]
fn a_session_that_another_plugin_rejects_is_not_announced() {
    let Some(lab) = Lab::new() else { return };
    let flag = lab.path("flag");
    // At the LNS: a LAC asks its peer before it asks its plugins, and may see UP all the same.
    let lns = lab
        .herald("lns.evt")
        .plugin_first(lab.helper())
        .env("HELPER", "reject")
        .env("HELPER_FLAG", &flag)
        .start(&lab.lns);
    let _lac = lab.plain().start(&lab.lac);
    let mut client = lns.subscriber();
    lab.tunnel();
    fs::write(&flag, "").unwrap();
    lab.create("rejected");
    wait_for("it is rejected", || lns.log().contains("helper: rejected").then_some(()));
    fs::remove_file(&flag).unwrap();
    let session = lab.up("accepted").mirrored();
    lab.down("accepted");
    client.expect(&session.life());
    client.expect_nothing();
}

#[test]
fn a_plugin_named_twice_announces_once() {
    let Some(lab) = Lab::new() else { return };
    let _lns = lab.plain().start(&lab.lns);
    let again = lab.path("event_sock.so");
    let mut lac = lab.herald("lac.evt").plugin(again).start(&lab.lac);
    let mut client = lac.subscriber();
    lab.tunnel();
    let session = lab.up("one");
    lab.down("one");
    client.expect(&session.life());
    client.expect_nothing();
    lac.terminate();
    assert!(!lac.socket.exists());
}
