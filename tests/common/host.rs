//! The stand-in for openl2tpd, with the plugin loaded.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::wire::*;
use super::{Client, SOON, c_example, library, proc, skipped, wait_for};

/// How a host is to be started.
pub struct Setup {
    dir: TempDir,
    socket: PathBuf,
    lines: String,
    toml: Option<String>,
    configured: bool,
    program: Option<PathBuf>,
    plugins: Option<Vec<PathBuf>>,
    options: Vec<OsString>,
    shell: Option<String>,
}

impl Setup {
    pub fn new() -> Setup {
        Self::in_directory(Path::new("/tmp"))
    }

    fn in_directory(parent: &Path) -> Setup {
        let dir = tempfile::Builder::new().prefix("herald").tempdir_in(parent).unwrap();
        Setup {
            socket: dir.path().join("evt"),
            dir,
            lines: String::new(),
            toml: None,
            configured: true,
            program: None,
            plugins: None,
            options: Vec::new(),
            shell: None,
        }
    }

    /// The host's private directory, in which it has its socket unless told otherwise.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the plugin is told to listen.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Setup {
        self.socket = path.into();
        self
    }

    /// Lines for the section `[event_sock]`, besides the path.
    pub fn config(mut self, lines: &str) -> Setup {
        self.lines = lines.to_owned();
        self
    }

    /// The whole configuration file.
    pub fn toml(mut self, text: impl Into<String>) -> Setup {
        self.toml = Some(text.into());
        self
    }

    /// Leaves `HERALD_CONFIG` unset.
    pub fn unconfigured(mut self) -> Setup {
        self.configured = false;
        self
    }

    /// Another host than `l2tp_host`.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Setup {
        self.program = Some(program.into());
        self
    }

    /// The plugins to load, in order, instead of the one.
    pub fn plugins<P: Into<PathBuf>>(mut self, plugins: impl IntoIterator<Item = P>) -> Setup {
        self.plugins = Some(plugins.into_iter().map(Into::into).collect());
        self
    }

    /// Options of the host.
    pub fn options<O: Into<OsString>>(mut self, options: impl IntoIterator<Item = O>) -> Setup {
        self.options = options.into_iter().map(Into::into).collect();
        self
    }

    /// Shell commands to run in the host's process before it becomes the host.
    pub fn shell(mut self, commands: impl Into<String>) -> Setup {
        self.shell = Some(commands.into());
        self
    }

    /// A host that sees a `/tmp` of its own and an empty `/etc`, for those that use the default
    /// paths. The shell `commands` run there before it, with its directory in `$DIR`. None, and a
    /// word about it, where that takes more rights than we have.
    pub fn with_private_tmp(test: &str, commands: &str) -> Option<Setup> {
        let unshare = if nix::unistd::geteuid().is_root() { "unshare -m" } else { "unshare -Urm" };
        let tried = Command::new("sh").arg("-c").arg(format!("{unshare} true")).output().unwrap();
        if !tried.status.success() {
            skipped(test, String::from_utf8_lossy(&tried.stderr).trim_end());
            return None;
        }
        let setup = Self::in_directory(Path::new("/var/tmp"));
        let tmp = setup.dir().join("tmp");
        std::fs::create_dir(&tmp).unwrap();
        // The originals may be in the other /tmp.
        let (program, plugin) = (setup.dir().join("l2tp_host"), setup.dir().join("libherald.so"));
        std::fs::copy(c_example("l2tp_host"), &program).unwrap();
        std::fs::copy(library(), &plugin).unwrap();
        let inside = format!(
            "DIR={}\nmount --bind $DIR/tmp /tmp\nmount -t tmpfs none /etc\n{commands}\nexec \"$0\" \"$@\"",
            setup.dir().display()
        );
        Some(
            setup
                .socket(tmp.join("openl2tpd.evt"))
                .program(program)
                .plugins([plugin])
                .shell(format!("exec {unshare} sh -ec '{inside}' \"$0\" \"$@\"")),
        )
    }

    /// Starts the host, and waits until it has loaded its plugins.
    pub fn start(self) -> Host {
        let config = self.dir.path().join("herald.toml");
        let toml = self.toml.unwrap_or_else(|| {
            format!("[event_sock]\npath = \"{}\"\n{}\n", self.socket.display(), self.lines)
        });
        std::fs::write(&config, toml).unwrap();

        let program = self.program.unwrap_or_else(|| c_example("l2tp_host"));
        let mut command = match &self.shell {
            None => Command::new(program),
            Some(commands) => {
                let mut shell = Command::new("sh");
                shell.arg("-ec").arg(format!("{commands}\nexec \"$0\" \"$@\"")).arg(program);
                shell
            }
        };
        for plugin in self.plugins.unwrap_or_else(|| vec![library()]) {
            command.arg("-p").arg(plugin);
        }
        command.args(self.options).env_remove("HERALD_CONFIG");
        if self.configured {
            command.env("HERALD_CONFIG", config);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut host = Host {
            stdin: child.stdin.take(),
            out: Lines::of(child.stdout.take().unwrap()),
            log: Lines::of(child.stderr.take().unwrap()),
            child,
            dir: self.dir,
            socket: self.socket,
        };
        // Commands are answered only once the plugins are loaded.
        host.ok("pause 0");
        host
    }
}

