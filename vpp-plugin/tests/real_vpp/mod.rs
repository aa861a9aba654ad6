//! A real VPP with the plugin in it, and real clients.

#[path = "../../../tests/common/govpp.rs"]
mod govpp;
#[path = "../../../tests/common/program.rs"]
mod program;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
pub use program::Program;

/// How long anything that ought to happen may take, on a loaded machine.
pub const SOON: Duration = Duration::from_secs(60);

/// VPP and the plugin, if this machine has them; else the test says that it is skipped.
pub fn sdk() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let sdk = std::env::var_os("HERALD_VPP_SDK");
    if sdk.is_none() {
        // Past the test harness, which keeps what a test that passes says to itself.
        SAID.call_once(|| {
            let line = b"skipped: HERALD_VPP_SDK is not set (an installed or built VPP 26.06)\n";
            let _ = std::io::stderr().write_all(line);
        });
    }
    sdk.map(PathBuf::from)
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The directory that cargo builds into.
pub fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf()
}

fn plugin() -> PathBuf {
    let plugin = target().join("vpp-plugin/herald_plugin.so");
    assert!(plugin.exists(), "{} is missing: run `make vpp-plugin`", plugin.display());
    plugin
}

/// A Python that has vpp_papi.
fn python() -> PathBuf {
    let python = repository().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    python
}

/// Polls until `look` has an answer; panics if it has none soon.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running VPP with everything of its own in one directory.
pub struct Vpp {
    sdk: PathBuf,
    directory: PathBuf,
    child: Child,
}

impl Vpp {
    /// Starts VPP, with this herald.toml, in a directory that outlives it.
    pub fn start(sdk: &Path, directory: &Path, herald_toml: &str) -> Vpp {
        let plugins = directory.join("plugins");
        fs::create_dir_all(&plugins).unwrap();
        fs::copy(plugin(), plugins.join("herald_plugin.so")).unwrap();
        fs::write(directory.join("herald.toml"), herald_toml).unwrap();
        let at = |name: &str| directory.join(name).display().to_string();
        // No hugepages, no network cards, next to no processor while idle.
        let startup = format!(
            "unix {{ nodaemon nobanner cli-listen {cli} runtime-dir {dir} log {log} poll-sleep-usec 1000 }}\n\
             memory {{ main-heap-size 256M main-heap-page-size 4k }}\n\
             buffers {{ buffers-per-numa 2048 page-size 4k }}\n\
             socksvr {{ socket-name {api} }}\n\
             statseg {{ socket-name {stats} size 8M page-size 4k }}\n\
             api-segment {{ prefix herald-test-{pid}-{name} }}\n\
             logging {{ default-syslog-log-level disabled default-log-level info }}\n\
             plugins {{ path {plugins} plugin default {{ disable }} plugin herald_plugin.so {{ enable }} }}\n",
            cli = at("cli.sock"),
            dir = at("run"),
            log = at("vpp.log"),
            api = at("api.sock"),
            stats = at("stats.sock"),
            pid = std::process::id(),
            name = directory.file_name().unwrap().display(),
            plugins = plugins.display(),
        );
        fs::write(directory.join("startup.conf"), startup).unwrap();
        let output = fs::File::create(directory.join("output")).unwrap();
        let child = Command::new(sdk.join("bin/vpp"))
            .arg("-c")
            .arg(directory.join("startup.conf"))
            .env("HERALD_CONFIG", directory.join("herald.toml"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut vpp = Vpp { sdk: sdk.to_owned(), directory: directory.to_owned(), child };
        let output = vpp.directory.join("output");
        wait_for("VPP answers", || {
            let ended = vpp.child.try_wait().unwrap();
            assert!(ended.is_none(), "VPP: {ended:?}: {}", fs::read_to_string(&output).unwrap());
            vpp.try_cli("show version").filter(|answer| answer.contains("vpp v26.06")).map(drop)
        });
        vpp
    }

    fn try_cli(&self, command: &str) -> Option<String> {
        let output = Command::new(self.sdk.join("bin/vppctl"))
            .arg("-s")
            .arg(self.directory.join("cli.sock"))
            .args(command.split(' '))
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().replace('\r', ""))
    }

    /// Gives a CLI command, and answers with what it prints.
    pub fn cli(&self, command: &str) -> String {
        self.try_cli(command).unwrap_or_else(|| panic!("VPP does not answer to {command:?}"))
    }

    /// The first number behind `label` in what a CLI command prints.
    pub fn number(&self, command: &str, label: &str) -> u64 {
        let answer = self.cli(command);
        let (_, rest) = answer.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {answer}"));
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number after {label:?} in {answer}"))
    }

    /// The API socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    /// Starts the vpp_papi client.
    pub fn papi(&self, arguments: &[&str]) -> Program {
        let script = repository().join("vpp-plugin/tests/real_vpp/papi_client.py");
        Program::start(Command::new(python()).arg(script).arg(self.socket()).args(arguments))
    }

    /// Starts the GoVPP client.
    pub fn govpp(&self, arguments: &[&str]) -> Program {
        let program = govpp::program(repository(), &target()).unwrap_or_else(|why| panic!("{why}"));
        Program::start(Command::new(program).arg("-socket").arg(self.socket()).args(arguments))
    }

    /// Ends VPP as systemd does, and waits for a clean end.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let status = wait_for("VPP ends", || self.child.try_wait().unwrap());
        let output = fs::read_to_string(self.directory.join("output")).unwrap();
        assert!(status.success(), "{status}: {output}");
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.join("output")).unwrap_or_default());
        }
    }
}

/// The events among the lines, without the client's pid.
pub fn events(lines: &[String]) -> Vec<String> {
    let event = |line: &String| {
        let (kind, rest) = line.split_once(" pid ")?;
        let (_, fields) = rest.split_once(' ')?;
        Some(format!("{kind} {fields}"))
    };
    lines.iter().filter_map(event).collect()
}
