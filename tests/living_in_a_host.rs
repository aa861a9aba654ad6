//! The promise: the library lives in somebody else's process as if it were not there. The rules
//! are those of "Living inside somebody else's process" in the design.

mod common;

use std::path::PathBuf;

use common::*;
use nix::sys::signal::Signal;

/// A plugin as others write them: it takes part in one hook.
const OTHER_PLUGIN: &str = r#"
#include <stdint.h>
struct l2tp_session;
typedef int hook(const struct l2tp_session *, uint16_t, uint16_t);
extern hook *l2tp_session_created_hook;
extern void l2tp_log(int, const char *, ...);
const char openl2tp_plugin_version[] = "other";
static hook *previous;
static int calls;
static int created(const struct l2tp_session *s, uint16_t t, uint16_t id) {
    int result = previous != 0 ? previous(s, t, id) : 0;
    l2tp_log(6, "the other plugin saw %d %d", t, id);
#ifdef REJECT_EVERY_SECOND
    if (++calls % 2 == 0) return -1;
#endif
    return result;
}
int openl2tp_plugin_init(void) {
    previous = l2tp_session_created_hook;
    l2tp_session_created_hook = created;
    return 0;
}
#ifndef NO_CLEANUP
void openl2tp_plugin_cleanup(void) { l2tp_session_created_hook = previous; }
#endif
"#;

/// Sets up a host with the given plugin compiled; where that is.
fn with_plugin(source: &str, options: &[&str]) -> (Setup, PathBuf) {
    let setup = Setup::new();
    let plugin = setup.dir().join("other.so");
    compile(source, &plugin, &[&["-shared", "-fPIC"], options].concat());
    (setup, plugin)
}

/// Sets up a host from the stand-in's source with some of it replaced.
fn with_changed_host(changes: &[(&str, &str)]) -> Setup {
    let setup = Setup::new();
    let mut source = c_source("l2tp_host.c");
    for (from, to) in changes {
        assert!(source.contains(from));
        source = source.replace(from, to);
    }
    let program = setup.dir().join("host");
    compile(&source, &program, &["-rdynamic", "-ldl", "-lpthread"]);
    setup.program(program)
}

fn without_plugins() -> Host {
    Setup::new().plugins([""; 0]).start()
}

/// The descriptors that a host has because of us.
fn fds_of_ours(host: &Host) -> Vec<proc::Fd> {
    let inherited: Vec<_> = proc::fds(without_plugins().pid()).iter().map(|fd| fd.number).collect();
    proc::fds(host.pid()).into_iter().filter(|fd| !inherited.contains(&fd.number)).collect()
}

/// So many clients that all of them are sent to in one system call.
const MANY: &str = "max_clients = 10";

fn many(host: &Host) -> Vec<Client> {
    (0..10).map(|_| host.subscriber(DOCUMENT)).collect()
}

/// The signals that a thread can block; SIGKILL, SIGSTOP and the two of glibc it cannot.
const BLOCKABLE: u64 = !(1 << (9 - 1) | 1 << (19 - 1) | 1 << (32 - 1) | 1 << (33 - 1));

#[test]
fn the_worker_blocks_every_signal_and_the_host_none_more() {
    let mut host = Host::start();
    let (pid, worker) = (host.pid(), proc::worker(host.pid()));
    assert_eq!(proc::signals(pid, worker, "SigBlk"), BLOCKABLE);
    assert_eq!(proc::signals(pid, pid, "SigBlk"), 0);
    host.ok("reload");
    assert_eq!(proc::signals(pid, proc::worker(pid), "SigBlk"), BLOCKABLE);
    assert_eq!(proc::signals(pid, pid, "SigBlk"), 0);
    host.ok("clean");
    assert_eq!(proc::signals(pid, pid, "SigBlk"), 0);
    assert_eq!(proc::workers(pid), []);
}

#[test]
fn no_signal_handler_is_installed_or_changed() {
    // Of the two that are glibc's own it takes one when a thread is started.
    let dispositions = |host: &Host| {
        ["SigCgt", "SigIgn"].map(|key| proc::signals(host.pid(), host.pid(), key) & BLOCKABLE)
    };
    let without = dispositions(&without_plugins());
    let mut host = Host::start();
    assert_eq!(dispositions(&host), without);
    host.serves_a_fresh_client();
    host.ok("clean");
    assert_eq!(dispositions(&host), without);
}

