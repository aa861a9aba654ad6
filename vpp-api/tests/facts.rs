//! What was measured with real clients and a real VPP: CRCs, ids, frames. A number here comes from VPP's
//! own generator or from a recorded conversation, never from this crate.

use std::sync::Arc;

use herald_vpp_api::builtin::{self, Builtin};
use herald_vpp_api::codec::{Plan, Value};
use herald_vpp_api::table::{Role, Table};
use herald_vpp_api::{Api, Rules, frame, parse};

const TESTGOVPP: &str = include_str!("data/testgovpp.api");

fn testgovpp() -> Api {
    parse::parse("testgovpp.api", TESTGOVPP, &Builtin, Rules::default()).unwrap()
}

fn crc(api: &Api, message: &str) -> u32 {
    api.message(message).unwrap().crc
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| c.is_ascii_hexdigit()).collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn crcs_of_the_seed() {
    let api = testgovpp();
    assert_eq!(crc(&api, "cu_up_gtp_error_ind_event"), 0x6ce6_19fe);
    assert_eq!(crc(&api, "want_cu_up_gtp_error_ind_events"), 0xc5e2_af94);
    assert_eq!(crc(&api, "want_cu_up_gtp_error_ind_events_reply"), 0xe8d4_e804);
    assert_eq!(crc(&api, "testgovpp_enable_disable"), 0x3865_946c);
    assert_eq!(crc(&api, "testgovpp_enable_disable_reply"), 0xe8d4_e804);
}

/// Made by vppapigen of VPP 26.06 from its own memclnt.api.
const MEMCLNT: [(&str, u32); 28] = [
    ("memclnt_create", 0x9c5e_1c2f),
    ("memclnt_create_reply", 0x42ec_4560),
    ("memclnt_delete", 0x7e1c_04e3),
    ("memclnt_delete_reply", 0x3d3b_6312),
    ("rx_thread_exit", 0xc3a3_a452),
    ("memclnt_rx_thread_suspend", 0xc3a3_a452),
    ("memclnt_read_timeout", 0xc3a3_a452),
    ("rpc_call", 0x7e8a_2c95),
    ("rpc_call_reply", 0xe8d4_e804),
    ("get_first_msg_id", 0xebf7_9a66),
    ("get_first_msg_id_reply", 0x7d33_7472),
    ("api_versions", 0x5107_7d14),
    ("api_versions_reply", 0x5f0d_99d6),
    ("trace_plugin_msg_ids", 0xf476_d3ce),
    ("sockclnt_create", 0x455f_b9c4),
    ("sockclnt_create_reply", 0x3516_6268),
    ("sockclnt_delete", 0x8ac7_6db6),
    ("sockclnt_delete_reply", 0x8f38_b1ee),
    ("sock_init_shm", 0x5164_6d92),
    ("sock_init_shm_reply", 0xe8d4_e804),
    ("memclnt_keepalive", 0x5107_7d14),
    ("memclnt_keepalive_reply", 0xe8d4_e804),
    ("control_ping", 0x5107_7d14),
    ("control_ping_reply", 0xf6b0_b8ca),
    ("memclnt_create_v2", 0xc4bd_4882),
    ("memclnt_create_v2_reply", 0x42ec_4560),
    ("get_api_json", 0x5107_7d14),
    ("get_api_json_reply", 0xea71_5b59),
];

#[test]
fn ids_and_crcs_that_clients_have_built_in() {
    let apis = builtin::FILES.iter().map(|(path, _)| Arc::new(builtin::module(path).unwrap()));
    let table = Table::new(apis).unwrap();
    for (id, (name, crc)) in (1..).zip(MEMCLNT) {
        let entry = table.entry(id).unwrap();
        assert_eq!((entry.plan.name(), entry.plan.crc()), (name, crc));
        assert_eq!(entry.name_crc, format!("{name}_{crc:08x}"));
    }
    // Clients ask for a module by its name and the CRC of its file: VPP's own.
    assert_eq!(table.module("memclnt_b197c551").unwrap().base, 1);
    let version = table.entry_named("show_version").unwrap();
    assert_eq!((version.id, version.plan.crc()), (29, 0x5107_7d14));
    assert_eq!(crc(&builtin::module(builtin::VPE).unwrap(), "show_version_reply"), 0xc919_bde1);
}

