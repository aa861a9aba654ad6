//! The process node: the turns of the plugin on VPP's main loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use vpp_plugin::vlib::process_node::{Receiver, Sender, channel, timeout};
use vpp_plugin::vlib::{MainRef, NodeRuntimeRef, ProcessNode};
use vpp_plugin::{ErrorCounters, NextNodes, vlib_process_node};

use crate::entry::enter;
use crate::state;

/// What is done after a turn that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

static NODE: HeraldProcess = HeraldProcess::new();
/// Whether the node is about to run.
static WOKEN: AtomicBool = AtomicBool::new(false);

#[vlib_process_node(name = "herald-process", instance = NODE, log2_stack_bytes = 18)]
struct HeraldProcess {
    bell: LazyLock<Bell>,
}

/// By which the node is woken.
struct Bell {
    sender: Sender<()>,
    /// Until the node has taken it.
    receiver: Mutex<Option<Receiver<()>>>,
}

/// The node hands packets to none.
#[derive(NextNodes)]
enum Next {}

/// It counts no packet errors.
#[derive(ErrorCounters)]
enum Errors {}

impl HeraldProcess {
    const fn new() -> Self {
        HeraldProcess {
            bell: LazyLock::new(|| {
                let (sender, receiver) = channel();
                Bell { sender, receiver: Mutex::new(Some(receiver)) }
            }),
        }
    }
}

impl ProcessNode for HeraldProcess {
    type NextNodes = Next;
    type RuntimeData = ();
    type Errors = Errors;

    async fn function(&self, _vm: &mut MainRef, _node: &mut NodeRuntimeRef<Self>) {
        let receiver = self.bell.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = receiver else { return };
        loop {
            WOKEN.store(false, Ordering::Relaxed);
            let turn = enter("process", || state::with(|state| state.turn()));
            let pause = turn.flatten().unwrap_or(AFTER_PANIC);
            let _ = timeout(pause, receiver.recv()).await;
        }
    }
}

/// Has the node run soon: something is to be sent. On the main thread only.
pub fn wake() {
    if !WOKEN.swap(true, Ordering::Relaxed) {
        let _ = NODE.bell.sender.send(());
    }
}
