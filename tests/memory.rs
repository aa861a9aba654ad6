//! The promise: nothing is leaked, nothing is read that was not written, nothing is touched that
//! was freed: not by the C programs of `tests/c/`, nor by the examples, nor by a daemon's plugin
//! that is loaded, left by signals, and unloaded. Said by valgrind, and by gcc's sanitizers, which
//! also see what the C side does with what it is handed.
//!
//! A short form by default; `HERALD_LONG=1` runs everything, for many minutes.

mod common;

#[path = "c/kit.rs"]
mod kit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use common::{Client, DOCUMENT, Host, LOST, Setup, frame, life, request, wait_for};
use kit::{Compiler, long};
use tempfile::TempDir;

/// Everything that a tool has to say goes here, one file for each process.
struct Findings(TempDir);

impl Findings {
    fn new() -> Findings {
        Findings(kit::directory())
    }

    fn directory(&self) -> &Path {
        self.0.path()
    }

    /// Panics unless the tool was content with the process and its children.
    fn are_none(&self, what: &str) {
        for entry in fs::read_dir(self.directory()).unwrap() {
            let text = String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned();
            assert!(text.is_empty(), "{what}:\n{text}");
        }
    }
}

/// Valgrind and its options; none, and a word about it, if it is not there.
fn valgrind(test: &str, findings: &Findings) -> Option<Vec<String>> {
    if !kit::has("valgrind") {
        common::skipped(test, "there is no valgrind");
        return None;
    }
    let suppressions = kit::root().join("tests/c/valgrind.supp");
    let kinds = "definite,indirect,possible";
    Some(vec![
        "valgrind".into(),
        "-q".into(),
        // Threads get their turn as they come, or a busy one starves the others.
        "--fair-sched=yes".into(),
        "--error-exitcode=99".into(),
        "--leak-check=full".into(),
        format!("--show-leak-kinds={kinds}"),
        format!("--errors-for-leak-kinds={kinds}"),
        format!("--suppressions={}", suppressions.display()),
        format!("--log-file={}/%p", findings.directory().display()),
    ])
}

/// Whether gcc's sanitizers work here; if not a word about it.
fn sanitizers(test: &str) -> bool {
    let directory = kit::directory();
    let source = directory.path().join("empty.c");
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = directory.path().join("empty");
    let mut command = Command::new("gcc");
    command.arg("-fsanitize=address,undefined").arg(&source).arg("-o").arg(&program);
    let works = command.output().is_ok_and(|output| output.status.success())
        && Command::new(&program).status().is_ok_and(|status| status.success());
    if !works {
        common::skipped(test, "gcc has no sanitizers here");
    }
    works
}

/// Also leaks, and reports instead of the program's own ways to go on. The stack of the main
/// thread may be left by siglongjmp() as often as it likes.
const SANITIZER: &str = "detect_leaks=1:handle_segv=1:abort_on_error=0:exitcode=99";

/// The cases that say something under valgrind, which runs one thread at a time, in a short time.
const SHORT: [(&str, &[&str]); 7] = [
    (
        "errors",
        &[
            "the_last_error_of_a_thread",
            "null_pointers",
            "invalid_hub_options",
            "invalid_server_options",
            "invalid_events",
            "sizes_of_structs",
            "counts_that_cannot_be",
            "what_stands_in_the_way",
            "a_socket_in_use",
            "paths_that_cannot_be",
            "descriptors_closed_by_the_host",
            "strings_for_all_errors",
            "closing_twice",
        ],
    ),
    ("datagrams", &["refused_options", "both_formats", "one_that_is_gone"]),
    (
        "vpp_api",
        &[
            "null_pointers",
            "events_by_fields_and_packed",
            "prepared_events",
            "handlers_answer_now_and_later",
        ],
    ),
    (
        "publish",
        &[
            "the_log",
            "every_type_and_any_number_of_parameters",
            "a_full_ring",
            "many_clients",
            "statistics",
        ],
    ),
    (
        "lives",
        &[
            "threads_that_come_and_go",
            "two_hubs",
            "two_servers_of_a_hub",
            "opening_and_closing_a_thousand_times",
        ],
    ),
    (
        "forks",
        &[
            "a_child_holds_no_descriptor",
            "a_child_is_refused",
            "a_child_that_closes_harms_nobody",
            "a_child_has_its_own_hub",
            "a_child_that_stays",
        ],
    ),
    ("jumps", &["refusals_abandoned_at_any_instruction"]),
];

fn under_valgrind(program: &str) {
    let findings = Findings::new();
    let Some(tool) = valgrind(&format!("{program}.c under valgrind"), &findings) else { return };
    let short = SHORT.iter().find(|(name, _)| *name == program).unwrap().1;
    let (cases, divisor) = if long() { (&["all"][..], "100") } else { (short, "1000") };
    let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
    let directory = kit::directory();
    let mut command = kit::cases(&tool, &kit::program(program, Compiler::C), cases, &directory);
    let said = kit::run(command.env("HERALD_TEST_DIVISOR", divisor));
    findings.are_none(program);
    said.well(program);
}

#[test]
fn errors_are_clean_under_valgrind() {
    under_valgrind("errors");
}

#[test]
fn publishing_is_clean_under_valgrind() {
    under_valgrind("publish");
}

#[test]
fn datagrams_are_clean_under_valgrind() {
    under_valgrind("datagrams");
}