#[test]
fn services_of_the_seed() {
    let modules = [builtin::module(builtin::MEMCLNT).unwrap(), testgovpp()];
    let table = Table::new(modules.map(Arc::new)).unwrap();
    let id = |name: &str| table.id(name).unwrap();
    let want = table.entry_named("want_cu_up_gtp_error_ind_events").unwrap();
    let event = id("cu_up_gtp_error_ind_event");
    let reply = id("want_cu_up_gtp_error_ind_events_reply");
    assert_eq!(want.role, Role::Registration { reply, events: vec![event] });
    let event = table.entry(event).unwrap();
    assert_eq!(event.role, Role::Event { registrations: vec![want.id] });
    assert_eq!(table.entry(reply).unwrap().role, Role::Answer { request: want.id });
    // An autoreply stands right after its request.
    assert_eq!(reply, want.id + 1);
}

/// VPP changed how a CRC takes in nested types: the fact sheet has this message's before and after.
#[test]
fn both_ways_to_fold() {
    let text = "
        import \"vpp/api/vpe_types.api\";
        define log_dump { u32 client_index; u32 context; vl_api_timestamp_t start_timestamp; };
        define log_details {
          u32 context;
          vl_api_timestamp_t timestamp;
          vl_api_log_level_t level;
          string msg_class[32];
          string message[256];
        };";
    for (rules, want) in [
        (Rules::UpTo20_05, 0x2558_27a1),
        (Rules::From20_09, 0x03d6_1cc0),
        (Rules::From22_06, 0x03d6_1cc0),
    ] {
        let api = parse::parse("vpe.api", text, &Builtin, rules).unwrap();
        assert_eq!(crc(&api, "log_details"), want, "{rules}");
    }
}

/// Made by vppapigen of VPP 20.05, 21.10 and 26.06.
#[test]
fn every_rule_of_folding() {
    let text = "
        enum e { A, B = 5, C, };
        typedef u8 mac[6];
        typedef inner { vl_api_e_t e; u16 x; };
        union u { vl_api_mac_t m; vl_api_inner_t i; };
        typedef outer { vl_api_inner_t i; vl_api_u_t u; };
        autoreply define enum_first {
          u32 client_index; u32 context; vl_api_e_t e; vl_api_inner_t i; vl_api_outer_t o;
        };
        autoreply define record_first { u32 client_index; u32 context; vl_api_outer_t o; vl_api_e_t e; };
        autoreply define alias_first { u32 client_index; u32 context; vl_api_mac_t m; vl_api_inner_t i; };";
    for (rules, enum_first, record_first, alias_first, file) in [
        (Rules::UpTo20_05, 0xb54e_74cc, 0x3b29_3d65, 0x47fa_d0ec, 0x5359_4e38),
        (Rules::From20_09, 0xda7e_6463, 0x8c99_004c, 0xe05c_e42b, 0x1f88_9185),
        (Rules::From22_06, 0xd468_6ab2, 0xb8ed_79fe, 0x7b2f_0eff, 0xdd51_2b00),
    ] {
        let api = parse::parse("rules.api", text, &Builtin, rules).unwrap();
        let crcs = ["enum_first", "record_first", "alias_first"].map(|name| crc(&api, name));
        assert_eq!((crcs, api.file_crc()), ([enum_first, record_first, alias_first], file), "{rules}");
    }
    let text = "enum k { X, Y [backwards_compatible], Z = 9 [backwards_compatible], };
        autoreply define compatible { u32 client_index; u32 context; vl_api_k_t k; };";
    for (rules, want) in [(Rules::From20_09, 0x2972_27d5), (Rules::From22_06, 0x28b0_4de2)] {
        let api = parse::parse("rules.api", text, &Builtin, rules).unwrap();
        assert_eq!(crc(&api, "compatible"), want, "{rules}");
    }
}

#[test]
fn frames_of_a_recorded_conversation() {
    let api = testgovpp();
    let check = |recorded: &str, id: u16, name: &str, fields: Vec<(&str, Value)>| {
        let recorded = hex(recorded);
        let plan = Plan::new(&api, name).unwrap();
        let mut message = Vec::new();
        plan.encode(id, &Value::record(fields), &mut message).unwrap();
        let mut framed = frame::header(message.len() as u32).to_vec();
        framed.extend_from_slice(&message);
        assert_eq!(framed, recorded);

        let decoded = plan.decode(&message).unwrap();
        let mut again = Vec::new();
        plan.encode(id, &decoded, &mut again).unwrap();
        assert_eq!(again, message);
    };
    check(
        "0000000000000000 0000000f 00000000 | 006a 80000001 00010006 01 00004cf3",
        106,
        "want_cu_up_gtp_error_ind_events",
        vec![
            ("client_index", 0x8000_0001u32.into()),
            ("context", 0x0001_0006u32.into()),
            ("enable_disable", true.into()),
            ("pid", 0x4cf3u32.into()),
        ],
    );
    check(
        "0000000000000000 0000000a 00000000 | 006b 00010006 00000000",
        107,
        "want_cu_up_gtp_error_ind_events_reply",
        vec![("context", 0x0001_0006u32.into()), ("retval", 0i32.into())],
    );
    let data = Value::record([
        ("ue_id", Value::from(1000u32)),
        ("te_id", 0xdead_beefu32.into()),
        ("rb_id", 5u8.into()),
    ]);
    check(
        "0000000000000000 0000001d 00000000 | 0069 80000001 00004cf3 00000002 000003e8 deadbeef 05 \
         05 3030303030",
        105,
        "cu_up_gtp_error_ind_event",
        vec![
            ("client_index", 0x8000_0001u32.into()),
            ("pid", 0x4cf3u32.into()),
            ("type", "CU_UP_EVENT_GTP_ERROR_IND".into()),
            ("data", data),
            ("raw_msg_data", b"00000".as_slice().into()),
        ],
    );
}

