//! The rules of the wire, one by one.

use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::codec::{DecodeFault, EncodeFault, Item, Plan, Value};
use herald_vpp_api::{Rules, parse};

/// The plan of a message with these fields; `types` go before it.
fn plan(types: &str, fields: &str) -> Plan {
    let text = format!("{types}\nautoreply define m {{ {fields} }};");
    let api = parse::parse("m.api", &text, &Builtin, Rules::default()).unwrap();
    Plan::new(&api, "m").unwrap()
}

fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::record(fields)
}

/// What a value encodes to, without the id; and that it decodes to what encodes to the same.
fn encode(plan: &Plan, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    plan.encode(7, value, &mut out).unwrap();
    let decoded = plan.decode(&out).unwrap();
    let mut again = Vec::new();
    plan.encode(7, &decoded, &mut again).unwrap();
    assert_eq!(again, out);
    assert!(plan.view(&out).is_ok());
    assert_eq!(out[..2], [0, 7]);
    out.split_off(2)
}

fn fault(plan: &Plan, value: &Value) -> (String, EncodeFault) {
    let mut out = vec![9];
    let error = plan.encode(7, value, &mut out).unwrap_err();
    assert_eq!(out, [9], "nothing stays of a message that failed");
    (error.field, error.fault)
}

#[test]
fn scalars() {
    let p = plan("", "u8 a; u16 b; u32 c; u64 d; i8 e; i16 f; i32 g; i64 h; f64 i; bool j;");
    let value = record([
        ("a", 1u8.into()),
        ("b", 0x0102u16.into()),
        ("c", 0x01020304u32.into()),
        ("d", 0x0102030405060708u64.into()),
        ("e", (-1i8).into()),
        ("f", (-2i16).into()),
        ("g", (-3i32).into()),
        ("h", (-4i64).into()),
        ("i", 1.5.into()),
        ("j", true.into()),
    ]);
    let want = [
        &[1, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8][..],
        &[0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFD],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC],
        // 1.5 is 3FF8000000000000, little-endian.
        &[0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 1],
    ]
    .concat();
    assert_eq!(encode(&p, &value), want);
    let mut message = vec![0, 7];
    message.extend(&want);
    assert_eq!(p.decode(&message).unwrap(), value);
}

#[test]
fn what_is_left_out_is_zero() {
    let p = plan("typedef t { u8 x; u16 y; };", "u8 a; vl_api_t_t t; string s[3]; u8 n; u8 v[n];");
    assert_eq!(encode(&p, &record([])), [0; 8]);
}

#[test]
fn enums_are_integers_of_their_type() {
    let types = "enum a { A = 7, }; enum b : u8 { B = 8, }; enum c : i16 { C = -2, }; enumflag d : u8 { D = 4, };";
    let p = plan(types, "vl_api_a_t a; vl_api_b_t b; vl_api_c_t c; vl_api_d_t d;");
    let names = record([("a", "A".into()), ("b", "B".into()), ("c", "C".into()), ("d", "D".into())]);
    assert_eq!(encode(&p, &names), [0, 0, 0, 7, 8, 0xFF, 0xFE, 4]);
    // A number need not be an entry.
    let numbers = record([("a", 99u8.into()), ("c", 5i8.into())]);
    assert_eq!(encode(&p, &numbers), [0, 0, 0, 99, 0, 0, 5, 0]);
    let unknown = EncodeFault::UnknownEntry("X".into());
    assert_eq!(fault(&p, &record([("a", "X".into())])), ("a".to_owned(), unknown));
    let large = EncodeFault::OutOfRange("u8");
    assert_eq!(fault(&p, &record([("b", 256u16.into())])), ("b".to_owned(), large));
}

#[test]
fn text() {
    let p = plan("", "string fixed[4]; string open[];");
    let value = record([("fixed", "ab".into()), ("open", "cde".into())]);
    assert_eq!(encode(&p, &value), *b"ab\0\0\0\0\0\x03cde");
    // N bytes fit without a NUL, N + 1 do not.
    assert_eq!(encode(&p, &record([("fixed", "abcd".into())])), *b"abcd\0\0\0\0");
    let long = fault(&p, &record([("fixed", "abcde".into())]));
    assert_eq!(long, ("fixed".to_owned(), EncodeFault::TooLong { len: 5, max: 4 }));
    // What follows a NUL is not seen; what is no UTF-8 comes as bytes.
    let decoded = p.decode(b"\0\x07a\0bc\0\0\0\x01\xff").unwrap();
    let want = record([("fixed", "a".into()), ("open", vec![0xFFu8].into())]);
    assert_eq!(decoded, want);
}

