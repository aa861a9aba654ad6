//! The plugin in a real VPP 26.06, with real clients. Runs if `HERALD_VPP_SDK` names a tree of VPP and
//! `make vpp-plugin` has built the plugin; says that it is skipped if not.

#[path = "real_vpp/memory.rs"]
mod memory;
#[path = "real_vpp/panics.rs"]
mod panics;
#[path = "real_vpp/mod.rs"]
mod vpp;

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::thread;

use nix::sys::signal::Signal;
use vpp::raw::Client;
use vpp::{Plugin, SOON, Vpp, events, sdk, wait_for, wait_for_within};

#[test]
fn the_plugin_loads_and_the_cli_says_what_it_does() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    assert!(vpp.cli("show plugins").contains("herald_plugin.so"));
    let summary = vpp.cli("show herald");
    for line in
        ["GTP errors: 0 reported", "clients: 0 registered", "hub: none", "reporter: off", " 0 panics"]
    {
        assert!(summary.contains(line), "{line:?} is not in {summary}");
    }
    assert!(vpp.cli("show herald clients").contains("client index"));
    assert!(vpp.cli("show herald colours").contains("unknown word \"colours\""));
    for (arguments, complaint) in [
        ("", "ue is missing"),
        ("ue 1 te 2 raw 0", "no even number of hexadecimal digits"),
        ("ue 1 te 2 type 4", "type: 4 is no cu_up_event_type"),
        ("ue 1 te 2 count 0", "count: 0 events are none"),
        ("ue 1 te 2 colour red", "unknown word \"colour\""),
        (
            &*format!("ue 1 te 2 raw {}", "00".repeat(256)),
            "raw has 256 bytes, and the event holds at most 255",
        ),
    ] {
        let answer = vpp.cli(&format!("herald gtp-error {arguments}"));
        assert!(answer.contains(complaint), "{arguments}: {answer}");
    }
    assert_eq!(vpp.number("show herald", "GTP errors:"), 0);
    assert!(vpp.cli("herald panic command").contains("unknown"), "what is shipped panics when told to");
    vpp.stop();
}

#[test]
fn clients_of_both_kinds_receive_the_same_events_and_one_that_is_killed_hurts_nobody() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let (papi, killed) = (vpp.papi(&["subscribe", "4"]), vpp.papi(&["subscribe", "1000"]));
    let go = vpp.govpp(&["-count", "4"]);
    papi.expect("duplicate -31");
    killed.expect("duplicate -31");
    go.expect("subscribed");
    assert_eq!(vpp.number("show herald", "clients:"), 3);
    assert_eq!(vpp.cli("show herald clients").matches("herald-test").count(), 2);

    let long = "5a".repeat(255);
    vpp.cli("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030");
    vpp.cli("herald gtp-error ue 4294967295 te 0 rb 255 type 1");
    vpp.cli(&format!("herald gtp-error ue 1 te 2 raw {long}"));
    killed
        .expect(&format!("CU_UP_EVENT_GTP_ERROR_IND pid {} ue 1 te 0x2 rb 0 raw {long}", killed.pid()));
    killed.kill();
    wait_for("VPP knows that the client has gone", || {
        (vpp.number("show herald", "registered,") == 1).then_some(())
    });
    assert_eq!(vpp.number("show herald", "clients:"), 2);
    vpp.cli("herald gtp-error ue 3 te 4");

    let pids = [papi.pid(), go.pid()];
    let (papi, go) = (papi.finish(), go.finish());
    for (pid, printed) in pids.iter().zip([&papi, &go]) {
        let own = format!(" pid {pid} ue ");
        assert_eq!(printed.iter().filter(|line| line.contains(&own)).count(), 4, "{own:?} {printed:?}");
    }
    let expected = [
        "CU_UP_EVENT_GTP_ERROR_IND ue 1000 te 0xdeadbeef rb 5 raw 3030303030",
        "CU_UP_EVENT_END_MARKER_IND ue 4294967295 te 0x0 rb 255 raw ",
        &format!("CU_UP_EVENT_GTP_ERROR_IND ue 1 te 0x2 rb 0 raw {long}"),
        "CU_UP_EVENT_GTP_ERROR_IND ue 3 te 0x4 rb 0 raw ",
    ];
    assert_eq!(events(&papi), expected);
    assert_eq!(events(&go), expected);
    for line in ["absent -31", "subscribed 0", "duplicate -31", "unsubscribed 0"] {
        assert!(papi.iter().any(|printed| printed == line), "{line:?} is not in {papi:?}");
    }
    assert_eq!(go.last().unwrap(), "unsubscribed");
    assert_eq!(vpp.number("show herald", "clients:"), 0);
    vpp.stop();
}

