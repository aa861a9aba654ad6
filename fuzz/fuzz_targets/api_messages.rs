//! Whatever bytes are taken for a message are one or are refused, by both ways to read it alike; one that
//! was read is written with the same bytes, as long as no text hides any behind a NUL.

#![no_main]

use std::sync::LazyLock;

use herald_vpp_api::codec::{Plan, Plans};
use herald_vpp_api::{Rules, builtin, parse};
use libfuzzer_sys::fuzz_target;

const SHAPES: &str = "
    enum e : i8 { A = -1, B = 2, };
    typedef inner { u16 n; vl_api_e_t list[n]; };
    typedef pair { u8 a; f64 b; };
    union either { u8 one; u16 many[3]; };
    define fixed { u8 a; i16 b; f64 c; bool d; vl_api_e_t e; u32 f[3]; vl_api_pair_t g[2]; };
    define bytes { i8 n; u8 x[n]; };
    define pairs { u64 n; vl_api_pair_t x[n]; };
    define nested { vl_api_either_t u; vl_api_inner_t x; };
    define texts { string a[5]; string b[]; };
    define rest { u8 a; u16 x[0]; };
    define deep { u8 n; vl_api_inner_t x[n]; };
    service {
        rpc fixed returns null; rpc bytes returns null; rpc pairs returns null; rpc nested returns null;
        rpc texts returns null; rpc rest returns null; rpc deep returns null;
    };
";

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let shapes = parse::parse("shapes.api", SHAPES, &builtin::Builtin, Rules::default()).unwrap();
    let herald = builtin::module(builtin::HERALD).unwrap();
    let memclnt = builtin::module(builtin::MEMCLNT).unwrap();
    [shapes, herald, memclnt]
        .iter()
        .flat_map(|api| {
            let plans = Plans::new(api);
            api.messages().iter().map(move |message| plans.plan(message)).collect::<Vec<_>>()
        })
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, message)) = data.split_first() else { return };
    let Some(plan) = PLANS.get(usize::from(*choice) % PLANS.len()) else { return };
    let (decoded, view) = (plan.decode(message), plan.view(message));
    assert_eq!(decoded.is_ok(), view.is_ok(), "{decoded:?}");
    let Ok(value) = decoded else { return };
    let mut again = Vec::new();
    let id = u16::from_be_bytes([message[0], message[1]]);
    plan.encode(id, &value, &mut again).expect("what was read can be written");
    assert_eq!(again.len(), message.len());
    assert_eq!(plan.decode(&again).map(|value| format!("{value:?}")), Ok(format!("{value:?}")));
});
