//! The promise: the plugin takes its configuration from where herald.toml(5) says, and a mistake in it is
//! reported and costs nothing but the configuration.

mod common;

use std::os::unix::fs::MetadataExt;

use common::*;

/// Asserts that a host with a private `/tmp` runs with the defaults.
fn has_the_defaults(mut host: Host) {
    host.wait_for_log("event_sock listens on /tmp/openl2tpd.evt");
    assert_eq!(host.socket().metadata().unwrap().mode(), libc::S_IFSOCK | 0o660);
    let clients: Vec<_> = (0..5).map(|_| host.client()).collect();
    host.client().expect_end();
    drop(clients);
    host.serves_a_fresh_client();
    assert_eq!(host.exit(), 0);
    assert!(!host.socket().exists());
}

#[test]
fn without_a_configuration_the_defaults_are_used() {
    let test = "without_a_configuration_the_defaults_are_used";
    let Some(setup) = Setup::with_private_tmp(test, "") else { return };
    let host = setup.unconfigured().start();
    assert!(host.log_lines("ERR").is_empty());
    has_the_defaults(host);
}

#[test]
fn the_file_in_etc_is_used_unless_another_is_named() {
    let test = "the_file_in_etc_is_used_unless_another_is_named";
    let in_etc = "mkdir /etc/herald; echo \"[event_sock] # in etc\" > /etc/herald/herald.toml
                  echo \"mode = \\\"0604\\\"\" >> /etc/herald/herald.toml";
    for named in [false, true] {
        let Some(mut setup) = Setup::with_private_tmp(test, in_etc) else { return };
        if !named {
            setup = setup.unconfigured();
        }
        let mut host = setup.toml("").start();
        let mode = host.socket().metadata().unwrap().mode();
        assert_eq!(mode, libc::S_IFSOCK | if named { 0o660 } else { 0o604 });
        host.serves_a_fresh_client();
    }
}

#[test]
fn a_bad_configuration_is_reported_with_line_and_key_and_the_defaults_are_used() {
    let test = "a_bad_configuration_is_reported_with_line_and_key_and_the_defaults_are_used";
    let path = "path = \"/tmp/elsewhere.evt\"";
    for (toml, complaint) in [
        (format!("[event_sock]\n{path}\nmode = \"rw\"\n"), "line 3, key mode"),
        (format!("[event_sock]\n{path}\n\nmax_clients = 4097\n"), "line 4, key max_clients"),
        (format!("# ours\n[event_sock]\nmax_client = 5\n{path}\n"), "line 3, key max_client"),
        (format!("[event_sock]\n{path}\noverflow = \"block\"\n"), "line 3, key overflow"),
        (format!("[event_sock]\n{path}\nowner = \"nobody at all\"\n"), "line 3, key owner"),
        (format!("[event_sock]\n{path}\nqueue_bytes\n"), "line 3, key queue_bytes"),
        (format!("[event_socks]\n{path}\n"), "line 1"),
        ("[event_sock]\npath = \"relative.evt\"\n".to_owned(), "line 2, key path"),
    ] {
        let Some(setup) = Setup::with_private_tmp(test, "") else { return };
        let host = setup.toml(toml).start();
        let line = host.wait_for_log(complaint);
        assert!(line.starts_with("ERR") && line.contains("herald.toml"), "{line}");
        assert!(line.ends_with("the defaults are used instead"), "{line}");
        has_the_defaults(host);
    }
    for (commands, complaint) in [
        ("export HERALD_CONFIG=$DIR/missing.toml", "missing.toml: cannot read it"),
        // A variable that is empty names no file; what is in /etc is there, and cannot be read.
        (
            "export HERALD_CONFIG=; mkdir /etc/herald; ln -s herald.toml /etc/herald/herald.toml",
            "/etc/herald/herald.toml: cannot read it",
        ),
    ] {
        let Some(setup) = Setup::with_private_tmp(test, commands) else { return };
        let host = setup.start();
        host.wait_for_log(complaint);
        has_the_defaults(host);
    }
}
