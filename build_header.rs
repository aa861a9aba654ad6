//! The C header of a crate, from its Rust: a part of the build scripts that have one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the header into OUT_DIR, from a crate's `cbindgen.toml` and a source file, and tells its path to
/// the compiler as a variable. `make header` copies it to include/, and a test compares the two.
pub fn generate(root: &Path, source: &str, name: &str, variable: &str) {
    println!("cargo:rerun-if-changed=cbindgen.toml");
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_config(cbindgen::Config::from_root_or_default(root))
        .with_src(root.join(source))
        .generate()
        .unwrap_or_else(|e| panic!("cbindgen does not understand {source}: {e}"))
        .write(&mut generated);
    let generated = String::from_utf8(generated).expect("cbindgen writes UTF-8");
    let header = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    fs::write(&header, without_safety(&generated)).expect("OUT_DIR can be written to");
    println!("cargo:rustc-env={variable}={}", header.display());
}

/// Takes the `# Safety` sections out of the comments: they are for whoever reads the Rust, and
/// say again what a C programmer finds in the rest of the comment.
fn without_safety(header: &str) -> String {
    let mut kept = String::new();
    let mut within = false;
    for line in header.lines() {
        within = (within || line == " * # Safety") && line != " */";
        if !within {
            if line == " */" && kept.ends_with(" *\n") {
                kept.truncate(kept.len() - " *\n".len());
            }
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