#[test]
fn the_tests_of_the_client_in_go_pass() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let mut tests = vpp.go_tests();
    let status = wait_for_within(2 * SOON, "the tests in Go end", || {
        // They want events all the time.
        vpp.cli("herald gtp-error ue 1 te 0xdeadbeef raw 3030303030");
        tests.try_wait().unwrap()
    });
    assert!(status.success(), "{}", io::read_to_string(tests.stdout.unwrap()).unwrap());
    vpp.stop();
}

#[test]
fn a_hundred_thousand_events_reach_three_clients_and_the_main_thread_is_not_held() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let papi = [(); 2].map(|()| vpp.papi(&["subscribe", "100000", "quiet"]));
    let go = vpp.govpp(&["-count", "100000", "-quiet", "-buffer", "100000"]);
    papi.iter().for_each(|papi| papi.expect("duplicate -31"));
    go.expect("subscribed");
    vpp.cli("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030 count 100000");
    vpp.wait_until_all_is_sent(100_000);
    for papi in papi {
        assert_eq!(papi.finish().last().unwrap(), "left 0");
    }
    let go = go.finish();
    assert!(go.iter().any(|line| line.starts_with("100000 events")), "{go:?}");
    let summary = vpp.cli("show herald");
    println!("{summary}");
    // In time that the thread has run: what others take of its core is not counted.
    assert!(summary.contains(" 0 of them longer than 1000 us"), "{summary}");
    assert!(summary.contains("; 0 waits, 0 panics"), "{summary}");
    vpp.stop();
}

#[test]
fn a_client_that_does_not_read_loses_events_and_the_others_do_not() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    // It asks whether VPP lives, and would leave when it finds that it has waited for an answer.
    let stuck = vpp.govpp(&["-count", "1000000", "-quiet", "-probe", "1h"]);
    stuck.expect("subscribed");
    stuck.signal(Signal::SIGSTOP);
    let go = vpp.govpp(&["-count", "400000", "-quiet", "-buffer", "400000"]);
    go.expect("subscribed");
    let mut counting = Client::connect(&vpp.socket());
    assert_eq!(counting.want(true), 0);
    let event = counting.id("cu_up_gtp_error_ind_event_6ce619fe").to_be_bytes();
    let counting = thread::spawn(move || {
        for number in 0..400_000 {
            assert_eq!(counting.receive()[..2], event, "event {number}");
        }
        counting
    });
    for part in 1..=8 {
        vpp.cli("herald gtp-error ue 1 te 2 raw 3030303030 count 50000");
        // So that the others keep up, whatever else the machine has to do.
        wait_for("the burst has been raised and read", || {
            let clients = vpp.clients();
            let up_to_date = clients.iter().filter(|client| client.sent == part * 50_000).count();
            // With the last one GoVPP is done and leaves.
            (up_to_date == 2 || part == 8 && up_to_date == 1 && clients.len() == 2).then_some(())
        });
    }
    let go = go.finish();
    assert!(go.iter().any(|line| line.starts_with("400000 events")), "{go:?}");
    let counting = counting.join().unwrap();
    let of_stuck = || vpp.clients().into_iter().find(|client| client.pid == stuck.pid()).unwrap();
    // It has been sent what its socket holds; of the rest, what the journal holds waits for it.
    let counts = of_stuck();
    assert!(counts.sent < 20_000 && counts.waiting < 200_000, "{counts:?}");
    stuck.signal(Signal::SIGCONT);
    let counts =
        wait_for("the client has caught up", || Some(of_stuck()).filter(|counts| counts.waiting == 0));
    assert!(counts.sent + counts.lost == 400_000 && counts.lost > 200_000, "{counts:?}");
    stuck.kill();
    drop(counting);
    vpp.stop();
}

