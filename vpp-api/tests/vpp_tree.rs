//! Every .api file of a VPP source tree, compared with what that tree's own vppapigen makes of it.
//!
//! `HERALD_VPP_SRC` names the trees, separated by colons, each as `path` or `path=release` (such as
//! `/src/vpp=20.05`; else the release is guessed). Needs python3 with ply (`HERALD_PYTHON` names another
//! python). Without them the test says that it skips.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Directory, Scratch, say};
use herald_vpp_api::codec::{Plans, Value};
use herald_vpp_api::source::Nothing;
use herald_vpp_api::{Api, Rules, builtin, header, json, parse, print};
use serde_json::Value as Json;

/// vppapigen runs at once; it is mostly the start of python that takes time.
const JOBS: usize = 2;

/// A VPP source tree.
struct Tree {
    root: PathBuf,
    rules: Rules,
}

/// What vppapigen made of a file, or why it made nothing.
type Theirs = Result<String, String>;

fn trees() -> Vec<Tree> {
    let Ok(list) = std::env::var("HERALD_VPP_SRC") else { return Vec::new() };
    list.split(':').filter(|s| !s.is_empty()).map(tree).collect()
}

fn tree(text: &str) -> Tree {
    let (path, release) = match text.split_once('=') {
        Some((path, release)) => (path, Some(release.to_owned())),
        None => (text, None),
    };
    let root = PathBuf::from(path);
    let rules = match release {
        Some(release) => release.parse().unwrap(),
        None => guess(&root),
    };
    Tree { root, rules }
}

/// The rules of a tree, by its generator.
fn guess(root: &Path) -> Rules {
    let generator = fs::read_to_string(generator(root)).unwrap();
    match () {
        () if !generator.contains("backwards_compatible") => Rules::UpTo20_05,
        () if !generator.contains("count = -1") => Rules::From20_09,
        () => Rules::From22_06,
    }
}

fn generator(root: &Path) -> PathBuf {
    root.join("src/tools/vppapigen/vppapigen.py")
}

fn python() -> Option<String> {
    let python = std::env::var("HERALD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ply = Command::new(&python).args(["-c", "import ply.yacc"]).output();
    ply.is_ok_and(|o| o.status.success()).then_some(python)
}

fn api_files(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            api_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "api") {
            found.push(path);
        }
    }
}

/// Runs the tree's own generator on every file.
fn run_vppapigen(python: &str, tree: &Tree, files: &[PathBuf]) -> BTreeMap<PathBuf, Theirs> {
    let scratch = Scratch::new("vppapigen");
    let generator = generator(&tree.root);
    let wants_directory = fs::read_to_string(&generator).unwrap().contains("Missing --outputdir")
        || fs::read_to_string(generator.with_file_name("vppapigen_json.py"))
            .unwrap()
            .contains("output_dir");
    let (next, made) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut command = Command::new(python);
            command.arg(&generator).arg("--includedir").arg(tree.root.join("src"));
            command.arg("--input").arg(file);
            if wants_directory {
                command.arg("--outputdir").arg(scratch.path());
            }
            let output = command.arg("JSON").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let theirs = match output.status.success() && text.starts_with('{') {
                true => Ok(text),
                false => Err(text + &String::from_utf8_lossy(&output.stderr)),
            };
            made.lock().unwrap().insert(file.clone(), theirs);
        }
    };
    std::thread::scope(|s| {
        for _ in 0..JOBS {
            s.spawn(work);
        }
    });
    made.into_inner().unwrap()
}

/// The CRCs in an api.json, by message.
fn crcs(json: &Json) -> BTreeMap<String, String> {
    let messages = json["messages"].as_array().unwrap();
    let crc = |m: &Json| {
        let list = m.as_array().unwrap();
        let crc = list.last().unwrap()["crc"].as_str().unwrap();
        (list[0].as_str().unwrap().to_owned(), crc.to_owned())
    };
    messages.iter().map(crc).collect()
}

#[derive(Default)]
struct Counts {
    files: usize,
    refused: usize,
    messages: usize,
    differences: Vec<String>,
}