#[test]
fn a_host_that_does_not_ignore_sigpipe_is_not_killed_by_it() {
    let mut host =
        with_changed_host(&[("signal(SIGPIPE, SIG_IGN)", "signal(SIGPIPE, SIG_DFL)")]).start();
    assert_eq!(proc::signals(host.pid(), host.pid(), "SigIgn") & 1 << (libc::SIGPIPE - 1), 0);
    for _ in 0..30 {
        drop(host.subscriber_when_there_is_room(ALL));
        host.flood(200);
    }
    host.serves_a_fresh_client();
    // Nor has one been raised, which a thread that blocks it would never notice.
    assert_eq!(proc::signals(host.pid(), proc::worker(host.pid()), "SigPnd"), 0);
}

/// Raises SIGHUP at any instruction of any hook, until it has abandoned many.
fn storm(host: &mut Host) {
    let mut abandoned = 0;
    while abandoned < 300 {
        let answer = host.ok("storm 50");
        abandoned += answer.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    }
}

#[test]
fn hooks_that_a_signal_abandons_anywhere_leave_nothing_held() {
    let mut host = Host::start();
    let client = host.subscriber(DOCUMENT);
    storm(&mut host);
    drop(client);
    host.serves_a_fresh_client();
    host.ok("reload");
    storm(&mut host);
    host.serves_a_fresh_client();
    assert_eq!(host.exit(), 0);
    assert!(!host.socket().exists());
}

#[test]
fn a_hook_that_is_left_before_its_end_publishes_nothing() {
    let mut host = Setup::new().options(["-i"]).start();
    let mut client = host.subscriber(DOCUMENT);
    for session in 1..=20 {
        assert_eq!(host.ok("hup"), "abandoned");
        host.life(1, session);
        client.expect(&life(1, session));
    }
}

#[test]
fn a_signal_that_ends_the_host_within_a_hook_lets_it_clean_up() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut host = Setup::new().options(["-i"]).start();
        let mut client = host.subscriber(DOCUMENT);
        host.life(1, 2);
        host.command(&format!("raise {signal}"));
        assert_eq!(host.wait(), 0);
        client.expect_last(&life(1, 2));
        assert!(!host.socket().exists());
    }
}

#[test]
fn a_host_that_is_terminated_in_a_flood_exits_and_leaves_no_socket() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for _ in 0..5 {
            let mut host = Host::start();
            let mut client = host.subscriber(DOCUMENT | LOST);
            host.command("flood 100000000");
            assert_eq!(client.next().unwrap().0, CREATED, "the flood has begun");
            host.signal(signal);
            client.skip_to_end();
            assert_eq!(host.wait(), 0);
            assert!(!host.socket().exists());
        }
    }
}

#[test]
fn a_forked_child_neither_writes_nor_removes_the_socket() {
    let mut host = Host::start();
    let mut client = host.subscriber(ALL);
    let log = host.log_lines("herald");
    for session in 1..=20 {
        // The child calls every hook, and cleans up as it exits.
        assert_eq!(host.ok("forkpublish"), "exit 0");
        assert!(host.socket().exists());
        host.life(1, session);
        client.expect(&life(1, session));
    }
    assert_eq!(host.log_lines("herald"), log);
    host.serves_a_fresh_client();
    client.expect(&[frame(TUNNEL_CREATED, &[4711]), life(7, 8)].concat());
    host.ok("reload");
    client.expect_end();
    assert_eq!(host.ok("forkpublish"), "exit 0");
    host.serves_a_fresh_client();
}

#[test]
fn a_thousand_cycles_leak_no_descriptor_no_thread_and_no_memory() {
    let mut host = Host::start();
    // What there was before these cycles, and after: descriptors, threads, kilobytes.
    let mut cycles = || {
        let answer = host.ok("cycles 100");
        let words: Vec<&str> = answer.split(' ').collect();
        let ["100", "fds", _, fds, "threads", _, threads, "rss_kb", _, memory] = words[..] else {
            panic!("{answer}");
        };
        [fds, threads, memory].map(|number| number.parse::<i64>().unwrap())
    };
    let before = cycles();
    let after = (0..10).map(|_| cycles()).last().unwrap();
    assert_eq!(after[..2], before[..2]);
    assert!(after[2] - before[2] < 1024, "kilobytes: {} then {}", before[2], after[2]);
    host.serves_a_fresh_client();
}