#[test]
fn the_reporter_reports_for_interfaces_that_there_are() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    vpp.cli("create loopback interface");
    let reporter = |index, switch| vpp.papi(&["reporter", index, switch]).finish().pop().unwrap();
    assert_eq!(reporter("17", "on"), "retval -2");
    assert_eq!(reporter("1", "on"), "retval 0");
    assert!(vpp.cli("show herald").contains("reporter: on for sw_if_index 1\n"));
    let lines = vpp.papi(&["subscribe", "2"]).finish();
    let reports = events(&lines);
    assert!(
        reports.iter().all(|report| report.starts_with("CU_UP_EVENT_GTP_ERROR_IND ue 1 te ")),
        "{lines:?}"
    );
    assert_ne!(reports[0], reports[1]);
    assert_eq!(reporter("1", "off"), "retval 0");
    assert!(vpp.cli("show herald").contains("reporter: off"));
    assert_eq!(reporter("1", "on"), "retval 0");
    vpp.cli("delete loopback interface intfc loop0");
    assert!(vpp.cli("show herald").contains("reporter: off"));
    vpp.stop();
}

#[test]
fn interface_events_and_gtp_errors_reach_datagram_listeners() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let udp = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let unix = ["text", "json"].map(|name| UnixDatagram::bind(at(name)).unwrap());
    udp.iter().for_each(|socket| socket.set_read_timeout(Some(SOON)).unwrap());
    unix.iter().for_each(|socket| socket.set_read_timeout(Some(SOON)).unwrap());
    let to = |to: String, rest: &str| format!("[[datagram]]\nto = \"{to}\"\n{rest}\n");
    let port = |socket: &UdpSocket| format!("udp:{}", socket.local_addr().unwrap());
    let path = |name: &str| format!("unix:{}", at(name).display());
    let config = [
        to(port(&udp[0]), "format = \"text\""),
        to(port(&udp[1]), ""),
        to(path("text"), "format = \"text\""),
        to(path("json"), "events = [\"E_VPP_*\"]"),
    ];
    let vpp = Vpp::start(&sdk, directory.path(), &config.concat());
    vpp.cli("create loopback interface");
    vpp.cli("set interface state loop0 up");
    vpp.cli("herald gtp-error ue 1000 te 7 rb 5 raw 3030");
    vpp.cli("set interface state loop0 down");
    vpp.cli("delete loopback interface intfc loop0");

    let [udp_text, udp_json] = udp.map(|socket| seven(|buffer| socket.recv(buffer)));
    let [unix_text, unix_json] = unix.map(|socket| seven(|buffer| socket.recv(buffer)));
    assert_eq!(udp_text, unix_text);
    assert_eq!(udp_json, unix_json);
    let loop0 = ["sw_if_index::1\nname::loop0\n\n", "{\"sw_if_index\":1,\"name\":\"loop0\"}"];
    let error = [
        "type::2\nue_id::1000\nte_id::7\nrb_id::5\nraw::3030\n\n",
        "{\"type\":2,\"ue_id\":1000,\"te_id\":7,\"rb_id\":5,\"raw\":\"3030\"}",
    ];
    for (name, params) in [
        ("E_VPP_INTERFACE_CREATED", loop0),
        ("E_VPP_LINK_UP", loop0),
        ("E_VPP_INTERFACE_UP", loop0),
        ("E_VPP_GTP_ERROR", error),
        ("E_VPP_INTERFACE_DOWN", loop0),
        ("E_VPP_LINK_DOWN", loop0),
        ("E_VPP_INTERFACE_DELETED", loop0),
    ] {
        let text = format!("{name}\n{}", params[0]);
        assert!(udp_text.contains(&text), "{text:?} is not in {udp_text:?}");
        let json = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{name}\",\"params\":{}}}", params[1]);
        assert!(udp_json.contains(&json), "{json:?} is not in {udp_json:?}");
    }
    let hub = "hub: 7 published, 0 refused; 4 subscribers, 28 delivered, 0 dropped";
    wait_for(hub, || vpp.cli("show herald").contains(hub).then_some(()));
    vpp.stop();
}

