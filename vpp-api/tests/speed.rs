//! How fast messages are written and read. Only a release build asserts anything, and far below what it
//! reaches, since machines are shared; `cargo test --release --test speed -- --nocapture` shows figures.

mod common;

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::codec::{Item, Plan, Slot};
use herald_vpp_api::{Rules, parse};

const ROUNDS: u32 = if cfg!(debug_assertions) { 5_000 } else { 1_000_000 };

/// How long this thread has run: others on the machine do not count, where Linux says so.
fn on_cpu() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match stat.split(' ').next().and_then(|ns| ns.parse().ok()) {
        Some(ns) => Duration::from_nanos(ns),
        None => START.get_or_init(Instant::now).elapsed(),
    }
}

/// Runs something often and says how often a second it can.
fn measure(what: &str, least: f64, mut run: impl FnMut(u32)) {
    let mut once = || {
        let begin = on_cpu();
        (0..ROUNDS).for_each(&mut run);
        on_cpu() - begin
    };
    // The best of some: two threads that share a core slow each other down.
    let best = (0..5).map(|_| once()).min().unwrap_or_default();
    let rate = f64::from(ROUNDS) / best.as_secs_f64() / 1e6;
    common::say(&format!("{what}: {rate:.1} M/s"));
    assert!(cfg!(debug_assertions) || rate > least, "{what}: {rate:.1} M/s");
}

#[test]
fn small_messages() {
    let text = include_str!("data/testgovpp.api");
    let api = parse::parse("testgovpp.api", text, &Builtin, Rules::default()).unwrap();
    let want = Plan::new(&api, "want_cu_up_gtp_error_ind_events").unwrap();
    let event = Plan::new(&api, "cu_up_gtp_error_ind_event").unwrap();
    let mut out = Vec::with_capacity(64);

    measure("four fields by name, 15 bytes", 4.0, |i| {
        out.clear();
        let mut message = want.encoder(106, &mut out);
        let _ = message.put("client_index", black_box(i));
        let _ = message.put("context", i);
        let _ = message.put("enable_disable", true);
        let _ = message.put("pid", i);
        let _ = black_box(message.finish());
    });

    let slots: Vec<Slot> =
        ["client_index", "context", "enable_disable", "pid"].map(|f| want.slot(f).unwrap()).into();
    measure("four fields by slot, 15 bytes", 6.0, |i| {
        out.clear();
        let mut message = want.encoder(106, &mut out);
        for (slot, value) in slots.iter().zip([i, i, 1, i]) {
            let _ = message.put_at(*slot, black_box(value));
        }
        let _ = black_box(message.finish());
    });

    measure("the seed's event by name, 29 bytes", 2.0, |i| {
        out.clear();
        let mut message = event.encoder(105, &mut out);
        let _ = message.put("client_index", black_box(i));
        let _ = message.put("pid", i);
        let _ = message.put("type", 2u32);
        let _ = message.put("data.ue_id", i);
        let _ = message.put("data.te_id", i);
        let _ = message.put("data.rb_id", 5u8);
        let _ = message.put("raw_msg_data", b"00000");
        let _ = black_box(message.finish());
    });

    let bytes = out.clone();
    measure("the seed's event read, three fields by name", 2.0, |_| {
        let Ok(view) = event.view(black_box(&bytes)) else { return };
        black_box((view.u64("pid"), view.u64("data.te_id"), view.bytes("raw_msg_data")));
    });
    measure("the seed's event taken apart", 0.4, |_| {
        let _ = black_box(event.decode(black_box(&bytes)));
    });
    assert_eq!(event.view(&bytes).unwrap().get("type"), Some(Item::Unsigned(2)));
}
