//! Events per second to one client: from the plugin in a real VPP, and from Herald's own server; and for how
//! long the plugin holds VPP's main thread meanwhile, and with three clients.
//!
//! The client is the same and only counts. Runs if `HERALD_VPP_SDK` names a tree of VPP, after
//! `make vpp-plugin c_examples`; says that it is skipped if not.

#[path = "../tests/real_vpp/mod.rs"]
#[allow(dead_code)]
mod real_vpp;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use real_vpp::raw::Client;
use real_vpp::{Program, Vpp, repository, sdk, target, wait_for};

const EVENTS: u32 = 1_000_000;
const EVENTS_TO_THREE: u32 = 100_000;

fn main() {
    let Some(sdk) = sdk() else { return };
    let directory = tempfile::tempdir().unwrap();
    println!("{EVENTS} events of 5 raw bytes to one client, events/s:");

    let vpp = Vpp::start(&sdk, directory.path(), "");
    let mut client = subscriber(&vpp.socket());
    raise(&vpp, EVENTS);
    println!("{:>12.0}  herald_plugin.so in VPP", count(&mut client, EVENTS));
    let lost = vpp.cli("show herald clients");
    assert!(lost.contains(&format!("{EVENTS}            0            0")), "{lost}");
    print_calls(&vpp);
    vpp.stop();

    let vpp = Vpp::start(&sdk, directory.path(), "");
    let clients = [(); 3].map(|()| subscriber(&vpp.socket()));
    raise(&vpp, EVENTS_TO_THREE);
    let counting = clients.map(|mut client| thread::spawn(move || count(&mut client, EVENTS_TO_THREE)));
    let slowest = counting.map(|client| client.join().unwrap()).into_iter().fold(f64::MAX, f64::min);
    println!("{slowest:>12.0}  to each of three");
    print_calls(&vpp);
    vpp.stop();

    let socket = directory.path().join("herald.sock");
    let mut host = Command::new(target().join("c_examples/testgovpp_host"));
    host.arg("--socket").arg(&socket).arg("--api").arg(repository().join("c_examples/api"));
    let host = Program::start(host.args(["--rate", "0"]));
    wait_for("the host listens", || socket.exists().then_some(()));
    println!("{:>12.0}  Herald's own server", count(&mut subscriber(&socket), EVENTS));
    host.kill();
}

/// Subscribes.
fn subscriber(socket: &Path) -> Client {
    let mut client = Client::connect(socket);
    assert_eq!(client.want(true), 0);
    client
}

fn raise(vpp: &Vpp, events: u32) {
    vpp.cli(&format!("herald gtp-error ue 1000 te 0xdeadbeef rb 5 raw 3030303030 count {events}"));
}

/// Prints how long the plugin has held the main thread; a millisecond is what it may.
fn print_calls(vpp: &Vpp) {
    let summary = vpp.cli("show herald");
    let line = summary.lines().find(|line| line.starts_with("main thread:"));
    println!("              {}", line.expect("what the main thread did"));
}

/// Receives so many events; how many a second.
fn count(client: &mut Client, events: u32) -> f64 {
    let event = client.id("cu_up_gtp_error_ind_event_6ce619fe").to_be_bytes();
    let mut start = None;
    for _ in 0..events {
        assert_eq!(client.receive()[..2], event);
        start.get_or_insert_with(Instant::now);
    }
    f64::from(events - 1) / start.unwrap().elapsed().as_secs_f64()
}
