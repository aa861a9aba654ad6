//! Events per second to one client: from the plugin in a real VPP, and from Herald's own server.
//!
//! The client is the same and only counts. Runs if `HERALD_VPP_SDK` names a tree of VPP, after
//! `make vpp-plugin c_examples`; says that it is skipped if not.

#[path = "../tests/real_vpp/mod.rs"]
#[allow(dead_code)]
mod real_vpp;

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use herald_vpp_api::frame;
use real_vpp::{Program, Vpp, repository, sdk, target, wait_for};

const EVENTS: u32 = 1_000_000;
const SOCKCLNT_CREATE: u16 = 15;

fn main() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    println!("{EVENTS} events of 5 raw bytes to one client, events/s:");

    let vpp = Vpp::start(&sdk, directory.path(), "");
    let mut client = Client::connect(&vpp.socket());
    vpp.cli(&format!("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030 count {EVENTS}"));
    println!("{:>12.0}  herald_plugin.so in VPP", client.count());
    let lost = vpp.cli("show herald clients");
    assert!(lost.contains(&format!("{EVENTS}            0            0")), "{lost}");
    drop(client);
    vpp.stop();

    let socket = directory.path().join("herald.sock");
    let mut host = Command::new(target().join("c_examples/testgovpp_host"));
    host.arg("--socket").arg(&socket).arg("--api").arg(repository().join("c_examples/api"));
    let host = Program::start(host.args(["--rate", "0"]));
    wait_for("the host listens", || socket.exists().then_some(()));
    println!("{:>12.0}  Herald's own server", Client::connect(&socket).count());
    host.kill();
}

/// A client that has subscribed.
struct Client {
    stream: BufReader<UnixStream>,
    event: u16,
}

impl Client {
    fn connect(socket: &Path) -> Client {
        let mut stream = BufReader::with_capacity(1 << 18, UnixStream::connect(socket).unwrap());
        let mut name = [0; 64];
        name[..5].copy_from_slice(b"bench");
        send(&mut stream, &[&SOCKCLNT_CREATE.to_be_bytes()[..], &[0; 4], &name].concat());
        let reply = receive(&mut stream);
        let (index, table) = (&reply[14..18], &reply[20..]);
        let id = |prefix: &str| {
            let entry = table.chunks_exact(66).find(|entry| entry[2..].starts_with(prefix.as_bytes()));
            let entry = entry.unwrap_or_else(|| panic!("no {prefix} in the table"));
            u16::from_be_bytes([entry[0], entry[1]])
        };
        let want = id("want_cu_up_gtp_error_ind_events_c5e2af94");
        send(&mut stream, &[&want.to_be_bytes()[..], index, &[0; 4], &[1], &[0; 4]].concat());
        assert_eq!(receive(&mut stream)[6..], [0; 4]);
        Client { stream, event: id("cu_up_gtp_error_ind_event_6ce619fe") }
    }

    /// Receives the events; how many a second.
    fn count(&mut self) -> f64 {
        let mut start = None;
        for _ in 0..EVENTS {
            let message = receive(&mut self.stream);
            assert_eq!(message[..2], self.event.to_be_bytes());
            start.get_or_insert_with(Instant::now);
        }
        f64::from(EVENTS - 1) / start.unwrap().elapsed().as_secs_f64()
    }
}

fn send(stream: &mut BufReader<UnixStream>, message: &[u8]) {
    let header = frame::header(message.len() as u32);
    stream.get_mut().write_all(&[&header[..], message].concat()).unwrap();
}

fn receive(stream: &mut impl Read) -> Vec<u8> {
    let mut header = [0; frame::HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut message = vec![0; frame::message_len(&header) as usize];
    stream.read_exact(&mut message).unwrap();
    message
}
