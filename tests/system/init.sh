#!/bin/sh
# The first process of the emulated machine: runs all there is to run, says PASS or FAIL, and switches off.
export PATH=/bin HOME=/tmp RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir /run/netns
# The BPF file system is left to gatemeter: mounting it at start is a part of what is shown here.
while read -r module; do
    insmod "$module"
done </etc/modules
ip link set lo up
uname -srvm
result=PASS
kernel-tests || result=FAIL
home || result=FAIL
# What the kernel complains about, it complains about in this one log.
if dmesg | grep -E 'BUG:|WARNING:|Oops|Call Trace|Out of memory'; then
    result=FAIL
fi
echo "gatemeter system test: $result"
poweroff -f