/// A running host. Dropping it kills it.
pub struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    log: Lines,
    dir: TempDir,
    socket: PathBuf,
}

impl Host {
    /// Starts one with the plugin and its defaults, but for the path.
    pub fn start() -> Host {
        Setup::new().start()
    }

    /// Starts one with these lines in the section `[event_sock]`, besides the path.
    pub fn with(lines: &str) -> Host {
        Setup::new().config(lines).start()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the plugin is told to listen.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The host's private directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the host a command, and does not wait for it.
    pub fn command(&mut self, command: &str) {
        self.try_command(command).unwrap_or_else(|e| panic!("{command}: {e}; {}", self.log.text()));
    }

    fn try_command(&mut self, command: &str) -> std::io::Result<()> {
        let stdin = self.stdin.as_mut().expect("the host's input is closed");
        stdin.write_all(format!("{command}\n").as_bytes())
    }

    /// Waits for the answer to a command: what stands between the command's name and `max_us`.
    pub fn answer(&mut self, command: &str) -> String {
        let name = command.split(' ').next().unwrap();
        let line = self.out.next().unwrap_or_else(|| {
            let log = self.log.text();
            panic!("the host does not answer {command:?} (ended: {:?}); {log}", self.child.try_wait())
        });
        let answer = line.strip_prefix("ok ").and_then(|line| line.strip_prefix(name));
        let answer = answer.unwrap_or_else(|| panic!("{command:?} was answered with {line:?}"));
        answer.rsplit_once(" max_us ").expect("max_us").0.trim().to_owned()
    }

    /// Gives the host a command and waits for its answer.
    pub fn ok(&mut self, command: &str) -> String {
        self.command(command);
        self.answer(command)
    }

    /// Asserts that no hook ever waits for anything: the stock plugin's hooks wait for 250 ms, or
    /// for as long as a client pleases.
    pub fn does_not_wait_for_clients(&mut self) {
        self.flood(100);
    }

    /// Asserts that the worker, and any that was left behind, does not run while nothing happens.
    pub fn worker_sleeps(&mut self) {
        let pid = self.pid();
        let activity = || -> Vec<_> {
            proc::workers(pid).into_iter().map(|worker| proc::activity(pid, worker)).collect()
        };
        // It may still be busy with what happened last.
        wait_for("the worker sleeps through a pause", || {
            let before = activity();
            self.ok("pause 250");
            (before == activity()).then_some(())
        });
    }

    /// A session comes and goes; [`life`] is what its clients see.
    pub fn life(&mut self, tunnel: u16, session: u16) {
        for command in ["created", "up", "down", "deleted"] {
            let peer = if command == "up" { " 2 3" } else { "" };
            let result = self.ok(&format!("{command} {tunnel} {session}{peer}"));
            assert_eq!(result, "0", "{command}");
        }
    }

    /// Publishes as many sessions, and says how many events they are. Whatever clients there are,
    /// no hook waits.
    pub fn flood(&mut self, sessions: u64) -> u64 {
        let pid = self.pid();
        let slept = proc::sleeps(pid, pid);
        let answer = self.ok(&format!("flood {sessions}"));
        let expected = format!("{sessions} hooks {} abandoned 0 total_us", 4 * sessions);
        assert!(answer.starts_with(&expected), "{answer}");
        // The host sleeps while it waits for commands, and SIGALRM may wake it meanwhile.
        let slept = proc::sleeps(pid, pid) - slept;
        assert!(slept < 10, "the host went to sleep {slept} times in {} hooks", 4 * sessions);
        4 * sessions
    }

    /// A new client, which has sent nothing.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket)
    }

