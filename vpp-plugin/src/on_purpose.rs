//! Panics on purpose, for the tests. Only with the feature `test-panics`, which `make vpp-plugin` has not.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use vpp_plugin::vlib::BarrierHeldMainRef;
use vpp_plugin::vlib_cli_command;
use vpp_plugin::vppinfra::error::ErrorStack;

/// The names of the calls that are to panic, each once.
static ARMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static CURRENT: Cell<&'static str> = const { Cell::new("") };
}

#[vlib_cli_command(path = "herald panic", short_help = "herald panic <name of a call>")]
fn herald_panic(_vm: &mut BarrierHeldMainRef, arguments: &str) -> Result<(), ErrorStack> {
    arm(arguments.trim());
    Ok(())
}

/// Has the next call of this name panic.
pub fn arm(name: &str) {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
}

/// A call of this name has begun.
pub fn entered(name: &'static str) {
    CURRENT.set(name);
}

/// In the midst of a call, with all the state in its hands.
pub fn panic_if_armed() {
    let name = CURRENT.get();
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = armed.iter().position(|armed| armed == name) {
        armed.swap_remove(at);
        drop(armed);
        panic!("on purpose, in {name}");
    }
}
