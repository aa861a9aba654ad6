//! What C programs do with generated headers: structs lie as the codec has them, byte order is right
//! both ways, and counts that lie are caught.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Scratch, say};
use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::codec::{Plan, Value};
use herald_vpp_api::header::header;
use herald_vpp_api::{Api, Rules, parse};

/// One of everything.
const API: &str = "
    import \"vnet/ip/ip_types.api\";
    import \"vpp/api/vpe_types.api\";
    enum colour : i16 { RED = -2, BLUE, };
    enum wide { WIDE = 0xffffffff, };
    /* Fixed. */
    typedef inner { u16 a; u32 b[2]; vl_api_colour_t c; u64 register; };
    typedef vl_api_inner_t pair[2];
    /* Open. */
    typedef list { u16 n; vl_api_inner_t v[n]; };
    typedef vl_api_list_t list_alias;
    autoreply define everything {
      u8 a; u16 b; u32 c; u64 d; i8 e; i16 f; i32 g; i64 h; f64 i; bool j;
      vl_api_colour_t k; vl_api_wide_t l; vl_api_inner_t m; vl_api_pair_t o; vl_api_address_t p;
      string q[5]; vl_api_timestamp_t r; vl_api_ip6_address_t s[2];
      vl_api_list_alias_t list;
    };
    autoreply define text { u32 a; string t[]; };
    autoreply define counted { i8 n; u32 v[n]; };
    autoreply define rest { u8 a; u16 v[0]; };
    autoreply define raw { u16 n; vl_api_list_t v[n]; };";

const PROGRAM: &str = r#"
#include "t.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#undef NDEBUG

static unsigned char buf[1024], wire[1024];

static size_t load(const char *file)
{
	FILE *f = fopen(file, "rb");
	size_t n;

	if (!f)
		return 0;
	n = fread(wire, 1, sizeof(wire), f);
	fclose(f);
	memcpy(buf, wire, n);
	return n;
}

static int everything(void)
{
	vl_api_everything_t *m = (vl_api_everything_t *)buf;
	size_t n = load("everything");

	if (vl_api_everything_t_ntoh(m, n - 1) != -1 || memcmp(buf, wire, n) != 0)
		return 1;
	if (vl_api_everything_t_ntoh(m, n) != 0)
		return 2;
	if (m->_vl_msg_id != 7 || m->a != 1 || m->b != 0x0102 || m->c != 0x01020304 ||
	    m->d != 0x0102030405060708 || m->e != -1 || m->f != -2 || m->g != -3 || m->h != -4)
		return 3;
	if (m->i < 1.49 || m->i > 1.51 || m->j != 1 || m->k != RED || m->l != WIDE)
		return 4;
	if (m->m.a != 5 || m->m.b[1] != 6 || m->m.c != BLUE || m->m.register_ != 8)
		return 5;
	if (m->o[1].b[0] != 9 || m->p.af != ADDRESS_IP4 || m->p.un.ip4[3] != 4)
		return 6;
	if (memcmp(m->q, "abcde", 5) != 0 || m->r < 2.24 || m->r > 2.26 || m->s[1][15] != 10)
		return 7;
	if (m->list.n != 2 || m->list.v[1].a != 11 || m->list.v[1].register_ != 12)
		return 8;
	if (vl_api_everything_t_hton(m, n) != 0 || memcmp(buf, wire, n) != 0)
		return 9;
	return 0;
}

