#!/bin/sh
# Routers that lack something: the kernel's filters for eBPF, space in /tmp, an /etc that can be written, the time. The
# service runs what it can, says what it cannot, and recovers when the cause is gone. (For one without nf_tables see
# clients.sh.)
# shellcheck disable=SC2317 # functions that lib.sh calls by their names
# shellcheck source=tests/system/guest/lib.sh
. /guest/lib.sh
make_ipv6
load_netfilter

# Bytes that the host has sent, whatever its name.
upload() {
    page
    sed -n "s/^node_nat_traffic_upload{mac=\"$mac\",.*ip=\"$lan4\"} //p" /tmp/page
}
options="-e -t 1 --collectors traffic,clients,probe -4 192.168.1.1/24/br-lan -6 2001:db8:1::/64
    -o traffic.unknown_hosts=1 -o clients.interval=1 -o clients.subnet=192.168.1.0/24/br-lan
    -o target.host=$internet4 -o probe.unlocked=1 -o probe.interval=200"
# shellcheck disable=SC2116,SC2086 # one line of it
printf '#!/bin/sh\nexec gatemeter %s "$@"\n' "$(echo $options)" >/bin/meter
chmod 755 /bin/meter
pings=0
send() {
    host ping -q -i 0.02 -c 10 -s 100 $internet4 >/dev/null
    pings=$((pings + 10))
}
# What all pings so far have made of bytes with Ethernet headers.
sent() { echo $((142 * pings)); }

# ---- without the kernel's filters (kmod-sched-core, kmod-sched-bpf) ---------------------------------------------------
rmmod cls_bpf
rmmod sch_ingress
check=$(meter check)
same "exit code of check without filters" $? 1
says "check tells what to install" "$check" 'BROKEN.*kmod-sched'
meter 2>/tmp/log &
daemon=$!
eventually "clients beside it" 1 up clients
eventually "probe beside it" 1 up probe
soon reaches 'gatemeter_collector_errors_total{collector="traffic"}' 3
same "traffic" "$(up traffic)" 0
cat /tmp/log
same "lines about it, after several tries" "$(lines ERROR)" 1
says "the log tells what to install" "$(cat /tmp/log)" 'kmod-sched'
insmod /modules/sch_ingress.ko
insmod /modules/cls_bpf.ko
eventually "traffic, once the modules are there" 1 up traffic
send
eventually "what it counts then" "$(sent)" upload
stop TERM

# ---- no space in /tmp ------------------------------------------------------------------------------------------------
mkdir -p /mnt/small
mount -t tmpfs -o size=256k small /mnt/small
dd if=/dev/zero of=/mnt/small/filler bs=1k 2>/dev/null
small="-o main.textfile=/mnt/small/prom_c -o main.textfile_dir=/mnt/small -o main.state_dir=/mnt/small/state"
# shellcheck disable=SC2086 # one word for each option
start traffic,clients,probe meter $small
full() { grep -c 'No space left' /tmp/log; }
eventually "lines about the full disk" 1 full
send
eventually "it counts all the same" "$(sent)" upload
same "whether there is half a file" "$(find /mnt/small -name '*prom*' -size +0)" ""
rm /mnt/small/filler
written() { grep -c '^node_nat_traffic_upload{' /mnt/small/prom_c 2>/dev/null; }
soon written >/dev/null || bad "the text file is not written once there is space"
says "the log tells that files are written again" "$(cat /tmp/log)" 'text files are written again'
dd if=/dev/zero of=/mnt/small/filler bs=1k 2>/dev/null
eventually "lines about the full disk, the second time" 2 full
says "the old file is whole, as long as the new one finds no space" "$(tail -n 1 /mnt/small/prom_c)" '^[a-z_]*.* [0-9.e+-]*$'
cat /tmp/log
stop TERM
same "exit code of a stop with a full disk" $? 0
umount /mnt/small

