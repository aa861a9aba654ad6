//! No panic gets from the plugin into VPP.

#[path = "../src/entry.rs"]
#[allow(dead_code)]
mod entry;

use entry::{enter, entries};

#[test]
fn a_panic_ends_at_the_call_and_is_counted() {
    assert_eq!(enter(|| 7), Some(7));
    let before = entries();
    assert_eq!(enter(|| -> u32 { panic!("on purpose") }), None);
    assert_eq!(entries().panics, before.panics + 1);
    assert_eq!(enter(|| 8), Some(8));
    assert!(entries().longest_cpu <= entries().longest);
}