/// Compares one file. `ours` is our module.
fn compare(file: &Path, ours: &Api, theirs: &str, counts: &mut Counts) {
    let name = file.display();
    let mut differ = |what: String| counts.differences.push(format!("{name}: {what}"));
    let their_json: Json = serde_json::from_str(theirs).unwrap();
    let our_text = json::write(ours);
    let our_json: Json = serde_json::from_str(&our_text).unwrap();

    let (their_crcs, our_crcs) = (crcs(&their_json), crcs(&our_json));
    for (message, crc) in &their_crcs {
        if our_crcs.get(message) != Some(crc) {
            differ(format!("{message}: {crc}, here {:?}", our_crcs.get(message)));
        }
    }
    if our_text != theirs.trim_end() {
        differ("another api.json".to_owned());
    }
    match json::read(ours.name(), theirs) {
        Err(e) => differ(format!("cannot be read back: {e}")),
        Ok(read) => {
            let again = json::write(&read);
            if again != theirs.trim_end() {
                differ("reads back as another api.json".to_owned());
            }
        }
    }
    match parse::parse("printed.api", &print::print(ours), &Nothing, ours.rules()) {
        Err(e) => differ(format!("printed, it does not parse: {e}")),
        Ok(printed) => {
            let list = |api: &Api| api.messages().iter().map(|m| m.name_crc()).collect::<Vec<_>>();
            if list(&printed) != list(ours) {
                differ("printed, it has other CRCs".to_owned());
            }
        }
    }
    let plans = Plans::new(ours);
    for message in ours.messages() {
        // The message whose fields are all zero.
        let plan = plans.plan(message);
        let zeros = vec![0; plan.fixed_len()];
        match plan.decode(&zeros) {
            Err(e) => differ(format!("{}: {e}", message.name)),
            Ok(value) => {
                let mut out = Vec::new();
                if plan.encode(0, &value, &mut out).is_err() || out != zeros {
                    differ(format!("{}: not encoded as it was decoded", message.name));
                }
                assert!(matches!(value, Value::Record(_)));
            }
        }
    }
    counts.files += 1;
    counts.messages += their_crcs.len();
}

#[test]
fn every_file_is_as_vppapigen_has_it() {
    let trees = trees();
    if trees.is_empty() {
        return say("skipped: HERALD_VPP_SRC names no VPP source tree");
    }
    let Some(python) = python() else {
        return say("skipped: no python3 with ply (pip install ply; HERALD_PYTHON names a python)");
    };
    for tree in trees {
        let (root, mut files) = (tree.root.display(), Vec::new());
        api_files(&tree.root.join("src"), &mut files);
        let in_src = files.len();
        api_files(&tree.root.join("extras"), &mut files);
        let theirs = run_vppapigen(&python, &tree, &files);
        let source = Directory(tree.root.join("src"));
        let mut counts = Counts::default();
        for (i, file) in files.iter().enumerate() {
            let text = fs::read_to_string(file).unwrap();
            let ours = parse::parse(&file.to_string_lossy(), &text, &source, tree.rules);
            match (&theirs[file], ours) {
                (Ok(theirs), Ok(ours)) => compare(file, &ours, theirs, &mut counts),
                (Ok(_), Err(e)) => counts.differences.push(e.to_string()),
                (Err(why), _) if i < in_src => {
                    counts.differences.push(format!("{}: vppapigen: {why}", file.display()));
                }
                // What VPP no longer builds may no longer be fit to be.
                (Err(_), _) => counts.refused += 1,
            }
        }
        say(&format!(
            "{root} ({}): {} files, {} messages compared, {} files outside src that vppapigen refuses, \
             {} differences",
            tree.rules,
            counts.files,
            counts.messages,
            counts.refused,
            counts.differences.len()
        ));
        assert!(counts.differences.is_empty(), "{:#?}", counts.differences);
        assert!(counts.files > 50, "{root} is no VPP source tree");
    }
}

