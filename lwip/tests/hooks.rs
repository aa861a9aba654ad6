//! The promise: a capture is read by tcpdump and costs no write per packet; nettest does what it is set
//! to, exactly; both can be added and removed in any order.

#[macro_use]
mod kit;

use std::path::Path;
use std::process::Command;

cases! { hooks {
    pcap
    pcapng
    snaplen
    captures_of_ethernet
    capture_is_buffered
    capture_ends_with_its_netif
    capture_errors
    capture_into_a_broken_pipe
    delay
    drop_rate
    seed
    jitter_keeps_the_order
    reorder_does_not
    rate
    limit
    nettest_errors
    captures_on_either_side
} }

/// Runs a case, and has tcpdump read the files that it has left; none if there is no tcpdump.
fn captured<const N: usize>(case: &str, files: [&str; N], options: &[&str]) -> Option<[Vec<String>; N]> {
    if !kit::has("tcpdump") {
        kit::skipped(case, "there is no tcpdump");
        return None;
    }
    let directory = kit::directory();
    kit::run(&mut kit::case(&[], &hooks::PROGRAM, case, directory.path())).well(case);
    Some(files.map(|file| tcpdump(&directory.path().join(file), options)))
}

fn tcpdump(file: &Path, options: &[&str]) -> Vec<String> {
    let said =
        kit::run(Command::new("tcpdump").args(["-n", "-r"]).arg(file).args(options)).well("tcpdump");
    said.out.lines().map(str::to_owned).collect()
}

#[test]
fn tcpdump_reads_captures() {
    for (case, file) in [("pcap", "pcap"), ("pcapng", "pcapng")] {
        let Some([lines]) = captured(case, [file], &["-v"]) else { return };
        let text = lines.join("\n");
        assert_eq!(text.matches("ICMP echo request").count(), 100, "{text}");
        assert_eq!(text.matches("ICMP echo reply").count(), 100, "{text}");
        // The checksums are right, thus all bytes are there.
        assert!(!text.contains("wrong") && !text.contains("bad"), "{text}");
        assert!(
            text.contains("10.9.0.1 > 10.9.0.2: ICMP echo reply, id 0, seq 100, length 508"),
            "{text}"
        );
    }
}

#[test]
fn tcpdump_reads_short_captures() {
    let Some(read) = captured("snaplen", ["pcap", "pcapng"], &[]) else { return };
    for lines in read {
        assert_eq!(lines.len(), 200);
        // Their length is told, although they are cut.
        assert!(lines.iter().all(|line| line.contains("length 508")), "{lines:?}");
    }
}

#[test]
fn tcpdump_reads_captures_of_ethernet() {
    let options = ["-e", "arp", "and", "host", "10.9.0.2"];
    let Some(read) = captured("captures_of_ethernet", ["pcap", "pcapng"], &options) else { return };
    for lines in read {
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("02:00:00:00:00:09 > ff:ff:ff:ff:ff:ff, ethertype ARP"), "{lines:?}");
        assert!(lines[0].contains("Request who-has 10.9.0.1 tell 10.9.0.2"), "{lines:?}");
        assert!(lines[1].contains("> 02:00:00:00:00:09, ethertype ARP"), "{lines:?}");
        assert!(lines[1].contains("Reply 10.9.0.1 is-at"), "{lines:?}");
    }
}

#[test]
fn a_capture_sees_its_side_of_nettest() {
    let Some([wire, lwip]) = captured("captures_on_either_side", ["wire", "lwip"], &["icmp"]) else {
        return;
    };
    assert_eq!(wire.len(), 1, "{wire:?}");
    assert!(lwip.is_empty(), "{lwip:?}");
}