/// The same frame, field by field and read back.
#[test]
fn the_recorded_event_by_name() {
    let api = testgovpp();
    let plan = Plan::new(&api, "cu_up_gtp_error_ind_event").unwrap();
    let mut out = Vec::new();
    let mut event = plan.encoder(105, &mut out);
    event.put("client_index", 0x8000_0001u32).unwrap();
    event.put("pid", 0x4cf3u32).unwrap();
    event.put("type", "CU_UP_EVENT_GTP_ERROR_IND").unwrap();
    event.put("data.ue_id", 1000u32).unwrap();
    event.put("data.te_id", 0xdead_beefu32).unwrap();
    event.put("data.rb_id", 5u8).unwrap();
    event.put("raw_msg_data", b"00000").unwrap();
    assert_eq!(event.finish(), Ok(29));
    let recorded = hex("0069 80000001 00004cf3 00000002 000003e8 deadbeef 05 05 3030303030");
    assert_eq!(out, recorded);

    let view = plan.view(&recorded).unwrap();
    assert_eq!(view.u64("type"), Some(2));
    assert_eq!(view.u64("data.te_id"), Some(0xdead_beef));
    assert_eq!(view.text("raw_msg_data"), Some("00000"));
    assert_eq!(frame::message_id(view.as_bytes()), Some(105));
}

/// The bytes of a generic event, as GoVPP v0.12.0 and vpp_papi read them with bindings generated from
/// herald.api: checked with both, by hand, on 2026-11-22.
#[test]
fn a_generic_event() {
    let api = builtin::module(builtin::HERALD).unwrap();
    let plan = Plan::new(&api, "herald_event").unwrap();
    let mut out = Vec::new();
    let mut event = plan.encoder(37, &mut out);
    event.put("client_index", 0x8000_0001u32).unwrap();
    event.put("pid", 77u32).unwrap();
    event.put("sequence", 5u64).unwrap();
    event.put("name", "E_L2TP_SESSION_UP").unwrap();
    let mut param = event.element().unwrap();
    param.put("name", "tunnel_id").unwrap();
    param.put("type", "HERALD_PARAM_UINT").unwrap();
    param.put("number", 258u64).unwrap();
    let mut param = event.element().unwrap();
    param.put("name", "user").unwrap();
    param.put("type", "HERALD_PARAM_STR").unwrap();
    param.put("length", 3u8).unwrap();
    param.put("data", b"bob").unwrap();
    event.finish().unwrap();

    let mut want = hex("0025 80000001 0000004d 0000000000000005");
    let text = |want: &mut Vec<u8>, text: &str| {
        want.extend_from_slice(text.as_bytes());
        want.resize(want.len() + 64 - text.len(), 0);
    };
    text(&mut want, "E_L2TP_SESSION_UP");
    want.extend(hex("0002"));
    text(&mut want, "tunnel_id");
    want.extend(hex("02 00 0000000000000102"));
    text(&mut want, "");
    text(&mut want, "user");
    want.extend(hex("05 03 0000000000000000"));
    text(&mut want, "bob");
    assert_eq!(out, want);

    let view = plan.view(&out).unwrap();
    let params = view.elements().unwrap();
    assert_eq!(params.len(), 2);
    let names: Vec<_> = params.map(|p| p.text("name").unwrap()).collect();
    assert_eq!(names, ["tunnel_id", "user"]);
}

/// Clients break on messages that are too short: 6 bytes for GoVPP, 10 for replies to vpp_papi. An event
/// with a field called `context` breaks vpp_papi.
#[test]
fn heralds_messages_do_not_break_clients() {
    let api = builtin::module(builtin::HERALD).unwrap();
    for message in api.messages() {
        let plan = Plan::new(&api, &message.name).unwrap();
        assert!(plan.fixed_len() >= 10, "{}", message.name);
        let event = api.services().iter().any(|s| s.events.contains(&message.name));
        assert!(!event || message.field("context").is_none(), "{}", message.name);
    }
}