#[test]
fn clean_up_and_init_can_be_called_again_and_again_in_any_order() {
    let mut host = Host::start();
    let mut client = host.subscriber(DOCUMENT);
    assert_eq!(host.ok("init"), "0");
    host.wait_for_log("loaded already");
    assert_eq!(proc::workers(host.pid()).len(), 1);
    host.life(1, 2);
    client.expect(&life(1, 2));
    client.expect_nothing();
    for _ in 0..3 {
        assert_eq!(host.ok("clean"), "hooks_left 0");
    }
    client.expect_end();
    assert!(!host.socket().exists());
    assert_eq!(host.ok("created 1 2"), "none");
    for _ in 0..3 {
        assert_eq!(host.ok("init"), "0");
    }
    host.serves_a_fresh_client();
    // The plugin's name may also be given twice.
    let mut host = Setup::new().plugins([library(), library()]).start();
    let mut client = host.subscriber(DOCUMENT);
    host.life(3, 4);
    client.expect(&life(3, 4));
    host.serves_a_fresh_client();
    client.expect(&life(7, 8));
    client.expect_nothing();
    assert_eq!(host.exit(), 0);
    assert!(!host.socket().exists());
}

#[test]
fn loading_alone_starts_and_opens_nothing() {
    let source = r#"
        #include <dlfcn.h>
        const char openl2tp_plugin_version[] = "loader";
        int openl2tp_plugin_init(void) { return dlopen(HERALD, RTLD_GLOBAL | RTLD_NOW) != 0 ? 0 : -1; }
    "#;
    let herald = format!("-DHERALD=\"{}\"", library().display());
    let (setup, loader) = with_plugin(source, &[&herald]);
    let mut host = setup.plugins([loader]).start();
    assert_eq!(host.ok("init"), "0");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    assert!(maps.contains("libherald"), "it is loaded");
    assert_eq!(proc::threads(host.pid()).len(), 1);
    assert_eq!(proc::fds(host.pid()).len(), proc::fds(without_plugins().pid()).len());
    assert!(!host.socket().exists());
    assert_eq!(host.ok("created 1 1"), "none");
}

#[test]
fn every_descriptor_is_closed_on_exec_and_sockets_do_not_block() {
    let mut host = Host::with(MANY);
    let mut clients = many(&host);
    host.life(1, 2);
    clients[0].expect(&life(1, 2));
    let ours = fds_of_ours(&host);
    assert!(ours.iter().filter(|fd| fd.is_socket()).count() >= 4, "{ours:?}");
    for fd in ours {
        assert_ne!(fd.flags & libc::O_CLOEXEC, 0, "{fd:?}");
        assert!(!fd.is_socket() || fd.flags & libc::O_NONBLOCK != 0, "{fd:?}");
    }
}

#[test]
fn what_many_clients_take_is_given_back_with_them() {
    let mut host = Host::with(MANY);
    let mut clients = many(&host);
    host.life(1, 2);
    clients.iter_mut().for_each(|client| client.expect(&life(1, 2)));
    host.ok("clean");
    let left = fds_of_ours(&host);
    assert!(left.is_empty(), "{left:?}");
    host.ok("init");
    host.serves_a_fresh_client();
}

#[test]
fn a_host_with_a_filter_of_system_calls_is_not_killed_by_what_it_does_not_know() {
    let filter = r#"
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_io_uring_setup, 0, 2),
            BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, __NR_io_uring_register, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { sizeof code / sizeof *code, code };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            perror("skipped: this kernel has no filters");
        atexit(at_exit);
    "#;
    let headers = "#include <linux/filter.h>\n#include <linux/seccomp.h>\n#include <stddef.h>\n\
                   #include <sys/prctl.h>\n#include <sys/syscall.h>\nint main(int argc";
    let setup = with_changed_host(&[("    atexit(at_exit);\n", filter), ("int main(int argc", headers)]);
    let mut host = setup.config(MANY).start();
    let mut clients = many(&host);
    for session in 1..=3 {
        host.life(1, session);
        clients.iter_mut().for_each(|client| client.expect(&life(1, session)));
    }
    assert_eq!(host.exit(), 0);
}

