//! The promise: whoever only listens for datagrams gets a daemon's events as its configuration says,
//! beside the clients of the event socket, and `datagram_client` reads what there is to read.

mod common;

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use common::{DOCUMENT, Program, SOON, Setup, c_example, life, retry};

fn text(received: std::io::Result<usize>, buffer: &[u8]) -> String {
    String::from_utf8(buffer[..received.expect("a datagram")].to_vec()).unwrap()
}

#[test]
fn a_daemon_feeds_those_that_its_configuration_names_and_its_clients_from_one_publish() {
    let setup = Setup::new();
    let (over_udp, path) = (UdpSocket::bind("127.0.0.1:0").unwrap(), setup.dir().join("listener"));
    let over_unix = UnixDatagram::bind(&path).unwrap();
    over_udp.set_read_timeout(Some(SOON)).unwrap();
    over_unix.set_read_timeout(Some(SOON)).unwrap();
    let toml = format!(
        "[event_sock]\npath = \"{}\"\n\
         [[datagram]]\nto = \"udp:{}\"\nevents = [\"E_L2TP_SESSION_*\"]\n\
         [[datagram]]\nto = \"unix:{}\"\nformat = \"text\"\n",
        setup.dir().join("evt").display(),
        over_udp.local_addr().unwrap(),
        path.display()
    );
    let mut host = setup.toml(toml).start();
    let mut client = host.subscriber(DOCUMENT);
    host.ok("tunnel-up 1 2");
    host.life(1, 5);
    client.expect(&life(1, 5));
    let mut buffer = [0; 1000];
    let mut json = || text(retry(|| over_udp.recv(&mut buffer)), &buffer);
    for (event, params) in [
        ("E_L2TP_SESSION_CREATED", r#""tunnel_id":1,"session_id":5"#),
        ("E_L2TP_SESSION_UP", r#""tunnel_id":1,"session_id":5,"peer_tunnel_id":2,"peer_session_id":3"#),
        ("E_L2TP_SESSION_DOWN", r#""tunnel_id":1,"session_id":5"#),
        ("E_L2TP_SESSION_DELETED", r#""tunnel_id":1,"session_id":5"#),
    ] {
        assert_eq!(json(), format!(r#"{{"jsonrpc":"2.0","method":"{event}","params":{{{params}}}}}"#));
    }
    let mut grammar = || text(retry(|| over_unix.recv(&mut buffer)), &buffer);
    for event in [
        "E_L2TP_TUNNEL_UP\ntunnel_id::1\npeer_tunnel_id::2\n\n",
        "E_L2TP_SESSION_CREATED\ntunnel_id::1\nsession_id::5\n\n",
        "E_L2TP_SESSION_UP\ntunnel_id::1\nsession_id::5\npeer_tunnel_id::2\npeer_session_id::3\n\n",
        "E_L2TP_SESSION_DOWN\ntunnel_id::1\nsession_id::5\n\n",
        "E_L2TP_SESSION_DELETED\ntunnel_id::1\nsession_id::5\n\n",
    ] {
        assert_eq!(grammar(), event);
    }
}

/// What `datagram_client` prints of both formats.
const READ: [(&str, &str); 6] = [
    ("E_SCRIPT\n\n", "E_SCRIPT"),
    ("E_SCRIPT\nstr::bob\nint::42\n\n", "E_SCRIPT str=bob int=42"),
    ("E_SCRIPT\nnl::\"a\n\\\"q\\\"\"\nunnamed\n\n", r#"E_SCRIPT nl="a\n\"q\"" ="unnamed""#),
    (r#"{"jsonrpc":"2.0","method":"E_SCRIPT"}"#, "E_SCRIPT"),
    (r#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"s":"bob","n":-7}}"#, "E_SCRIPT s=bob n=-7"),
    (r#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":["a",7]}"#, r#"E_SCRIPT ="a" =7"#),
];

fn client(address: &str) -> Command {
    let mut command = Command::new(c_example("datagram_client"));
    command.args(["-n", &READ.len().to_string(), address]);
    command
}

#[test]
fn datagram_client_reads_both_formats_over_udp_and_at_a_unix_socket() {
    let printed = READ.map(|(_, printed)| printed);
    let over_udp = Program::start(&mut client("udp:127.0.0.1:0"));
    let at = over_udp.says("listening on udp:");
    let from = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (event, _) in READ {
        from.send_to(event.as_bytes(), &at).unwrap();
    }
    assert_eq!(over_udp.finish()[1..], printed);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("listener");
    let over_unix = Program::start(&mut client(&format!("unix:{}", path.display())));
    over_unix.says("listening on unix:");
    let from = UnixDatagram::unbound().unwrap();
    for (event, _) in READ {
        from.send_to(event.as_bytes(), &path).unwrap();
    }
    assert_eq!(over_unix.finish()[1..], printed);
}

#[test]
fn datagram_client_says_what_is_malformed_and_where() {
    let mut command = Command::new(c_example("datagram_client"));
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("listener").display());
    let client = Program::start(command.args(["-n", "3", &address]));
    client.says("listening on ");
    let from = UnixDatagram::unbound().unwrap();
    for event in ["E", "{\"jsonrpc\":\"2.0\",\"method\":7}", "E_SCRIPT\n\n"] {
        from.send_to(event.as_bytes(), directory.path().join("listener")).unwrap();
    }
    client.expect_that("two complaints and an event", |lines| lines.len() == 4);
    client.expect("E_SCRIPT");
    client.expect_that("two complaints", |lines| {
        lines[1..3].iter().all(|line| line.starts_with("malformed: ") && line.contains(" at byte "))
    });
}
