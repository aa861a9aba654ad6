//! Clients over shared memory.

use nix::sys::signal::Signal;

use crate::vpp::raw::Client;
use crate::vpp::{SOON, Vpp, events, sdk, wait_for, wait_for_within};

#[test]
fn they_receive_the_same_events_and_one_that_is_killed_hurts_nobody() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    // VPP keeps its table of messages in the segment of whoever connects first, and so a client in the common
    // segment dies if that was a client with a segment of its own.
    let common = vpp.memory("common", &["32", "4"]);
    common.expect("duplicate -31");
    let clients = [common, vpp.memory("private", &["32", "4"]), vpp.papi(&["subscribe", "4"])];
    let killed = ["common", "private"].map(|how| vpp.memory(how, &["32", "1000"]));
    clients.iter().chain(&killed).for_each(|client| client.expect("duplicate -31"));
    assert_eq!(vpp.number("show herald", "clients:"), 5);
    let table = vpp.clients();
    assert_eq!(table.iter().filter(|client| client.transport == "memory").count(), 4, "{table:?}");

    let long = "5a".repeat(255);
    vpp.cli("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030");
    vpp.cli("herald gtp-error ue 4294967295 te 0 rb 255 type 1");
    vpp.cli(&format!("herald gtp-error ue 1 te 2 raw {long}"));
    for killed in killed {
        let last = format!("CU_UP_EVENT_GTP_ERROR_IND pid {} ue 1 te 0x2 rb 0 raw {long}", killed.pid());
        killed.expect(&last);
        killed.kill();
    }
    vpp.cli("herald gtp-error ue 3 te 4");
    let expected = [
        "CU_UP_EVENT_GTP_ERROR_IND ue 1000 te 0xdeadbeef rb 5 raw 3030303030",
        "CU_UP_EVENT_END_MARKER_IND ue 4294967295 te 0x0 rb 255 raw ",
        &format!("CU_UP_EVENT_GTP_ERROR_IND ue 1 te 0x2 rb 0 raw {long}"),
        "CU_UP_EVENT_GTP_ERROR_IND ue 3 te 0x4 rb 0 raw ",
    ];
    for client in clients {
        let printed = client.finish();
        assert_eq!(events(&printed), expected);
        for line in ["absent -31", "subscribed 0", "duplicate -31", "unsubscribed 0"] {
            assert!(printed.iter().any(|printed| printed == line), "{line:?} is not in {printed:?}");
        }
    }
    // VPP looks every ten seconds, and gives a client two looks to answer; later, if nobody asks for anything.
    let mut asking = Client::connect(&vpp.socket());
    wait_for_within(4 * SOON, "VPP knows that the clients have gone", || {
        assert_eq!(asking.want(false), -31);
        (vpp.number("show herald", "clients:") == 0).then_some(())
    });
    assert_eq!(vpp.number("show herald", "registered,"), 2);
    vpp.cli("herald gtp-error ue 5 te 6");
    vpp.stop();
}

#[test]
fn one_that_does_not_read_neither_holds_the_main_thread_nor_costs_the_others_anything() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let stuck = vpp.memory("common", &["16", "15000", "quiet"]);
    stuck.expect("duplicate -31");
    stuck.signal(Signal::SIGSTOP);
    let memory = vpp.memory("private", &["0", "15000", "quiet"]);
    memory.expect("duplicate -31");
    let papi = vpp.papi(&["subscribe", "15000", "quiet"]);
    papi.expect("duplicate -31");
    // The longest and the shortest, of which a queue holds the same number. Not many: VPP takes messages back
    // that nobody has read for ten seconds.
    let long = "5a".repeat(255);
    vpp.cli(&format!("herald gtp-error ue 1 te 2 raw {long} count 5000"));
    vpp.cli("herald gtp-error ue 1 te 2 count 10000");
    assert_eq!(memory.finish().last().unwrap(), "left 0");
    assert_eq!(papi.finish().last().unwrap(), "left 0");
    let counts = &vpp.clients()[0];
    assert!(counts.sent <= 15 && counts.sent + counts.waiting == 15_000, "{counts:?}");
    stuck.signal(Signal::SIGCONT);
    assert_eq!(stuck.finish().last().unwrap(), "left 0");
    assert!(vpp.cli("show herald").contains(" 0 waits, 0 panics"));

    // Of the replies as well, what its queue has no room for is dropped, and counted.
    let flood = vpp.memory("flood", &["8", "100"]);
    flood.expect("flooded");
    wait_for("all requests have been handled", || {
        (vpp.number("show herald", "word,") >= 92).then_some(())
    });
    vpp.stop();
}

#[test]
fn a_request_that_is_too_short_is_ignored() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start(&sdk, directory.path(), "");
    let printed = vpp.memory("short", &["32", "3"]).finish();
    assert_eq!(printed, ["absent -31", "subscribed 0", "duplicate -31", "unsubscribed 0", "left 0"]);
    vpp.stop();
}