#[test]
fn a_host_that_closes_our_descriptors_goes_on_and_so_do_we() {
    // All of them; then each alone, whatever it is.
    let host = Host::with(MANY);
    let _clients = many(&host);
    let numbers: Vec<_> = fds_of_ours(&host).iter().map(|fd| fd.number).collect();
    drop(host);
    let mut ranges = vec![(3, *numbers.last().unwrap())];
    ranges.extend(numbers.iter().map(|&number| (number, number)));
    for (low, high) in ranges {
        let mut host = Host::with(MANY);
        let _clients = many(&host);
        host.ok(&format!("closefds {low} {high}"));
        // Whoever is connected or comes may see an end, and the host nothing at all.
        for _ in 0..3 {
            host.life(1, 2);
            host.flood(100);
        }
        host.worker_sleeps();
        host.ok("clean");
        host.ok("init");
        host.serves_a_fresh_client();
        assert_eq!(host.exit(), 0);
        assert!(!host.socket().exists(), "{low}-{high}");
    }
}

#[test]
fn what_the_host_opens_in_the_place_of_our_descriptors_is_not_touched() {
    // Closes everything but the first three, and takes their numbers for a file.
    let source = r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdint.h>
        #include <sys/stat.h>
        #include <unistd.h>
        extern int (*l2tp_tunnel_down_hook)(uint16_t);
        extern void l2tp_log(int, const char *, ...);
        const char openl2tp_plugin_version[] = "squatter";
        static int squat(uint16_t from) {
            for (int fd = from; fd < 40; fd++) close(fd);
            while (open(FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 39) continue;
            return 0;
        }
        static int judge(uint16_t from) {
            struct stat all, one;
            stat(FILE_NAME, &all);
            int gone = 0;
            for (int fd = from; fd < 40; fd++)
                gone += fstat(fd, &one) != 0 || one.st_ino != all.st_ino;
            l2tp_log(6, "gone %d size %d", gone, (int)all.st_size);
            return 0;
        }
        int openl2tp_plugin_init(void) {
            static int inits;
            l2tp_tunnel_down_hook = ++inits == 1 ? squat : judge;
            return 0;
        }
    "#;
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = format!("-DFILE_NAME=\"{}\"", file.path().display());
    let (setup, squatter) = with_plugin(source, &[&name]);
    // After ours: the hook that it replaces is not missed.
    let mut host = setup.config(MANY).plugins([library(), squatter]).start();
    let mut clients = many(&host);
    host.ok("tunnel-down 3");
    for client in &mut clients {
        client.expect_end();
    }
    for _ in 0..3 {
        host.life(1, 2);
        host.flood(100);
    }
    host.ok("clean");
    host.ok("init");
    host.ok("tunnel-down 3");
    assert_eq!(host.wait_for_log("gone"), "INFO gone 0 size 0");
}

#[test]
fn hooks_are_chained_and_restored() {
    let mut host = Setup::new().options(["-c"]).start();
    let mut client = host.subscriber(ALL);
    let commands = ["created 1 2", "up 1 2 3 4", "modified 1 2", "down 1 2", "deleted 1 2"];
    let tunnels =
        ["tunnel-created 1", "tunnel-up 1 3", "tunnel-modified 1", "tunnel-down 1", "tunnel-deleted 1"];
    for command in commands.iter().chain(&tunnels) {
        assert_eq!(host.ok(command), "0");
        assert!(client.next().is_some());
    }
    assert_eq!(host.ok("clean"), "hooks_left 0");
    host.ok("created 1 2");
    assert_eq!(host.exit(), 0);
    let mut counts = Vec::new();
    while let Some(line) = host.line() {
        counts.extend(line.strip_prefix("inner ").map(str::to_owned));
    }
    assert_eq!(counts.len(), 10);
    for count in counts {
        let (event, calls) = count.split_once(' ').unwrap();
        assert_eq!(calls, if event == "created" { "2" } else { "1" }, "{event}");
    }
}

#[test]
fn of_a_session_that_another_plugin_rejects_nothing_is_published() {
    let mut host = Setup::new().options(["-r", "2"]).start();
    let mut client = host.subscriber(ALL);
    assert_eq!(host.ok("created 1 2"), "-1");
    for command in ["up 1 2 3 4", "modified 1 2", "down 1 2", "deleted 1 2"] {
        assert_eq!(host.ok(command), "0");
    }
    host.life(1, 3);
    client.expect(&life(1, 3));
}

#[test]
fn of_a_session_that_another_plugin_keeps_down_neither_up_nor_down_is_published() {
    let mut host = Setup::new().options(["-u", "2"]).start();
    let mut client = host.subscriber(ALL);
    assert_eq!(host.ok("created 1 2"), "0");
    assert_eq!(host.ok("up 1 2 3 4"), "-1");
    for command in ["down 1 2", "deleted 1 2"] {
        assert_eq!(host.ok(command), "0");
    }
    client.expect(&[frame(CREATED, &[1, 2]), frame(DELETED, &[1, 2])].concat());
    host.life(1, 3);
    client.expect(&life(1, 3));
}

#[test]
fn an_id_that_was_rejected_can_be_used_again() {
    let (setup, picky) = with_plugin(OTHER_PLUGIN, &["-DREJECT_EVERY_SECOND"]);
    let mut host = setup.plugins([picky, library()]).start();
    let mut client = host.subscriber(ALL);
    for _ in 0..300 {
        host.life(1, 2);
        client.expect(&life(1, 2));
        // More of them than are remembered at once, if none were forgotten.
        assert_eq!(host.ok("created 1 2"), "-1");
        assert_eq!(host.ok("deleted 1 2"), "0");
    }
    client.expect_nothing();
}

#[test]
fn a_plugin_that_was_loaded_after_us_stays_in_the_chain() {
    let (setup, other) = with_plugin(OTHER_PLUGIN, &["-DNO_CLEANUP"]);
    let mut host = setup.plugins([library(), other]).start();
    let mut client = host.subscriber(DOCUMENT);
    host.life(1, 2);
    client.expect(&life(1, 2));
    host.wait_for_log("the other plugin saw 1 2");
    assert_eq!(host.ok("clean"), "hooks_left 1");
    assert_eq!(host.ok("created 3 4"), "0");
    host.wait_for_log("the other plugin saw 3 4");
    assert_eq!(host.exit(), 0);
}

#[test]
fn with_other_plugins_on_either_side_each_event_is_published_once_after_every_init() {
    for ours_first in [true, false] {
        let (setup, other) = with_plugin(OTHER_PLUGIN, &[]);
        let order = if ours_first { [library(), other] } else { [other, library()] };
        let mut host = setup.plugins(order).start();
        for session in 1..=3 {
            let mut client = host.subscriber(DOCUMENT);
            host.life(1, session);
            client.expect(&life(1, session));
            client.expect_nothing();
            host.ok("clean");
            client.expect_end();
            host.ok("init");
        }
        assert_eq!(host.log_lines("the other plugin saw").len(), 3);
    }
}

#[test]
fn hooks_that_a_daemon_does_not_have_are_reported_once_and_not_missed() {
    let tunnels = ["created", "deleted", "up", "down", "modified"];
    let mut host =
        with_changed_host(&[("#define TUNNEL_HOOK\n", "#define TUNNEL_HOOK static\n")]).start();
    let mut client = host.subscriber(ALL);
    for event in tunnels {
        let lines = host.log_lines(&format!("l2tp_tunnel_{event}_hook"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("NOTICE"), "{lines:?}");
    }
    assert!(host.log_lines("l2tp_session_").is_empty());
    for _ in 0..3 {
        assert_eq!(host.ok("tunnel-created 1"), "none");
        host.life(1, 2);
        client.expect(&life(1, 2));
    }
    assert_eq!(host.ok("clean"), "hooks_left 0");
}

#[test]
fn a_session_is_never_looked_into() {
    // By default the host hands its hooks a pointer that traps.
    let mut host = Setup::new().options(["-z"]).start();
    host.serves_a_fresh_client();
}

#[test]
fn a_crash_of_the_host_cleans_up_and_ends() {
    // The last of them within a hook.
    for command in ["segv", "abort-thread", "raise 11"] {
        let mut host = Setup::new().options(["-i"]).start();
        let mut client = host.subscriber(DOCUMENT);
        host.life(1, 2);
        host.command(command);
        assert_eq!(host.wait(), 127, "{command}");
        client.expect_last(&life(1, 2));
        assert!(!host.socket().exists(), "{command}");
    }
}

#[test]
fn a_crash_on_the_worker_itself_cleans_up_and_ends() {
    let mut host = Setup::new().options(["-a", "protocol error"]).start();
    let mut client = host.subscriber(DOCUMENT);
    host.client().send_only(&words(&[1, 2]));
    assert_eq!(host.wait(), 127);
    client.expect_end();
    assert!(!host.socket().exists());
}
