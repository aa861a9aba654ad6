//! Compiles the C programs beside this file and runs them.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common;

/// Whether the tests are to take as long as they like.
pub fn long() -> bool {
    std::env::var_os("HERALD_LONG").is_some_and(|value| value == "1")
}

/// How long a program may run before it is taken to hang.
fn patience() -> Duration {
    Duration::from_secs(if long() { 3600 } else { 300 })
}

/// What a program is compiled as, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// C99, by `$CC` or `cc`.
    C,
    /// C++17, by `$CXX` or `c++`.
    Cxx,
    /// C99 with gcc's address and undefined-behaviour sanitizers.
    Sanitizing,
}

/// Warnings are errors, in the tests as in what they test.
pub const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];

impl Compiler {
    fn command(self) -> Command {
        let named =
            |variable, default: &str| Command::new(std::env::var_os(variable).unwrap_or(default.into()));
        let (mut command, options): (_, &[&str]) = match self {
            Compiler::C => (named("CC", "cc"), &["-std=c99"]),
            Compiler::Cxx => (named("CXX", "c++"), &["-x", "c++", "-std=c++17"]),
            Compiler::Sanitizing => (Command::new("gcc"), &SANITIZERS),
        };
        command.args(options).args(WARNINGS).args(["-gdwarf-4", "-O1"]);
        command
    }
}

const SANITIZERS: [&str; 4] = [
    "-std=gnu99",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
];

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the public header.
pub fn include() -> PathBuf {
    root().join("include")
}

/// Whether there is a program of that name to run.
pub fn has(program: &str) -> bool {
    let found =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// A private directory. The path is short, since sockets are to be made in it.
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("herald").tempdir().unwrap()
}

/// Compiles and links with the library: a program that finds it wherever it is run.
pub fn compile(source: &Path, compiler: Compiler, more: &[&str]) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    fs::create_dir_all(&place).unwrap();
    let name = source.file_stem().unwrap().to_str().unwrap();
    // Linked under a name of our own first, so that a test that runs beside us never sees half.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let made = |name: &str, make: &dyn Fn(&Path)| {
        let (own, path) = (place.join(format!("{name}.{unique}")), place.join(name));
        make(&own);
        fs::rename(&own, &path).unwrap();
        path
    };
    let library = fs::canonicalize(common::library()).unwrap();
    made("libherald.so.0", &|own| std::os::unix::fs::symlink(&library, own).unwrap());
    made(&format!("{name}.{compiler:?}"), &|own| {
        let mut command = compiler.command();
        command.arg("-I").arg(include()).arg("-I").arg(root().join("tests/c")).arg(source);
        // "none" ends what -x said of the source.
        command.args(["-x", "none"]).arg(&library).args(["-Wl,-rpath,$ORIGIN", "-lpthread", "-ldl"]);
        compiled(command.args(more).arg("-o").arg(own));
    })
}

/// Runs a compiler; panics with what it says if it is not content.
pub fn compiled(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// One of the programs beside this file.
pub fn program(name: &str, compiler: Compiler) -> PathBuf {
    compile(&root().join("tests/c").join(name).with_extension("c"), compiler, &[])
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
    let end = Instant::now() + patience();
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
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// A command that runs these cases of a program ("all" for all), behind a tool such as valgrind.
pub fn cases(tool: &[&str], program: &Path, cases: &[&str], directory: &TempDir) -> Command {
    let mut words = tool.iter().map(OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(cases).arg(directory.path());
    command.env_remove("HERALD_TEST_DIVISOR");
    command
}
