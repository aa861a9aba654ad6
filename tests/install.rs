//! The promise: `make install` puts everything where programs, linkers, openl2tpd and people look
//! for it, and what is installed works from there.

mod common;

#[path = "c/kit.rs"]
mod kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Client, DOCUMENT, Setup, wait_for};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The directory that cargo builds into: this test is TARGET/debug/deps/install-….
fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf()
}

/// An installed tree, as a packager stages it.
struct Installed(TempDir);

impl Installed {
    /// Installs with these variables of make; none, and a word about it, without make.
    fn with(test: &str, variables: &[&str]) -> Option<Installed> {
        if !kit::has("make") {
            common::skipped(test, "there is no make");
            return None;
        }
        let library = target().join("release/libherald.so");
        assert!(library.exists(), "{} is missing: run `make`", library.display());
        let tree = Installed(kit::directory());
        let mut make = Command::new("make");
        make.current_dir(kit::root()).arg("install").args(variables);
        make.arg(format!("DESTDIR={}", tree.0.path().display()));
        // A make that runs this test has told its children things that are not for this one.
        for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PREFIX", "LIBDIR", "OPENL2TP_PLUGIN_DIR"] {
            make.env_remove(variable);
        }
        kit::run(make.env("CARGO_TARGET_DIR", target())).well("make install");
        Some(tree)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Every file and link, with what a link points to.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![self.0.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.0.path()).unwrap().display().to_string();
                if path.is_symlink() {
                    found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                } else if path.is_dir() {
                    directories.push(path);
                } else {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    /// What pkg-config says to a build that uses this tree as its system.
    fn pkg_config(&self, libdir: &str, options: &[&str]) -> String {
        let mut command = Command::new("pkg-config");
        command.args(options).arg("herald");
        command.env("PKG_CONFIG_LIBDIR", self.path(libdir).join("pkgconfig"));
        command.env("PKG_CONFIG_SYSROOT_DIR", self.0.path());
        // The staged /usr/include is not the compiler's own.
        command.env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1").env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1");
        kit::run(&mut command).well("pkg-config").out.trim().to_owned()
    }
}

#[test]
fn everything_is_installed_and_nothing_else() {
    let test = "everything_is_installed_and_nothing_else";
    let Some(tree) = Installed::with(test, &["PREFIX=/usr"]) else { return };
    let mut expected = vec![
        "usr/bin/herald-apigen".to_owned(),
        "usr/include/herald.h".to_owned(),
        "usr/lib/libherald.so -> libherald.so.0".to_owned(),
        format!("usr/lib/libherald.so.0 -> libherald.so.{VERSION}"),
        format!("usr/lib/libherald.so.{VERSION}"),
        "usr/lib/openl2tp/event_sock.so".to_owned(),
        "usr/lib/pkgconfig/herald.pc".to_owned(),
    ];
    // That of libherald_lwip.so comes with it, by `make install-lwip`.
    let pages = manual_pages().into_iter().filter(|page| !page.starts_with("herald-lwip."));
    expected.extend(pages.map(|page| format!("usr/share/man/man{}/{page}", section(&page))));
    expected.sort();
    assert_eq!(tree.files(), expected);
    for name in expected.iter().filter(|name| !name.contains(" -> ")) {
        let mode = fs::metadata(tree.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            mode,
            if name.contains(".so") || name.contains("/bin/") { 0o755 } else { 0o644 },
            "{name}: {mode:o}"
        );
    }
    let header = fs::read(kit::include().join("herald.h")).unwrap();
    assert!(fs::read(tree.path("usr/include/herald.h")).unwrap() == header);
}

