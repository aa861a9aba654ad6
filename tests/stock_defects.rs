//! The promise: nothing that openl2tpd's own event_sock plugin does wrong is done wrong here. Each
//! test provokes one of its defects, and sees the host answer all the same.

mod common;

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use common::*;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::unistd::Pid;

/// A user and a group that nobody is and that have no entry anywhere.
const STRANGER: (u32, u32) = (64001, 64002);

#[test]
fn half_a_request_holds_up_nobody_for_as_long_as_it_stays_half() {
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT);
    let request = request(UP, 1);
    let mut halves: Vec<_> = (1..request.len()).map(|sent| (host.client(), sent)).collect();
    for (client, sent) in &mut halves {
        client.send(&request[..*sent]);
        host.life(1, 2);
        healthy.expect(&life(1, 2));
    }
    // The rest may come whenever it likes, and what was sent first counts.
    for (client, sent) in &mut halves {
        client.expect_nothing();
        client.send(&request[*sent..]);
    }
    host.life(3, 4);
    for (client, _) in &mut halves {
        client.expect(&frame(UP, &[3, 4, 2, 3]));
    }
    healthy.expect(&life(3, 4));
    host.does_not_wait_for_clients();
}

#[test]
fn a_length_of_0_or_5_blocks_nobody_and_closes_that_client() {
    let requests: [&[u16]; 5] = [
        &[DOCUMENT, 0],
        &[DOCUMENT, 0, 1],
        &[DOCUMENT, 5],
        &[DOCUMENT, 5, 1, 1],
        &[DOCUMENT, 0xffff, 1],
    ];
    let mut host = Host::start();
    let mut healthy = host.subscriber(DOCUMENT);
    for (session, bad) in (1..).zip(requests) {
        let mut client = host.client();
        client.send_only(&words(bad));
        client.expect_end();
        host.life(1, session);
        healthy.expect(&life(1, session));
    }
    host.wait_for_log("protocol error");
    host.does_not_wait_for_clients();
}

#[test]
fn a_request_in_two_parts_sets_the_mask_that_was_asked_for() {
    let mut host = Host::with("max_clients = 100");
    let mut fence = Fence::new(&host);
    for mask in [DOCUMENT, UP, CREATED | DOWN] {
        let request = request(mask, 1);
        for cut in 1..request.len() {
            let mut client = host.subscriber(0);
            client.send(&request[..cut]);
            client.send(&request[cut..]);
            host.life(1, 2);
            fence.pass(&mut host);
            let mut all = life(1, 2);
            let mut expected = Vec::new();
            while let Some((event, _, rest)) = split(&all) {
                if mask & event != 0 {
                    expected.extend(&all[..all.len() - rest.len()]);
                }
                all = rest.to_vec();
            }
            client.expect(&expected);
            client.expect_nothing();
        }
    }
}

#[test]
fn a_client_that_never_subscribed_receives_nothing() {
    let mut host = Host::start();
    let mut before = host.client();
    let mut subscriber = host.subscriber_when_there_is_room(DOCUMENT);
    let mut after = host.client();
    let mut fence = Fence::new(&host);
    for session in 1..=100 {
        host.life(1, session);
        subscriber.expect(&life(1, session));
    }
    fence.pass(&mut host);
    before.expect_nothing();
    after.expect_nothing();
}

#[test]
fn a_sixth_client_is_closed_at_once_and_costs_no_processor_time() {
    let mut host = Host::start();
    let mut five: Vec<_> = (0..5).map(|_| host.subscriber(DOCUMENT)).collect();
    let mut sixth = host.client();
    sixth.expect_end();
    host.wait_for_log("there are 5 clients already");
    host.worker_sleeps();
    host.life(1, 2);
    for client in &mut five {
        client.expect(&life(1, 2));
    }
    // It comes again when there is room.
    five.remove(2);
    host.serves_a_fresh_client();
    host.does_not_wait_for_clients();
}

#[test]
fn clients_that_do_not_read_delay_nothing_and_cost_others_nothing() {
    let mut host = Host::start();
    let mut stuck: Vec<_> = (0..4).map(|_| host.subscriber(DOCUMENT | LOST)).collect();
    let mut healthy = host.subscriber(DOCUMENT | LOST);
    let mut published = 0;
    let mut account = Account::of_floods(1000);
    // More than their sockets and their queues hold. The stock plugin would need most of an hour.
    for _ in 0..20 {
        published += host.flood(1000);
        account = healthy.account(account, published);
    }
    assert_eq!(account.lost, 0);
    // They lost events of their own, and are told how many when they read at last.
    for client in &mut stuck {
        let account = client.account(Account::of_floods(1000), published);
        assert!(account.lost > 0);
    }
}

#[test]
fn a_client_that_half_closes_after_subscribing_is_served() {
    let mut host = Host::start();
    let mut client = host.client();
    // At once: the request and the end of requests arrive together.
    client.send_only(&request(DOCUMENT, 1));
    client.half_close();
    client.wait_until_read();
    for session in 1..=5 {
        host.life(1, session);
        client.expect(&life(1, session));
    }
    host.worker_sleeps();
}

