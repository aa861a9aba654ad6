//! `examples/govpp`, built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A command of Go's, to be run where the example is.
pub fn go(repository: &Path) -> Command {
    let mut command = Command::new("go");
    // The Go that is there, not another that it would fetch.
    command.current_dir(repository.join("examples/govpp")).env("GOTOOLCHAIN", "local");
    command
}

/// The example's program, built into this directory, and `sessions` beside it; why not, if Go or the modules
/// cannot be had.
pub fn program(repository: &Path, directory: &Path) -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let fetched = go(repository).args(["mod", "download"]).output();
        let fetched = fetched.map_err(|error| format!("go cannot be run: {error}"))?;
        if !fetched.status.success() {
            let why = String::from_utf8_lossy(&fetched.stderr).trim().replace('\n', "; ");
            return Err(format!("Go modules cannot be had: {why}"));
        }
        let both = [".", "./sessions"];
        let built = go(repository).args(["build", "-o"]).arg(directory).args(both).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Ok(directory.join("govpp"))
    };
    BUILT.get_or_init(build).clone()
}
