//! Which OpenSIPS loads the module, and how it is configured.

use crate::stand_in::{JSON, OpenSips, RAISE, TEXT, from_udp, from_unix, modern, udp, unix};

#[test]
fn every_version_of_the_table_loads_the_module_and_gets_its_events_out_of_every_process() {
    for (version, size, expected) in [
        ("2.4.0", 144, TEXT),
        ("2.4.5", 144, TEXT),
        ("2.4.6", 152, TEXT),
        ("2.4.7", 160, TEXT),
        ("2.4.11", 160, TEXT),
        ("3.0.0", 160, TEXT),
        ("3.0.1", 168, TEXT),
        ("3.1.17", 168, JSON),
        ("3.2.19", 168, JSON),
        ("3.3.10", 168, JSON),
        ("3.4.0", 184, JSON),
        ("3.5.9", 184, JSON),
        ("3.6.8", 184, JSON),
        ("4.0.1", 184, JSON),
        ("4.1.0-dev", 184, JSON),
    ] {
        let opensips = OpenSips::build(version, size);
        let mut host = opensips.start(&["-c", "2", "-k", "1"]);
        let ((over_udp, address), over_unix) = (udp(), unix(&opensips.path("s")));
        host.ok(&format!("subscribe E_X {address}"));
        host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
        // Child 0 has been through child_init; child 1 and the main process have not.
        for process in ["0", "1", "main"] {
            host.ok(&format!("raise {process} {RAISE}"));
            assert_eq!(from_udp(&over_udp), expected, "{version}, process {process}");
            assert_eq!(from_unix(&over_unix), expected, "{version}, process {process}");
        }
        assert_eq!(
            (host.stat("raised"), host.stat("sent"), host.stat("subscribers")),
            (6, 6, 2),
            "{version}"
        );
        host.end();
    }
}

#[test]
fn every_other_version_is_refused_with_a_message_that_the_host_prints() {
    for (version, size) in [
        ("2.3.6", 136),
        ("2.4.7", 144),
        ("2.4.12", 160),
        ("3.0.0-beta", 160),
        ("3.4.0", 168),
        ("3.6.0-dev", 184),
        ("4.1.0", 184),
        ("5.0.0", 184),
    ] {
        let (said, _) = OpenSips::build(version, size).refused(&[]);
        let refusal = format!(
            "event_datagram (herald): this OpenSIPS is not supported: opensips {version} \
             (x86_64/linux) with a module description of {size} bytes"
        );
        assert!(said.contains(&refusal), "{version}, {size}: {said}");
    }
}

#[test]
fn the_format_can_be_chosen() {
    let opensips = modern();
    let mut host = opensips.start(&["-m", "format=text"]);
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), TEXT);

    let old = OpenSips::build("2.4.11", 160);
    let mut host = old.start(&["-m", "format=json"]);
    host.ok(&format!("subscribe E_X {address}"));
    host.ok(&format!("raise 0 {RAISE}"));
    assert_eq!(from_udp(&socket), JSON);
}

#[test]
fn a_bad_parameter_keeps_the_module_from_starting_and_is_named() {
    let opensips = modern();
    for (parameter, complaint) in [
        ("format=xml", "modparam format is \"xml\", and must be \"text\" or \"json\""),
        ("queue=1", "modparam queue is 1, and must be from 4096 to 1073741824"),
        ("max_subscribers=0", "modparam max_subscribers is 0, and must be from 1 to 4096"),
        ("send_buffer=-1", "modparam send_buffer is -1, and must be from 0"),
    ] {
        let (said, status) = opensips.refused(&["-m", parameter]);
        assert!(said.contains(complaint), "{parameter}: {said}");
        assert_eq!(status, 255, "{parameter}");
    }
}

/// Some parse, load and initialise, and only then go into the background.
#[test]
fn it_works_when_the_host_becomes_a_daemon_after_loading_it() {
    let opensips = modern();
    let mut host = opensips.start(&["-b"]);
    let (socket, address) = udp();
    host.ok(&format!("subscribe E_X {address}"));
    for process in ["0", "main"] {
        host.ok(&format!("raise {process} {RAISE}"));
        assert_eq!(from_udp(&socket), JSON);
    }
    host.end();
}

#[test]
fn another_module_with_its_transports_is_one_too_many() {
    let opensips = modern();
    for taken in ["udp:2000000", "other:40000000", "unix:2000000", "other:20000000"] {
        let (said, status) = opensips.refused(&["-r", taken]);
        assert!(said.contains("is another event_datagram loaded?"), "{taken}: {said}");
        assert_eq!(status, 255, "{taken}");
    }
}