    /// A new client with these events on its mask.
    pub fn subscriber(&self, mask: u16) -> Client {
        let mut client = self.client();
        client.subscribe(mask);
        client
    }

    /// A new client with these events on its mask, as soon as there is room for one. It makes the
    /// host publish TUNNEL_CREATED.
    pub fn subscriber_when_there_is_room(&mut self, mask: u16) -> Client {
        wait_for("room for a client", || {
            let mut client = Client::try_connect(&self.socket).ok()?;
            // Who is turned away may find the other end closed before it has said a word.
            client.try_send(&request(mask | TUNNEL_CREATED, 1)).ok()?;
            client.wait_until_read();
            self.ok("tunnel-created 4711");
            while client.next()?.0 != TUNNEL_CREATED {}
            if mask & TUNNEL_CREATED == 0 {
                client.unsubscribe(TUNNEL_CREATED);
            }
            Some(client)
        })
    }

    /// Asserts that a new client is served as the document says.
    pub fn serves_a_fresh_client(&mut self) {
        let mut client = self.subscriber_when_there_is_room(DOCUMENT);
        self.life(7, 8);
        client.expect(&life(7, 8));
    }

    /// Waits for a line of the log that contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// The lines of the log so far that contain `text`.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        let state = self.log.state.0.lock().unwrap();
        state.all.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// Waits for the end: its status, or 128 + N for a signal N. The last lines of the log are
    /// there then.
    pub fn wait(&mut self) -> i32 {
        let status = wait_for("the host ends", || self.child.try_wait().unwrap());
        self.log.wait_for_end();
        self.out.wait_for_end();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// Tells it to exit, and waits.
    pub fn exit(&mut self) -> i32 {
        self.command("exit");
        self.wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Takes the next line of its output that is no answer to a command; none at the end.
    pub fn line(&mut self) -> Option<String> {
        self.out.next()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the host's log: {}", self.log.text());
        }
    }
}

/// The lines that come out of a pipe.
struct Lines {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    all: Vec<String>,
    taken: usize,
    ended: bool,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Lines {
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                shared.0.lock().unwrap().all.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        Lines { state }
    }

    /// Waits until `look` finds something; none if time or the lines run out first.
    fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let end = Instant::now() + SOON;
        let mut state = self.state.0.lock().unwrap();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
    }

    fn next(&self) -> Option<String> {
        self.wait(|state| {
            let line = state.all.get(state.taken)?.clone();
            state.taken += 1;
            Some(line)
        })
    }

    fn wait_for(&self, text: &str) -> String {
        self.wait(|state| state.all.iter().find(|line| line.contains(text)).cloned())
            .unwrap_or_else(|| panic!("no line with {text:?}; {}", self.text()))
    }

    fn wait_for_end(&self) {
        self.wait(|state| state.ended.then_some(())).expect("the pipe is closed");
    }

    /// The last lines.
    fn text(&self) -> String {
        let state = self.state.0.lock().unwrap();
        let from = state.all.len().saturating_sub(40);
        state.all[from..]
            .iter()
            .fold(String::from("its last lines:"), |text, line| text + "\n    " + line)
    }
}
