//! What the tests share: compiles the C programs in `c/` against the public header and the library, and
//! runs their cases, each in a process of its own, since lwIP is one per process.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_macros)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a program may run before it is taken to hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program is compiled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// C99 with GNU extensions, which lwIP's headers need, by `$CC` or `cc`.
    C,
    /// C++17 likewise, by `$CXX` or `c++`.
    Cxx,
    /// With gcc's address and undefined-behaviour sanitizers.
    Sanitizing,
}

/// The crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `libherald_lwip.so`, as built for these tests, unless `HERALD_LWIP_LIB` names another build.
pub fn library() -> PathBuf {
    if let Some(named) = std::env::var_os("HERALD_LWIP_LIB") {
        return named.into();
    }
    let library = std::env::current_exe().unwrap().with_file_name("libherald_lwip.so");
    assert!(library.exists(), "{} is missing", library.display());
    library
}

/// Whether there is a program of that name to run.
pub fn has(program: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("command -v {program}")]).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says in the test's output that it was skipped, and why.
pub fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
}

/// Whether network namespaces can be made here.
pub fn has_namespaces() -> bool {
    Command::new("unshare")
        .args(["-n", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// A private directory. The path is short, since sockets are to be made in it.
pub fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hlwip").tempdir().unwrap()
}

/// A tool to run cases behind: any error, and any leak of what nobody refers to, fails the case. Long cases are
/// shorter there.
pub const VALGRIND: [&str; 7] = [
    "env",
    "HERALD_TEST_DIVISOR=50",
    "valgrind",
    "--quiet",
    "--error-exitcode=9",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite",
];

/// Compiles a program of `c/`, linked with the library, so that it finds it wherever it is run.
pub fn program(name: &str, compiler: Compiler) -> PathBuf {
    compile(&root().join("tests/c").join(name).with_extension("c"), compiler)
}

/// Compiles a source and links it with the library, lwIP and libevent.
pub fn compile(source: &Path, compiler: Compiler) -> PathBuf {
    // Programs for another build have a place of their own: what runs beside us finds its own.
    let name = if std::env::var_os("HERALD_LWIP_LIB").is_some() { "c-other" } else { "c" };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&place).unwrap();
    // Linked under a name of our own first, so that a test that runs beside us never sees half.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let made = |name: &str, make: &dyn Fn(&Path)| {
        let (own, path) = (place.join(format!("{name}.{unique}")), place.join(name));
        make(&own);
        fs::rename(&own, &path).unwrap();
        path
    };
    let library = library();
    made("libherald_lwip.so.0", &|own| std::os::unix::fs::symlink(&library, own).unwrap());
    let name = source.file_stem().unwrap().to_str().unwrap();
    made(&format!("{name}.{compiler:?}"), &|own| {
        let named =
            |variable, default: &str| Command::new(std::env::var_os(variable).unwrap_or(default.into()));
        let mut command = match compiler {
            Compiler::C => named("CC", "cc"),
            Compiler::Cxx => named("CXX", "c++"),
            Compiler::Sanitizing => Command::new("gcc"),
        };
        command.args(match compiler {
            Compiler::C => ["-std=gnu99"].as_slice(),
            Compiler::Cxx => &["-x", "c++", "-std=gnu++17"],
            Compiler::Sanitizing => {
                &["-std=gnu99", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
            }
        });
        command.args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-gdwarf-4", "-O1"]);
        command.arg("-I").arg(root().parent().unwrap().join("include"));
        // lwIP's own headers do not pass -pedantic.
        command.args(["-isystem", "/usr/include/lwip"]).arg("-I").arg(root().join("tests/c"));
        command.arg(source).args(["-x", "none"]).arg(&library);
        command.args(["-Wl,-rpath,$ORIGIN", "-llwip", "-levent_core", "-lpthread", "-o"]).arg(own);
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// What a program has said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Panics with all that it said unless it ended well.
    pub fn well(self, what: &str) -> Said {
        assert!(self.status.success(), "{what}: {}\n{}{}", self.status, self.out, self.err);
        self
    }
}

/// Runs a program to its end, in a process group of its own. Panics if it does not end.
pub fn run(command: &mut Command) -> Said {
    let directory = directory();
    let file = |name| {
        let path = directory.path().join(name);
        (File::create(&path).unwrap(), path)
    };
    let ((out, out_path), (err, err_path)) = (file("out"), file("err"));
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    let mut group = Group(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = group.0.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            panic!("{command:?} hangs\n{}{}", read(&out_path), read(&err_path));
        }
        sleep(Duration::from_millis(2));
    };
    Said { status, out: read(&out_path), err: read(&err_path) }
}

/// A program and its children, which do not outlive the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).unwrap();
        // SAFETY: our own group.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

/// A command that runs a case of a program in a directory, behind a tool such as valgrind.
pub fn case(tool: &[&str], program: &Path, case: &str, directory: &Path) -> Command {
    let mut words = tool.iter().map(OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(case).arg(directory);
    command
}

/// Runs a case in a directory of its own; it has to end well.
pub fn run_case(tool: &[&str], program: &Path, name: &str) -> Said {
    let directory = directory();
    run(&mut case(tool, program, name, directory.path())).well(name)
}

/// Each test is a case of a program, compiled as C; each case of a program is a test. With
/// `behind [...] =>` the cases run behind a command, such as `unshare -n`.
macro_rules! cases {
    ($program:ident { $($case:ident)* }) => { cases! { $program behind [] => { $($case)* } } };
    ($program:ident behind $tool:expr => { $($case:ident)* }) => {
        mod $program {
            pub(super) static PROGRAM: std::sync::LazyLock<std::path::PathBuf> =
                std::sync::LazyLock::new(|| {
                    super::kit::program(stringify!($program), super::kit::Compiler::C)
                });
            $(
                #[test]
                fn $case() {
                    let tool: &[&str] = &$tool;
                    if tool.contains(&"-n") && !super::kit::has_namespaces() {
                        return super::kit::skipped(stringify!($case), "no network namespaces here");
                    }
                    super::kit::run_case(tool, &PROGRAM, stringify!($case));
                }
            )*

            #[test]
            fn every_case_is_run() {
                let said = super::kit::run(std::process::Command::new(&*PROGRAM).arg("list"));
                let listed: std::collections::BTreeSet<String> =
                    said.well("list").out.lines().map(str::to_owned).collect();
                let ours = [$(stringify!($case)),*].map(str::to_owned);
                assert_eq!(listed, ours.into());
            }
        }
    };
}
