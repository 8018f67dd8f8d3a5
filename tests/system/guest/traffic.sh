#!/bin/sh
# `traffic` on a kernel without TCX: everything is attached by clsact. What is counted is what the LAN host's network card
# counts, packets and bytes; counts outlive the daemon; `clean` leaves nothing behind.
# shellcheck disable=SC2317 # functions that lib.sh calls by their names
# shellcheck source=tests/system/guest/lib.sh
. /guest/lib.sh

# A program of its own and no function, so that its process is the daemon's.
options="-e -t 1 --collectors traffic -4 192.168.1.1/24/br-lan -6 2001:db8:1::/64 -o traffic.unknown_hosts=1"
printf '#!/bin/sh\nexec gatemeter %s "$@"\n' "$options" >/bin/meter
chmod 755 /bin/meter

# Upload and download, packets and bytes, of one address: what the page says now.
figures() {
    page
    for family in upload_pkts upload download_pkts download; do
        sed -n "s/^node_nat_traffic_$family{mac=\"$mac\",.*ip=\"$1\"} //p" /tmp/page
    done | tr '\n' ' '
}

# The same, once it is what is expected.
expect() { eventually "$1" "$3" figures "$2"; }

filters() { for hook in ingress egress; do tc filter show dev br-lan $hook; done | grep -c 'gatemeter_'; }

# ---- before the daemon -----------------------------------------------------------------------------------------------
check=$(meter check)
same "exit code of check" $? 0
echo "$check"
refusal=$(meter -o traffic.attach=tcx once traffic 2>&1 >/tmp/once)
echo "$refusal"
same "lines that once with attach=tcx tells" "$(echo "$refusal" | wc -l)" 1
says "attach=tcx tells which Linux has TCX, and what to set" "$refusal" 'TCX needs Linux 6.6: set traffic.attach'
same "what that leaves on br-lan" "$(tc qdisc show dev br-lan | grep -c clsact)" 0
umount /sys/fs/bpf

# ---- exactly counted -------------------------------------------------------------------------------------------------
start traffic meter
cat /tmp/log
says "attached by clsact" "$(cat /tmp/page)" 'interface_attached{interface="br-lan",hook="clsact"} 1'
same "filters on br-lan" "$(filters)" 2
says "the daemon has mounted the BPF file system" "$(cat /proc/mounts)" ' /sys/fs/bpf bpf '
# CAP_NET_ADMIN is bit 12, CAP_PERFMON 38, CAP_BPF 39.
same "capabilities that are left" "$(sed -n 's/CapEff:\t//p' "/proc/$daemon/status")" 000000c000001000
same "no new privileges" "$(sed -n 's/NoNewPrivs:\t//p' "/proc/$daemon/status")" 1
for fd in "/proc/$daemon/fdinfo"/*; do
    sed -n 's/verified_insns:\t/traffic: instructions the verifier went through: /p' "$fd"
done
bpftool prog show | grep -A 1 ' name gatemeter_'

before=$(statistics)
host ping -q -i 0.02 -c 100 -s 200 $internet4
expect "100 pings of 14+20+8+200 bytes, and their answers" $lan4 "100 24200 100 24200 "
same "what the host's network card has counted" "$(since "$before")" "100 24200 100 24200 "

host ping -q -c 3 192.168.1.1
internet ping -q -c 3 198.51.100.1
expect "after pings to the router itself and past the LAN" $lan4 "100 24200 100 24200 "

before=$(statistics)
serve 20000000
same "bytes that came through TCP" "$(host wget -q -O - http://$internet4/zero | wc -c)" 20000000
unserve
sleep 1
total=$(plus "100 24200 100 24200" "$(since "$before")")
echo "traffic: with TCP, by the host's network card: $total"
expect "and by gatemeter, aggregated packets among them" $lan4 "$total"

grep -E '^(Vm(HWM|RSS)|RssAnon|Threads)' "/proc/$daemon/status"
switches=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$daemon/status")
sleep 10
now=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$daemon/status")
echo "traffic: waits of the main thread in 10 s of nothing, at one collection a second: $((now - switches))"

# ---- over ends and beginnings ----------------------------------------------------------------------------------------
stop KILL
host ping -q -i 0.02 -c 50 -s 100 $internet4
same "filters while no daemon runs" "$(filters)" 2
start traffic meter
total=$(plus "$total" "50 7100 50 7100")
expect "with 50 pings while no daemon ran, after SIGKILL" $lan4 "$total"
same "filters after the takeover" "$(filters)" 2
tc qdisc del dev br-lan clsact
eventually "filters after another program deleted the qdisc" 2 filters
host ping -q -c 5 -s 100 $internet4
total=$(plus "$total" "5 710 5 710")
expect "with 5 pings over the filters put back" $lan4 "$total"
stop TERM
same "exit code after SIGTERM" $? 0

# ---- IPv6, on three capabilities only, an interface that comes later -------------------------------------------------
make_ipv6
start traffic setpriv --bounding-set=-all,+bpf,+perfmon,+net_admin --inh-caps=-all \
    gatemeter -e -t 1 --collectors traffic -4 192.168.1.1/24/br-lan -4 192.168.2.1/24/br-late -6 2001:db8:1::/64 \
    -o traffic.unknown_hosts=1
cat /tmp/log
same "capabilities it was started with and keeps" "$(sed -n 's/CapPrm:\t//p' "/proc/$daemon/status")" 000000c000001000
host ping -6 -q -i 0.02 -c 20 -s 100 $internet6
expect "20 pings of 14+40+8+100 bytes, and their answers" $lan6 "20 3240 20 3240 "
expect "nothing more over IPv4" $lan4 "$total"
ip link add br-late type bridge
ip addr add 192.168.2.1/24 dev br-late
ip link set br-late up
eventually "an interface that came after the privileges went is counted" 1 \
    value 'gatemeter_traffic_interface_attached{interface="br-late",hook="clsact"}'
same "errors in its log" "$(grep -c ERROR /tmp/log)" 0
running=$(meter clean 2>&1)
same "exit code of clean beside a daemon" $? 1
echo "$running"
stop TERM

# ---- clean -----------------------------------------------------------------------------------------------------------
removed=$(meter -4 192.168.2.1/24/br-late clean)
same "exit code of clean" $? 0
echo "$removed"
same "clsact qdiscs that are left" "$(tc qdisc show | grep -c clsact)" 0
same "what is left in /sys/fs/bpf" "$(ls /sys/fs/bpf)" ""
# The kernel frees programs a little later.
objects() { bpftool "$1" show | grep -c " name $2"; }
eventually "programs that are left" 0 objects prog gatemeter_
eventually "maps that are left" 0 objects map gm_
same "text files that are left" "$(find /tmp -name 'prom_c*')" ""
exit $failed
