//! Bindings to the system's lwIP and libevent, the link arguments of `libherald_lwip.so`, and the C
//! header.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for watched in ["build.rs", "cbindgen.toml", "src"] {
        println!("cargo:rerun-if-changed={watched}");
    }
    bindings(&root, &out);
    slirp_bindings(&root, &out);
    header(&root, &out);
    for argument in [
        "-soname,libherald_lwip.so.0",
        // A program that unloads us has callbacks of ours in lwIP and in its event loop.
        "-z,nodelete",
        "-Bsymbolic-functions",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }
}

fn bindings(root: &Path, out: &Path) {
    let mut include = Vec::new();
    for (package, remedy) in [("lwip", "liblwip-dev"), ("libevent_core", "libevent-dev")] {
        let found = pkg_config::probe_library(package)
            .unwrap_or_else(|e| panic!("herald-lwip is built over Debian's {remedy}: {e}"));
        include.extend(found.include_paths.iter().map(|path| format!("-I{}", path.display())));
    }
    bindgen::builder()
        .header(root.join("src/sys/wrapper.h").to_string_lossy())
        .clang_args(include)
        .allowlist_file(".*/(lwip|event2|netif)/.*")
        .allowlist_var("HERALD_.*")
        .blocklist_type("timeval|iovec|sockaddr|socklen_t|__socklen_t")
        .raw_line("use libc::{iovec, sockaddr, socklen_t, timeval};")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .expect("bindgen understands lwIP and libevent")
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR can be written to");
}

/// libslirp's .pc file asks for the development files of glib, which nothing else here needs; compiler and
/// linker find libslirp where they look anyway.
fn slirp_bindings(root: &Path, out: &Path) {
    println!("cargo:rustc-link-lib=slirp");
    bindgen::builder()
        .header(root.join("src/sys/slirp.h").to_string_lossy())
        .allowlist_file(".*/slirp/.*")
        .blocklist_type("in_addr|in6_addr|sockaddr.*|socklen_t|__socklen_t")
        .raw_line("use libc::{in_addr, in6_addr, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .expect("libslirp-dev is installed")
        .write_to_file(out.join("slirp.rs"))
        .expect("OUT_DIR can be written to");
}

/// `make header-lwip` copies it to include/, and a test compares the two.
fn header(root: &Path, out: &Path) {
    let header = out.join("herald_lwip.h");
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_config(cbindgen::Config::from_root_or_default(root))
        .with_src(root.join("src/lib.rs"))
        .generate()
        .expect("cbindgen understands src/")
        .write(&mut generated);
    let generated = String::from_utf8(generated).expect("cbindgen writes UTF-8");
    fs::write(&header, without_safety(&generated)).expect("OUT_DIR can be written to");
    println!("cargo:rustc-env=HERALD_LWIP_GENERATED_HEADER={}", header.display());
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
