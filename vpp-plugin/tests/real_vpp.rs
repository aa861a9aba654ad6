//! The plugin in a real VPP 26.06, with real clients. Runs if `HERALD_VPP_SDK` names a tree of VPP and
//! `make vpp-plugin` has built the plugin; says that it is skipped if not.

#[path = "real_vpp/mod.rs"]
mod vpp;

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use vpp::{SOON, Vpp, events, sdk, wait_for};

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
        (
            &*format!("ue 1 te 2 raw {}", "00".repeat(256)),
            "raw has 256 bytes, and the event holds at most 255",
        ),
    ] {
        let answer = vpp.cli(&format!("herald gtp-error {arguments}"));
        assert!(answer.contains(complaint), "{arguments}: {answer}");
    }
    assert_eq!(vpp.number("show herald", "GTP errors:"), 0);
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

    let (papi, go) = (papi.finish(), go.finish());
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
fn a_hundred_thousand_events_reach_three_clients_and_the_main_thread_is_not_held() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let papi = [(); 2].map(|()| vpp.papi(&["subscribe", "100000", "quiet"]));
    let go = vpp.govpp(&["-count", "100000", "-quiet", "-buffer", "100000"]);
    papi.iter().for_each(|papi| papi.expect("duplicate -31"));
    go.expect("subscribed");
    vpp.cli("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030 count 100000");
    for papi in papi {
        assert_eq!(papi.finish().last().unwrap(), "left 0");
    }
    let go = go.finish();
    assert!(go.iter().any(|line| line.starts_with("100000 events")), "{go:?}");
    let summary = vpp.cli("show herald");
    println!("{summary}");
    let longest = vpp.number("show herald", "longest");
    assert!(longest < 1000, "{summary}");
    assert!(summary.contains("; 0 waits, 0 panics"), "{summary}");
    vpp.stop();
}

#[test]
fn a_client_that_does_not_read_loses_events_and_the_others_do_not() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let stuck = vpp.papi(&["subscribe", "1000000", "quiet"]);
    stuck.expect("duplicate -31");
    stuck.signal(Signal::SIGSTOP);
    let go = vpp.govpp(&["-count", "400000", "-quiet", "-buffer", "400000"]);
    go.expect("subscribed");
    for part in 1..=8 {
        vpp.cli("herald gtp-error ue 1 te 2 raw 3030303030 count 50000");
        // So that the other client keeps up, whatever else the machine has to do.
        wait_for("the burst has been raised and read", || {
            let clients = vpp.cli("show herald clients");
            let sent = clients.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok());
            // With the last one it is done and leaves.
            (part == 8 || sent.max() == Some(part * 50000)).then_some(())
        });
    }
    let go = go.finish();
    assert!(go.iter().any(|line| line.starts_with("400000 events")), "{go:?}");
    // It has been sent what its socket holds; of the rest, what the journal holds waits for it.
    let clients = vpp.cli("show herald clients");
    let line = clients.lines().find(|line| line.contains("herald-test")).unwrap();
    let [sent, waiting]: [u64; 2] =
        [2, 3].map(|column| line.split_whitespace().nth(column).unwrap().parse().unwrap());
    assert!(sent < 20_000 && waiting < 200_000, "{clients}");
    stuck.signal(Signal::SIGCONT);
    wait_for("the client has caught up", || {
        let clients = vpp.cli("show herald clients");
        let line = clients.lines().find(|line| line.contains("herald-test")).unwrap();
        let [sent, waiting, lost]: [u64; 3] =
            [2, 3, 4].map(|column| line.split_whitespace().nth(column).unwrap().parse().unwrap());
        (waiting == 0).then(|| assert!(sent + lost == 400_000 && lost > 200_000, "{clients}"))
    });
    stuck.kill();
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
    let text = UdpSocket::bind("127.0.0.1:0").unwrap();
    let json = UnixDatagram::bind(directory.path().join("listener")).unwrap();
    text.set_read_timeout(Some(SOON)).unwrap();
    json.set_read_timeout(Some(SOON)).unwrap();
    let vpp = Vpp::start(
        &sdk,
        directory.path(),
        &format!(
            "[[datagram]]\nto = \"udp:{}\"\nformat = \"text\"\n\
             [[datagram]]\nto = \"unix:{}\"\nevents = [\"E_VPP_*\"]\n",
            text.local_addr().unwrap(),
            directory.path().join("listener").display()
        ),
    );
    vpp.cli("create loopback interface");
    vpp.cli("set interface state loop0 up");
    vpp.cli("herald gtp-error ue 1000 te 7 rb 5 raw 3030");
    vpp.cli("set interface state loop0 down");
    vpp.cli("delete loopback interface intfc loop0");

    let mut buffer = [0; 2048];
    let mut next_text = || {
        let length = text.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let wanted = [
        "E_VPP_INTERFACE_CREATED",
        "E_VPP_INTERFACE_UP",
        "E_VPP_GTP_ERROR",
        "E_VPP_INTERFACE_DOWN",
        "E_VPP_INTERFACE_DELETED",
    ];
    for name in wanted {
        let datagram =
            std::iter::repeat_with(&mut next_text).find(|text| !text.starts_with("E_VPP_LINK"));
        let datagram = datagram.unwrap();
        assert!(datagram.starts_with(&format!("{name}\n")), "{datagram}");
        let field = if name == "E_VPP_GTP_ERROR" { "ue_id::1000\n" } else { "name::loop0\n" };
        assert!(datagram.contains(field), "{datagram}");
    }
    let mut buffer = [0; 2048];
    let mut next_json = || {
        let length = json.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    for name in wanted {
        let datagram = std::iter::repeat_with(&mut next_json).find(|text| !text.contains("E_VPP_LINK"));
        let datagram = datagram.unwrap();
        assert!(datagram.contains(&format!("\"method\":\"{name}\"")), "{datagram}");
    }
    assert!(vpp.number("show herald", "hub:") >= 5);
    vpp.stop();
}

#[test]
fn it_ends_and_starts_again_cleanly() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let config = format!("[[datagram]]\nto = \"udp:{}\"\n", listener.local_addr().unwrap());
    for round in 0..3 {
        let vpp = Vpp::start(&sdk, directory.path(), &config);
        let go = vpp.govpp(&[]);
        go.expect("subscribed");
        vpp.cli(&format!("herald gtp-error ue {round} te 1"));
        vpp.cli("herald gtp-error ue 1 te 1 count 1000");
        vpp.stop();
        go.expect("disconnected");
        let mut buffer = [0; 2048];
        let length = listener.recv(&mut buffer).expect("a datagram");
        let datagram = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(datagram.contains(&format!("\"ue_id\":{round}")), "{datagram}");
        listener.set_nonblocking(true).unwrap();
        while listener.recv(&mut buffer).is_ok() {}
        listener.set_nonblocking(false).unwrap();
    }
}