static int others(void)
{
	vl_api_text_t *text = (vl_api_text_t *)buf;
	vl_api_counted_t *counted = (vl_api_counted_t *)buf;
	vl_api_rest_t *rest = (vl_api_rest_t *)buf;
	vl_api_raw_t *raw = (vl_api_raw_t *)buf;
	size_t n = load("text");

	if (vl_api_text_t_ntoh(text, n - 1) != -1 || vl_api_text_t_ntoh(text, n) != 0)
		return 11;
	if (text->t.length != 3 || memcmp(text->t.buf, "xyz", 3) != 0)
		return 12;
	if (vl_api_text_t_hton(text, n) != 0 || memcmp(buf, wire, n) != 0)
		return 13;
	n = load("counted");
	if (vl_api_counted_t_ntoh(counted, n - 1) != -1 || vl_api_counted_t_ntoh(counted, n) != 0)
		return 14;
	if (counted->n != 2 || counted->v[1] != 13)
		return 15;
	counted->n = -1;
	if (vl_api_counted_t_hton(counted, n) != -1)
		return 16;
	counted->n = 2;
	if (vl_api_counted_t_hton(counted, n) != 0 || memcmp(buf, wire, n) != 0)
		return 17;
	n = load("rest");
	if (vl_api_rest_t_ntoh(rest, n) != 0 || rest->v[1] != 14)
		return 18;
	if (vl_api_rest_t_hton(rest, n) != 0 || memcmp(buf, wire, n) != 0)
		return 19;
	n = load("raw");
	if (vl_api_raw_t_ntoh(raw, n) != 0 || raw->n != 1 || raw->v[1] != 0)
		return 20;
	if (vl_api_text_t_ntoh(text, 1) != -1 || vl_api_text_t_ntoh(text, 0) != -1)
		return 21;
	return 0;
}

int main(void)
{
	int wrong = everything();

	assert(strcmp(VL_API_TEXT_NAME, "text") == 0);
	assert(strncmp(VL_API_TEXT_CRC, "text_", 5) == 0 && strlen(VL_API_TEXT_CRC) == 13);
	return wrong ? wrong : others();
}
"#;

fn inner(a: u16, b: [u32; 2], c: &str, register: u64) -> Value {
    let b = Value::List(b.map(Value::from).to_vec());
    Value::record([("a", a.into()), ("b", b), ("c", c.into()), ("register", register.into())])
}

fn everything() -> Value {
    let zero = || inner(0, [0, 0], "RED", 0);
    let list = Value::List(vec![zero(), inner(11, [0, 0], "RED", 12)]);
    let address = [("af", "ADDRESS_IP4".into()), ("un", vec![1u8, 2, 3, 4].into())];
    let mut last = vec![0u8; 16];
    last[15] = 10;
    Value::record([
        ("a", Value::from(1u8)),
        ("b", 0x0102u16.into()),
        ("c", 0x01020304u32.into()),
        ("d", 0x0102030405060708u64.into()),
        ("e", (-1i8).into()),
        ("f", (-2i16).into()),
        ("g", (-3i32).into()),
        ("h", (-4i64).into()),
        ("i", 1.5.into()),
        ("j", true.into()),
        ("k", "RED".into()),
        ("l", "WIDE".into()),
        ("m", inner(5, [0, 6], "BLUE", 8)),
        ("o", Value::List(vec![zero(), inner(0, [9, 0], "RED", 0)])),
        ("p", Value::record(address)),
        ("q", "abcde".into()),
        ("r", 2.25.into()),
        ("s", Value::List(vec![vec![0u8; 16].into(), last.into()])),
        ("list", Value::record([("v", list)])),
    ])
}

fn write(directory: &Path, api: &Api, message: &str, value: Value) {
    let mut out = Vec::new();
    Plan::new(api, message).unwrap().encode(7, &value, &mut out).unwrap();
    fs::write(directory.join(message), out).unwrap();
}

