//! No panic gets from the plugin into VPP.

#[path = "../src/entry.rs"]
#[allow(dead_code)]
mod entry;

use entry::{enter, entries};

#[test]
fn a_panic_ends_at_the_call_and_is_counted() {
    assert_eq!(enter("a call", || 7), Some(7));
    let before = entries();
    assert_eq!(enter("another", || -> u32 { panic!("on purpose") }), None);
    assert_eq!(entries().panics, before.panics + 1);
    assert_eq!(entries().last_panic, Some("another"));
    assert_eq!(enter("a call", || 8), Some(8));
    assert!(entries().longest_cpu <= entries().longest);
}

#[test]
fn every_function_that_vpp_calls_enters() {
    let mut functions = 0;
    for file in ["lib.rs", "commands.rs", "process.rs", "ffi/lists.rs", "ffi/messages.rs"] {
        let text =
            std::fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for marker in
            ["\nunsafe extern \"C\" fn ", "#[vlib_cli_command(", "#[vlib_init_function]", "async fn "]
        {
            for after in text.split(marker).skip(1) {
                functions += 1;
                let body = after.split_once("\n}\n").map_or(after, |(body, _)| body);
                // `run` and `handle` enter; `size` does nothing but say a number.
                let entered = [
                    "enter(",
                    "enter_unmeasured(",
                    "    run(vm, ",
                    "handle(&",
                    "REQUEST_LENGTH as uword",
                ];
                assert!(entered.iter().any(|call| body.contains(call)), "{file}: {body}");
            }
        }
    }
    assert_eq!(functions, 3 + 1 + 1 + 5 + 3);
}
