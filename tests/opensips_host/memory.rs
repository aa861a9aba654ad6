//! What the module does with memory.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{self, library};
use crate::stand_in::{OpenSips, RAISE, udp, unix};

#[test]
fn raising_allocates_nothing_once_it_has_all_it_needs() {
    for (version, size) in [("2.4.11", 160), ("3.6.8", 184)] {
        let opensips = OpenSips::build_with(version, size, &["-DCOUNT_ALLOCATIONS"]);
        let mut host = opensips.start(&[]);
        let ((_udp, address), _unix) = (udp(), unix(&opensips.path("s")));
        host.ok(&format!("subscribe E_X {address}"));
        host.ok(&format!("subscribe E_X unix:{}", opensips.path("s")));
        // Nobody reads: what is raised to the unix subscriber waits, from some event on.
        let burst = r#"burst 0 200 E_X str=bob quoted="a\n\"b" int=#-7 =unnamed v=@300"#;
        let first = host.ok(burst);
        assert!(!first.ends_with(" allocations 0"), "nothing is counted: {first}");
        let then = host.ok(burst);
        assert!(then.ends_with(" allocations 0"), "{version}: {then}");
        common::wait_for("most to wait", || (host.stat("queued") > 200).then_some(()));
    }
}

/// A life with every kind of subscriber, for the tools that look for errors of memory.
fn life(mut command: Command, directory: &std::path::Path) {
    let path = directory.join("s").display().to_string();
    let (_reader, (_socket, address)) = (unix(&path), udp());
    let script = [
        // Addresses, good and bad; two events to one place, and to nobody.
        &format!("subscribe E_X {address}\nsubscribe E_X unix:{path}\nsubscribe E_Y unix:{path}"),
        &format!("subscribe E_X unix:{path}.gone\nsubscribe E_CORE_LOG unix:{path}.gone"),
        "subscribe E_X udp:\nsubscribe E_X udp:[::1]:x\nlookup udp:127.0.0.1:77\nparse unix:/x\nlist",
        // Events of every shape, from told and untold processes, and from all at once.
        &format!("raise 0 {RAISE}\nraise main E_X =a\nraise 1 E_X\nraise 1 E_X - \nraise 0 E_X n=@null"),
        "burst 1 50 E_X v=@300 bad=a\\xff q=\"\\\"\\n\"\nburst 1 50 E_Y\nraise 0 E_X v=@66000",
        "fork\nraise 2 E_X\nstorm 20 E_X n=\\i",
        // Subscriptions end, some while events wait.
        &format!("unsubscribe unix:{path}\nvirtual E_X 60 PARALLEL {address}\nraise 0 E_X\nage 120"),
        "raise 0 E_X\nexpire\nkill 1 15\nstats\nexit\n",
    ]
    .join("\n");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool starts");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("the stand-in reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    let found = ["Sanitizer", "runtime error"].iter().any(|word| said.contains(word));
    assert!(output.status.success() && !found, "{}: {said}", output.status);
}

#[test]
fn the_module_is_clean_under_valgrind() {
    let opensips = OpenSips::build_with("3.6.8", 184, &["-g"]);
    let mut command = Command::new("valgrind");
    let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/valgrind.supp");
    command.args(["-q", "--error-exitcode=9", &format!("--suppressions={suppressions}")]);
    command.arg(&opensips.program).arg("-e").arg(library());
    life(command, opensips.directory.path());
}

#[test]
fn the_module_is_clean_under_sanitizers() {
    let opensips = OpenSips::build_with(
        "2.4.11",
        160,
        &["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    );
    let mut command = Command::new(&opensips.program);
    command.arg(library());
    life(command, opensips.directory.path());
}