#[test]
fn it_can_be_installed_over_itself_and_elsewhere() {
    let test = "it_can_be_installed_over_itself_and_elsewhere";
    let variables = ["PREFIX=/opt/herald", "LIBDIR=/opt/herald/lib64", "OPENL2TP_PLUGIN_DIR=/opt/l2tp"];
    let Some(tree) = Installed::with(test, &variables) else { return };
    let before = tree.files();
    assert!(before.contains(&format!("opt/herald/lib64/libherald.so.{VERSION}")), "{before:?}");
    assert!(before.contains(&"opt/l2tp/event_sock.so".to_owned()), "{before:?}");
    let pc = fs::read_to_string(tree.path("opt/herald/lib64/pkgconfig/herald.pc")).unwrap();
    assert!(!pc.contains('@') && !pc.contains(tree.0.path().to_str().unwrap()), "{pc}");
    assert!(pc.contains("/opt/herald") && pc.contains("lib64"), "{pc}");

    let mut make = Command::new("make");
    make.current_dir(kit::root()).arg("install").args(variables).env_remove("MAKEFLAGS");
    make.arg(format!("DESTDIR={}", tree.0.path().display())).env("CARGO_TARGET_DIR", target());
    kit::run(&mut make).well("make install");
    assert_eq!(tree.files(), before);
}

#[test]
fn a_program_is_built_against_the_installed_tree_and_runs() {
    let test = "a_program_is_built_against_the_installed_tree_and_runs";
    if !kit::has("pkg-config") {
        return common::skipped(test, "there is no pkg-config");
    }
    let Some(tree) = Installed::with(test, &["PREFIX=/usr"]) else { return };
    assert_eq!(tree.pkg_config("usr/lib", &["--modversion"]), VERSION);
    let flags = tree.pkg_config("usr/lib", &["--cflags", "--libs"]);
    let flags: Vec<&str> = flags.split_whitespace().collect();
    assert!(flags.contains(&"-lherald"), "{flags:?}");

    let program = tree.path("embed");
    let mut command = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    command.args(["-std=gnu99", "-o"]).arg(&program).arg(kit::root().join("c_examples/embed.c"));
    kit::compiled(command.args(&flags));

    let socket = tree.path("evt");
    let client = std::thread::spawn({
        let socket = socket.clone();
        move || {
            let mut client = wait_for("embed listens", || Client::try_connect(&socket).ok());
            client.subscribe(DOCUMENT);
            client.skip_to_end();
        }
    });
    let mut command = Command::new(program);
    command.arg(&socket).arg("3").env("LD_LIBRARY_PATH", tree.path("usr/lib"));
    let said = kit::run(&mut command).well("embed");
    assert!(said.out.starts_with("published 15, "), "{}", said.out);
    client.join().unwrap();
}

#[test]
fn a_daemon_loads_the_installed_plugin() {
    let test = "a_daemon_loads_the_installed_plugin";
    let Some(tree) = Installed::with(test, &["PREFIX=/usr"]) else { return };
    let plugin = tree.path("usr/lib/openl2tp/event_sock.so");
    let mut host = Setup::new().plugins([&plugin]).start();
    let log = host.wait_for_log(&format!("version herald {VERSION}"));
    assert!(log.contains("/usr/lib/openl2tp/event_sock.so"), "{log}");
    host.serves_a_fresh_client();
    assert_eq!(host.exit(), 0);
}

/// The pages in `docs/man`.
fn manual_pages() -> Vec<String> {
    let pages = fs::read_dir(kit::root().join("docs/man")).unwrap();
    pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect()
}

fn section(page: &str) -> &str {
    page.rsplit('.').next().unwrap()
}

#[test]
fn the_manual_pages_are_well_formed() {
    let test = "the_manual_pages_are_well_formed";
    let pages = manual_pages();
    for promised in ["herald.7", "herald.toml.5"] {
        assert!(pages.iter().any(|page| page == promised), "{promised} is not there");
    }
    for page in pages {
        let path = kit::root().join("docs/man").join(&page);
        let text = fs::read_to_string(&path).unwrap();
        let (name, section) = page.rsplit_once('.').unwrap();
        let title = format!(".TH {} {section} ", name.to_uppercase());
        assert!(text.to_uppercase().replace("\\-", "-").contains(&title), "{page} has no {title:?}");
        assert!(text.contains(VERSION), "{page} is not of version {VERSION}");
        check_page(test, &path);
    }
}

/// Has groff's complaints, if it is there.
fn check_page(test: &str, page: &Path) {
    if !kit::has("groff") {
        return common::skipped(test, "there is no groff");
    }
    let mut command = Command::new("groff");
    let said = kit::run(command.args(["-t", "-man", "-Tutf8", "-ww", "-z"]).arg(page)).well("groff");
    assert!(said.err.is_empty(), "{}: {}", page.display(), said.err);
}
