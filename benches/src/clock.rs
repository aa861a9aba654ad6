//! Time: CLOCK_MONOTONIC, which all processes share, and a stopwatch for tens of nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Nanoseconds of CLOCK_MONOTONIC, the same in every process.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Sleeps until a moment of CLOCK_MONOTONIC.
pub fn sleep_until(moment: u64) {
    let moment = Duration::from_nanos(moment).into();
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &moment).is_err()
    {
    }
}

/// Wakes up from sleeps as exactly as the kernel can: the default slack is 50 µs.
pub fn sleep_exactly() {
    // SAFETY: this call takes one number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// Takes that back, for programs that this one starts: they inherit it, and sleep as they do at their users'.
pub fn sleep_as_usual() {
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 50_000) };
}

/// Measures short pieces of code: the processor's own counter, serialised on both sides so that
/// all of the piece and nothing else is inside.
pub struct Stopwatch {
    ticks_per_ns: f64,
    /// What a measurement of nothing takes, in ticks. It is subtracted from every measurement.
    overhead: u64,
}

impl Stopwatch {
    pub fn calibrate() -> Self {
        let (ticks, time) = (ticks(), now());
        sleep_until(time + 50_000_000);
        let ticks_per_ns = (self::ticks() - ticks) as f64 / (now() - time) as f64;
        let mut nothing: Vec<u64> = (0..100_001)
            .map(|_| {
                let start = self::ticks();
                self::ticks() - start
            })
            .collect();
        nothing.sort_unstable();
        Stopwatch { ticks_per_ns, overhead: nothing[nothing.len() / 2] }
    }

    /// Begins a measurement.
    #[inline(always)]
    pub fn start(&self) -> u64 {
        ticks()
    }

    /// Ends a measurement: how many ticks it took, less the stopwatch's own.
    #[inline(always)]
    pub fn stop(&self, start: u64) -> u64 {
        (ticks() - start).saturating_sub(self.overhead)
    }

    /// Ticks in nanoseconds.
    pub fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_ns
    }

    /// What is subtracted, in nanoseconds.
    pub fn overhead(&self) -> f64 {
        self.nanoseconds(self.overhead)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both instructions exist on every x86-64 and only read the counter.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ticks() -> u64 {
    now()
}
