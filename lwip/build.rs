//! Bindings to the system's lwIP and libevent, the link arguments of `libherald_lwip.so`, and the C
//! header.

use std::env;
use std::path::{Path, PathBuf};

#[path = "../build_header.rs"]
mod build_header;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for watched in ["build.rs", "../build_header.rs", "src"] {
        println!("cargo:rerun-if-changed={watched}");
    }
    bindings(&root, &out);
    slirp_bindings(&root, &out);
    build_header::generate(&root, "src/lib.rs", "herald_lwip.h", "HERALD_LWIP_GENERATED_HEADER");
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