/// Seven datagrams.
fn seven(receive: impl Fn(&mut [u8]) -> io::Result<usize>) -> [String; 7] {
    [(); 7].map(|()| {
        let mut buffer = [0; 2048];
        let length = receive(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    })
}

#[test]
fn who_is_not_connected_is_not_registered() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let mut client = Client::connect(&vpp.socket());
    for index in [0, 1, client.index + 1, client.index ^ 0x100, u32::MAX] {
        client.send_want(index, index, true);
    }
    client.send_want(client.index, 1234, true);
    assert_eq!(client.reply(), (1234, 0));
    assert_eq!(vpp.number("show herald", "clients:"), 1);
    vpp.stop();
}

#[test]
fn vpp_traces_the_messages() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    vpp.cli("api trace on");
    let mut client = Client::connect(&vpp.socket());
    assert_eq!(client.want(true), 0);
    vpp.cli("herald gtp-error ue 1 te 2");
    assert_eq!(client.receive().len(), 24);
    let trace = vpp.cli("api trace dump");
    assert!(trace.contains("want_cu_up_gtp_error_ind_events"), "{trace}");
    vpp.stop();
}

#[test]
fn it_ends_and_starts_again_and_clients_come_back() {
    let Some(sdk) = sdk() else { return };
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let config = format!("[[datagram]]\nto = \"udp:{}\"\n", listener.local_addr().unwrap());
    let neighbour = Vpp::start(&sdk, elsewhere.path(), "");
    let mut stranger = Client::connect(&neighbour.socket());
    assert_eq!(stranger.want(true), 0);
    let mut clients = None;
    for round in 1..=3 {
        let vpp = Vpp::start(&sdk, directory.path(), &config);
        let (go, papi) =
            clients.get_or_insert_with(|| (vpp.govpp(&["-attempts", "1000"]), vpp.papi(&["reconnect"])));
        go.expect_times("subscribed", round);
        papi.expect_times("subscribed 0", round);
        vpp.cli(&format!("herald gtp-error ue {round} te 1"));
        let event = format!("ue {round} te 0x1 rb 0 raw ");
        for client in [&*go, &*papi] {
            client.expect_that(&event, |lines| {
                events(lines).iter().filter(|line| line.ends_with(&event)).count() == 1
            });
        }
        vpp.cli("herald gtp-error ue 0 te 1 count 1000");
        vpp.stop();
        go.expect_times("disconnected", round);
        papi.expect_times("disconnected", round);
        let mut buffer = [0; 2048];
        let length = listener.recv(&mut buffer).expect("a datagram");
        let datagram = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(datagram.contains(&format!("\"ue_id\":{round}")), "{datagram}");
        listener.set_nonblocking(true).unwrap();
        while listener.recv(&mut buffer).is_ok() {}
        listener.set_nonblocking(false).unwrap();
    }
    // Whoever is connected to the VPP beside has seen nothing of all that.
    neighbour.cli("herald gtp-error ue 99 te 1");
    assert_eq!(stranger.receive()[14..18], [0, 0, 0, 99]);
    neighbour.stop();
}

#[test]
fn vpp_leaves_nothing_behind_that_it_does_not_leave_without_the_plugin() {
    let Some(sdk) = sdk() else { return };
    let (bare, with) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listeners = tempfile::tempdir().unwrap();
    let listener = listeners.path().join("listener");
    let _listener = UnixDatagram::bind(&listener).unwrap();
    let config = format!("[[datagram]]\nto = \"unix:{}\"\n", listener.display());
    Vpp::start_with(&sdk, bare.path(), &config, Plugin::Disabled).end();
    let mut vpp = Vpp::start(&sdk, with.path(), &config);
    let go = vpp.govpp(&["-attempts", "1"]);
    go.expect("subscribed");
    vpp.cli("create loopback interface");
    vpp.cli("herald gtp-error ue 1 te 1");
    vpp.end();
    drop(go);
    assert_eq!(Vpp::remains(with.path()), Vpp::remains(bare.path()));
}
