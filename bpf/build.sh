#!/bin/sh
# Builds the kernel program for both byte orders and puts the objects beside this script, where they are committed
# and embedded into the daemon from.
#
#   build.sh           rebuild gatemeter.bpfel.o, gatemeter.bpfeb.o and TOOLCHAIN
#   build.sh --check   rebuild into target/rebuilt/ and compare: the same toolchain must give the same bytes
#
# Needs, on Debian: apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf llvm-22-dev libpolly-22-dev
set -eu

cd "$(dirname "$0")"
here=$PWD
llvm=${LLVM_PREFIX:-/usr/lib/llvm-22}
rustc=${BPF_RUSTC:-/usr/bin/rustc}
cargo=${BPF_CARGO:-/usr/bin/cargo}
linker_version=0.13.0
tools=${XDG_CACHE_HOME:-$HOME/.cache}/gatemeter

# The caller may itself run below a cargo of another toolchain.
unset CARGO RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
unset CARGO_BUILD_TARGET CARGO_PROFILE_RELEASE_OPT_LEVEL
export RUSTC="$rustc" CARGO_TARGET_DIR="$here/target"

for tool in "$rustc" "$cargo" "$llvm/bin/llvm-strip"; do
    if [ ! -x "$tool" ]; then
        echo "build.sh: $tool is missing: apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf llvm-22-dev libpolly-22-dev" >&2
        exit 1
    fi
done
if ! "$tools/bin/bpf-linker" --version 2>/dev/null | grep -qF " $linker_version"; then
    LLVM_PREFIX="$llvm" CARGO_TARGET_DIR="$tools/build" "$cargo" install --quiet --locked --root "$tools" \
        --version "$linker_version" --no-default-features --features "llvm-${llvm##*-}" bpf-linker
fi

toolchain() {
    "$rustc" --version
    "$tools/bin/bpf-linker" --version
    echo "LLVM $("$llvm/bin/llvm-config" --version)"
}

# Fills the directory $1 with both objects.
build() {
    mkdir -p "$1"
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    # v3: 32-bit arithmetic and jumps, understood by kernels since 5.1, and far cheaper on 32-bit routers.
    flags="-C target-cpu=v3 -C link-arg=--disable-memory-builtins --remap-path-prefix=$here=bpf --remap-path-prefix=$cargo_home=cargo"
    flags="$flags --remap-path-prefix=$("$rustc" --print sysroot)=rust"
    for target in bpfel bpfeb; do
        PATH="$tools/bin:$(dirname "$rustc"):$PATH" RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" \
            "$cargo" build --quiet --locked --release --target "$target-unknown-none"
        "$llvm/bin/llvm-strip" --strip-debug --discard-locals -o "$1/gatemeter.$target.o" "target/$target-unknown-none/release/gatemeter"
    done
}

case "${1:-}" in
'')
    build "$here"
    toolchain >TOOLCHAIN
    ;;
--check)
    build "$here/target/rebuilt"
    if [ "$(toolchain)" != "$(cat TOOLCHAIN)" ]; then
        echo "build.sh: this toolchain is not the one the committed objects were built with, so they may differ:"
        toolchain | diff TOOLCHAIN - || true
        echo "make test runs the kernel and traffic tests on the rebuilt objects too"
        touch target/rebuilt/differs
        exit 0
    fi
    rm -f target/rebuilt/differs
    for object in gatemeter.bpfel.o gatemeter.bpfeb.o; do
        if ! cmp "$object" "target/rebuilt/$object"; then
            echo "build.sh: bpf/$object is not what its source gives; run bpf/build.sh and commit it" >&2
            exit 1
        fi
    done
    echo "bpf: both objects are what their source gives"
    ;;
*)
    echo "usage: build.sh [--check]" >&2
    exit 2
    ;;
esac
