//! What `/proc` knows of a host.

use std::fs;
use std::path::PathBuf;

use super::wait_for;

/// The threads of a process, with their names.
pub fn threads(pid: u32) -> Vec<(u32, String)> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let path = entry.unwrap().path();
        let tid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // A thread may end while we look.
        if let Ok(name) = fs::read_to_string(path.join("comm")) {
            threads.push((tid, name.trim_end().to_owned()));
        }
    }
    threads
}

/// The ids of the library's worker threads.
pub fn workers(pid: u32) -> Vec<u32> {
    threads(pid).into_iter().filter(|(_, name)| name == "herald").map(|(tid, _)| tid).collect()
}

/// The id of the worker thread, of which there is one.
pub fn worker(pid: u32) -> u32 {
    // A thread takes its name when it begins to run.
    wait_for("a thread named herald", || match workers(pid)[..] {
        [] => None,
        [tid] => Some(tid),
        _ => panic!("more than one worker: {:?}", threads(pid)),
    })
}

/// A line of a thread's `status`.
pub fn status(pid: u32, tid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
}

/// A set of signals in a thread's `status`: bit N - 1 is signal N.
pub fn signals(pid: u32, tid: u32, key: &str) -> u64 {
    u64::from_str_radix(&status(pid, tid, key), 16).unwrap()
}

/// How often a thread has gone to sleep.
pub fn sleeps(pid: u32, tid: u32) -> u64 {
    status(pid, tid, "voluntary_ctxt_switches").parse().unwrap()
}

/// What changes whenever a thread runs: how often it went to sleep, how often it was made to give
/// way, and the ticks of processor time that it has used.
pub fn activity(pid: u32, tid: u32) -> (u64, u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap();
    // The name, in parentheses, may hold anything; the state follows it as field 3 (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks = fields[14 - 3].parse::<u64>().unwrap() + fields[15 - 3].parse::<u64>().unwrap();
    let gave_way = status(pid, tid, "nonvoluntary_ctxt_switches").parse().unwrap();
    (sleeps(pid, tid), gave_way, ticks)
}

/// Resident memory in kilobytes.
pub fn memory_kb(pid: u32) -> u64 {
    status(pid, pid, "VmRSS").trim_end_matches(" kB").parse().unwrap()
}

/// An open descriptor of a process.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fd {
    pub number: u32,
    pub what: PathBuf,
    /// The flags of `open(2)`.
    pub flags: i32,
}

impl Fd {
    pub fn is_socket(&self) -> bool {
        self.what.to_string_lossy().starts_with("socket:")
    }
}

/// The open descriptors of a process.
pub fn fds(pid: u32) -> Vec<Fd> {
    let mut fds = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let (Ok(what), Ok(info)) =
            (fs::read_link(&path), fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")))
        else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        fds.push(Fd { number, what, flags: i32::from_str_radix(flags.trim(), 8).unwrap() });
    }
    fds.sort();
    fds
}

/// Whether a process is there, and not only as a zombie.
pub fn lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z')
}
