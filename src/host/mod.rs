//! The programs that load us. The only place with `unsafe`.
//!
//! - [`openl2tpd`]: the daemon's event_sock plugin.
//! - `opensips`: its event_datagram module.
//! - [`capi`]: any C program, through `herald.h`.

/// Runs the body of an exported function. A panic does not cross into the host: it is reported
/// by the panic hook, and the function returns the given value.
macro_rules! boundary {
    ($on_panic:expr, $body:block) => {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| $body)) {
            Ok(value) => value,
            Err(_) => $on_panic,
        }
    };
}

pub mod capi;
pub mod openl2tpd;
mod opensips;
mod process;
pub(crate) mod symbol;

pub use process::watch_forks;
