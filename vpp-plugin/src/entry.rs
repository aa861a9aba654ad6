//! The way in from VPP. VPP is built to abort on a panic that reaches it, and everything on its main
//! thread waits while we are there: so nothing of ours runs but through here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

static CALLS: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);
static LAST_PANIC: Mutex<Option<&str>> = Mutex::new(None);
static LONG: AtomicU64 = AtomicU64::new(0);
static WAITS: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);
static LONGEST_CPU: AtomicU64 = AtomicU64::new(0);

/// VPP's main thread is not held for longer than that.
pub const BOUND: Duration = Duration::from_millis(1);

/// What [`enter`] has counted since VPP started.
#[derive(Debug, Clone, Copy)]
pub struct Entries {
    /// Calls from VPP into the plugin.
    pub calls: u64,
    /// Calls that ended in a panic, which went no further.
    pub panics: u64,
    /// The name of the last of them.
    pub last_panic: Option<&'static str>,
    /// Calls in which the main thread ran for longer than [`BOUND`].
    pub long: u64,
    /// Times that a call gave up the core to wait for something.
    pub waits: u64,
    /// The longest call, by the clock: with whatever else ran on the core meanwhile.
    pub longest: Duration,
    /// The longest call, in time that the main thread ran.
    pub longest_cpu: Duration,
}

/// Runs what VPP's main loop called us for, which has this name, and measures it. Nothing comes back from a
/// panic; the panic hook has reported it.
pub fn enter<T>(name: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    let (start, start_cpu, start_waits) = (Instant::now(), cpu_time(), waits());
    let value = enter_unmeasured(name, body);
    WAITS.fetch_add(waits().saturating_sub(start_waits), Ordering::Relaxed);
    let ran = cpu_time().saturating_sub(start_cpu);
    LONG.fetch_add((ran > BOUND).into(), Ordering::Relaxed);
    LONGEST_CPU.fetch_max(nanos(ran), Ordering::Relaxed);
    LONGEST.fetch_max(nanos(start.elapsed()), Ordering::Relaxed);
    value
}

/// The same for what runs before the main loop or after it.
pub fn enter_unmeasured<T>(name: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    CALLS.fetch_add(1, Ordering::Relaxed);
    #[cfg(all(feature = "test-panics", not(test)))]
    crate::on_purpose::entered(name);
    let value = catch_unwind(AssertUnwindSafe(body)).ok();
    if value.is_none() {
        PANICS.fetch_add(1, Ordering::Relaxed);
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }
    value
}

/// What has been counted.
pub fn entries() -> Entries {
    Entries {
        calls: CALLS.load(Ordering::Relaxed),
        panics: PANICS.load(Ordering::Relaxed),
        last_panic: *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner),
        long: LONG.load(Ordering::Relaxed),
        waits: WAITS.load(Ordering::Relaxed),
        longest: Duration::from_nanos(LONGEST.load(Ordering::Relaxed)),
        longest_cpu: Duration::from_nanos(LONGEST_CPU.load(Ordering::Relaxed)),
    }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Voluntary context switches: being preempted is none.
fn waits() -> u64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches() as u64)
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
