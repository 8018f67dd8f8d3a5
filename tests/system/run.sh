#!/bin/bash
# Boots real kernels in emulated machines, each with gatemeter as the daemon of a router, and shows that it measures
# there what it should. See README.md beside this file.
#
#   tests/system/run.sh [MACHINE...]      all of them, one after the other, without a name
#
# Needs no root and no KVM. Everything lies below target/system; nothing is installed.
set -euo pipefail

cd "$(dirname "$0")/../.."
here=$PWD/tests/system
work=$PWD/target/system
cargo=${CARGO:-cargo}
# Seconds until a machine is stopped, whatever it does.
limit=${SECONDS_SYSTEM:-2400}

fail() {
    echo "tests/system/run.sh: $*" >&2
    exit 1
}

# Where a command is, or what to install for it.
need() {
    local command=$1 package=$2
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" || fail "$command is missing: apt-get install $package"
}

# shellcheck source=tests/system/machines.sh
. "$here/machines.sh"
# shellcheck source=tests/system/packages.sh
. "$here/packages.sh"
# shellcheck source=tests/system/image.sh
. "$here/image.sh"

# Builds the file system of the described machine and boots it. True if the machine's last word is PASS.
boot() {
    local console=$dir/console.log
    echo "$machine: booting Linux $release, for at most $limit s; console in ${console#"$PWD"/}"
    timeout --kill-after=10 "$limit" "$qemu" "${emulation[@]}" -accel tcg -nodefaults -nic none -display none \
        -serial stdio -no-reboot -kernel "$kernel/boot/vmlinuz-$release" -initrd "$dir/initramfs.gz" \
        -append "console=$terminal quiet panic=-1" </dev/null > >(sed -u 's,\r$,,' | tee "$console") &
    emulator=$!
    wait "$emulator" || true
    emulator=
    # A crash or the time limit leaves the last word unsaid.
    grep -qx 'gatemeter system test: PASS' "$console"
}

emulator=
trap '[ -z "$emulator" ] || kill "$emulator" 2>/dev/null || true' EXIT

# shellcheck disable=SC2086 # one word for each
[ $# -gt 0 ] || set -- $machines
for machine in "$@"; do
    case " $machines " in
        *" $machine "*) ;;
        *) fail "there is no machine $machine: one of $machines" ;;
    esac
done
results=()
for machine in "$@"; do
    began=$SECONDS
    describe "$machine"
    dir=$work/$machine
    mkdir -p "$dir"
    packages
    programs
    image
    if boot; then verdict=PASS; else verdict=FAIL; fi
    results+=("$machine: $verdict (Linux $release, $((SECONDS - began)) s)")
done
printf '%s\n' "${results[@]}"
case ${results[*]} in *FAIL*) exit 1 ;; esac