#[test]
fn arrays() {
    let p = plan("typedef u8 mac[6];", "u8 a[3]; u16 b[2]; vl_api_mac_t c; vl_api_mac_t d[2];");
    let numbers = |list: &[u16]| Value::List(list.iter().map(|n| Value::from(*n)).collect());
    let macs = Value::List(vec![vec![1u8; 6].into(), vec![2u8; 6].into()]);
    let value = record([
        ("a", vec![1u8, 2].into()),
        ("b", numbers(&[3, 4])),
        ("c", vec![5u8; 6].into()),
        ("d", macs),
    ]);
    let want = [&[1, 2, 0, 0, 3, 0, 4][..], &[5; 6], &[1; 6], &[2; 6]].concat();
    assert_eq!(encode(&p, &value), want);
    let short = fault(&p, &record([("b", numbers(&[1]))]));
    assert_eq!(short, ("b".to_owned(), EncodeFault::WrongCount { given: 1, needed: 2 }));
    let long = fault(&p, &record([("a", vec![0u8; 4].into())]));
    assert_eq!(long, ("a".to_owned(), EncodeFault::TooLong { len: 4, max: 3 }));
    let inner = fault(&p, &record([("b", Value::List(vec![1u8.into(), true.into()]))]));
    assert_eq!(inner, ("b[1]".to_owned(), EncodeFault::WrongKind("a whole number")));
}

#[test]
fn unions_are_as_long_as_their_longest_member() {
    let p = plan("union u { u8 a; u32 b; u16 c[3]; };", "vl_api_u_t u; u8 end;");
    let member =
        |name: &'static str, value: Value| record([("u", record([(name, value)])), ("end", 9u8.into())]);
    assert_eq!(encode(&p, &member("a", 1u8.into())), [1, 0, 0, 0, 0, 0, 9]);
    assert_eq!(encode(&p, &member("b", 1u32.into())), [0, 0, 0, 1, 0, 0, 9]);
    let bytes = record([("u", vec![1u8, 2].into())]);
    assert_eq!(encode(&p, &bytes), [1, 2, 0, 0, 0, 0, 0]);
    let decoded = p.decode(&[0, 7, 1, 2, 3, 4, 5, 6, 9]).unwrap();
    assert_eq!(decoded.get("u"), Some(&vec![1u8, 2, 3, 4, 5, 6].into()));
    assert_eq!(fault(&p, &member("x", 1u8.into())), ("u.x".to_owned(), EncodeFault::UnknownField));
}

#[test]
fn a_discriminator_says_which_member_a_union_holds() {
    let p = plan("import \"vnet/ip/ip_types.api\";", "vl_api_address_t a;");
    let address = |af: &str, name: &'static str, bytes: Vec<u8>| {
        record([("a", record([("af", af.into()), ("un", record([(name, bytes.into())]))]))])
    };
    let four = address("ADDRESS_IP4", "ip4", vec![192, 0, 2, 1]);
    let wire = encode(&p, &four);
    assert_eq!(wire, [&[0, 192, 0, 2, 1][..], &[0; 12]].concat());
    let decoded = p.decode(&[&[0, 7], &*wire].concat()).unwrap();
    let un = decoded.get("a").and_then(|a| a.get("un")).unwrap();
    assert_eq!(un.get("ip4"), Some(&vec![192u8, 0, 2, 1].into()));
    // An address family that does not exist: the bytes as they are.
    let decoded = p.decode(&[&[0, 7, 9][..], &[1; 16]].concat()).unwrap();
    assert_eq!(decoded.get("a").and_then(|a| a.get("un")), Some(&vec![1u8; 16].into()));
}