/// What is built in is what VPP has, as far as it goes: the same types, messages and CRCs.
#[test]
fn the_built_in_files_are_as_vpp_has_them() {
    for tree in trees().iter().filter(|t| t.rules == Rules::From22_06) {
        let source = Directory(tree.root.join("src"));
        for (path, text) in builtin::FILES.iter().filter(|(path, _)| *path != builtin::HERALD) {
            let theirs = fs::read_to_string(tree.root.join("src").join(path)).unwrap();
            let theirs = parse::parse(path, &theirs, &source, tree.rules).unwrap();
            let ours = parse::parse(path, text, &builtin::Builtin, tree.rules).unwrap();
            for ty in ours.types() {
                let (_, their) = theirs.type_named(&ty.name).unwrap();
                assert_eq!((&ty.kind, ty.flags), (&their.kind, their.flags), "{path}: {}", ty.name);
            }
            assert_eq!(ours.types().len(), theirs.types().len(), "{path}");
            let names = |api: &Api| api.messages().iter().map(|m| m.name_crc()).collect::<Vec<_>>();
            let (ours_named, theirs_named) = (names(&ours), names(&theirs));
            // Of vpe there is only the beginning.
            assert!(theirs_named.starts_with(&ours_named), "{path}");
            if *path != builtin::VPE {
                assert_eq!((ours_named.len(), ours.file_crc()), (theirs_named.len(), theirs.file_crc()));
            }
        }
        say(&format!("{}: the built-in files are the same", tree.root.display()));
    }
}

#[test]
fn the_whole_set_is_parsed_fast() {
    for tree in trees() {
        let mut files = Vec::new();
        api_files(&tree.root.join("src"), &mut files);
        let source = Directory(tree.root.join("src"));
        let texts: Vec<(String, String)> = files
            .iter()
            .map(|f| (f.to_string_lossy().into_owned(), fs::read_to_string(f).unwrap()))
            .collect();
        let begin = Instant::now();
        let parsed = texts.iter().filter_map(|(f, t)| parse::parse(f, t, &source, tree.rules).ok());
        let messages: usize = parsed.map(|api| api.messages().len()).sum();
        let took = begin.elapsed();
        let (n, root) = (files.len(), tree.root.display());
        say(&format!("{root}: {n} files, {messages} messages parsed with CRCs in {took:?}"));
        // The aim is a second in a release build; a debug build on a busy machine has ten.
        let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
        assert!(took < limit, "{took:?}");
    }
}

#[test]
fn every_header_compiles() {
    let compilers = common::compilers();
    for tree in trees() {
        let mut files = Vec::new();
        api_files(&tree.root.join("src"), &mut files);
        let source = Directory(tree.root.join("src"));
        let scratch = Scratch::new("headers");
        let (mut compiled, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
        for file in &files {
            let name = file.to_string_lossy();
            let text = fs::read_to_string(file).unwrap();
            let api = parse::parse(&name, &text, &source, tree.rules).unwrap();
            let header = match header::header(&api, &name) {
                Ok(header) => header,
                Err(e) => {
                    refused.push(format!("{name}: {e}"));
                    continue;
                }
            };
            let c = scratch.path().join("t.c");
            fs::write(scratch.path().join("t.h"), header).unwrap();
            // Twice, as two headers that have the same types.
            fs::write(&c, "#include \"t.h\"\n#include \"t.h\"\nint x;\n").unwrap();
            for cc in &compilers {
                for (standard, language) in [("c99", "c"), ("c++17", "c++")] {
                    let more = ["-fsyntax-only", "-x", language];
                    match common::compile(cc, standard, &c, &more) {
                        Ok(()) => compiled += 1,
                        Err(e) => wrong.push(format!("{name} with {cc} as {standard}: {e}")),
                    }
                }
            }
        }
        let root = tree.root.display();
        say(&format!("{root}: {compiled} compilations with {compilers:?}, refused: {refused:#?}"));
        assert!(wrong.is_empty(), "{} {}", wrong.len(), wrong.first().unwrap());
    }
}