#[test]
fn the_vpp_api_is_clean_under_valgrind() {
    under_valgrind("vpp_api");
}

#[test]
fn threads_and_hubs_that_come_and_go_are_clean_under_valgrind() {
    under_valgrind("lives");
}

#[test]
fn forks_are_clean_under_valgrind() {
    under_valgrind("forks");
}

#[test]
fn abandoned_publishes_are_clean_under_valgrind() {
    under_valgrind("jumps");
}

#[test]
fn the_c_programs_are_clean_under_sanitizers() {
    if !sanitizers("the_c_programs_are_clean_under_sanitizers") {
        return;
    }
    for (name, _) in SHORT {
        let program = kit::program(name, Compiler::Sanitizing);
        let directory = kit::directory();
        let mut command = kit::cases(&[], &program, &["all"], &directory);
        command.env("HERALD_TEST_DIVISOR", if long() { "1" } else { "50" });
        kit::run(command.env("ASAN_OPTIONS", SANITIZER)).well(name);
    }
}

/// Runs the example that publishes on its own, with a client that reads all of it.
fn embed(tool: &[&str], program: &Path) {
    let directory = kit::directory();
    let socket = directory.path().join("evt");
    let rounds = if long() { 2000 } else { 50 };
    let client = thread::spawn({
        let socket = socket.clone();
        move || {
            let mut client = wait_for("embed listens", || Client::try_connect(&socket).ok());
            client.send_only(&request(DOCUMENT, 1));
            client.skip_to_end();
        }
    });
    let mut words = tool.iter().map(|word| word.as_ref()).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(&socket).arg(rounds.to_string()).env("ASAN_OPTIONS", SANITIZER);
    let said = kit::run(&mut command).well("embed");
    client.join().unwrap();
    assert!(said.out.starts_with(&format!("published {}, ", 5 * rounds)), "{}", said.out);
}

fn example(name: &str) -> PathBuf {
    kit::root().join("c_examples").join(name).with_extension("c")
}

#[test]
fn embed_is_clean_under_valgrind() {
    let findings = Findings::new();
    let Some(tool) = valgrind("embed_is_clean_under_valgrind", &findings) else { return };
    let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
    embed(&tool, &kit::compile(&example("embed"), Compiler::C, &["-D_GNU_SOURCE"]));
    findings.are_none("embed");
}

#[test]
fn embed_is_clean_under_sanitizers() {
    if sanitizers("embed_is_clean_under_sanitizers") {
        embed(&[], &kit::compile(&example("embed"), Compiler::Sanitizing, &[]));
    }
}

/// All that a host and its clients do to the plugin.
fn busy_life(mut host: Host) {
    let mut client = host.subscriber(DOCUMENT);
    host.life(1, 2);
    client.expect(&life(1, 2));

    // Clients that misbehave: in the middle of a request, with bad ones, silent, deaf, half-closed.
    let mut half = host.client();
    half.send(&request(DOCUMENT, 1)[..2]);
    for bytes in [&[1, 0, 0, 0][..], &[1, 0, 5, 0], &[0xff; 4]] {
        let mut bad = host.client();
        bad.send_only(bytes);
        bad.expect_end();
    }
    let mut deaf = host.client();
    deaf.subscribe(DOCUMENT | LOST);
    let mut closed = host.client();
    closed.subscribe(DOCUMENT);
    closed.half_close();
    let flood = if long() { 20_000 } else { 200 };
    // Whether a hook waits is seen elsewhere: valgrind, which runs one thread at a time, makes them wait.
    let flooded = host.ok(&format!("flood {flood}"));
    assert!(flooded.starts_with(&format!("{flood} hooks")), "{flooded}");
    host.life(1, 3);
    closed.expect(&frame(1, &[1, 1]));
    drop(half);
    drop(deaf);

    // Hooks left by signals, and children that execute something else.
    host.ok("up 1 4 2 4");
    assert_eq!(host.ok("hup"), "abandoned");
    host.ok(if long() { "storm 200" } else { "storm 10" });
    host.ok("spawn 0");

    // The plugin comes and goes.
    for _ in 0..if long() { 100 } else { 2 } {
        host.ok("cycles 10");
        host.ok("reload");
    }
    host.ok("clean");
    host.ok("clean");
    host.ok("init");
    host.ok("init");
    host.serves_a_fresh_client();
    assert_eq!(host.exit(), 0);
}

#[test]
fn the_plugin_is_clean_under_valgrind() {
    let findings = Findings::new();
    let Some(tool) = valgrind("the_plugin_is_clean_under_valgrind", &findings) else { return };
    let host = Setup::new()
        .program(kit::compile(&example("l2tp_host"), Compiler::C, &["-std=gnu99", "-rdynamic"]))
        .options(["-i"])
        .shell(format!("exec {} \"$0\" \"$@\"", tool.join(" ")));
    busy_life(host.start());
    findings.are_none("l2tp_host");
}

#[test]
fn the_plugin_is_clean_under_sanitizers() {
    if !sanitizers("the_plugin_is_clean_under_sanitizers") {
        return;
    }
    let host = Setup::new()
        .program(kit::compile(&example("l2tp_host"), Compiler::Sanitizing, &["-rdynamic"]))
        .options(["-i"])
        .shell(format!("export ASAN_OPTIONS={SANITIZER}"));
    busy_life(host.start());
}
