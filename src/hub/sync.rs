//! The atomics of the publish path: loom's where loom checks them, and a barrier of two unequal
//! halves.

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};

use std::sync::atomic::{AtomicBool, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier};

/// Between a store and a load of one thread, and a store and a load of another: at least one of them
/// sees the other's store. One side, which gets there often, costs nothing where the kernel can put
/// a barrier into all threads of the process on behalf of the other (`membarrier(2)`, Linux 4.14).
/// Otherwise, and under loom, each side has a full fence.
pub(super) struct Barrier {
    by_kernel: AtomicBool,
}

impl Barrier {
    pub(super) fn new() -> Self {
        let by_kernel = !cfg!(loom) && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
        Barrier { by_kernel: AtomicBool::new(by_kernel) }
    }

    /// The side that gets here often.
    #[inline]
    pub(super) fn frequent(&self) {
        if self.by_kernel.load(Ordering::Relaxed) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The side that gets here rarely. False if the kernel has begun to refuse, by a filter of
    /// system calls that the host has installed, say: from now on both sides do it by themselves,
    /// but this time there was no barrier.
    pub(super) fn rare(&self) -> bool {
        if !self.by_kernel.load(Ordering::Relaxed) {
            fence(Ordering::SeqCst);
            return true;
        }
        let made = membarrier(MembarrierCommand::PrivateExpedited).is_ok();
        if !made {
            self.by_kernel.store(false, Ordering::Relaxed);
        }
        made
    }
}
