//! A running openl2tpd.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use crate::client::Client;
use crate::lab::{Lab, SOON, Site, wait_for, within};

/// How to start a daemon.
pub struct Launch<'a> {
    lab: &'a Lab,
    plugins: Vec<PathBuf>,
    socket: Option<PathBuf>,
    options: &'a str,
    umask: &'static str,
    background: bool,
    env: Vec<(&'static str, PathBuf)>,
}

impl<'a> Launch<'a> {
    /// A daemon that starts no pppd, in the foreground.
    pub fn new(lab: &'a Lab) -> Self {
        Launch {
            lab,
            plugins: vec![lab.path("ppp_null.so")],
            socket: None,
            options: "",
            umask: "022",
            background: false,
            env: Vec::new(),
        }
    }

    /// Loads one more plugin, after the others.
    pub fn plugin(mut self, path: PathBuf) -> Self {
        self.plugins.push(path);
        self
    }

    /// Loads a plugin before the library under test.
    pub fn plugin_first(mut self, path: PathBuf) -> Self {
        self.plugins.insert(1, path);
        self
    }

    /// Configures the event socket's path, in the shared directory.
    pub fn socket(mut self, name: &str) -> Self {
        self.socket = Some(self.lab.path(name));
        self
    }

    /// Configures the event socket further.
    pub fn options(mut self, lines: &'a str) -> Self {
        self.options = lines;
        self
    }

    /// Leaves the event socket at its default path.
    pub fn default_socket(mut self) -> Self {
        self.socket = None;
        self
    }

    /// Starts the daemon with this umask.
    pub fn umask(mut self, umask: &'static str) -> Self {
        self.umask = umask;
        self
    }

    /// Lets the daemon go into the background, as it does in life.
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Sets a variable in the daemon's environment.
    pub fn env(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Starts the daemon, and waits until it answers RPC: its plugins are loaded by then.
    pub fn start(self, site: &Site) -> Daemon {
        let log = self.lab.path(&format!("{}.log", site.name));
        let pid_file = self.lab.path(&format!("{}.pid", site.name));
        // A daemon that was killed left its pid file, and a new one does not start over it.
        let _ = fs::remove_file(&pid_file);
        let mut command = site.process("sh");
        let output = fs::File::create(&log).unwrap();
        command
            .args(["-c", "umask $1; shift; exec \"$@\"", "sh", self.umask])
            .args(["stdbuf", "-oL"])
            .arg(self.lab.path("openl2tpd"))
            .arg("-c")
            .arg(self.lab.path("openl2tpd.conf"))
            .arg("-P")
            .arg(&pid_file)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .env_remove("HERALD_CONFIG")
            .envs(self.env.iter().map(|(name, value)| (*name, value)));
        for plugin in &self.plugins {
            command.arg("-p").arg(plugin);
        }
        if !self.background {
            command.arg("-f");
        }
        if let Some(socket) = &self.socket {
            let config = self.lab.path(&format!("{}.toml", site.name));
            let section = format!("[event_sock]\npath = \"{}\"\n", socket.display());
            fs::write(&config, section + self.options).unwrap();
            command.env("HERALD_CONFIG", config);
        }
        let child = command.spawn().expect("nsenter");
        let socket = match self.socket {
            Some(socket) => socket,
            None => site.root("/tmp/openl2tpd.evt"),
        };
        let mut daemon = Daemon { child, pid: 0, background: self.background, log, socket };
        daemon.pid = wait_for("the daemon has a pid", || {
            site.outer_pid(fs::read_to_string(&pid_file).ok()?.parse().ok()?)
        });
        wait_for("the daemon answers", || site.answers().then_some(()));
        daemon
    }
}

/// A daemon; killed when dropped, if it still lives.
pub struct Daemon {
    child: Child,
    /// Its number outside of the site.
    pub pid: i32,
    background: bool,
    log: PathBuf,
    /// Where its event socket should be.
    pub socket: PathBuf,
}

impl Daemon {
    /// A new client of its event socket.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket)
    }

    /// A new client that asked for the document's four events.
    pub fn subscriber(&self) -> Client {
        let client = self.client();
        client.send(&[0x0f, 0, 1, 0, 1]);
        client
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no preconditions; the daemon is ours and has not been waited for.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// Whether it has gone.
    pub fn gone(&self) -> bool {
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => after_name(&stat).starts_with('Z'),
            Err(_) => true,
        }
    }

    /// Waits until it has exited; how, unless it is in the background or does not.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        within(SOON, || self.gone().then_some(()))?;
        if self.background { None } else { within(SOON, || self.child.try_wait().unwrap()) }
    }

    /// Ends it with SIGTERM. Its own code for that is 1; anything else was not its own doing.
    pub fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
        let status = self.exit().unwrap_or_else(|| panic!("does not exit\n{}", self.log()));
        assert_eq!((status.code(), status.signal()), (Some(1), None), "{}", self.log());
    }

    /// The processor time that it has had, in ticks (hundredths of a second).
    pub fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields: Vec<&str> = after_name(&stat).split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The process that its helper plugin started, by its mark in the log.
    pub fn helper_child(&self, site: &Site) -> i32 {
        wait_for("the helper's child", || {
            let log = self.log();
            let line = log.lines().find_map(|line| line.strip_prefix("helper: child "))?;
            site.outer_pid(line.trim().parse().ok()?)
        })
    }
}

/// The fields of /proc/PID/stat after the name, which may itself contain anything.
fn after_name(stat: &str) -> &str {
    &stat[stat.rfind(')').unwrap() + 2..]
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.pid != 0 && !self.gone() {
            self.signal(libc::SIGKILL);
            let _ = within(SOON, || self.gone().then_some(()));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}

/// Whether anything accepts connections at `path`.
pub fn served(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}
