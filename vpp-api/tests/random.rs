//! What holds of every module and every message, and of bytes and texts that are neither.

mod common;
#[path = "common/entropy.rs"]
mod entropy;

use std::fmt::Debug;

use entropy::Entropy;
use herald_vpp_api::codec::{Item, Plan, Plans, Value};
use herald_vpp_api::schema::{Length, Message, TypeKind};
use herald_vpp_api::source::Nothing;
use herald_vpp_api::{Api, Rules, header, json, parse, print};
use proptest::collection::vec;
use proptest::prelude::*;

fn parse(text: &str) -> Api {
    match parse::parse("random.api", text, &Nothing, Rules::default()) {
        Ok(api) => api,
        Err(e) => panic!("{e}\n{text}"),
    }
}

fn kinds(api: &Api) -> Vec<impl PartialEq + Debug> {
    api.types().iter().map(|t| (t.name.clone(), t.kind.clone(), t.extent, t.flags)).collect()
}

fn encode(plan: &Plan, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    plan.encode(1, value, &mut out).unwrap();
    out
}

/// Fields that are single scalars or texts are the same by name as taken apart.
fn agrees(api: &Api, plan: &Plan, message: &Message, bytes: &[u8], value: &Value) {
    let view = plan.view(bytes).unwrap();
    for field in &message.fields {
        let scalar = match field.base {
            herald_vpp_api::schema::Base::Scalar(_) => true,
            herald_vpp_api::schema::Base::User(id) => matches!(api.ty(id).kind, TypeKind::Enum(_)),
            herald_vpp_api::schema::Base::String => false,
        };
        if scalar && field.length == Length::One {
            let want: Option<Item<'_>> = value.get(&field.name).unwrap().into();
            assert_eq!(view.get(&field.name), want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is printed parses to the same; what is written as JSON reads to the same; there is a C
    /// header.
    #[test]
    fn a_module_in_every_form(bytes in vec(any::<u8>(), 0..300)) {
        let text = entropy::module(&mut Entropy(&bytes));
        let api = parse(&text);

        let printed = parse(&print::print(&api));
        prop_assert_eq!(kinds(&printed), kinds(&api));
        prop_assert_eq!(printed.messages(), api.messages());
        prop_assert_eq!(printed.services(), api.services());
        prop_assert_eq!(printed.options(), api.options());
        prop_assert_eq!((printed.counters(), printed.paths()), (api.counters(), api.paths()));

        let written = json::write(&api);
        let read = json::read("random", &written).unwrap();
        prop_assert_eq!(json::write(&read), written);
        for (a, b) in read.messages().iter().zip(api.messages()) {
            prop_assert_eq!((&a.name, &a.crc, a.extent), (&b.name, &b.crc, b.extent));
        }
        let from_json = parse(&print::print(&read));
        for (a, b) in from_json.messages().iter().zip(api.messages()) {
            prop_assert_eq!(&a.name, &b.name);
            prop_assert_eq!(a.extent, b.extent);
        }
        let _ = header::header(&api, "random.api");
    }

    /// What is encoded decodes to the same, and fields by name agree.
    #[test]
    fn a_message_there_and_back(bytes in vec(any::<u8>(), 0..300), more in vec(any::<u8>(), 0..300)) {
        let api = parse(&entropy::module(&mut Entropy(&bytes)));
        let plans = Plans::new(&api);
        let mut e = Entropy(&more);
        for message in api.messages() {
            let plan = plans.plan(message);
            let value = entropy::record(&mut e, &api, &message.fields);
            let wire = encode(&plan, &value);
            prop_assert_eq!(plan.decode(&wire).unwrap(), value.clone());
            prop_assert!(plan.is_open() || wire.len() == plan.fixed_len());
            agrees(&api, &plan, message, &wire, &value);
            // One byte less is too few, unless the array runs to the end; one more too many.
            if !message.extent.rest {
                prop_assert!(plan.decode(&wire[..wire.len() - 1]).is_err());
                prop_assert!(plan.view(&wire[..wire.len() - 1]).is_err());
                let longer = [wire.as_slice(), &[0]].concat();
                prop_assert!(plan.decode(&longer).is_err());
                prop_assert_eq!(plan.decode_prefix(&longer).unwrap().1, wire.len());
            }
        }
    }

    /// Bytes from anybody: no panic, `view` and `decode` agree, and what decodes encodes to what
    /// decodes.
    #[test]
    fn bytes_from_anybody(bytes in vec(any::<u8>(), 0..200), wire in vec(any::<u8>(), 0..100)) {
        let api = parse(&entropy::module(&mut Entropy(&bytes)));
        let plans = Plans::new(&api);
        for message in api.messages() {
            let plan = plans.plan(message);
            let decoded = plan.decode(&wire);
            prop_assert_eq!(plan.view(&wire).is_ok(), decoded.is_ok());
            if let Ok(value) = decoded {
                let again = encode(&plan, &value);
                prop_assert_eq!(encode(&plan, &plan.decode(&again).unwrap()), again);
            }
        }
    }

    /// Texts from anybody.
    #[test]
    fn texts_from_anybody(text in "\\PC{0,200}") {
        let _ = parse::parse("a.api", &text, &Nothing, Rules::default());
        let _ = json::read("a", &text);
    }

    /// Texts that are nearly right.
    #[test]
    fn words_in_any_order(words in vec(0..WORDS.len(), 0..60)) {
        let text: Vec<&str> = words.into_iter().map(|i| WORDS[i]).collect();
        let _ = parse::parse("a.api", &text.join(" "), &Nothing, Rules::UpTo20_05);
    }

    /// Modules with a hole in them, in both forms.
    #[test]
    fn modules_with_a_hole(bytes in vec(any::<u8>(), 0..200), from in any::<usize>(), len in 1usize..20) {
        let text = entropy::module(&mut Entropy(&bytes));
        let hole = |text: &str| -> String {
            let chars: Vec<char> = text.chars().collect();
            let from = from % chars.len();
            chars[..from].iter().chain(chars.iter().skip(from + len)).collect()
        };
        if let Ok(api) = parse::parse("a.api", &hole(&text), &Nothing, Rules::default()) {
            prop_assert!(json::read("a", &json::write(&api)).is_ok());
        }
        if let Ok(api) = json::read("a", &hole(&json::write(&parse(&text)))) {
            let _ = print::print(&api);
            let _ = header::header(&api, "a");
            Plans::new(&api);
        }
    }
}

const WORDS: [&str; 34] = [
    "define",
    "typedef",
    "union",
    "enum",
    "enumflag",
    "service",
    "rpc",
    "returns",
    "stream",
    "events",
    "option",
    "import",
    "autoreply",
    "u8",
    "u32",
    "string",
    "vl_api_a_t",
    "a",
    "b",
    "a_reply",
    "{",
    "}",
    "[",
    "]",
    ";",
    "=",
    ",",
    ":",
    "1",
    "0",
    "\"a\"",
    "/* c */",
    "null",
    "typedef a { u8 b; };",
];
