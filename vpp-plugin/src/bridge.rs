//! The hub inside VPP, and the datagram subscribers that herald.toml names.

use std::thread;

use herald::config::Config;
use herald::event::Event;
use herald::hub::{Hub, HubOptions, HubStats};
use herald::log::{Level, Log};
use herald::transport::datagram::Subscriber;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// A hub with at least one subscriber.
pub struct Bridge {
    hub: Hub,
    /// Events that the hub has not taken. Of those that it had no room for, its subscribers are told.
    pub refused: u64,
}

impl Bridge {
    /// Starts a hub for the datagram subscribers of herald.toml; none if it names none.
    pub fn start(log: &Log) -> Result<Option<Self>, String> {
        let config = Config::load().map_err(|error| error.to_string())?;
        if config.datagrams.is_empty() {
            return Ok(None);
        }
        herald::host::watch_forks();
        let hub = start_hub(log)?;
        for (name, options) in config.datagrams {
            let subscriber = Subscriber::new(&name, options, log.clone());
            hub.add(Box::new(subscriber)).map_err(|error| format!("no {name}: {error}"))?;
            log.write(Level::Info, format_args!("datagrams go to {name}"));
        }
        // So that the first publish does not allocate either.
        hub.attach_thread().map_err(|error| error.to_string())?;
        Ok(Some(Bridge { hub, refused: 0 }))
    }

    /// Hands an event to the subscribers. Never blocks.
    pub fn publish(&mut self, event: &Event<'_>) {
        if self.hub.publish(event).is_err() {
            self.refused += 1;
        }
    }

    /// What the hub has counted.
    pub fn stats(&self) -> HubStats {
        self.hub.stats()
    }

    /// Sends what is queued, within 200 ms, and ends the worker.
    pub fn close(self) {
        self.hub.close();
    }
}

/// VPP pins its main thread to a core, which threads inherit that it starts. The hub's worker must not
/// take that core from VPP: it is started by a thread that may run on all the others.
fn start_hub(log: &Log) -> Result<Hub, String> {
    let log = log.clone();
    let starter = thread::Builder::new().name("herald-start".to_owned()).spawn(move || {
        leave_core();
        Hub::start(HubOptions::default(), log)
    });
    let started = starter.map_err(|error| error.to_string())?.join();
    let hub = started.map_err(|_| "a panic while starting the hub".to_owned())?;
    hub.map_err(|error| format!("cannot start the hub: {error}"))
}

/// Frees this thread from the one core that it is pinned to. With no other core it stays there.
fn leave_core() {
    let this = Pid::from_raw(0);
    let Ok(pinned) = sched_getaffinity(this) else { return };
    let mut others = CpuSet::new();
    for core in 0..CpuSet::count() {
        if !pinned.is_set(core).unwrap_or(true) {
            let _ = others.set(core);
        }
    }
    let _ = sched_setaffinity(this, &others);
}
