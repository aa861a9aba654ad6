//! What is missing for a build of the plugin is said.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What build.sh complains about, with this HERALD_VPP_SDK.
fn complaint(sdk: Option<&Path>) -> String {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/build.sh"))
        .arg(out.path().join("plugin/herald_plugin.so"));
    // None of these gets as far as cargo.
    command.env("CARGO", "false").env_remove("HERALD_VPP_SDK");
    if let Some(sdk) = sdk {
        command.env("HERALD_VPP_SDK", sdk);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn a_tree_that_lacks_something() {
    assert!(complaint(None).contains("set HERALD_VPP_SDK to a tree of VPP 26.06"));
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    let complains = |of: &str| {
        let said = complaint(Some(tree.path()));
        assert!(said.contains(of), "{of:?} is not in {said}");
    };
    complains("there is neither include/vlib/vlib.h nor CMakeCache.txt");
    write(&at("include/vlib/vlib.h"), "");
    complains("include/vpp/app/version.h is missing: build VPP first");
    write(&at("include/vpp/app/version.h"), "#define VPP_BUILD_VER \"25.10-release\"\n");
    complains("is VPP 25.10-release; the plugin is for 26.06");
    write(&at("include/vpp/app/version.h"), "#define VPP_BUILD_VER \"26.06-release\"\n");
    complains("libvlib.so is missing below");
    write(&at("lib/x86_64-linux-gnu/libvlib.so"), "");
    complains("do not compile; what the compiler says is above");
    write(&at("include/vnet/vnet.h"), "");
    write(&at("include/vlibmemory/api.h"), "");
    complains("cargo has failed");
}

#[test]
fn a_build_tree_that_lacks_something() {
    let tree = tempfile::tempdir().unwrap();
    let cache = format!("CMAKE_HOME_DIRECTORY:INTERNAL={}\n", tree.path().display());
    write(&tree.path().join("CMakeCache.txt"), &cache);
    assert!(complaint(Some(tree.path())).contains("CMakeFiles/vpp/app/version.h is missing"));
}
