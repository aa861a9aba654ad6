//! A real VPP with the plugin in it, and real clients.

#[path = "../../../tests/common/govpp.rs"]
mod govpp;
// Its other users need more of it.
#[allow(dead_code)]
#[path = "../../../tests/common/program.rs"]
mod program;
pub mod raw;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Once, OnceLock};
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

fn shipped_plugin() -> PathBuf {
    let plugin = target().join("vpp-plugin/herald_plugin.so");
    assert!(plugin.exists(), "{} is missing: run `make vpp-plugin`", plugin.display());
    plugin
}

/// The plugin once more, built to panic on purpose.
fn panicking_plugin(sdk: &Path) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let plugin = target().join("vpp-plugin/herald_plugin-test-panics.so");
        let mut command = Command::new("sh");
        command.current_dir(repository()).env("HERALD_VPP_SDK", sdk);
        let built = command.arg("vpp-plugin/build.sh").arg(&plugin).arg("test-panics").output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        plugin
    };
    BUILT.get_or_init(build).clone()
}

/// Where VPP's headers are, as in build.sh.
fn include_folders(sdk: &Path) -> Vec<PathBuf> {
    let Ok(cache) = fs::read_to_string(sdk.join("CMakeCache.txt")) else {
        return vec![sdk.join("include")];
    };
    let source = cache.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    vec![source.unwrap().into(), sdk.join("CMakeFiles"), sdk.join("CMakeFiles/vpp")]
}

/// The client over shared memory, built against VPP's own library.
fn memory_client(sdk: &Path) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let library = fs::read_dir(sdk.join("lib")).unwrap().find_map(|entry| {
            let directory = entry.unwrap().path();
            directory.join("libvlibmemoryclient.so").exists().then_some(directory)
        });
        let library = library.expect("libvlibmemoryclient.so in a folder of lib/");
        let program = target().join("memory_client");
        let mut command = Command::new("cc");
        command.args(["-O1", "-Wall", "-Werror"]);
        for folder in include_folders(sdk) {
            command.arg("-isystem").arg(folder);
        }
        command.arg(repository().join("vpp-plugin/tests/real_vpp/memory_client.c"));
        command.arg("-o").arg(&program).arg("-L").arg(&library);
        command.arg(format!("-Wl,-rpath,{}", library.display()));
        command.args(["-lvlibmemoryclient", "-lvlibapi", "-lsvm", "-lvppinfra"]);
        let built = command.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    };
    BUILT.get_or_init(build).clone()
}

/// A Python that has vpp_papi.
fn python() -> PathBuf {
    let python = repository().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    python
}

/// Polls until `look` has an answer; panics if it has none soon.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_within(SOON, what, look)
}

