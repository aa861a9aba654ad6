//! Built OpenSIPS trees, and what differs between their versions.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{library, skipped};
use crate::opensips::Launch;

/// A release of OpenSIPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// How a datagram is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// As the module parameter `format` names it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some(Version(parts.next()??, parts.next()??, parts.next()??))
    }

    pub fn since(self, major: u32, minor: u32) -> bool {
        (self.0, self.1) >= (major, minor)
    }

    /// Whether the library promises to work in it.
    pub fn is_supported(self) -> bool {
        matches!((self.0, self.1), (2, 4) | (3, 0..=6) | (4, 0))
    }

    /// The format that it speaks.
    pub fn format(self) -> Format {
        if self.since(3, 1) { Format::Json } else { Format::Text }
    }

    /// Whether MI speaks lines, and not JSON-RPC.
    pub fn speaks_lines(self) -> bool {
        !self.since(3, 0)
    }

    /// Whether `subscribers_list` works: the core of 3.0.0 answers it with an error.
    pub fn lists_subscribers(self) -> bool {
        self != Version(3, 0, 0)
    }
}

/// A built tree.
pub struct Tree {
    pub path: PathBuf,
    pub version: Version,
}

impl Tree {
    fn open(path: PathBuf) -> Tree {
        let program = path.join("opensips");
        let output = Command::new(&program).arg("-V").output();
        let output = output.unwrap_or_else(|e| panic!("HERALD_OPENSIPS: {}: {e}", program.display()));
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said
            .lines()
            .find_map(|line| line.strip_prefix("version: opensips ")?.split_once(' '))
            .and_then(|(version, _)| Version::parse(version));
        let version = version.unwrap_or_else(|| panic!("{} -V: {said}", program.display()));
        Tree { path, version }
    }

    /// One of its modules.
    pub fn module(&self, name: &str) -> PathBuf {
        self.path.join(format!("modules/{name}/{name}.so"))
    }
}

/// The trees that `HERALD_OPENSIPS` names.
fn trees() -> Vec<Tree> {
    let Some(named) = std::env::var_os("HERALD_OPENSIPS") else { return Vec::new() };
    std::env::split_paths(&named).filter(|path| path != Path::new("")).map(Tree::open).collect()
}

/// What a test needs: a tree, and the library in a directory of modules.
pub struct Lab<'a> {
    test: &'a str,
    pub tree: &'a Tree,
    /// The library under test as `event_datagram.so`.
    pub herald: PathBuf,
}

impl Lab<'_> {
    pub fn version(&self) -> Version {
        self.tree.version
    }

    /// An OpenSIPS with the library as its event_datagram.
    pub fn herald(&self) -> Launch {
        self.with(self.herald.clone())
    }

    /// An OpenSIPS with its own event_datagram.
    pub fn stock(&self) -> Launch {
        self.with(self.tree.module("event_datagram"))
    }

    fn with(&self, event_datagram: PathBuf) -> Launch {
        Launch::new(&self.tree.path, self.version(), event_datagram)
    }

    /// Whether this version is that or a later one; if not, says that the rest is skipped.
    pub fn since(&self, major: u32, minor: u32, why: &str) -> bool {
        let since = self.version().since(major, minor);
        if !since {
            self.skip(why);
        }
        since
    }

    /// Whether the tree has a module; if not, says that the rest is skipped.
    pub fn has(&self, module: &str) -> bool {
        let has = self.tree.module(module).exists();
        if !has {
            self.skip(&format!("its tree has no module {module}"));
        }
        has
    }

    /// Says that the rest is skipped with this tree.
    pub fn skip(&self, why: &str) {
        skipped(&format!("{} with OpenSIPS {}", self.test, self.version()), why);
    }
}

/// Runs a test with every tree of a version that the library promises to work in, and says with
/// which of them it fails. Says so if there is none.
pub fn each_tree(test: &str, body: impl Fn(&Lab)) {
    run(test, trees().into_iter().filter(|tree| tree.version.is_supported()).collect(), body);
}

/// Runs a test with every other tree.
pub fn each_unsupported_tree(test: &str, body: impl Fn(&Lab)) {
    run(test, trees().into_iter().filter(|tree| !tree.version.is_supported()).collect(), body);
}

fn run(test: &str, trees: Vec<Tree>, body: impl Fn(&Lab)) {
    if trees.is_empty() {
        return skipped(test, "HERALD_OPENSIPS names no built OpenSIPS tree for it");
    }
    let dir = TempDir::new().unwrap();
    let herald = dir.path().join("event_datagram.so");
    std::fs::copy(library(), &herald).unwrap();
    let mut failed = Vec::new();
    for tree in &trees {
        let lab = Lab { test, tree, herald: herald.clone() };
        if catch_unwind(AssertUnwindSafe(|| body(&lab))).is_err() {
            failed.push(tree.version.to_string());
        }
    }
    assert!(failed.is_empty(), "{test}: failed with OpenSIPS {}", failed.join(", "));
}
