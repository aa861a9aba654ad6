//! Two sites joined by a cable.
//!
//! Each site is a network, mount and process namespace with its own rpcbind. It dies with the
//! pipe to its first process: with the [`Lab`], with a panic, or with this whole program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::Launch;
use crate::frame::Session;

/// How long anything that ought to happen may take, on a loaded machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Polls until `look` has an answer.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

/// Polls until `look` has an answer; panics if it has none soon.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(SOON, look).unwrap_or_else(|| panic!("{what}: not within {SOON:?}"))
}

/// Everything one test needs: the two sites, and a directory that both see at the same path.
pub struct Lab {
    /// The site of the daemon under test, which opens tunnels.
    pub lac: Site,
    /// The site of its peer.
    pub lns: Site,
    dir: TempDir,
}

impl Lab {
    /// Builds a lab; none, and a word about it, if there is no daemon to try.
    pub fn new() -> Option<Lab> {
        let Some(tree) = std::env::var_os("HERALD_OPENL2TPD").map(PathBuf::from) else {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                // Not eprintln!, which the test harness keeps to itself when a test passes.
                let _ = std::io::stderr()
                    .write_all(b"skipped: HERALD_OPENL2TPD is not set (a built openl2tp tree)\n");
            });
            return None;
        };
        // SAFETY: geteuid has no preconditions.
        assert_eq!(unsafe { libc::geteuid() }, 0, "HERALD_OPENL2TPD needs root, for namespaces");

        let dir = tempfile::Builder::new().prefix("herald-l2tp").tempdir().unwrap();
        for (from, name) in [
            (tree.join("openl2tpd"), "openl2tpd"),
            (tree.join("l2tpconfig"), "l2tpconfig"),
            (tree.join("plugins/ppp_null.so"), "ppp_null.so"),
            (library(), "event_sock.so"),
        ] {
            fs::copy(&from, dir.path().join(name)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
        fs::write(dir.path().join("openl2tpd.conf"), "# nothing\n").unwrap();

        let lac = Site::new("lac", "10.9.0.1", dir.path());
        let lns = Site::new("lns", "10.9.0.2", dir.path());
        let (one, two) = (lac.init.to_string(), lns.init.to_string());
        let cable = "ip link add l2tp netns $1 type veth peer name l2tp netns $2";
        run(Command::new("sh").args(["-c", cable, "sh", &one, &two]).env("PATH", path()));
        lac.network_up();
        lns.network_up();
        Some(Lab { lac, lns, dir })
    }

    /// A path in the directory that both sites and this program share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A daemon with the library under test, serving at `socket` in the shared directory.
    pub fn herald(&self, socket: &str) -> Launch<'_> {
        Launch::new(self).plugin(self.path("event_sock.so")).socket(socket)
    }

    /// A daemon with nothing of ours.
    pub fn plain(&self) -> Launch<'_> {
        Launch::new(self)
    }

    /// Compiles the helper plugin, which misbehaves as `HELPER` says.
    pub fn helper(&self) -> PathBuf {
        let so = self.path("helper.so");
        fs::write(self.path("helper.c"), include_str!("helper.c")).unwrap();
        run(Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .arg(&so)
            .arg(self.path("helper.c")));
        so
    }

    /// Opens the tunnel `t` from the LAC to the LNS.
    pub fn tunnel(&self) {
        let to = format!("dest_ipaddr={}", self.lns.ip);
        self.lac.config(&["tunnel", "create", "tunnel_name=t", &to]);
        wait_for("the tunnel is up", || {
            let shown = self.lac.config(&["tunnel", "show", "tunnel_name=t"]);
            shown.contains("state: ESTABLISHED").then_some(())
        });
    }

    /// Asks the LAC for the session `name`, whatever comes of it.
    ///
    /// A tunnel stands few sessions at a time: with eight requests on their way it stalls, and a
    /// peer that uses the number of a new session for another of its own closes that other.
    pub fn create(&self, name: &str) -> String {
        let name = format!("session_name={name}");
        self.lac.config(&["session", "create", "tunnel_name=t", &name])
    }

    /// Opens the session `name` and waits until both daemons have it up.
    pub fn up(&self, name: &str) -> Session {
        self.create(name);
        wait_for("the session is up", || self.session(name).filter(|s| s.established))
    }

    /// Closes the session `name`.
    pub fn down(&self, name: &str) {
        let name = format!("session_name={name}");
        self.lac.config(&["session", "delete", "tunnel_name=t", &name]);
    }

    /// What the LAC says of the session `name`.
    pub fn session(&self, name: &str) -> Option<Session> {
        let name = format!("session_name={name}");
        let tunnel = self.lac.config(&["tunnel", "show", "tunnel_name=t"]);
        let session = self.lac.config(&["session", "show", "tunnel_name=t", &name]);
        Some(Session {
            tunnel: number_after(&tunnel, "Tunnel ")?,
            peer_tunnel: number_after(&tunnel, "peer tunnel id: ")?,
            session: number_after(&session, "Session ")?,
            peer_session: number_after(&session, "peer session id: ").unwrap_or(0),
            established: session.contains("state: ESTABLISHED"),
        })
    }
}

