//! What several tests need.
#![allow(dead_code)]

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use herald_vpp_api::Source;

/// Says something even while the test's output is captured.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A directory of files.
pub struct Directory(pub PathBuf);

impl Source for Directory {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        Ok(fs::read_to_string(self.0.join(path)).ok().map(Cow::Owned))
    }
}

/// A directory that goes when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The C compilers that are there, of gcc and clang.
pub fn compilers() -> Vec<&'static str> {
    let there = |cc: &&str| Command::new(cc).arg("--version").output().is_ok_and(|o| o.status.success());
    ["gcc", "clang"].into_iter().filter(there).collect()
}

/// Compiles a C file as strictly as can be.
pub fn compile(cc: &str, standard: &str, file: &Path, more: &[&str]) -> Result<(), String> {
    let output = Command::new(cc)
        .args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-O1"])
        .arg(format!("-std={standard}"))
        .args(more)
        .arg(file)
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
