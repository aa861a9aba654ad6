//! The promise: `libherald.so` is a good guest in any process. It brings the documented names and
//! no others, needs nothing but libc, does nothing until it is asked to, and its header is the one
//! that was generated from it and compiles wherever C does.

mod common;

#[path = "c/kit.rs"]
mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::library;

/// What a tool says of the library; none, and a word about it, if there is no such tool.
fn tool(test: &str, tool: &str, options: &[&str]) -> Option<String> {
    if !kit::has(tool) {
        common::skipped(test, format!("there is no {tool}"));
        return None;
    }
    Some(kit::run(Command::new(tool).args(options).arg(library())).well(tool).out)
}

#[test]
fn exactly_the_documented_names_are_exported() {
    let test = "exactly_the_documented_names_are_exported";
    let Some(listed) = tool(test, "nm", &["-D", "--defined-only", "--format=posix"]) else { return };
    let found: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = golden_exports();
    assert_eq!(found, expected.lines().collect::<Vec<_>>(), "tests/exports.txt is the contract");
}

#[test]
fn every_exported_function_is_in_the_header_or_for_a_host() {
    let exported: BTreeSet<String> = golden_exports()
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .filter(|name| !name.starts_with("openl2tp_plugin_") && name != "exports")
        .collect();
    let declared: BTreeSet<String> = functions(&header())
        .into_iter()
        .map(|function| function.name)
        .filter(|name| !name.starts_with("herald_param_")) // inline
        .collect();
    assert_eq!(declared, exported);
}

#[test]
fn it_has_a_soname_and_stays_once_loaded() {
    let Some(dynamic) = tool("it_has_a_soname_and_stays_once_loaded", "readelf", &["-dW"]) else {
        return;
    };
    assert!(dynamic.contains("Library soname: [libherald.so.0]"), "{dynamic}");
    let flags = dynamic.lines().find(|line| line.contains("(FLAGS_1)")).expect("FLAGS_1");
    assert!(flags.contains("NODELETE"), "{flags}");
}

#[test]
fn it_needs_nothing_but_libc() {
    let test = "it_needs_nothing_but_libc";
    let Some(dynamic) = tool(test, "readelf", &["-dW"]) else { return };
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    for line in needed {
        let name = line.split(['[', ']']).nth(1).unwrap();
        let parts = ["libc.so.", "libgcc_s.so.", "ld-linux", "libm.so.", "libpthread.so.", "libdl.so."];
        assert!(parts.iter().any(|part| name.starts_with(part)), "it needs {name}");
    }
    let Some(undefined) = tool(test, "nm", &["-D", "--undefined-only"]) else { return };
    for line in undefined.lines() {
        let (kind, name) = line.trim().split_once(' ').unwrap();
        let of_the_system = name.contains("@GLIBC_") || name.contains("@GCC_");
        // What no crt0 of today has and every shared object asks for.
        let optional = kind == "w" && (name.starts_with("_ITM_") || name == "__gmon_start__");
        assert!(of_the_system || optional, "{name} is left for the host to define");
    }
}

/// The daemon logs it as a string: a pointer to one would be logged as garbage.
#[test]
fn the_version_is_an_array_of_characters() {
    let listed = tool("the_version_is_an_array_of_characters", "readelf", &["-sW", "--dyn-syms"]);
    let Some(listed) = listed else { return };
    let version = concat!("herald ", env!("CARGO_PKG_VERSION"), "\0");
    let line =
        listed.lines().find(|line| line.ends_with(" openl2tp_plugin_version")).expect("the symbol");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (version.len().to_string().as_str(), "OBJECT"), "{line}");

    // SAFETY: loading the library runs no code but what it does at load, which is nothing.
    let library = unsafe { libloading::Library::new(library()) }.unwrap();
    // SAFETY: the symbol is an object of that many bytes, as was just seen.
    let found = unsafe {
        let symbol = library.get::<*const u8>("openl2tp_plugin_version").unwrap();
        std::slice::from_raw_parts(symbol.try_as_raw_ptr().unwrap().cast::<u8>(), version.len())
    };
    assert_eq!(found, version.as_bytes());
}