fn number_after(text: &str, mark: &str) -> Option<u16> {
    let rest = &text[text.find(mark)? + mark.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// The library under test.
fn library() -> PathBuf {
    if let Some(given) = std::env::var_os("HERALD_LIB") {
        return given.into();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let beside = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    [beside, target.join("debug"), target.join("release")]
        .iter()
        .map(|dir| dir.join("libherald.so"))
        .find(|lib| lib.exists())
        .expect("libherald.so: not built, and HERALD_LIB does not name it")
}

/// Our PATH, with the directories of the administrator's tools.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {}: {said}", out.status);
    said.into_owned()
}

/// One end of the cable.
pub struct Site {
    /// What the tests call it.
    pub name: &'static str,
    ip: &'static str,
    dir: PathBuf,
    unshare: Child,
    init: i32,
}

impl Site {
    fn new(name: &'static str, ip: &'static str, dir: &Path) -> Site {
        // /run is private for the rpcbind, and /tmp for the default path of the event socket.
        let script = "set -e
            mount -t tmpfs none /run; mkdir /run/lab /run/rpcbind; mount --bind \"$1\" /run/lab
            mount -t tmpfs none /tmp; mkdir -p \"$1\"; mount --bind /run/lab \"$1\"
            ip link set lo up; rpcbind; echo ready; cat; exit";
        let unshare = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", script, "sh"])
            .arg(dir)
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut site = Site { name, ip, dir: dir.to_owned(), unshare, init: 0 };
        let mut said = String::new();
        let stdout = site.unshare.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the site {name} (needs rpcbind and iproute2)");
        let id = site.unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        site.init = children.trim().parse().unwrap();
        site
    }

    fn network_up(&self) {
        let script = "ip addr add $1/24 dev l2tp && ip link set l2tp up";
        run(self.command("sh").args(["-c", script, "sh", self.ip]));
    }

    /// A file as this site sees it.
    pub fn root(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{file}", self.init))
    }

    /// A command to run in this site's network and file system.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.enter(&["-n", "-m"], program)
    }

    /// A command that also belongs to this site's processes, and dies with them.
    pub fn process(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.enter(&["-n", "-m", "-p"], program)
    }

    fn enter(&self, what: &[&str], program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.init.to_string();
        command.args(["-t", &target]).args(what).arg("--").arg(program).env("PATH", path());
        command
    }

    /// The number outside of the process that is `inner` here.
    pub fn outer_pid(&self, inner: i32) -> Option<i32> {
        let ours = fs::read_link(format!("/proc/{}/ns/pid", self.init)).ok()?;
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let seen = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let same = seen.split_whitespace().last()?.parse() == Ok(inner);
            (same && fs::read_link(entry.path().join("ns/pid")).ok()? == ours).then_some(pid)
        })
    }

    /// Runs l2tpconfig: the daemon must answer.
    pub fn config(&self, args: &[&str]) -> String {
        self.try_config(args, SOON).unwrap_or_else(|| {
            panic!("{}: the daemon did not answer `l2tpconfig {}`", self.name, args.join(" "))
        })
    }

    /// Runs l2tpconfig: what it says, or none if the daemon does not answer in time.
    pub fn try_config(&self, args: &[&str], limit: Duration) -> Option<String> {
        let mut child = self
            .command(self.dir.join("l2tpconfig"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter");
        let done = within(limit, || child.try_wait().unwrap());
        let _ = child.kill();
        let _ = child.wait();
        done?;
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (!said.contains("RPC:")).then_some(said)
    }

    /// Whether the daemon here answers at once.
    pub fn answers(&self) -> bool {
        self.try_config(&["tunnel", "list"], Duration::from_secs(2)).is_some()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take());
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
