//! The CLI.

use std::fmt::Write;

use vpp_plugin::vlib::BarrierHeldMainRef;
use vpp_plugin::vlib_cli_command;
use vpp_plugin::vppinfra::error::ErrorStack;

use crate::entry::{self, enter, entries};
use crate::ffi::clients::Connection;
use crate::ffi::output::print;
use crate::state::State;
use crate::{gtp, process, state};

#[vlib_cli_command(path = "show herald", short_help = "show herald [clients]")]
fn show_herald(vm: &mut BarrierHeldMainRef, arguments: &str) -> Result<(), ErrorStack> {
    run(vm, |state| match arguments.trim() {
        "" => Ok(summary(state)),
        other => Err(format!("unknown word {other:?}; usage: show herald [clients]")),
    })
}

#[vlib_cli_command(path = "show herald clients", short_help = "show herald clients")]
fn show_herald_clients(vm: &mut BarrierHeldMainRef, _: &str) -> Result<(), ErrorStack> {
    run(vm, |state| Ok(clients(state)))
}

#[vlib_cli_command(
    path = "herald gtp-error",
    short_help = "herald gtp-error ue <id> te <id> [rb <id>] [type <number>] [raw <hex digits>] [count <n>]"
)]
fn herald_gtp_error(vm: &mut BarrierHeldMainRef, arguments: &str) -> Result<(), ErrorStack> {
    run(vm, |state| {
        let (error, count) = gtp::parse_arguments(arguments)?;
        state.burst(error, count)?;
        process::wake();
        Ok(String::new())
    })
}

/// Runs a command and prints what it answers.
fn run(
    vm: &BarrierHeldMainRef,
    command: impl FnOnce(&mut State) -> Result<String, String>,
) -> Result<(), ErrorStack> {
    let answer = enter("command", || {
        let answer = state::with(command).unwrap_or_else(|| Err("the plugin is busy".to_owned()));
        answer.map(|text| text.lines().for_each(|line| print(vm, line)))
    });
    match answer {
        Some(Ok(())) => Ok(()),
        // VPP's errors end at a NUL, and the crate panics on one.
        Some(Err(error)) => Err(ErrorStack::msg(error.replace('\0', " "))),
        None => Err(ErrorStack::msg("herald: a panic; see `show logging`")),
    }
}

fn summary(state: &State) -> String {
    let entries = entries();
    let clients = state.journal.clients();
    let mut text = String::new();
    let _ = writeln!(text, "herald {}", env!("CARGO_PKG_VERSION"));
    let _ =
        writeln!(text, "GTP errors: {} reported, {} to come", state.counts.reported, state.in_bursts());
    let _ = writeln!(
        text,
        "clients: {} registered, {} gone without a word, {} replies without room",
        clients.len(),
        state.counts.clients_gone,
        state.counts.replies_lost
    );
    match &state.bridge {
        None => text.push_str("hub: none, since herald.toml names no datagram subscriber\n"),
        Some(bridge) => {
            let stats = bridge.stats();
            let _ = writeln!(
                text,
                "hub: {} published, {} refused; {} subscribers, {} delivered, {} dropped",
                stats.published, bridge.refused, stats.subscribers, stats.delivered, stats.dropped
            );
        }
    }
    let interfaces: Vec<String> = state.reporter.interfaces().map(|index| index.to_string()).collect();
    let _ = match interfaces.as_slice() {
        [] => writeln!(text, "reporter: off"),
        on => writeln!(text, "reporter: on for sw_if_index {}", on.join(", ")),
    };
    let _ = writeln!(
        text,
        "main thread: {} calls, {} of them longer than {} us, longest {} us running, {} us by the clock; {} waits, {} panics{}",
        entries.calls,
        entries.long,
        entry::BOUND.as_micros(),
        entries.longest_cpu.as_micros(),
        entries.longest.as_micros(),
        entries.waits,
        entries.panics,
        entries.last_panic.map(|name| format!(", last in {name}")).unwrap_or_default(),
    );
    text
}

fn clients(state: &State) -> String {
    let mut text = format!(
        "{:>12} {:>8} {:>12} {:>12} {:>12} {:>9}  {}\n",
        "client index", "pid", "sent", "waiting", "lost", "transport", "name"
    );
    for client in state.journal.clients() {
        let connection = Connection::find(client.index);
        let (transport, name) = connection.map(|it| (it.transport(), it.name())).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>#12x} {:>8} {:>12} {:>12} {:>12} {transport:>9}  {name}",
            client.index,
            client.pid,
            client.sent,
            state.journal.waiting(client),
            client.lost
        );
    }
    text
}
