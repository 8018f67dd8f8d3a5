# shellcheck shell=bash disable=SC2154
# Debian's kernel and programs for another architecture, unpacked and not installed. apt keeps its lists and its idea of
# what is installed (nothing) below target/system, so what this machine has installed plays no part and is not touched.

# What a machine runs beside gatemeter. apt adds the libraries.
# (coreutils for a `date` that knows years behind 2038 on 32-bit machines, too.)
guest_packages="busybox-static coreutils dash iproute2 bpftool nftables conntrack util-linux"
# Where it comes from, and who vouches for it.
suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Runs a program of apt on the described machine's lists.
of_machine() {
    "$@" -o "Dir=$dir/apt" -o "Dir::State::status=$dir/apt/status" -o "APT::Architecture=$architecture" \
        -o "APT::Architectures::=$architecture" -o APT::Sandbox::User=root -o Acquire::Languages=none -qq
}

# shellcheck disable=SC2034 # for the others
# Unpacks the kernel to `kernel`, of the version `release`, and the programs to `debian`. What is there is kept.
packages() {
    local package archive
    debian=$dir/debian kernel=$dir/kernel
    if [ "$(cat "$dir/unpacked" 2>/dev/null)" != "$guest_packages" ]; then
        need apt-get apt >/dev/null
        [ -e "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
        rm -rf "$dir/apt" "$debian" "$kernel"
        mkdir -p "$dir/apt"/{etc/apt/{sources,preferences}.list.d,etc/apt/{apt.conf,preferences}.d} \
            "$dir/apt"/var/{lib/apt/lists/partial,cache/apt/archives/partial} "$debian" "$kernel"
        touch "$dir/apt/status"
        echo "deb [signed-by=$keyring] $mirror $suite main" >"$dir/apt/etc/apt/sources.list"
        echo "$machine: fetching Debian's kernel and programs for $architecture"
        of_machine apt-get update
        # The package that the name of the flavour's newest kernel stands for.
        package=$(of_machine apt-cache depends "linux-image-$flavour" |
            sed -n 's/.*Depends: \(linux-image-6\.1\.[^ ]*\)/\1/p' | head -n 1)
        [ -n "$package" ] || fail "$mirror has no Linux 6.1 of the flavour $flavour in $suite"
        (cd "$dir/apt" && of_machine apt-get download "$package")
        dpkg -x "$dir/apt/$package"_*.deb "$kernel"
        # shellcheck disable=SC2086 # one word for each package
        of_machine apt-get install --yes --download-only --no-install-recommends $guest_packages
        for archive in "$dir"/apt/var/cache/apt/archives/*.deb; do
            dpkg -x "$archive" "$debian"
        done
        rm -rf "$dir/apt"
        echo "$guest_packages" >"$dir/unpacked"
    fi
    release=$(basename "$kernel"/lib/modules/*)
}
