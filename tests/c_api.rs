//! The promise: `herald.h` means what it says, from C99 and from C++17.
//!
//! What is promised is checked by the programs in `tests/c/`, case by case; here they are compiled
//! against the public header and the library, and run. The layout of what crosses the boundary is
//! compared with Rust's and with what it was when ABI version 1 was published.

mod common;

#[path = "c/kit.rs"]
mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use herald::host::capi::*;
use kit::Compiler;

/// Runs a case as C, in full, and as C++, in short: the compiler is what differs.
fn case(programs: &Programs, case: &str) {
    let [c, cxx] = &**programs;
    for (program, divisor) in [(c, "1"), (cxx, "20")] {
        let directory = kit::directory();
        let mut command = kit::cases(&[], program, &[case], &directory);
        kit::run(command.env("HERALD_TEST_DIVISOR", divisor)).well(&format!("{}", program.display()));
    }
}

type Programs = LazyLock<[std::path::PathBuf; 2]>;

/// Each test is a case of a program; each case of a program is a test.
macro_rules! cases {
    ($($program:ident { $($case:ident)* })*) => {
        $(
            mod $program {
                pub(super) static PROGRAMS: super::Programs = super::Programs::new(|| {
                    [super::Compiler::C, super::Compiler::Cxx]
                        .map(|compiler| super::kit::program(stringify!($program), compiler))
                });
                $(
                    #[test]
                    fn $case() {
                        super::case(&PROGRAMS, stringify!($case));
                    }
                )*
            }
        )*

        #[test]
        fn every_case_of_every_program_is_run() {
            $(
                let listed = kit::run(Command::new(&$program::PROGRAMS[0]).arg("list")).well("list").out;
                let ours: BTreeSet<&str> = [$(stringify!($case)),*].into();
                assert_eq!(listed.lines().collect::<BTreeSet<_>>(), ours, stringify!($program));
            )*
            let sources = fs::read_dir(kit::root().join("tests/c")).unwrap();
            let sources: BTreeSet<_> = sources
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".c").map(str::to_owned))
                .filter(|name| name != "load")
                .collect();
            assert_eq!(sources, BTreeSet::from([$(stringify!($program).to_owned()),*]));
        }
    };
}

cases! {
    errors {
        the_last_error_of_a_thread
        null_pointers
        invalid_hub_options
        invalid_server_options
        invalid_events
        sizes_of_structs
        counts_that_cannot_be
        what_stands_in_the_way
        a_socket_in_use
        paths_that_cannot_be
        events_that_are_too_large
        descriptors_closed_by_the_host
        strings_for_all_errors
        closing_twice
    }
    publish {
        the_log
        serving_on_the_hubs_own_thread
        every_type_and_any_number_of_parameters
        every_l2tp_event
        a_full_ring
        a_full_queue
        a_full_queue_disconnects
        many_clients
        statistics
    }
    costs {
        nothing_is_allocated
        no_system_call_once_the_worker_is_woken
        only_those_that_wake_the_worker
    }
    datagrams {
        refused_options
        both_formats
        only_what_was_asked_for
        what_is_lost_is_told
        one_that_is_too_slow_to_stay
        one_that_is_gone
        every_loss_has_a_cause
        one_whose_time_is_over
    }
    vpp_api {
        refused_options
        null_pointers
        events_by_fields_and_packed
        prepared_events
        handlers_answer_now_and_later
        opening_and_closing_many_times
    }
    lives {
        sixteen_threads_at_once
        threads_that_come_and_go
        two_hubs
        two_servers_of_a_hub
        opening_and_closing_a_thousand_times
        closing_sends_what_is_queued
        closing_does_not_wait_for_a_client_that_does_not_read
    }
    forks {
        a_child_holds_no_descriptor
        a_child_keeps_what_was_opened_in_the_place_of_ours
        a_child_is_refused
        a_child_is_refused_all_else
        a_child_that_closes_harms_nobody
        a_child_has_its_own_hub
        a_child_closes_its_parents_hub_after_opening_its_own
        a_child_that_stays
        a_live_socket_is_not_stolen
        a_dead_socket_is_replaced_by_one_of_many
        many_children_of_a_busy_parent
    }
    jumps {
        l2tp_events_abandoned_at_any_instruction
        events_abandoned_at_any_instruction
        refusals_abandoned_at_any_instruction
        wake_ups_abandoned_at_any_instruction
    }
}

