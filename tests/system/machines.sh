# shellcheck shell=bash disable=SC2034
# The emulated machines: what each is made of. To be sourced by run.sh.

machines="x86_64 mipsel s390x"

# Sets, for the machine of that name:
#   architecture    Debian's name of it, for its kernel and its programs
#   flavour         the kernel's, behind linux-image-
#   target          Rust's name of it, for a program that is built for it; none where this machine's own will do
#   qemu, emulation, terminal     the emulator, its arguments, and the console as Linux calls it
describe() {
    case $1 in
        x86_64)
            architecture=amd64 flavour=cloud-amd64 target='' terminal=ttyS0
            qemu=$(need qemu-system-x86_64 qemu-system-x86)
            emulation=(-cpu max -smp 2 -m 1G)
            [ "$(uname -m)" = x86_64 ] || fail "this one runs programs of the building machine, which must be x86_64"
            ;;
        # The board of MIPS's own; its kernel is that of 32-bit routers with ramips and the like, little-endian.
        mipsel)
            architecture=mipsel flavour=4kc-malta target=mipsel-unknown-linux-musl terminal=ttyS0
            qemu=$(need qemu-system-mipsel qemu-system-mips)
            emulation=(-M malta -cpu 24Kf -m 256M)
            ;;
        # The big-endian machine for which there is a kernel with eBPF that anybody can have.
        s390x)
            architecture=s390x flavour=s390x target=s390x-unknown-linux-musl terminal=ttysclp0
            qemu=$(need qemu-system-s390x qemu-system-misc)
            emulation=(-M s390-ccw-virtio -cpu max -smp 2 -m 512M)
            ;;
    esac
}
