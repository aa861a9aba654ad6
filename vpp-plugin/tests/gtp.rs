//! A GTP error indication: from the words of the CLI to the bytes of the message.

#[path = "../src/gtp.rs"]
#[allow(dead_code)]
mod gtp;

use gtp::{GtpError, parse_arguments};
use herald_vpp_api::codec::Plan;

fn encode(error: &GtpError) -> Vec<u8> {
    let plan = Plan::new(&gtp::api().unwrap(), gtp::EVENT).unwrap();
    let mut out = Vec::new();
    error.encode(&plan, 105, &mut out).unwrap();
    out
}

#[test]
fn the_message_is_the_golden_one_but_for_client_index_and_pid() {
    let (error, count) = parse_arguments("ue 1000 te 0xdeadbeef rb 5 raw 3030303030").unwrap();
    assert_eq!(count, 1);
    let golden = [
        0, 0x69, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 3, 0xe8, 0xde, 0xad, 0xbe, 0xef, 5, 5, 0x30,
        0x30, 0x30, 0x30, 0x30,
    ];
    assert_eq!(encode(&error), golden);
}

#[test]
fn the_raw_message_has_0_to_255_bytes_and_a_longer_one_is_refused() {
    for length in [0, 1, 255] {
        let error = GtpError::new(1, 2, 3, vec![7; length]).unwrap();
        assert_eq!(encode(&error).len(), 24 + length);
    }
    let refused = GtpError::new(1, 2, 3, vec![7; 256]).unwrap_err().to_string();
    assert_eq!(refused, "raw has 256 bytes, and the event holds at most 255");
    assert_eq!(parse_arguments(&format!("ue 1 te 2 raw {}", "00".repeat(256))).unwrap_err(), refused);
}

#[test]
fn the_event_has_the_same_fields() {
    let (error, _) = parse_arguments("ue 1 te 2 rb 3 type 1 raw 00ff").unwrap();
    error.with_event(|event| {
        assert_eq!(event.name(), "E_VPP_GTP_ERROR");
        let params: Vec<String> = event.params().map(|p| format!("{} {:?}", p.name, p.value)).collect();
        assert_eq!(
            params,
            ["type Uint(1)", "ue_id Uint(1)", "te_id Uint(2)", "rb_id Uint(3)", "raw Bytes([0, 255])"]
        );
    });
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    for (line, complaint) in [
        ("", "ue is missing"),
        ("ue 1", "te is missing"),
        ("ue", "ue has no value"),
        ("ue x te 1", "ue: \"x\" is no number"),
        ("ue 4294967296 te 1", "ue: 4294967296 is too large"),
        ("ue 1 te 1 rb 256", "rb: 256 is too large"),
        ("ue 1 te 1 raw 123", "raw: \"123\" is no even number of hexadecimal digits"),
        ("ue 1 te 1 raw +1", "raw: \"+1\" is no even number"),
        ("ue 1 te 1 raw éé", "raw: \"éé\" is no even number"),
        ("ue 1 te 1 colour red", "unknown word \"colour\""),
        ("ue 1 te 1 type 0", "type: 0 is no cu_up_event_type, which are 1 to 3"),
        ("ue 1 te 1 type 4", "type: 4 is no cu_up_event_type"),
        ("ue 1 te 1 count 0", "count: 0 events are none"),
        ("ue 1 te 1 count -1", "count: \"-1\" is no number"),
        ("ue 0xfffffffff te 1", "ue: 0xfffffffff is too large"),
    ] {
        let error = parse_arguments(line).unwrap_err();
        assert!(error.starts_with(complaint), "{line}: {error}");
    }
}