#[test]
fn variable_length_arrays() {
    let types = "typedef t { u8 x; u16 y; };";
    let p = plan(types, "u8 n; vl_api_t_t v[n];");
    let element = |x: u8, y: u16| record([("x", x.into()), ("y", y.into())]);
    let value = record([("v", Value::List(vec![element(1, 2), element(3, 4)]))]);
    assert_eq!(encode(&p, &value), [2, 1, 0, 2, 3, 0, 4]);

    let stated = record([("n", 3u8.into()), ("v", Value::List(vec![element(1, 2)]))]);
    let mismatch = EncodeFault::CountMismatch { count: 3, given: 1 };
    assert_eq!(fault(&p, &stated), ("v".to_owned(), mismatch));

    // Too long for its count field is an error, not a cut.
    let p = plan("", "u8 n; u8 v[n];");
    assert_eq!(encode(&p, &record([("v", vec![1u8; 255].into())])).len(), 256);
    let many = EncodeFault::TooMany { given: 256, max: 255 };
    assert_eq!(fault(&p, &record([("v", vec![1u8; 256].into())])), ("v".to_owned(), many));

    // The same, field by field.
    let mut out = Vec::new();
    let mut message = p.encoder(7, &mut out);
    message.put("v", &vec![1u8; 256]).unwrap();
    let many = EncodeFault::TooMany { given: 256, max: 255 };
    assert_eq!(message.finish().unwrap_err().fault, many);
    assert!(out.is_empty());
}