#[test]
fn c_and_the_codec_agree() {
    let compilers = common::compilers();
    if compilers.is_empty() {
        return say("skipped: neither gcc nor clang is there");
    }
    let api = parse::parse("t.api", API, &Builtin, Rules::default()).unwrap();
    let scratch = Scratch::new("header");
    let here = scratch.path();
    fs::write(here.join("t.h"), header(&api, "t.api").unwrap()).unwrap();
    fs::write(here.join("t.c"), PROGRAM).unwrap();
    write(here, &api, "everything", everything());
    write(here, &api, "text", Value::record([("t", "xyz".into())]));
    let list = |values: &[u16]| Value::List(values.iter().map(|v| Value::from(*v)).collect());
    write(here, &api, "counted", Value::record([("v", list(&[0, 13]))]));
    write(here, &api, "rest", Value::record([("v", list(&[0, 14]))]));
    let empty = Value::List(vec![Value::record::<&str>([])]);
    write(here, &api, "raw", Value::record([("v", empty)]));

    for cc in compilers {
        for (standard, language) in [("c99", "c"), ("c++17", "c++")] {
            let program = here.join(format!("{cc}-{standard}"));
            let output = program.to_str().unwrap();
            let more = ["-o", output, "-x", language];
            common::compile(cc, standard, &here.join("t.c"), &more)
                .unwrap_or_else(|e| panic!("{cc} {standard}: {e}"));
            let status = Command::new(&program).current_dir(here).status().unwrap();
            assert_eq!(status.code(), Some(0), "{cc} {standard}: the check of that number failed");
        }
    }
}

/// Names that .api files may have and C or C++ may not, in a file whose name no macro can have.
#[test]
fn names_that_are_none_in_c() {
    let text = "enum e { auto, new, BIG = 0x80000000, }; enumflag f { this, };
        typedef foo { u8 x; }; typedef FOO { u16 new; vl_api_e_t e; };
        autoreply define m { u32 template; vl_api_foo_t a; vl_api_FOO_t namespace; };";
    let api = parse::parse("my-own.file.api", text, &Builtin, Rules::default()).unwrap();
    let scratch = Scratch::new("names");
    let (h, c) = (scratch.path().join("t.h"), scratch.path().join("t.c"));
    fs::write(h, header(&api, "my-own.file.api").unwrap()).unwrap();
    let uses = "#include \"t.h\"\nint x(vl_api_m_t *m);\nint x(vl_api_m_t *m)\n\
                {\n\treturn m->namespace_.new_ == new_ && m->template_ == auto_;\n}\n";
    fs::write(&c, uses).unwrap();
    for cc in common::compilers() {
        for (standard, language) in [("c99", "c"), ("c++17", "c++")] {
            common::compile(cc, standard, &c, &["-fsyntax-only", "-x", language])
                .unwrap_or_else(|e| panic!("{cc} {standard}: {e}"));
        }
    }
}

#[test]
fn what_c_cannot_have() {
    for (text, want) in [
        ("enum a { X, }; enum b { X, };", "C cannot have 'X' in both enums 'a' and 'b'"),
        (
            "typedef a { u8 x; }; autoreply define a { u8 x; };",
            "C cannot have 'a' as a type and as a message",
        ),
        (
            "autoreply define a { u8 x; }; autoreply define A { u8 x; };",
            "C cannot tell 'a' from 'A' in macros",
        ),
        ("typedef a { u8 x[0]; };", "C cannot have 'a', which has no part of known length"),
        (
            "typedef a { u8 n; u16 v[n]; }; autoreply define b { vl_api_a_t x[2]; };",
            "C cannot have 'x', a fixed array of what is of variable length",
        ),
        (
            "typedef a { u8 n; u16 v[n]; }; typedef vl_api_a_t b[2];",
            "C cannot have 'b', a fixed array of what is of variable length",
        ),
    ] {
        let api = parse::parse("t.api", text, &Builtin, Rules::default()).unwrap();
        assert_eq!(header(&api, "t.api").unwrap_err().to_string(), want);
    }
}

/// A comment is passed on only if no compiler could read anything else in it.
#[test]
fn comments_stay_comments() {
    for (comment, passes) in [
        ("/* harmless */", true),
        ("// harmless", true),
        ("/* not /* harmless */", false),
        ("// not harmless \\", false),
        ("/* not harmless ??/ */", false),
    ] {
        let text = format!("{comment}\nautoreply define a {{ u8 x; }};");
        let api = parse::parse("t.api", &text, &Builtin, Rules::default()).unwrap();
        assert_eq!(header(&api, "t.api").unwrap().contains("harmless"), passes, "{comment}");
    }
}
