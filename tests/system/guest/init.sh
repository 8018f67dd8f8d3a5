#!/bin/sh
# The first process of an emulated machine: runs all there is to run, says PASS or FAIL, and switches off.
export PATH=/bin HOME=/tmp RUST_BACKTRACE=0
# What is not there as a program of its own is busybox's.
result=PASS
/bin/busybox --install -s /bin || result=FAIL
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# Files keep their times when they are read, whatever the clock says: see flawed.sh.
mount -o remount,noatime /
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir /run/netns
# The BPF file system is left to gatemeter: mounting it at start is a part of what is shown here.
while read -r module; do
    insmod "/modules/$module.ko" || result=FAIL
done </etc/modules
ip link set lo up
uname -srvm
# shellcheck source=tests/system/guest/home.sh
. /guest/home.sh
make_home || result=FAIL
read -r parts </etc/parts || result=FAIL
for part in $parts; do
    "/guest/$part.sh" || result=FAIL
    echo "gatemeter system test: $part done after $(cut -d ' ' -f 1 /proc/uptime) s"
done
# What the kernel complains about, it complains about in this one log.
if dmesg | grep -E 'BUG:|WARNING:|Oops|Call Trace|Out of memory'; then
    result=FAIL
fi
echo "gatemeter system test: $result"
poweroff -f
