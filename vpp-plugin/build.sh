#!/bin/sh
# build.sh OUT [FEATURE]: builds herald_plugin.so against HERALD_VPP_SDK, a VPP 26.06 install or build tree.
set -eu
fail() { echo "vpp-plugin: $*" >&2; exit 1; }

out=$1
features=${2:-}
sdk=${HERALD_VPP_SDK:-}
[ -n "$sdk" ] || fail "set HERALD_VPP_SDK to a tree of VPP 26.06: where it is installed (the folder that has
include/vlib/vlib.h; /usr for the packages vpp and vpp-dev) or where it was built (the folder that has CMakeCache.txt)"

# Absolute, since cargo looks from elsewhere.
[ ! -d "$sdk" ] || sdk=$(cd "$sdk" && pwd)

if [ -e "$sdk/include/vlib/vlib.h" ]; then
    include=-I$sdk/include
    version_h=$sdk/include/vpp/app/version.h
elif [ -e "$sdk/CMakeCache.txt" ]; then
    source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$sdk/CMakeCache.txt")
    include="-I$source -I$sdk/CMakeFiles -I$sdk/CMakeFiles/vpp"
    version_h=$sdk/CMakeFiles/vpp/app/version.h
else
    fail "no VPP in HERALD_VPP_SDK=$sdk: there is neither include/vlib/vlib.h nor CMakeCache.txt"
fi
[ -e "$version_h" ] || fail "$version_h is missing: build VPP first (packages: install vpp-dev)"
version=$(sed -n 's/^#define VPP_BUILD_VER "\(.*\)".*/\1/p' "$version_h")
case $version in
26.06*) ;;
*) fail "HERALD_VPP_SDK=$sdk is VPP $version; the plugin is for 26.06" ;;
esac
lib=$(find -L "$sdk" -maxdepth 3 -name libvlib.so -printf '%h\n' | head -n 1)
[ -n "$lib" ] || fail "libvlib.so is missing below $sdk: build VPP first (packages: install vpp)"

# shellcheck disable=SC2086
echo '#include <vnet/vnet.h>
#include <vlibmemory/api.h>' | ${CC:-cc} $include -fsyntax-only -xc - ||
    fail "the headers of $sdk do not compile; what the compiler says is above"

# A folder of its own, since all of this is built with other flags. Absolute, for -L.
target=$(dirname "$out")
mkdir -p "$target"
CFLAGS="${CFLAGS:-} $include" BINDGEN_EXTRA_CLANG_ARGS="${BINDGEN_EXTRA_CLANG_ARGS:-} $include" \
    RUSTFLAGS="${RUSTFLAGS:-} -L native=$(cd "$lib" && pwd)" \
    ${CARGO:-cargo} build --release --package herald-vpp-plugin --features "$features" \
    --target-dir "$target" ||
    fail "cargo has failed; if it finds no libclang, install libclang-dev"
cp "$target/release/libherald_plugin.so" "$out"
if nm -D --undefined-only "$out" | grep -q vlib_helper_; then
    fail "$out would not load: the crate vpp-plugin has not found VPP's headers"
fi
echo "$out is for VPP $version"
