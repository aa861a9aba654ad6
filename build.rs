//! Link arguments of `libherald.so`, and the C header.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src/host/capi");

    for argument in [
        "-soname,libherald.so.0",
        // A host that unloads us has callbacks and thread-locals of ours left.
        "-z,nodelete",
        // openl2tpd loads plugins RTLD_GLOBAL: our calls to our own functions stay our own.
        "-Bsymbolic-functions",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }

    // `make header` copies it to include/, and a test compares the two.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let header = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("herald.h");
    let config = cbindgen::Config::from_root_or_default(&root);
    let builder =
        cbindgen::Builder::new().with_config(config).with_src(root.join("src/host/capi/mod.rs"));
    let mut generated = Vec::new();
    builder.generate().expect("cbindgen understands src/host/capi").write(&mut generated);
    let generated = String::from_utf8(generated).expect("cbindgen writes UTF-8");
    fs::write(&header, without_safety(&generated)).expect("OUT_DIR can be written to");
    println!("cargo:rustc-env=HERALD_GENERATED_HEADER={}", header.display());
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
