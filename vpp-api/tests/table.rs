//! Ids, names and what belongs to what.

use std::sync::Arc;

use herald_vpp_api::builtin;
use herald_vpp_api::source::Nothing;
use herald_vpp_api::table::{Role, Table};
use herald_vpp_api::{Api, Rules, json, parse};

fn api(name: &str, text: &str) -> Arc<Api> {
    Arc::new(parse::parse(&format!("{name}.api"), text, &Nothing, Rules::default()).unwrap())
}

fn one(name: &str, message: &str) -> Arc<Api> {
    api(name, &format!("autoreply define {message} {{ u32 client_index; u32 context; }};"))
}

fn memclnt() -> Arc<Api> {
    Arc::new(builtin::module(builtin::MEMCLNT).unwrap())
}

#[test]
fn ids_do_not_depend_on_the_order_of_modules() {
    let modules = [memclnt(), one("b", "bb"), one("a", "aa"), one("herald", "hh")];
    let forth = Table::new(modules.clone()).unwrap();
    let back = Table::new(modules.into_iter().rev()).unwrap();
    for table in [&forth, &back] {
        let ids = ["control_ping", "hh", "hh_reply", "aa", "bb"].map(|m| table.id(m).unwrap());
        assert_eq!(ids, [23, 29, 30, 31, 33]);
        assert_eq!((table.max_id(), table.entries().len()), (34, 34));
        assert!(table.entry(0).is_none() && table.entry(35).is_none());
    }
    // A module that comes later by name moves nothing.
    let more = Table::new([memclnt(), one("a", "aa"), one("c", "cc")]).unwrap();
    assert_eq!(more.id("aa"), Some(29));
}

#[test]
fn bases_of_ones_own() {
    let table = Table::with_bases([(one("a", "aa"), 100), (one("b", "bb"), 50)]).unwrap();
    assert_eq!((table.id("aa"), table.id("bb_reply"), table.max_id()), (Some(100), Some(51), 101));
    assert!(table.entry(52).is_none());
    assert_eq!(table.module("a").unwrap().base, 100);
    let entry = table.entry(51).unwrap();
    assert_eq!(&*table.message(entry).unwrap().name, "bb_reply");
    assert_eq!(table.module_of(entry).unwrap().api.name(), "b");
    let ids: Vec<u16> = table.entries().iter().map(|e| e.id).collect();
    assert_eq!(ids, [50, 51, 100, 101]);
}

#[test]
fn what_cannot_be_in_one_table() {
    let error = |modules: Vec<(Arc<Api>, u16)>| Table::with_bases(modules).unwrap_err().to_string();
    let long = "m".repeat(55);
    for (modules, want) in [
        (vec![(one("a", "x"), 1), (one("b", "x"), 3)], "two modules have a message 'x'"),
        (vec![(one("a", "x"), 1), (one("a", "y"), 3)], "the module 'a' is there twice"),
        (vec![(one("a", "x"), 1), (one("b", "y"), 2)], "two messages have the id 2"),
        (vec![(one("a", "x"), u16::MAX)], "ids run out"),
        (vec![(one("a", &long), 1)], &format!("the message '{long}' has over 54 characters")),
    ] {
        assert_eq!(error(modules), want);
    }
    // With its reply's "_reply", 48 characters are the most.
    assert!(Table::new([one("a", &"m".repeat(48))]).is_ok());
}

#[test]
fn every_kind_of_service() {
    let text = "
        define a_dump { u32 context; }; define a_details { u32 context; };
        define b_get { u32 context; u32 cursor; };
        define b_get_reply { u32 context; i32 retval; u32 cursor; };
        define b_details { u32 context; };
        define want_c { u32 context; }; define want_c_reply { u32 context; i32 retval; };
        define want_d { u32 context; }; define want_d_reply { u32 context; i32 retval; };
        define c_event { u32 pid; }; define e_event { u32 pid; };
        define gone { u32 context; };
        autoreply define plain { u32 context; };
        service {
          rpc b_get returns b_get_reply stream b_details;
          rpc want_c returns want_c_reply events c_event e_event;
          rpc want_d returns want_d_reply events e_event;
          rpc gone returns null;
        };";
    let parsed = api("s", text);
    let read = Arc::new(json::read("s", &json::write(&parsed)).unwrap());
    for api in [parsed, read] {
        let table = Table::new([api]).unwrap();
        let id = |name: &str| table.id(name).unwrap();
        let role = |name: &str| table.entry_named(name).unwrap().role.clone();
        assert_eq!(role("a_dump"), Role::Dump { details: id("a_details") });
        assert_eq!(role("a_details"), Role::Answer { request: id("a_dump") });
        let stream = Role::Stream { reply: id("b_get_reply"), details: id("b_details") };
        assert_eq!(role("b_get"), stream);
        assert_eq!(role("b_details"), Role::Answer { request: id("b_get") });
        let events = vec![id("c_event"), id("e_event")];
        assert_eq!(role("want_c"), Role::Registration { reply: id("want_c_reply"), events });
        let registrations = vec![id("want_c"), id("want_d")];
        assert_eq!(role("e_event"), Role::Event { registrations });
        assert_eq!(role("gone"), Role::Request { reply: None });
        assert_eq!(role("plain"), Role::Request { reply: Some(id("plain_reply")) });
    }
}