/// `name offset size` of every field and `name size` of every type, as Rust has them.
macro_rules! layout {
    (structs { $($type:ident { $($field:ident)* })* } unions { $($union:ident { $($member:ident)* })* }) => {{
        let mut lines = Vec::new();
        $(
            // Does not compile with a field missing.
            let _ = |whole: $type| { let $type { $($field: _),* } = whole; };
            lines.push((format!("sizeof({})", stringify!($type)), vec![size_of::<$type>()]));
            $(lines.push(layout!(line $type $field));)*
        )*
        $(
            lines.push((format!("sizeof({})", stringify!($union)), vec![size_of::<$union>()]));
            $(lines.push(layout!(line $union $member));)*
        )*
        lines
    }};
    (line $type:ident $field:ident) => {{
        fn size_of_field<T, F>(_: fn(&T) -> *const F) -> usize {
            size_of::<F>()
        }
        let field = stringify!($field).trim_start_matches("r#");
        // A union's member is named, not read.
        #[allow(unused_unsafe)]
        let size = size_of_field(|whole: &$type| {
            // SAFETY: a place within a valid value; nothing is read.
            unsafe { &raw const whole.$field }
        });
        (format!("{}.{field}", stringify!($type)), vec![std::mem::offset_of!($type, $field), size])
    }};
}

fn rust_layout() -> Vec<(String, Vec<usize>)> {
    layout! {
        structs {
            herald_hub_options { size ring_bytes flush_ms spin_us log log_context }
            herald_event_sock_options {
                size path mode max_clients owner group allow_uids allow_uids_count allow_gids
                allow_gids_count queue_bytes overflow
            }
            herald_datagram_options {
                size to events events_count format expire_s queue_bytes overflow send_buffer
            }
            herald_vpp_api_options {
                size path mode max_clients owner group allow_uids allow_uids_count allow_gids
                allow_gids_count queue_bytes overflow message_bytes api_directories
                api_directories_count version handlers handlers_count
            }
            herald_handler { request handle context }
            herald_bytes { data length }
            herald_param { name r#type value }
            herald_stats {
                size published ring_full delivered dropped subscribers refused protocol_errors overflowed
                ignored queued retried dropped_gone dropped_too_large dropped_error
            }
            herald_subscriber_stats { id pid uid delivered dropped queued_bytes }
        }
        unions {
            herald_value { signed_number unsigned_number floating boolean bytes }
        }
    }
}

/// What C says of the same names, and the values of all constants in the header.
fn c_says(compiler: Compiler) -> String {
    let mut body = String::new();
    for (name, _) in rust_layout() {
        body += &match name.split_once('.') {
            Some((of, field)) => format!(
                "    printf(\"{name} %zu %zu\\n\", offsetof({of}, {field}), sizeof ((({of} *)0)->{field}));\n"
            ),
            None => format!("    printf(\"{name} %zu\\n\", {name});\n"),
        };
    }
    for line in header().lines() {
        if let Some((name, _)) =
            line.strip_prefix("#define HERALD_").and_then(|rest| rest.split_once(' '))
        {
            body += &format!("    printf(\"HERALD_{name} %ld\\n\", (long)HERALD_{name});\n");
        }
    }
    let directory = kit::directory();
    let source = directory.path().join("layout.c");
    let text = format!(
        "#include <stdio.h>\n#include \"herald.h\"\nint main(void)\n{{\n{body}    return 0;\n}}\n"
    );
    fs::write(&source, text).unwrap();
    kit::run(&mut Command::new(kit::compile(&source, compiler, &[]))).well("layout").out
}

fn header() -> String {
    fs::read_to_string(kit::include().join("herald.h")).unwrap()
}

#[test]
fn c_and_rust_lay_out_every_struct_alike() {
    let rust: String = rust_layout()
        .into_iter()
        .map(|(name, numbers)| {
            numbers.iter().fold(name, |line, number| format!("{line} {number}")) + "\n"
        })
        .collect();
    for compiler in [Compiler::C, Compiler::Cxx] {
        let c = c_says(compiler);
        let c: String = c
            .lines()
            .filter(|line| !line.starts_with("HERALD_"))
            .fold(String::new(), |all, line| all + line + "\n");
        assert_eq!(c, rust, "{compiler:?} and Rust differ");
    }
}

#[test]
fn every_struct_in_the_header_is_compared() {
    let header = header();
    let in_header: BTreeSet<&str> =
        header.lines().filter_map(|line| line.strip_prefix("} herald_")?.strip_suffix(';')).collect();
    let layout = rust_layout();
    let compared: BTreeSet<&str> = layout
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("sizeof(herald_")?.strip_suffix(')'))
        .collect();
    assert_eq!(in_header, compared);
}

#[test]
fn the_binary_interface_is_what_it_was() {
    if size_of::<usize>() != 8 {
        return common::skipped("the_binary_interface_is_what_it_was", "abi.txt is of a 64-bit machine");
    }
    let file = kit::root().join("tests/c/abi.txt");
    let golden = fs::read_to_string(&file).unwrap();
    let golden: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let now = c_says(Compiler::C);
    let now: Vec<&str> = now.lines().collect();
    let lacking: Vec<_> = golden.iter().filter(|line| !now.contains(line)).collect();
    assert!(
        lacking.is_empty(),
        "programs built against an older header would break; these have changed: {lacking:#?}"
    );
    let new: Vec<_> = now.iter().filter(|line| !golden.contains(line)).collect();
    assert!(new.is_empty(), "add what is new to {}: {new:#?}", file.display());
}
