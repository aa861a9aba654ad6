//! Link arguments of `libherald.so`, and the C header.

use std::env;
use std::path::PathBuf;

mod build_header;

fn main() {
    for watched in ["build.rs", "build_header.rs", "src/host/capi"] {
        println!("cargo:rerun-if-changed={watched}");
    }

    for argument in [
        "-soname,libherald.so.0",
        // A host that unloads us has callbacks and thread-locals of ours left.
        "-z,nodelete",
        // openl2tpd loads plugins RTLD_GLOBAL: our calls to our own functions stay our own.
        "-Bsymbolic-functions",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    build_header::generate(&root, "src/host/capi/mod.rs", "herald.h", "HERALD_GENERATED_HEADER");
}