/// A child of a host, such as pppd. Dropping it kills it.
struct Orphan(i32);

impl Orphan {
    fn of(host: &mut Host, how: &str) -> Orphan {
        let answer = host.ok(&format!("{how} 600"));
        Orphan(answer.strip_prefix("pid ").unwrap().parse().unwrap())
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn a_child_that_outlives_the_host_holds_neither_the_socket_nor_the_clients() {
    for how in ["spawn", "fork"] {
        for killed in [false, true] {
            let mut host = Host::start();
            let mut clients = [host.subscriber(DOCUMENT), host.client()];
            let orphan = Orphan::of(&mut host, how);
            // The host's answer can be here before the child has begun to run.
            wait_for("a child without sockets", || {
                let mut fds = proc::fds(orphan.0 as u32).into_iter();
                (!fds.any(|fd| fd.is_socket())).then_some(())
            });
            // Who is closed while the child lives sees it.
            let mut bad = host.client();
            bad.send_only(&words(&[DOCUMENT, 2]));
            bad.expect_end();

            if killed {
                // No clean-up: the socket's entry stays, and nobody listens on it.
                host.signal(Signal::SIGKILL);
            } else {
                host.command("exit");
            }
            host.wait();
            for client in &mut clients {
                client.expect_end();
            }
            let refused = UnixStream::connect(host.socket()).unwrap_err().kind();
            let expected = if killed { ErrorKind::ConnectionRefused } else { ErrorKind::NotFound };
            assert_eq!(refused, expected, "{how}");
            assert!(proc::lives(orphan.0 as u32));
            // The next host takes the place.
            Setup::new().socket(host.socket()).start().serves_a_fresh_client();
        }
    }
}

/// Starts a host whose socket cannot be there, and asserts that it says so, runs all the same, and
/// touches nothing.
fn finds_in_the_way(path: &Path, what: &str) {
    let before = fs::symlink_metadata(path).unwrap();
    let mut host = Setup::new().socket(path).start();
    let line = host.wait_for_log("no event socket");
    assert!(line.starts_with("ERR ") && line.contains(what), "{line}");
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    host.ok("created 1 2");
    assert_eq!(host.exit(), 0);
    let after = fs::symlink_metadata(path).unwrap();
    assert_eq!((after.ino(), after.mode(), after.len()), (before.ino(), before.mode(), before.len()));
}

#[test]
fn a_directory_at_the_path_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evt");
    fs::create_dir(&path).unwrap();
    finds_in_the_way(&path, "a directory is in the way");
}

#[test]
fn a_file_at_the_path_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evt");
    fs::write(&path, "precious").unwrap();
    finds_in_the_way(&path, "a file is in the way");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_symbolic_link_at_the_path_is_reported_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = |name: &str| dir.path().join(name);
    fs::write(elsewhere("file"), "precious").unwrap();
    drop(UnixListener::bind(elsewhere("dead")).unwrap());
    for target in ["nothing", "file", "dead"] {
        let path = elsewhere(&format!("evt-{target}"));
        symlink(elsewhere(target), &path).unwrap();
        finds_in_the_way(&path, "a symbolic link is in the way");
        assert_eq!(fs::read_link(&path).unwrap(), elsewhere(target));
    }
    assert!(!elsewhere("nothing").exists());
    assert_eq!(fs::read_to_string(elsewhere("file")).unwrap(), "precious");
    assert!(fs::symlink_metadata(elsewhere("dead")).unwrap().file_type().is_socket());
}

#[test]
fn a_dead_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evt");
    drop(UnixListener::bind(&path).unwrap());
    let mut host = Setup::new().socket(&path).start();
    host.serves_a_fresh_client();
    assert_eq!(host.exit(), 0);
    assert!(!path.exists());
}

#[test]
fn a_live_socket_of_another_process_is_neither_stolen_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evt");
    let ours = UnixListener::bind(&path).unwrap();
    finds_in_the_way(&path, "another process serves this socket");
    drop(UnixStream::connect(&path).unwrap());
    assert!(ours.accept().is_ok());

    // One that is too busy to accept: its backlog is full.
    let path = dir.path().join("busy");
    let busy = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    let address = UnixAddr::new(&path).unwrap();
    bind(busy.as_raw_fd(), &address).unwrap();
    listen(&busy, Backlog::new(1).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
        if connect(one.as_raw_fd(), &address).is_err() {
            break;
        }
        waiting.push(one);
    }
    finds_in_the_way(&path, "another process serves this socket");

    // One of another kind.
    let path = dir.path().join("datagram");
    let _ours = UnixDatagram::bind(&path).unwrap();
    finds_in_the_way(&path, "is in the way");
}