#[test]
fn variable_length_inside_of_typedefs() {
    let types = "typedef in { u16 n; u32 v[n]; }; typedef out { u8 a; vl_api_in_t inner; }; typedef vl_api_out_t alias;";
    let p = plan(types, "u8 a; vl_api_alias_t out;");
    let list = Value::List(vec![1u32.into(), 2u32.into()]);
    let value = record([
        ("a", 9u8.into()),
        ("out", record([("a", 8u8.into()), ("inner", record([("v", list)]))])),
    ]);
    let want = [9, 8, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(encode(&p, &value), want);

    assert_eq!(p.open_field(), Some("out.inner.v"));
    let mut out = Vec::new();
    let mut message = p.encoder(7, &mut out);
    message.put("a", 9u8).unwrap();
    message.put("out.a", 8u8).unwrap();
    message.push(1u32).unwrap();
    message.push(2u32).unwrap();
    assert!(message.push(-1i8).is_err());
    message.finish().unwrap();
    assert_eq!(out[2..], want);
    let view = p.view(&out).unwrap();
    let numbers: Vec<_> = view.elements().unwrap().map(|e| e.u64("").unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn arrays_of_what_is_of_variable_length() {
    let p = plan("typedef t { u8 n; u8 v[n]; };", "u8 n; vl_api_t_t v[n];");
    let element = |bytes: &[u8]| record([("v", bytes.to_vec().into())]);
    let value = record([("v", Value::List(vec![element(b"a"), element(b""), element(b"bc")]))]);
    assert_eq!(encode(&p, &value), *b"\x03\x01a\0\x02bc");
    let p = plan("", "u8 a; u32 rest[0];");
    let value = record([("rest", Value::List(vec![1u32.into(), 2u32.into()]))]);
    assert_eq!(encode(&p, &value), [0, 0, 0, 0, 1, 0, 0, 0, 2]);
}

#[test]
fn fields_that_are_not_there() {
    let p = plan("typedef t { u8 x; };", "vl_api_t_t t; u8 a;");
    let value = record([("t", record([("z", 1u8.into())]))]);
    assert_eq!(fault(&p, &value), ("t.z".to_owned(), EncodeFault::UnknownField));
    assert_eq!(fault(&p, &record([("b", 1u8.into())])).0, "b");
    let mut out = Vec::new();
    let mut message = p.encoder(7, &mut out);
    assert_eq!(
        message.put("t.y", 1u8).unwrap_err().to_string(),
        "field 't.y': the message has no such field"
    );
    assert_eq!(
        message.put("a", 256u32).unwrap_err().to_string(),
        "field 'a': the number does not fit in u8"
    );
    assert_eq!(message.put("a", "x").unwrap_err().to_string(), "field 'a': it takes a whole number");
    assert!(message.put("t", 1u8).is_err());
    assert!(message.element().is_err());
    drop(message);
    assert!(out.is_empty(), "half a message never stays");
    assert_eq!(p.slot("t.y"), None);
}

#[test]
fn slots() {
    let p = plan("typedef t { u8 x; u16 y; };", "u32 a; vl_api_t_t t; string s[4]; string rest[];");
    let (y, s, rest) = (p.slot("t.y").unwrap(), p.slot("s").unwrap(), p.slot("rest").unwrap());
    let mut out = Vec::new();
    let mut message = p.encoder(7, &mut out);
    message.put_at(rest, "first").unwrap();
    message.put_at(y, 5u16).unwrap();
    message.put_at(s, "longer").unwrap_err();
    message.put_at(s, "long").unwrap();
    message.put_at(s, "s").unwrap();
    message.put_at(rest, "second").unwrap();
    message.finish().unwrap();
    assert_eq!(out, *b"\0\x07\0\0\0\0\0\0\x05s\0\0\0\0\0\0\x06second");
    let view = p.view(&out).unwrap();
    assert_eq!(view.at(y), Some(Item::Unsigned(5)));
    assert_eq!(view.at(s), Some(Item::Bytes(b"s")));
    assert_eq!(
        (view.text("rest"), view.i64("t.y"), view.bool("t.y")),
        (Some("second"), Some(5), Some(true))
    );
}

#[test]
fn patches() {
    let p = plan("", "u32 client_index; string s[2]; u8 n; u8 v[n];");
    let (index, s) = (p.slot("client_index").unwrap(), p.slot("s").unwrap());
    let mut out = Vec::new();
    p.encode(7, &record([("s", "ab".into()), ("v", vec![1u8].into())]), &mut out).unwrap();
    p.patch(&mut out, index, 0x80000001u32).unwrap();
    p.patch(&mut out, s, "c").unwrap();
    assert_eq!(out, [0, 7, 0x80, 0, 0, 1, b'c', 0, 1, 1]);
    // What the length of the message hangs on stays.
    assert!(p.patch(&mut out, p.slot("n").unwrap(), 2u8).is_err());
    assert!(p.patch(&mut out, p.slot("v").unwrap(), b"x").is_err());
    assert!(p.patch(&mut [0, 7], index, 1u8).is_err());
    assert_eq!(out, [0, 7, 0x80, 0, 0, 1, b'c', 0, 1, 1]);
}

#[test]
fn messages_of_very_many_fields() {
    let fields: String = (0..1500).map(|i| format!("u8 x{i}; ")).collect();
    let p = plan("typedef t { u8 x; u8 n; u8 v[n]; };", &format!("{fields} vl_api_t_t t;"));
    let mut out = Vec::new();
    let mut message = p.encoder(7, &mut out);
    message.put("x1499", 9u8).unwrap();
    message.put("t.x", 8u8).unwrap();
    message.put("t.v", b"ab").unwrap();
    message.finish().unwrap();
    assert_eq!(out[2 + 1499..], [9, 8, 2, b'a', b'b']);
    assert_eq!(p.view(&out).unwrap().bytes("t.v"), Some(b"ab".as_slice()));
}

#[test]
fn hostile_bytes() {
    let p = plan("typedef t { u32 n; u64 v[n]; };", "u8 a; vl_api_t_t t;");
    let check = |bytes: &[u8], field: &str, fault: DecodeFault| {
        let error = p.decode(bytes).unwrap_err();
        assert_eq!((error.field.as_str(), error.fault), (field, fault));
        assert!(p.view(bytes).is_err());
    };
    check(&[], "", DecodeFault::Truncated { needed: 2, left: 0 });
    check(&[0, 7], "a", DecodeFault::Truncated { needed: 1, left: 0 });
    check(&[0, 7, 1, 0, 0], "t.n", DecodeFault::Truncated { needed: 4, left: 2 });
    let most = u64::from(u32::MAX) * 8;
    check(&[0, 7, 1, 255, 255, 255, 255, 0], "t.v", DecodeFault::Truncated { needed: most, left: 1 });
    check(&[0, 7, 1, 0, 0, 0, 0, 5], "", DecodeFault::Trailing { extra: 1 });
    assert_eq!(p.decode_prefix(&[0, 7, 1, 0, 0, 0, 0, 5]).unwrap().1, 7);

    let p = plan("", "i8 n; u8 v[n];");
    let error = p.decode(&[0, 7, 255]).unwrap_err();
    assert_eq!(error.to_string(), "field 'v': a negative count");
    let p = plan("", "string s[];");
    assert_eq!(
        p.decode(&[0, 7, 255, 255, 255, 255]).unwrap_err().to_string(),
        "field 's': truncated: 4294967295 bytes needed, 0 left"
    );
}
