//! Whatever stands in an .api file is a module or an error; a module says the same after it has been
//! printed, and after it has been api.json.

#![no_main]

use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::{Rules, json, parse, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(api) = parse::parse("fuzz.api", text, &Builtin, Rules::default()) else {
        // The same bytes as api.json.
        let _ = json::read("fuzz", text);
        return;
    };
    let crcs = |api: &herald_vpp_api::Api| -> Vec<String> {
        api.messages().iter().map(|message| message.name_crc()).collect()
    };
    let printed = parse::parse("fuzz.api", &print::print(&api), &Builtin, Rules::default());
    assert_eq!(crcs(&printed.expect("what is printed parses")), crcs(&api));
    let read = json::read("fuzz", &json::write(&api)).expect("what is written can be read");
    assert_eq!(crcs(&read), crcs(&api));
});
