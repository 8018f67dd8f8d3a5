#!/bin/sh
# Builds OpenWrt's libuci, and the libubox it stands on, into the directory given: lib/libuci.so, lib/libubox.so.
# The sources are those inside the crate libuci-sys 1.0.5, which cargo fetches; they never enter this tree. Nothing
# is done if the libraries are there already.
set -eu

version=1.0.5
out=$1
if [ -e "$out/lib/libuci.so" ]; then exit 0; fi

missing=
command -v cmake >/dev/null || missing="$missing cmake"
command -v cc >/dev/null || missing="$missing gcc"
echo '#include <json-c/json.h>' | cc -E - >/dev/null 2>&1 || missing="$missing libjson-c-dev"
if [ -n "$missing" ]; then
	echo "building libuci needs: apt-get install$missing" >&2
	exit 1
fi

# Built aside and renamed at the end, so that an interrupted or parallel run leaves nothing half done.
work=$out.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/fetch/src"
cat >"$work/fetch/Cargo.toml" <<EOF
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
libuci-sys = "=$version"
[workspace]
EOF
: >"$work/fetch/src/lib.rs"
manifest=$(cargo metadata --quiet --format-version 1 --manifest-path "$work/fetch/Cargo.toml" |
	grep -o "\"manifest_path\":\"[^\"]*/libuci-sys-$version/Cargo.toml\"" | cut -d '"' -f 4)
cp -R "${manifest%/Cargo.toml}" "$work/src"

# The release in the crate loses a section that is opened for the third time; later ones take it from here.
chmod -R u+w "$work/src"
sed -i 's/uci_to_section(ptr\.last)/ptr.s/' "$work/src/uci/file.c"

# Warnings of newer compilers must not stop a build of older sources.
for part in libubox uci; do
	sed -i /Werror/d "$work/src/$part/CMakeLists.txt"
	cmake -S "$work/src/$part" -B "$work/build-$part" -DBUILD_LUA=OFF -DBUILD_EXAMPLES=OFF -DBUILD_STATIC=OFF \
		-DCMAKE_POLICY_VERSION_MINIMUM=3.5 -DCMAKE_PREFIX_PATH="$work/prefix" \
		-Dubox_include_dir="$work/prefix/include" -DCMAKE_INSTALL_PREFIX="$work/prefix"
	cmake --build "$work/build-$part" --target install
done
mkdir -p "$out"
mv -T "$work/prefix/lib" "$out/lib" || [ -e "$out/lib/libuci.so" ]
