//! A panic in any call from VPP ends there.

use crate::vpp::{Plugin, Vpp, raw::Client, sdk, wait_for};

#[test]
fn a_panic_in_any_call_ends_there_and_is_logged_and_counted() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let vpp = Vpp::start_with(&sdk, directory.path(), "", Plugin::Panicking);
    let mut panics = 0;
    let mut counted = |name: &str| {
        panics += 1;
        let counted = format!(" {panics} panics, last in {name}\n");
        wait_for(&counted, || vpp.cli("show herald").contains(&counted).then_some(()));
        let logged = format!("on purpose, in {name}");
        let log = vpp.cli("show logging");
        assert!(log.contains(&logged), "{logged:?} is not in {log}");
    };
    let arm = |name: &str| vpp.cli(&format!("herald panic {name}"));

    arm("command");
    assert!(vpp.cli("show herald").contains("a panic; see `show logging`"));
    counted("command");

    let (mut subscriber, mut client) = (Client::connect(&vpp.socket()), Client::connect(&vpp.socket()));
    arm("want_cu_up_gtp_error_ind_events");
    assert_eq!(client.want(true), -1);
    counted("want_cu_up_gtp_error_ind_events");
    assert_eq!(client.want(true), 0);
    assert_eq!(subscriber.want(true), 0);

    arm("interface");
    vpp.cli("create loopback interface");
    counted("interface");
    arm("link");
    vpp.cli("set interface state loop0 up");
    counted("link");
    arm("admin");
    vpp.cli("set interface state loop0 down");
    counted("admin");
    let interfaces = vpp.cli("show interface");
    assert!(interfaces.contains("loop0") && interfaces.contains("down"), "{interfaces}");
    // The plugin has missed the first, for it panicked when that was created.
    vpp.cli("create loopback interface");

    arm("testgovpp_enable_disable");
    assert_eq!(client.reporter(2, true), -1);
    counted("testgovpp_enable_disable");
    assert_eq!(client.reporter(2, true), 0);
    assert_eq!(client.reporter(2, false), 0);

    arm("client gone");
    drop(client);
    counted("client gone");
    // It is not forgotten even so: there is no connection of that index when the next event is to be sent.
    assert_eq!(vpp.number("show herald", "clients:"), 2);
    arm("process");
    vpp.cli("herald gtp-error ue 1000 te 7");
    counted("process");
    assert_eq!(subscriber.receive()[14..22], [0, 0, 3, 0xe8, 0, 0, 0, 7]);
    assert_eq!(vpp.number("show herald", "clients:"), 1);
    arm("exit");
    vpp.stop();
}

#[test]
fn a_panic_while_it_starts_is_an_error_of_vpp() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (status, said) = Vpp::start_in_vain(&sdk, directory.path(), Plugin::PanickingAtStart);
    assert!(status.code().is_some(), "{status}: {said}");
    assert!(said.contains("herald: a panic while starting"), "{said}");
}