#[test]
fn a_second_daemon_neither_takes_nor_deletes_the_socket_of_the_first() {
    let mut first = Host::start();
    let mut client = first.subscriber(DOCUMENT);
    let mut second = Setup::new().socket(first.socket()).start();
    second.wait_for_log("another process serves this socket");
    second.ok("created 9 9");
    first.life(1, 2);
    client.expect(&life(1, 2));
    assert_eq!(second.exit(), 0);
    first.serves_a_fresh_client();
    assert_eq!(first.exit(), 0);
    assert!(!first.socket().exists());
}

#[test]
fn only_the_entry_that_the_plugin_made_is_removed() {
    let mut host = Host::start();
    let mut client = host.subscriber(DOCUMENT);
    fs::remove_file(host.socket()).unwrap();
    let _other = UnixListener::bind(host.socket()).unwrap();
    let inode = fs::symlink_metadata(host.socket()).unwrap().ino();
    host.life(1, 2);
    client.expect(&life(1, 2));
    assert_eq!(host.exit(), 0);
    assert_eq!(fs::symlink_metadata(host.socket()).unwrap().ino(), inode);
}

/// The socket's type and permission bits.
fn mode(host: &Host) -> u32 {
    fs::symlink_metadata(host.socket()).unwrap().mode()
}

#[test]
fn the_mode_is_0660_whatever_the_umask() {
    for umask in ["000", "022", "077", "0777"] {
        let mut host = Setup::new().shell(format!("umask {umask}")).start();
        assert_eq!(mode(&host), libc::S_IFSOCK | 0o660, "umask {umask}");
        host.serves_a_fresh_client();
    }
}

#[test]
fn mode_owner_and_group_are_what_is_configured() {
    for bits in ["0600", "0666", "0777", "0000"] {
        let host = Setup::new().config(&format!("mode = \"{bits}\"")).shell("umask 027").start();
        assert_eq!(mode(&host), libc::S_IFSOCK | u32::from_str_radix(bits, 8).unwrap());
    }
    if !is_root("mode_owner_and_group_are_what_is_configured, as for owner and group") {
        return;
    }
    let owner = |config: &str| {
        let host = Host::with(config);
        assert_eq!(mode(&host), libc::S_IFSOCK | 0o660, "{config}");
        let entry = fs::symlink_metadata(host.socket()).unwrap();
        (entry.uid(), entry.gid())
    };
    assert_eq!(owner("owner = 64001"), (64001, 0));
    assert_eq!(owner("group = 64002"), (0, 64002));
    assert_eq!(owner("owner = \"64001\"\ngroup = 64002"), (64001, 64002));
    let daemon = nix::unistd::User::from_name("daemon").unwrap().expect("a user named daemon");
    let expected = (daemon.uid.as_raw(), daemon.gid.as_raw());
    assert_eq!(owner("owner = \"daemon\"\ngroup = \"daemon\""), expected);
}

/// Runs the example client as this user; whether it was served.
fn is_served(host: &mut Host, (uid, gid): (u32, u32)) -> bool {
    let mut client = EventClient::start_as(uid, gid, host.socket(), &["-n", "4"]);
    // We cannot know when it has subscribed: it sees one of these sessions, or is turned away.
    wait_for("the client is served or turned away", || {
        host.life(1, 2);
        client.has_ended().then_some(())
    });
    let (printed, complaint) = client.wait();
    assert!(
        printed.is_empty() || printed.contains("SESSION_UP tunnel 1 session 2"),
        "{printed}{complaint}"
    );
    !printed.is_empty()
}

#[test]
fn the_mode_decides_who_can_connect() {
    if !is_root("the_mode_decides_who_can_connect") {
        return;
    }
    let (uid, gid) = STRANGER;
    assert!(!is_served(&mut Host::start(), STRANGER));
    assert!(is_served(&mut Host::with("mode = \"0666\""), STRANGER));
    assert!(is_served(&mut Host::with(&format!("owner = {uid}")), STRANGER));
    assert!(is_served(&mut Host::with(&format!("group = {gid}")), STRANGER));
}

#[test]
fn clients_can_be_limited_by_user_and_group() {
    if !is_root("clients_can_be_limited_by_user_and_group") {
        return;
    }
    let (uid, gid) = STRANGER;
    for (allow, users) in [
        (String::new(), [true, true, true, true]),
        (format!("allow_uids = [{uid}]"), [true, false, true, false]),
        (format!("allow_gids = [{gid}]"), [true, true, false, false]),
        (format!("allow_uids = [{uid}]\nallow_gids = [{gid}]"), [true, true, true, false]),
        ("allow_uids = [\"root\", 1]\nallow_gids = [\"root\"]".to_owned(), [false, false, false, true]),
    ] {
        let mut host = Host::with(&format!("mode = \"0666\"\n{allow}"));
        let found =
            [(uid, gid), (uid + 5, gid), (uid, gid + 5), (0, 0)].map(|user| is_served(&mut host, user));
        assert_eq!(found, users, "{allow}");
        if users.contains(&false) {
            let line = host.wait_for_log("turned away pid");
            assert!(line.starts_with("WARNING") && line.contains("are not allowed"), "{line}");
        }
        host.does_not_wait_for_clients();
    }
}
