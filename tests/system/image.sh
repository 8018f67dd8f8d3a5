# shellcheck shell=bash disable=SC2154
# The file system that a machine boots into, made of Debian's programs, of gatemeter, and of what is to be run there.

# Kernel modules that are loaded at start, as far as the kernel does not have them built in. The rest is left to the
# scripts in guest/, which show what gatemeter says while it is missing.
modules="bridge veth tun dummy sch_ingress cls_bpf sch_netem"
# Loaded by `load_netfilter` of guest/lib.sh.
later="crc32c_generic nf_tables nf_conntrack nf_conntrack_netlink nft_ct nft_masq nft_chain_nat"

# Builds gatemeter and its tests for the described machine: `gatemeter` and `tests`. Where programs of this machine run,
# these are the kernel tests; elsewhere the unit tests, none of which has run on such a kernel before.
programs() {
    if [ -z "$target" ]; then
        "$cargo" build --bin gatemeter
        gatemeter=target/debug/gatemeter
        "$cargo" test --no-run --test kernel
        tests=$("$cargo" test --no-run --test kernel --message-format=json 2>/dev/null |
            sed -n 's/.*"name":"kernel".*"executable":"\([^"]*\)".*/\1/p')
    else
        .ci/cross "$target"
        gatemeter=dist/gatemeter-$target
        .ci/cross --tests "$target"
        tests=target/cross/tests-$target
    fi
    [ -x "$tests" ] || fail "cargo has not built the tests"
}

# The first of the directories with libraries that has this one.
library() {
    local where
    for where in "$debian"/lib/*-linux-gnu* "$debian"/usr/lib/*-linux-gnu* "$debian/lib" "$debian/lib64"; do
        [ -e "$where/$1" ] && echo "$where/$1" && return
    done
    fail "$machine: Debian's packages lack the library $1"
}

# Puts a program under bin, with the libraries that it needs, and those that these need.
program() {
    local from=$1 to=$root/bin/${2:-$(basename "$1")}
    [ -e "$from" ] || fail "$machine: Debian's packages lack ${from#"$debian"}"
    cp -L "$from" "$to"
    libraries "$from"
}

libraries() {
    local name at
    while read -r name; do
        at=$root/lib/$name
        if [ ! -e "$at" ]; then
            cp -L "$(library "$name")" "$at"
            libraries "$at"
        fi
    done < <("$readelf" -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

# Copies a module and those that it needs to `$root/modules`; names them in the list $2, in the order of loading.
module() {
    local name=$1 list=$2 file other
    file=$(find "$kernel/lib/modules/$release" -name "$name.ko")
    if [ -z "$file" ]; then
        grep -q "/$name.ko\$" "$kernel/lib/modules/$release/modules.builtin" || fail "$machine: no kernel module $name"
        return
    fi
    for other in $("$readelf" -p .modinfo "$file" | sed -n 's/.* depends=//p' | tr ',-' ' _'); do
        module "$other" "$list"
    done
    cp "$file" "$root/modules"
    grep -qx "$name" "$root/etc/$list" || echo "$name" >>"$root/etc/$list"
}

# Makes the file system and packs it.
image() {
    local tool interpreter name
    readelf=$(need readelf binutils)
    root=$dir/root
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,lib,modules,mnt,proc,run/netns,sys,tmp,var}
    ln -s ../run "$root/var/run"
    ln -s bin "$root/sbin"
    ln -s lib "$root/lib64"
    ln -s . "$root/usr"
    for tool in bin/busybox bin/date bin/ip sbin/tc usr/sbin/bpftool usr/bin/setpriv usr/sbin/nft usr/sbin/conntrack; do
        program "$debian/$tool"
    done
    # Not busybox's own shell, which takes its ip and tc for the real ones.
    program "$debian/bin/dash" sh
    interpreter=$("$readelf" -l "$root/bin/sh" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
    cp -L "$(library "$(basename "$interpreter")")" "$root/lib/"
    program "$gatemeter" gatemeter
    program "$tests" tests
    # What tests read lies where they were built.
    mkdir -p "$root$PWD/fuzz" "$root$PWD/bpf"
    cp -r fuzz/corpus "$root$PWD/fuzz"
    cp bpf/*.o "$root$PWD/bpf"
    touch "$root/etc/modules" "$root/etc/later"
    for name in $modules; do module "$name" modules; done
    for name in $later; do module "$name" later; done
    install -m 755 "$here/guest/init.sh" "$root/init"
    mkdir "$root/guest"
    install -m 755 -t "$root/guest" "$here"/guest/*.sh
    echo "${PARTS:-tests traffic clients probe daemon flawed}" >"$root/etc/parts"
    echo "${target:-x86_64-unknown-linux-gnu}" >"$root/etc/target"
    (cd "$root" && find . -print0 | "$(need cpio cpio)" --quiet --null --create --format=newc --owner=0:0 |
        gzip -1) >"$dir/initramfs.gz"
}