#[test]
fn loading_it_does_nothing() {
    let directory = kit::directory();
    let program = directory.path().join("load");
    let source = fs::read_to_string(kit::root().join("tests/c/load.c")).unwrap();
    common::compile(&source, &program, &["-ldl"]);
    kit::run(Command::new(program).arg(library())).well("load");
}

fn header() -> String {
    fs::read_to_string(kit::include().join("herald.h")).unwrap()
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let generated = fs::read_to_string(env!("HERALD_GENERATED_HEADER")).unwrap();
    let committed = header();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "include/herald.h is not what src/host/capi says; run `make header`. The first difference is \
         in line {}",
        differs.map_or(committed.lines().count().min(generated.lines().count()), |line| line) + 1
    );
}

/// Compilers of C and C++ that there are, of those that the header is promised to.
fn compilers(test: &str) -> Vec<(&'static str, &'static [&'static str])> {
    let mut there: Vec<(&str, &[&str])> = vec![
        ("gcc", &["-std=c99"]),
        ("clang", &["-std=c99"]),
        ("g++", &["-x", "c++", "-std=c++17"]),
        ("clang++", &["-x", "c++", "-std=c++17"]),
    ];
    there.retain(|(name, _)| {
        let has = kit::has(name);
        if !has {
            common::skipped(test, format!("there is no {name}"));
        }
        has
    });
    there
}

/// Compiles a text that includes the header, with all compilers and their strictest warnings.
fn compiles(test: &str, text: &str) {
    let directory = kit::directory();
    let source = directory.path().join("source.c");
    fs::write(&source, text).unwrap();
    for (compiler, options) in compilers(test) {
        let mut command = Command::new(compiler);
        command.args(options).args(kit::WARNINGS).arg("-O2").arg("-I").arg(kit::include());
        kit::compiled(command.arg("-c").arg(&source).arg("-o").arg(directory.path().join("object.o")));
    }
}

#[test]
fn the_header_compiles_alone_as_c_and_as_cxx() {
    let test = "the_header_compiles_alone_as_c_and_as_cxx";
    compiles(test, "#include \"herald.h\"\nint nothing(void);\n");
}

#[test]
fn the_header_can_be_included_twice() {
    let test = "the_header_can_be_included_twice";
    compiles(test, "#include \"herald.h\"\n#include \"herald.h\"\nint nothing(void);\n");
}

#[test]
fn options_are_made_as_the_header_says() {
    let header = header();
    let (comment, _) = header.split_once("*/").unwrap();
    let example: String = comment.lines().filter_map(|line| line.strip_prefix(" *     ")).fold(
        String::new(),
        |all, line| {
            let (code, hint) = line.split_once(" // in C++ ").unwrap_or((line, "{ 0 }"));
            all + &format!(
                "#ifdef __cplusplus\n{}\n#else\n{code}\n#endif\n",
                code.replace("{ 0 }", hint)
            )
        },
    );
    assert!(example.contains("sizeof options"), "{example}");
    let text =
        format!("#include \"herald.h\"\nsize_t made(void)\n{{\n{example}return options.size;\n}}\n");
    compiles("options_are_made_as_the_header_says", &text);
}

#[test]
fn every_c_example_compiles_without_a_warning() {
    let test = "every_c_example_compiles_without_a_warning";
    let directory = kit::directory();
    let link = directory.path().join("libherald.so");
    std::os::unix::fs::symlink(fs::canonicalize(library()).unwrap(), &link).unwrap();
    let mut examples = files(&kit::root().join("c_examples"), "c");
    // What needs lwIP is compiled with it, by the tests in lwip/.
    examples.retain(|example| !example.file_stem().unwrap().to_str().unwrap().starts_with("lwip_"));
    assert!(examples.len() >= 3, "{examples:?}");
    while let Some(example) = examples.pop() {
        for (compiler, _) in compilers(test).into_iter().filter(|(name, _)| !name.ends_with("++")) {
            let mut command = Command::new(compiler);
            command.arg("-std=gnu99").args(kit::WARNINGS).args(["-O2", "-rdynamic"]);
            command.arg("-I").arg(kit::include()).arg(&example).arg("-o");
            command.arg(directory.path().join("program")).arg("-L").arg(directory.path());
            kit::compiled(command.args(["-lherald", "-ldl", "-lpthread"]));
        }
    }
}

/// `make demo`.
#[test]
fn the_demo_shows_a_sessions_life() {
    let mut command = Command::new("sh");
    command.arg(kit::root().join("docs/demo.sh"));
    command.arg(common::c_example("l2tp_host").parent().unwrap()).arg(library());
    let shown = kit::run(&mut command).well("docs/demo.sh").out;
    let events: Vec<_> = shown.lines().filter(|line| line.starts_with("SESSION_")).collect();
    let up = "SESSION_UP tunnel 1230 session 55638 peer_tunnel 22910 peer_session 64529";
    let [created, deleted] =
        ["CREATED", "DELETED"].map(|name| format!("SESSION_{name} tunnel 1230 session 55638"));
    assert_eq!(events, [&created, up, "SESSION_DOWN tunnel 1230 session 55638", &deleted], "{shown}");
}

/// A function that the header declares, and the comment right before it.
struct Function {
    name: String,
    fails: bool,
    comment: String,
}

/// The declarations of functions, as often as they stand there.
fn functions(header: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let (mut comment, mut within) = (String::new(), false);
    for line in header.lines() {
        if line.starts_with("/*") {
            (comment, within) = (String::new(), true);
        }
        if within {
            comment += line;
            comment += "\n";
            within = !line.ends_with("*/");
            continue;
        }
        let declares = !line.starts_with([' ', '#', '}', '{']) && !line.starts_with("typedef");
        let name = line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap();
        if declares && line.contains('(') && name.starts_with("herald_") {
            let fails = line.starts_with("herald_error ");
            found.push(Function { name: name.to_owned(), fails, comment: std::mem::take(&mut comment) });
        } else if !line.trim().is_empty() {
            comment.clear();
        }
    }
    found
}

#[test]
fn every_function_in_the_header_says_what_it_does() {
    let header = header();
    let functions = functions(&header);
    assert!(functions.len() >= 10);
    for Function { name, fails, comment } in &functions {
        assert!(comment.len() > 40, "{name}: {comment:?}");
        if *fails && name != "herald_publish_l2tp" {
            assert!(comment.contains("Errors: HERALD_ERROR_"), "{name} does not say how it fails");
        }
        assert!(!comment.contains("# Safety"), "{name}: that section is for Rust");
    }
}

#[test]
fn every_function_is_declared_once() {
    let header = header();
    let mut seen = BTreeSet::new();
    for Function { name, .. } in functions(&header) {
        assert!(seen.insert(name.clone()), "{name} is declared twice");
    }
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// A panic must not cross into the host: whatever C can call is within `boundary!`, exported or
/// handed to it as a pointer.
#[test]
fn no_function_that_c_calls_lets_a_panic_out() {
    let mut checked = BTreeSet::new();
    for file in files(&kit::root().join("src"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::trim).collect();
        // With a name it is a function; `extern "C" fn(` is a type.
        for function in code.split("extern \"C\" fn ").skip(1) {
            let (signature, body) = function.split_once('{').expect("a body");
            let name = signature.split('(').next().unwrap();
            // Between fork and whatever the child does, only atomics and close(2) are allowed.
            let guarded = name == "in_child" || body.starts_with("boundary!(");
            assert!(guarded, "{}: {name} has no boundary!", file.display());
            checked.insert(name.to_owned());
        }
    }
    for exported in golden_exports().lines().filter_map(|line| line.strip_suffix(" T")) {
        assert!(checked.contains(exported), "{exported} was not looked at");
    }
}

fn golden_exports() -> String {
    fs::read_to_string(kit::root().join("tests/exports.txt")).unwrap()
}
