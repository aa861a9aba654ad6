//! The command herald-apigen, as a user runs it. `HERALD_BLESS=1` rewrites the golden files.
#![cfg(feature = "apigen")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::Scratch;

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn apigen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herald-apigen")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Compares with a file that is kept, or keeps it anew.
fn golden(file: &str, text: &str) {
    let path = data(file);
    if std::env::var_os("HERALD_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{} is no longer what is made; HERALD_BLESS=1 keeps it anew", path.display());
}

#[test]
fn a_file_that_is_built_in_has_its_name_for_a_path() {
    let output = apigen(&["vlibmemory/memclnt.api", "--json", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("sockclnt_create_reply"));
    assert_eq!(apigen(&["vlibmemory/nothing.api"]).status.code(), Some(3));
}

#[test]
fn the_seeds_api_as_json_and_as_a_header() {
    let api = data("testgovpp.api");
    let scratch = Scratch::new("apigen");
    let header = scratch.path().join("testgovpp.h");
    let output = apigen(&[api.to_str().unwrap(), "--json", "-", "--header", header.to_str().unwrap()]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    golden("testgovpp.api.json", stdout(&output));
    golden("testgovpp.api.h", &fs::read_to_string(&header).unwrap());
}

/// `language.api.json` was made by vppapigen of VPP 26.06.
#[test]
fn the_whole_language_as_vppapigen_writes_it() {
    let output =
        apigen(&[data("language.api").to_str().unwrap(), "--json", "-", "--header", "/dev/null"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output) == fs::read_to_string(data("language.api.json")).unwrap());
}

#[test]
fn the_golden_header_compiles_without_a_warning() {
    let compilers = common::compilers();
    if compilers.is_empty() {
        return common::say("skipped: neither gcc nor clang is there");
    }
    let scratch = Scratch::new("golden");
    let c = scratch.path().join("t.c");
    fs::write(&c, "#include \"testgovpp.api.h\"\nint main(void) { return 0; }\n").unwrap();
    let include = format!("-I{}", data("").display());
    for cc in compilers {
        for (standard, language) in [("c99", "c"), ("c11", "c"), ("c++17", "c++")] {
            common::compile(cc, standard, &c, &["-fsyntax-only", "-x", language, &include])
                .unwrap_or_else(|e| panic!("{cc} {standard}: {e}"));
        }
    }
}

#[test]
fn check_reports_each_drift() {
    let scratch = Scratch::new("check");
    let (api, old) = (scratch.path().join("a.api"), scratch.path().join("old.api.json"));
    let (api, old) = (api.to_str().unwrap(), old.to_str().unwrap());
    let text = "autoreply define one { u32 context; };\nautoreply define two { u32 context; };\n";
    fs::write(api, text).unwrap();
    assert_eq!(apigen(&[api, "--json", old]).status.code(), Some(0));

    let same = apigen(&[api, "--check", old]);
    assert_eq!(same.status.code(), Some(0));
    assert_eq!(stdout(&same), format!("4 messages compared with {old}, 0 changed\n"));

    fs::write(api, "autoreply define one { u64 context; };\nautoreply define three { u32 context; };\n")
        .unwrap();
    let changed = apigen(&[api, "--check", old]);
    assert_eq!(changed.status.code(), Some(1));
    let lines: Vec<&str> = stdout(&changed).lines().collect();
    assert!(lines[0].starts_with("one: ") && lines[0].contains(" is now "), "{lines:?}");
    assert_eq!(lines[1..3], ["two: gone (was 8c1bbc26)", "two_reply: gone (was e8d4e804)"]);
    assert!(lines[3].starts_with("three: new"), "{lines:?}");
    assert_eq!(lines[5], format!("4 messages compared with {old}, 3 changed"));
}

#[test]
fn imports_are_found() {
    let scratch = Scratch::new("include");
    let (deep, beside) = (scratch.path().join("inc/x"), scratch.path().join("own"));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(&beside).unwrap();
    fs::write(deep.join("far.api"), "typedef u8 far_away;").unwrap();
    fs::write(beside.join("near.api"), "typedef u8 near_by;").unwrap();
    let api = beside.join("a.api");
    let text = "import \"x/far.api\"; import \"near.api\"; import \"vnet/ip/ip_types.api\";
        autoreply define a { vl_api_far_away_t f; vl_api_near_by_t n; vl_api_address_t a; };";
    fs::write(&api, text).unwrap();
    let (api, include) = (api.to_str().unwrap(), scratch.path().join("inc"));
    let output = apigen(&[api, "--include", include.to_str().unwrap()]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let output = apigen(&[api]);
    assert_eq!(output.status.code(), Some(3));
    let want = format!("herald-apigen: {api}:1:8: cannot find the imported file 'x/far.api'\n");
    assert_eq!(stderr(&output), want);
}

#[test]
fn errors_are_clear() {
    let scratch = Scratch::new("errors");
    let api = scratch.path().join("a.api");
    fs::write(&api, "define x {\n  u8 a\n};").unwrap();
    let api = api.to_str().unwrap();
    let output = apigen(&[api]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr(&output), format!("herald-apigen: {api}:3:1: expected ';', found '}}'\n"));

    let output = apigen(&["/nonexistent/a.api"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("herald-apigen: cannot read /nonexistent/a.api: "));

    fs::write(api, "autoreply define x { u8 a; };").unwrap();
    let output = apigen(&[api, "--json", "/nonexistent/a.json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("herald-apigen: cannot write /nonexistent/a.json: "));

    let old = scratch.path().join("old.json");
    fs::write(&old, "{\"messages\": [[\"x\", [\"u8\"]]]}").unwrap();
    let output = apigen(&[api, "--check", old.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let want = "in message 'x': expected the type and the name of a field\n";
    assert!(stderr(&output).ends_with(want), "{}", stderr(&output));

    assert_eq!(apigen(&[]).status.code(), Some(2));
    assert_eq!(apigen(&[api, "--release", "yesterday"]).status.code(), Some(2));
}

#[test]
fn releases_differ() {
    let scratch = Scratch::new("release");
    let api = scratch.path().join("a.api");
    fs::write(&api, "enum e { A, }; autoreply define x { vl_api_e_t a; };").unwrap();
    let api = api.to_str().unwrap();
    let json = |release: &str| stdout(&apigen(&[api, "--release", release, "--json", "-"])).to_owned();
    let (old, new) = (json("20.05"), json("26.06"));
    assert!(old.contains("\"A\",\n                1") && !old.contains("enumflags"));
    assert!(new.contains("\"A\",\n                0") && new.contains("enumflags"));
}