# ---- nothing below /etc can be written -------------------------------------------------------------------------------
mount -t tmpfs etc /mnt/small
mkdir /mnt/small/gatemeter
mount -o remount,ro /mnt/small
echo "4000000000 $mac $lan4 laptop *" >/tmp/dhcp.leases
state="-o main.state_dir=/mnt/small/gatemeter"
there() { value "client_status{ip=\"$lan4\",client=\"laptop\"}"; }
# shellcheck disable=SC2086 # one word for each option
check=$(meter $state check)
same "exit code of check with a read-only /etc" $? 0
says "check tells what is lost" "$check" 'note.*names are lost at a restart.*/mnt/small/gatemeter/names.*Read-only'
# shellcheck disable=SC2086
start traffic,clients,probe meter $state
send
eventually "it counts all the same" "$(sent)" upload
eventually "the host by its name" 1 there
stop TERM
same "exit code of a stop with a read-only /etc" $? 0
cat /tmp/log
says "the log tells that names are lost" "$(cat /tmp/log)" 'WARN.*cannot write the name cache /mnt/small/gatemeter/names: Read-only'
mount -o remount,rw /mnt/small
# shellcheck disable=SC2086
start clients meter $state
send
eventually "the host by its name" 1 there
stop TERM
says "names are kept once /etc can be written" "$(cat /mnt/small/gatemeter/names)" laptop
rm /tmp/dhcp.leases
umount /mnt/small

# ---- the clock stands at 1970, and is set ----------------------------------------------------------------------------
# A round trip of more than a second, or below none, is one across the step.
sane() { value "icmp_probe_latency_seconds{ip=\"$internet4\"}" | awk '{ found = $1 > 0 && $1 < 1 } END { exit !found }'; }
lost() {
    page
    awk '/^icmp_probe_packets_lost_total/ { sum += $2 } END { print sum + 0 }' /tmp/page
}
received() { value "icmp_probe_packets_recv_total{ip=\"$internet4\"}"; }
# All is as it should be, at a time of the clock from which on is $2.
goes_on() {
    send
    eventually "$1: what it counts" "$(sent)" upload
    before=$(received)
    soon reaches "icmp_probe_packets_recv_total{ip=\"$internet4\"}" $((before + 15)) || bad "$1: no probe is answered"
    same "$1: probes that are lost" "$(lost)" 0
    if sane; then ok "$1: the mean round trip is one"; else bad "$1: $(value "icmp_probe_latency_seconds{ip=\"$internet4\"}") s"; fi
    for collector in traffic clients probe; do
        same "$1: $collector" "$(up $collector)" 1
        same "$1: errors of $collector" "$(value "gatemeter_collector_errors_total{collector=\"$collector\"}")" 0
        at=$(value "gatemeter_collector_last_success_timestamp_seconds{collector=\"$collector\"}")
        same "$1: whether $collector tells the time: $at" "$(echo "$at" | awk -v "from=$2" '{ print ($1 >= from && $1 < from + 600) }')" 1
    done
    at=$(value "client_last_seen_timestamp_seconds{ip=\"$lan4\",client=\"unknown\"}")
    same "$1: whether the client was seen at that time: $at" "$(echo "$at" | awk -v "from=$2" '{ print ($1 >= from - 1 && $1 < from + 600) }')" 1
    same "$1: clients that are forgotten" "$(value gatemeter_clients_forgotten_total)" 0
    same "$1: status of the client" "$(value "client_status{ip=\"$lan4\",client=\"unknown\"}")" 1
}
# Not earlier: the kernel does not let the clock be set to before its own start.
date -s @3600 >/dev/null
start traffic,clients,probe meter -o clients.name_cache=none
goes_on "in 1970" 3600
date -s @1790000000 >/dev/null
goes_on "after a step to 2026" 1790000000
date -s @1700000000 >/dev/null
goes_on "after a step back by years" 1700000000
# What 32 bits cannot hold, as of a clock chip with an empty battery. There the shell and its tools fail on 32-bit machines,
# as soon as they look at a file of that time: so the page goes to no file, and is judged later.
date -s @2208988800 >/dev/null
sleep 3
late=$(wget -q -O - http://127.0.0.1:9999/metrics)
date -s @1700001000 >/dev/null
for collector in traffic clients probe; do
    says "in 2040: $collector" "$late" "^gatemeter_collector_up{collector=\"$collector\"} 1\$"
    says "in 2040: $collector tells the time" "$late" "last_success_timestamp_seconds{collector=\"$collector\"} 22089888"
done
goes_on "back from 2040" 1700001000
echo "flawed: round trips by whose stamps, and impossible stamps, over the steps:"
grep -E '^gatemeter_probe_(round_trips|impossible)' /tmp/page
cat /tmp/log
same "errors in its log" "$(lines ERROR)" 0
stop TERM
gatemeter clean >/dev/null
exit $failed
