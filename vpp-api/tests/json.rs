//! What is refused as an api.json, and what is read from one that nobody would write today.

use herald_vpp_api::json;
use herald_vpp_api::schema::{Length, Literal, TypeKind};

#[test]
fn what_is_no_api_json() {
    let deep = "[".repeat(100_000);
    let types = |types: &str| format!("{{\"types\": [{types}]}}");
    let message = |m: &str| format!("{{\"messages\": [{m}]}}");
    for (text, want) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        (deep.as_str(), "recursion limit exceeded at line 1 column 128"),
        ("[]", "an api.json is an object"),
        ("{\"a\": 1, \"a\": 2}", "the key 'a' is there twice at line 1 column 16"),
        ("{\"types\": 1}", "types: no array"),
        (&types("1"), "in types: a definition that is no array"),
        (&types("[]"), "in types: a definition without a name"),
        (&types("[\"a b\"]"), "in types: \"a b\" is no name"),
        (&types("[\"a\"]"), "in type 'a': it has no fields"),
        (&types("[\"a\", [\"u8\"]]"), "in type 'a': expected the type and the name of a field"),
        (&types("[\"a\", [\"u8\", \"x;\"]]"), "in type 'a': \"x;\" is no name"),
        (&types("[\"a\", [\"u9\", \"x\"]]"), "in type 'a': field 'x': unknown type 'u9'"),
        (
            &types("[\"a\", [\"u8\", \"x\", -1]]"),
            "in type 'a': field 'x': an array cannot have -1 elements",
        ),
        (&types("[\"a\", [\"u8\", \"x\", 5, \"n\"]]"), "in type 'a': field 'x': malformed length"),
        (&types("[\"a\", [\"vl_api_a_t\", \"x\"]]"), "the type 'a' contains itself"),
        (
            &types("[\"a\", [\"vl_api_b_t\", \"x\"]], [\"b\", [\"vl_api_a_t\", \"x\"]]"),
            "the type 'a' contains itself",
        ),
        (
            &types("[\"a\", [\"u8\", \"x\"]], [\"a\", [\"u16\", \"x\"]]"),
            "the type 'a' is defined twice, and differently",
        ),
        ("{\"enums\": [[\"e\", [\"A\", 1.5]]]}", "in type 'e': expected a name and a whole number"),
        ("{\"enums\": [[\"e\", {\"enumtype\": \"u64\"}]]}", "in type 'e': an enum cannot be a 'u64'"),
        ("{\"aliases\": {\"a\": {}}}", "in type 'a': no type"),
        (&message("[\"m\"]"), "in message 'm': it has no fields"),
        (&message("[\"m\", [\"u8\", \"x\"]]"), "in message 'm': it has no crc"),
        (
            &message("[\"m\", [\"u8\", \"x\"], {\"crc\": \"12\"}]"),
            "in message 'm': expected a number such as \"0x51077d14\"",
        ),
        ("{\"services\": {\"a\": {\"reply\": \"b\"}}}", "in service 'a': unknown message 'a'"),
        ("{\"counters\": [{}]}", "counters: malformed"),
        ("{\"paths\": [1]}", "paths: malformed"),
        ("{\"vl_api_version\": 1}", "vl_api_version: expected a number such as \"0x51077d14\""),
    ] {
        assert_eq!(json::read("m", text).unwrap_err().to_string(), want);
    }
}

#[test]
fn types_in_any_order() {
    let text = r#"{
        "types": [["outer", ["vl_api_u_t", "u"], ["vl_api_inner_t", "i", 2]], ["inner", ["vl_api_e_t", "e"]]],
        "unions": [["u", ["vl_api_name_t", "n"], ["u64", "x"]]],
        "enums": [["e", ["A", -1], {"enumtype": "i8"}]],
        "aliases": {"name": {"type": "string", "length": 12}, "again": {"type": "vl_api_outer_t"}},
        "messages": [["m", ["u16", "_vl_msg_id"], ["vl_api_again_t", "a", {"limit": 3}], {"crc": "0x00000001"}]]
    }"#;
    let api = json::read("m", text).unwrap();
    let message = api.message("m").unwrap();
    assert_eq!((message.crc, message.extent.fixed), (1, 14));
    assert_eq!(message.fields[0].options, [("limit".to_owned(), Literal::Int(3))]);
    assert_eq!(message.fields[0].length, Length::One);
    let (_, e) = api.type_named("e").unwrap();
    assert!(matches!(&e.kind, TypeKind::Enum(e) if e.entries[0].value == -1));
    assert_eq!((api.name(), api.file_crc()), ("m", 0));
}

#[test]
fn several_modules_in_one_array() {
    let api = json::read("m", "{\"module\": \"own\"}").unwrap();
    assert_eq!(api.name(), "own");
    let bundle = json::bundle([&api, &api]);
    let parsed: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(parsed.as_array().map(Vec::len), Some(2));
}