/// The same, if it may take longer or must not.
pub fn wait_for_within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {time:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Which plugin VPP gets.
#[derive(Clone, Copy)]
pub enum Plugin {
    /// What `make vpp-plugin` has built.
    Shipped,
    /// The same, but VPP is told not to load it.
    Disabled,
    /// One that panics when it is told to, with `herald panic`.
    Panicking,
    /// One that panics while it starts.
    PanickingAtStart,
}

impl Plugin {
    fn file(self, sdk: &Path) -> PathBuf {
        match self {
            Plugin::Shipped | Plugin::Disabled => shipped_plugin(),
            Plugin::Panicking | Plugin::PanickingAtStart => panicking_plugin(sdk),
        }
    }
}

/// The prefix of the shared memory of the VPP in this directory.
fn segment(directory: &Path) -> String {
    format!("herald-test-{}-{}", std::process::id(), directory.file_name().unwrap().display())
}

/// What the plugin says of a client.
#[derive(Debug)]
pub struct Counts {
    pub pid: u32,
    pub sent: u64,
    pub waiting: u64,
    pub lost: u64,
    pub transport: String,
}

/// A running VPP with everything of its own in one directory.
pub struct Vpp {
    sdk: PathBuf,
    directory: PathBuf,
    child: Child,
}

impl Vpp {
    /// Starts VPP with the plugin and this herald.toml, in a directory that outlives it.
    pub fn start(sdk: &Path, directory: &Path, herald_toml: &str) -> Vpp {
        Vpp::start_with(sdk, directory, herald_toml, Plugin::Shipped)
    }

    /// Starts VPP with this plugin.
    pub fn start_with(sdk: &Path, directory: &Path, herald_toml: &str, plugin: Plugin) -> Vpp {
        let mut vpp = Vpp::spawn(sdk, directory, herald_toml, plugin);
        wait_for("VPP answers", || {
            let ended = vpp.child.try_wait().unwrap();
            assert!(ended.is_none(), "VPP: {ended:?}: {}", vpp.output());
            vpp.try_cli("show version").filter(|answer| answer.contains("vpp v26.06")).map(drop)
        });
        vpp
    }

    /// Starts VPP with this plugin, and answers with how it has ended and what it has said.
    pub fn start_in_vain(sdk: &Path, directory: &Path, plugin: Plugin) -> (ExitStatus, String) {
        let mut vpp = Vpp::spawn(sdk, directory, "", plugin);
        let status = wait_for("VPP ends", || vpp.child.try_wait().unwrap());
        vpp.remove_segment();
        (status, vpp.output())
    }

    fn spawn(sdk: &Path, directory: &Path, herald_toml: &str, plugin: Plugin) -> Vpp {
        let plugins = directory.join("plugins");
        fs::create_dir_all(&plugins).unwrap();
        fs::copy(plugin.file(sdk), plugins.join("herald_plugin.so")).unwrap();
        fs::write(directory.join("herald.toml"), herald_toml).unwrap();
        let at = |name: &str| directory.join(name).display().to_string();
        // No hugepages, no network cards, next to no processor while idle.
        let startup = format!(
            "unix {{ nodaemon nobanner cli-listen {cli} runtime-dir {dir} log {log} poll-sleep-usec 1000 }}\n\
             memory {{ main-heap-size 256M main-heap-page-size 4k }}\n\
             buffers {{ buffers-per-numa 2048 page-size 4k }}\n\
             socksvr {{ socket-name {api} }}\n\
             statseg {{ socket-name {stats} size 8M page-size 4k }}\n\
             api-segment {{ prefix {segment} }}\n\
             logging {{ default-syslog-log-level disabled default-log-level info }}\n\
             plugins {{ path {plugins} plugin default {{ disable }} plugin herald_plugin.so {{ {switch} }} }}\n",
            cli = at("cli.sock"),
            dir = at("run"),
            log = at("vpp.log"),
            api = at("api.sock"),
            stats = at("stats.sock"),
            segment = segment(directory),
            switch = if matches!(plugin, Plugin::Disabled) { "disable" } else { "enable" },
            plugins = plugins.display(),
        );
        fs::write(directory.join("startup.conf"), startup).unwrap();
        let output = fs::File::create(directory.join("output")).unwrap();
        let mut command = Command::new(sdk.join("bin/vpp"));
        command.arg("-c").arg(directory.join("startup.conf"));
        command.env("HERALD_CONFIG", directory.join("herald.toml"));
        if matches!(plugin, Plugin::PanickingAtStart) {
            command.env("HERALD_PANIC", "start");
        }
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap();
        Vpp { sdk: sdk.to_owned(), directory: directory.to_owned(), child }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }

    fn try_cli(&self, command: &str) -> Option<String> {
        // vppctl itself would wait for ever for a main thread that is stuck.
        let output = Command::new("timeout")
            .arg(SOON.as_secs().to_string())
            .arg(self.sdk.join("bin/vppctl"))
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

    /// What `show herald clients` says.
    pub fn clients(&self) -> Vec<Counts> {
        let answer = self.cli("show herald clients");
        let counts = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            Some(Counts {
                pid: words.next()?.parse().ok()?,
                sent: words.next()?.parse().ok()?,
                waiting: words.next()?.parse().ok()?,
                lost: words.next()?.parse().ok()?,
                transport: words.next()?.to_owned(),
            })
        };
        let lines = answer.lines().skip(1);
        lines.map(|line| counts(line).unwrap_or_else(|| panic!("{answer}"))).collect()
    }

    /// Waits until so many events have been raised and sent to every client, for as long as that gets on.
    pub fn wait_until_all_is_sent(&self, events: u64) {
        let left = || {
            let waiting: u64 = self.clients().iter().map(|client| client.waiting).sum();
            waiting + events - self.number("show herald", "GTP errors:")
        };
        let mut before = left();
        while before > 0 {
            before = wait_for("more events are sent", || Some(left()).filter(|left| *left != before));
        }
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

    /// Starts the client over shared memory: `how` it connects, the length of its queue, how many events it
    /// waits for, and perhaps `quiet`.
    pub fn memory(&self, how: &str, queue_count_quiet: &[&str]) -> Program {
        let mut command = Command::new(memory_client(&self.sdk));
        let place = match how {
            "private" => self.socket().display().to_string(),
            _ => segment(&self.directory),
        };
        Program::start(command.arg(how).arg(place).args(queue_count_quiet))
    }

    /// Names of what VPP has left behind: in its directory, and as shared memory.
    pub fn remains(directory: &Path) -> Vec<String> {
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        let segment = segment(directory);
        let memory = names(Path::new("/dev/shm")).into_iter();
        let mut all = names(directory);
        all.extend(names(&directory.join("run")));
        all.extend(memory.filter_map(|name| Some(name.strip_prefix(&segment)?.to_owned())));
        all.sort();
        all
    }

    /// Starts the GoVPP client.
    pub fn govpp(&self, arguments: &[&str]) -> Program {
        let program = govpp::program(repository(), &target()).unwrap_or_else(|why| panic!("{why}"));
        Program::start(Command::new(program).arg("-socket").arg(self.socket()).args(arguments))
    }

    /// Removes the shared memory.
    fn remove_segment(&self) {
        let segment = segment(&self.directory);
        let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&segment)) {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Starts the tests in `examples/govpp`.
    pub fn go_tests(&self) -> Child {
        let mut command = govpp::go(repository());
        command.args(["test", "-count=1", "."]).env("HERALD_API_SOCKET", self.socket());
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Ends VPP as systemd does, and waits for a clean end. Its shared memory goes in any case: VPP leaves it
    /// if a client that was connected to it has been killed.
    pub fn stop(mut self) {
        self.end();
        self.remove_segment();
    }

    /// The same, but what VPP leaves behind stays.
    pub fn end(&mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let status = wait_for("VPP ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.output());
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.remove_segment();
        }
        if thread::panicking() {
            eprintln!("{}", self.output());
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
