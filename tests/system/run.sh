#!/bin/bash
# Boots Debian 12's kernel, Linux 6.1, in an emulated machine and runs gatemeter on it: the kernel tests, then a home
# network end to end. That kernel has no TCX, so everything is attached by clsact. See README.md beside this file.
#
# Needs no root and no KVM. Everything lies below target/system; nothing is installed.
set -euo pipefail

cd "$(dirname "$0")/../.."
# Seconds until the machine is stopped, whatever it does. Emulated, it takes about three minutes.
limit=${SECONDS_SYSTEM:-1200}
cargo=${CARGO:-cargo}
work=$PWD/target/system

fail() {
    echo "tests/system/run.sh: $*" >&2
    exit 1
}

need() {
    local command=$1 package=$2
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" || fail "$command is missing: apt-get install $package"
}

[ "$(uname -m)" = x86_64 ] || fail "the guest runs programs of this machine, which must be x86_64"
qemu=$(need qemu-system-x86_64 qemu-system-x86)
busybox=$(need busybox busybox-static)
cpio=$(need cpio cpio)
tools=("$(need ip iproute2)" "$(need tc iproute2)" "$(need bpftool bpftool)" "$(need setpriv util-linux)")
need apt-get apt >/dev/null

# The package that the name of Debian's newest kernel of this flavour stands for.
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-6\.1\.[^ ]*\)/\1/p' | head -n 1)
[ -n "$package" ] || fail "apt knows no Linux 6.1: run apt-get update, with Debian 12 (bookworm) among the sources"
kernel=$work/$package
if [ ! -e "$kernel/done" ]; then
    mkdir -p "$work"
    rm -rf "$kernel" "$work"/linux-image-*.deb
    (cd "$work" && apt-get download -o APT::Sandbox::User=root "$package")
    dpkg -x "$work"/linux-image-*.deb "$kernel"
    rm "$work"/linux-image-*.deb
    touch "$kernel/done"
fi
release=${package#linux-image-}

"$cargo" build --bin gatemeter
"$cargo" test --no-run --test kernel
tests=$("$cargo" test --no-run --test kernel --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"kernel".*"executable":"\([^"]*\)".*/\1/p')
[ -x "$tests" ] || fail "cargo does not name the compiled kernel tests"

root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,etc,mnt,proc,run/netns,sys,tmp,var}
ln -s ../run "$root/var/run"
ln -s bin "$root/sbin"

# A program, under bin or another name, with the libraries it is linked to at the places where it looks for them.
program() {
    local from=$1 to=${2:-bin/$(basename "$1")} library
    cp -L "$from" "$root/$to"
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Ln "$library" "$root$library"
    done < <(ldd "$from" 2>/dev/null | grep -o '/[^ )]*')
}
for tool in "$busybox" "${tools[@]}" target/debug/gatemeter; do
    program "$tool"
done
# Not busybox's own shell, which takes its ip and tc for the real ones.
program /bin/dash bin/sh
program "$tests" bin/kernel-tests
strip "$root/bin/kernel-tests" "$root/bin/gatemeter"
# What is not copied is busybox's.
for applet in $("$busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
# In the order in which they need each other.
for module in llc/llc 802/stp bridge/bridge sched/sch_ingress sched/cls_bpf; do
    cp "$kernel/lib/modules/$release/kernel/net/$module.ko" "$root/etc"
    echo "/etc/${module#*/}.ko" >>"$root/etc/modules"
done
for module in veth tun; do
    cp "$kernel/lib/modules/$release/kernel/drivers/net/$module.ko" "$root/etc"
    echo "/etc/$module.ko" >>"$root/etc/modules"
done
install -m 755 tests/system/init.sh "$root/init"
install -m 755 tests/system/home.sh "$root/bin/home"
(cd "$root" && find . -print0 | "$cpio" --quiet --null --create --format=newc --owner=0:0 | gzip -1) >"$work/initramfs.gz"

echo "booting Linux $release, for at most $limit s; console in ${work#"$PWD"/}/console.log"
timeout --kill-after=10 "$limit" "$qemu" -accel tcg -cpu max -smp 2 -m 1G -nodefaults -nic none -display none \
    -serial stdio -no-reboot -kernel "$kernel/boot/vmlinuz-$release" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1" </dev/null > >(sed -u 's,\r$,,' | tee "$work/console.log") &
machine=$!
trap 'kill "$machine" 2>/dev/null || true' EXIT
wait "$machine" || true

# The machine's last word; a crash or the time limit leaves it unsaid.
grep -qx 'gatemeter system test: PASS' "$work/console.log" || fail "it did not pass"
