//! What the parser says about what is wrong, and where.

use std::collections::HashMap;
use std::fmt::Write;

use herald_vpp_api::schema::limits;
use herald_vpp_api::source::Nothing;
use herald_vpp_api::{Rules, parse};

/// The error of a file called `a.api`, without its name.
fn error(text: &str) -> String {
    let error = parse::parse("a.api", text, &Nothing, Rules::default()).unwrap_err();
    error.to_string().strip_prefix("a.api:").unwrap().to_owned()
}

#[test]
fn the_example_of_the_documentation() {
    let text = "\n".repeat(11) + "    };";
    let error = parse::parse("testgovpp.api", &format!("define x {{{text}"), &Nothing, Rules::default());
    let want = "testgovpp.api:12:5: expected a field type, found '}'";
    assert_eq!(error.unwrap_err().to_string(), want);
}

#[test]
fn syntax() {
    for (text, want) in [
        ("x", "1:1: expected a definition, found 'x'"),
        ("{", "1:1: expected a definition, found '{'"),
        ("define", "1:7: expected the name of a message, found the end of the file"),
        ("define u8 {", "1:8: expected the name of a message, found the keyword 'u8'"),
        ("define x { u8 a }", "1:17: expected ';', found '}'"),
        ("define x { u8 a; }", "1:19: expected ';', found the end of the file"),
        ("define x { u8 a b; };", "1:17: expected ';', found 'b'"),
        ("define x { u8 4; };", "1:15: expected a field name, found the number 4"),
        ("define x { u8 stream; };", "1:15: expected a field name, found the keyword 'stream'"),
        (
            "define x { u8 a[; };",
            "1:17: expected a length, the name of a length field, or an option, found ';'",
        ),
        ("define x { u8 a[default=]; };", "1:25: expected a value, found ']'"),
        ("define x { u8 a[b c d; };", "1:22: expected '=', ']' or an option, found ';'"),
        ("autoreply enum x { A, };", "1:11: expected 'define', 'typedef' or 'union', found 'enum'"),
        (
            "typeonly define x { u8 a; };",
            "1:10: 'typeonly define' is no longer part of the language: use typedef",
        ),
        ("typedef u8 { u8 a; };", "1:9: expected the name of a type, found the keyword 'u8'"),
        ("enum x { };", "1:10: expected the name of an enum entry, found '}'"),
        ("enum x { A };", "1:12: expected ',', found '}'"),
        ("enum x { A = B, };", "1:14: expected a whole number, found 'B'"),
        ("enum x { A = 1.5, };", "1:14: expected a whole number, found a number with a point"),
        ("enum x : u64 { A, };", "1:10: expected u8, u16, u32, i8, i16 or i32, found 'u64'"),
        ("enumflag x : i8 { A, };", "1:14: expected u8, u16 or u32, found 'i8'"),
        ("import x;", "1:8: expected the path of a file in quotes, found 'x'"),
        ("option 1;", "1:8: expected the name of an option, found the number 1"),
        ("option x = ;", "1:12: expected a value, found ';'"),
        ("service { };", "1:11: expected 'rpc', found '}'"),
        ("service { rpc x y; };", "1:17: expected 'returns', found 'y'"),
        ("service { rpc x returns x; };", "1:25: 'x' cannot be its own reply"),
        (
            "service { rpc x returns ; };",
            "1:25: expected the name of a message, 'stream' or 'null', found ';'",
        ),
        ("service { rpc x returns y events ; };", "1:34: expected the name of a message, found ';'"),
        (
            "counters c { n { colour red; }; };",
            "1:18: expected 'severity', 'type', 'units' or 'description', found 'colour'",
        ),
        ("paths { \"/a\" b; };", "1:14: expected the name of a counter set in quotes, found 'b'"),
        ("define x { u8 a; }; /* ", "1:21: the comment is not closed"),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

/// A message and its reply, with these fields.
fn with(fields: &str) -> String {
    format!("autoreply define x {{\n{fields}\n}};")
}

#[test]
fn fields() {
    for (fields, want) in [
        ("u8 a; u16 a;", "2:11: the field 'a' is already defined"),
        ("u8 from;", "2:4: a field cannot be called 'from', a keyword of Python"),
        ("vl_api_none_t a;", "2:1: unknown type 'vl_api_none_t'"),
        ("none a;", "2:1: unknown type 'none'"),
        ("string a;", "2:8: a string needs brackets: string name[64] or string name[]"),
        ("u8 n; string a[n];", "2:14: the length of a string is a number or nothing"),
        ("u8 a[];", "2:6: expected a length: only a string may do without"),
        ("u8 a[-1];", "2:6: an array cannot have -1 elements"),
        ("u8 a[1.5];", "2:6: expected a whole number, found a number with a point"),
        ("u8 a[4294967296];", "2:6: an array cannot have 4294967296 elements"),
        ("u8 a[20000000];", "2:4: it would be longer than 16777216 bytes"),
        ("u8 a[16777216]; u8 b;", "2:20: it would be longer than 16777216 bytes"),
        ("u8 a[n];", "2:4: no field 'n' before it says how many elements there are"),
        ("u8 a[n]; u8 n;", "2:4: no field 'n' before it says how many elements there are"),
        (
            "f64 n; u8 a[n];",
            "2:11: 'n' is no whole number and so cannot say how many elements there are",
        ),
        (
            "u8 n[2]; u8 a[n];",
            "2:13: 'n' is no whole number and so cannot say how many elements there are",
        ),
        ("u8 n; u8 a[n]; u8 b;", "2:10: 'a' is of variable length and must be the last field"),
        ("string a[]; u8 b;", "2:8: 'a' is of variable length and must be the last field"),
        ("u8 a[0]; u8 b;", "2:4: 'a' is of variable length and must be the last field"),
    ] {
        assert_eq!(error(&with(fields)), want, "{fields}");
    }
}

#[test]
fn definitions() {
    for (text, want) in [
        ("enum a { A, };\ntypedef a { u8 x; };", "2:9: the type 'a' is already defined"),
        ("typedef u8 a;\ntypedef u16 a;", "2:13: the type 'a' is already defined"),
        ("typedef u8 a;\ntypedef a b;", "2:9: unknown type 'a': write vl_api_a_t"),
        ("typedef a { vl_api_a_t x; };", "1:13: unknown type 'vl_api_a_t'"),
        ("typedef a { option x; u8 y; };", "1:9: a typedef has no options, found 'option x'"),
        ("typedef u8 a[n];", "1:14: expected a number, found 'n': an alias has no fields"),
        ("enum a { A, A, };", "1:13: the entry 'A' is already defined"),
        ("enum a : u8 { A = 255, B, };", "1:24: the value 256 of 'B' does not fit in u8"),
        ("enum a : u8 { A = -1, };", "1:15: the value -1 of 'A' does not fit in u8"),
        (
            "enum a { A = 0xffffffffffffffff, };",
            "1:14: the value 18446744073709551615 does not fit in u32",
        ),
        ("enumflag a { A = 3, };", "1:14: 'A' = 3 has more than one bit set, in an enumflag"),
        (
            "enum a { A [backwards_compatible], B, };",
            "1:36: 'B' comes after 'A', but entries marked backwards_compatible must be last",
        ),
        ("union a { string b[]; };", "1:18: 'b' is of variable length and cannot be in a union"),
        (
            "typedef a { u8 x[0]; };\ntypedef b { vl_api_a_t y[2]; };",
            "2:24: an array cannot be of elements that run to the end of the message",
        ),
        (
            "autoreply define a { u8 x; };\ndefine a_reply { u8 x; };",
            "2:8: the message 'a_reply' is already defined",
        ),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

#[test]
fn services() {
    for (text, want) in [
        ("define a { u8 x; };", "1:8: 'a' needs a message 'a_reply' or a place in a service"),
        ("define a_reply { u8 x; };", "1:8: 'a_reply' is the reply of no message: 'a' is missing"),
        ("define a_dump { u8 x; };", "1:8: 'a_dump' needs a message 'a_details'"),
        ("define a_details { u8 x; };", "1:8: 'a_details' needs a message 'a_dump' or 'a_get'"),
        (
            "autoreply define a_get { u8 x; };\ndefine a_details { u8 x; };",
            "2:8: 'a_get' needs a service: rpc a_get returns … stream a_details;",
        ),
        ("service { rpc a returns null; };", "1:15: unknown message 'a'"),
        ("autoreply define a { u8 x; };\nservice { rpc a returns b; };", "2:25: unknown message 'b'"),
        (
            "autoreply define a { u8 x; };\nservice { rpc a returns a_reply events b, c; };",
            "2:40: unknown message 'b'",
        ),
        (
            "define a { u8 x; }; define b { u8 x; };\nservice { rpc a returns b; rpc b returns null; };",
            "2:32: 'b' is the reply of another service",
        ),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

#[test]
fn discriminators() {
    let types = "enum e { A, B, }; union u { u8 a [case=A]; u16 b [case=B]; };
        union bare { u8 a; }; union other { u8 a [case=C]; }; union twice { u8 a [case=A]; u8 b [case=A]; };\n";
    for (fields, want) in [
        ("vl_api_u_t u[discriminator=e];", "in 't': no field 'e' before 'u'"),
        ("u8 e; vl_api_u_t u[discriminator=e];", "in 't': the discriminator 'e' is no enum"),
        ("vl_api_e_t e; u8 u[discriminator=e];", "in 't': 'u' has a discriminator but is no union"),
        ("vl_api_e_t e; vl_api_bare_t u[discriminator=e];", "in 't': the member 'a' has no [case=…]"),
        (
            "vl_api_e_t e; vl_api_other_t u[discriminator=e];",
            "in 't': the case 'C' of 'a' is not in the enum",
        ),
        (
            "vl_api_e_t e; vl_api_twice_t u[discriminator=e];",
            "in 't': 'a' and 'b' have the same case 'A'",
        ),
        (
            "vl_api_e_t e; vl_api_u_t u[discriminator=1];",
            "in 't': the discriminator of 'u' is no name of a field",
        ),
    ] {
        assert_eq!(error(&format!("{types}typedef t {{ {fields} }};")), format!("3:9: {want}"));
    }
}

#[test]
fn imports() {
    let files: HashMap<String, String> = [
        ("self.api", "import \"self.api\";"),
        ("a.api", "import \"b.api\";"),
        ("b.api", "\n  import \"a.api\";"),
        ("wrong.api", "typedef t { u8 x }"),
        ("missing.api", "import \"none.api\";"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
    for (path, want) in [
        ("none.api", "a:1:8: cannot find the imported file 'none.api'"),
        ("self.api", "self.api:1:8: 'self.api' imports itself, by way of this import"),
        ("a.api", "b.api:2:10: 'a.api' imports itself, by way of this import"),
        ("wrong.api", "wrong.api:1:18: expected ';', found '}'"),
        ("missing.api", "missing.api:1:8: cannot find the imported file 'none.api'"),
    ] {
        let text = format!("import \"{path}\";");
        let error = parse::parse("a", &text, &files, Rules::default()).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

/// A file that is imported by two others is read once, and listed as often as it is imported.
#[test]
fn diamonds() {
    let files: HashMap<String, &str> = [
        ("base.api", "typedef u8 t;"),
        ("left.api", "import \"base.api\"; typedef vl_api_t_t l;"),
        ("right.api", "import \"base.api\"; typedef vl_api_t_t r;"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text))
    .collect();
    let text = "import \"left.api\"; import \"right.api\";
        autoreply define x { vl_api_l_t l; vl_api_r_t r; };";
    let api = parse::parse("a.api", text, &files, Rules::default()).unwrap();
    assert_eq!(api.imports(), ["left.api", "base.api", "right.api", "base.api"]);
    let names: Vec<&str> = api.types().iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["t", "l", "r"]);
}

#[test]
fn what_would_cost_too_much_is_refused() {
    // Imports that double at each step.
    let mut files: HashMap<String, String> = HashMap::new();
    files.insert("0".to_owned(), "typedef u8 t;".to_owned());
    for i in 1..25 {
        files.insert(i.to_string(), format!("import \"{0}\"; import \"{0}\";", i - 1));
    }
    let error = parse::parse("a", "import \"24\";", &files, Rules::default()).unwrap_err();
    assert_eq!(error.to_string(), "a:1:1: its imports bring over 100000 definitions");

    // Imports that go ever deeper.
    let deep: HashMap<String, String> =
        (0..100).map(|i| (i.to_string(), format!("import \"{}\";", i + 1))).collect();
    let error = parse::parse("a", "import \"0\";", &deep, Rules::default()).unwrap_err();
    assert_eq!(error.to_string(), "31:1:8: imports nest deeper than 32");

    // Types that double at each step, and types that go ever deeper.
    let (mut wide, mut deep) = ("typedef u8 t0;".to_owned(), "typedef u8 t0;".to_owned());
    for i in 1..40 {
        let before = i - 1;
        writeln!(wide, "typedef t{i} {{ vl_api_t{before}_t a; vl_api_t{before}_t b; }};").unwrap();
        writeln!(deep, "typedef vl_api_t{before}_t t{i};").unwrap();
    }
    assert!(error_has(&wide, "with nested types written out it has over 20000 fields"));
    assert!(error_has(&deep, "types nest deeper than 32"));

    // Messages that are each within bounds.
    let mut many = "typedef t0 { u8 a; u8 b; u8 c; u8 d; };".to_owned();
    for i in 1..13 {
        writeln!(many, "typedef t{i} {{ vl_api_t{0}_t a; vl_api_t{0}_t b; }};", i - 1).unwrap();
    }
    for i in 0..70 {
        writeln!(many, "autoreply define m{i} {{ vl_api_t12_t a; }};").unwrap();
    }
    assert!(error_has(&many, "with nested types written out the messages have over 1000000 fields"));

    // An enum so long that the CRCs of its messages would take a minute.
    let mut long = "enum e {".to_owned();
    for i in 0..19_999 {
        write!(long, " E{i},").unwrap();
    }
    long += " };";
    for i in 0..100 {
        write!(long, "autoreply define m{i} {{ vl_api_e_t e; }};").unwrap();
    }
    assert!(error_has(&long, "the messages have over 1000000 fields and entries"));

    // Options without end.
    let options: String = (0..300).map(|i| format!("option o{i};\n")).collect();
    assert_eq!(error_of(&options), "a.api:257:1: more than 256 options");

    let long = " ".repeat(limits::FILE_BYTES + 1);
    assert_eq!(error_of(&long), "a.api:1:1: the file is longer than 16777216 bytes");
}

fn error_of(text: &str) -> String {
    parse::parse("a.api", text, &Nothing, Rules::default()).unwrap_err().to_string()
}

fn error_has(text: &str, part: &str) -> bool {
    error_of(text).contains(part)
}

#[test]
fn what_looks_wrong_and_is_not() {
    for text in [
        "",
        "// nothing\n/* at all */",
        // Keywords only where they say something.
        &with("u8 type; u8 severity; u8 description; u8 counters; u8 paths; u8 units;"),
        &with("u32 a[default=1, limit=2]; u8 b [default = \"x\" limit]; bool c[default=true];"),
        &with("string a[0];"),
        "autoreply /* x */ define /* y */ a /* z */ { u8 /* w */ x; /* v */ } /* u */ ; // t",
        "enum e : i8 { A = -128, B = 127, };",
        "enumflag f { A = 0x80000000, };",
        "typedef string name[64]; typedef string text[]; typedef u8 rest[0];",
        "counters c { type { severity info; type counter64; units \"x\"; description \"y\"; }; };
         paths { \"/a\" \"c\"; };",
        "option in_progress; option x = -1; option y = 1.; option z = false;",
    ] {
        parse::parse("a.api", text, &Nothing, Rules::default()).unwrap();
    }
}
