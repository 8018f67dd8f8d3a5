#!/bin/sh
# A home network on the emulated machine, which is its router: one LAN host, one host in the internet, and gatemeter
# as the router's daemon. Prints what it finds, and ends with 1 if anything is not as it should be.
failed=0
daemon=
mac=02:00:00:00:00:10
lan4=192.168.1.10 internet4=203.0.113.5 lan6=2001:db8:1::10 internet6=2a00:1450::5

# True if both are equal; says so either way.
same() {
    if [ "$2" = "$3" ]; then
        echo "home: ok: $1: $2"
    else
        echo "home: FAILED: $1: found '$2', expected '$3'"
        failed=1
    fi
}

# Says what a text is searched for, and whether it is in there.
says() {
    if echo "$2" | grep -q -e "$3"; then
        echo "home: ok: $1"
    else
        echo "home: FAILED: $1: '$3' is not in: $(echo "$2" | head -c 400)"
        failed=1
    fi
}

host() { ip netns exec host "$@"; }
internet() { ip netns exec internet "$@"; }

# What the host's own network card has counted, in the order of `figures`.
statistics() {
    for name in tx_packets tx_bytes rx_packets rx_bytes; do
        printf '%s ' "$(host cat "/sys/class/net/eth0/statistics/$name")"
    done
}
since() { echo "$1 $(statistics)" | awk '{ print $5 - $1, $6 - $2, $7 - $3, $8 - $4 " " }'; }
plus() { echo "$1 $2" | awk '{ print $1 + $5, $2 + $6, $3 + $7, $4 + $8 " " }'; }

# A program of its own and no function, so that its process is the daemon's. What depends on the kernel's age is how
# traffic is counted, so that is what runs; nf_tables, which `clients` counts with, is not loaded.
options="-e -t 1 --collectors traffic -4 192.168.1.1/24/br-lan -6 2001:db8:1::/64 -o traffic.unknown_hosts=1"
printf '#!/bin/sh\nexec gatemeter %s "$@"\n' "$options" >/bin/meter
chmod 755 /bin/meter

# Upload and download, packets and bytes, of one address: what the page says now.
figures() {
    wget -q -O /tmp/page http://127.0.0.1:9999/metrics
    for family in upload_pkts upload download_pkts download; do
        sed -n "s/^node_nat_traffic_$family{mac=\"$mac\",.*ip=\"$1\"} //p" /tmp/page
    done | tr '\n' ' '
}

# The same, once it is what is expected or 20 s have passed.
expect() {
    for _ in $(seq 40); do
        found=$(figures "$2")
        [ "$found" = "$3" ] && break
        sleep 0.5
    done
    same "$1" "$found" "$3"
}

start() {
    "$@" 2>/tmp/log &
    daemon=$!
    for _ in $(seq 60); do
        wget -q -O /tmp/page http://127.0.0.1:9999/metrics 2>/dev/null &&
            grep -q '^gatemeter_collector_up{collector="traffic"} 1' /tmp/page && return
        sleep 0.5
    done
    echo "home: FAILED: the daemon does not count: $(cat /tmp/log)"
    failed=1
}

stop() {
    kill "-$1" "$daemon"
    wait "$daemon"
}

filters() { for hook in ingress egress; do tc filter show dev br-lan $hook; done | grep -c 'gatemeter_'; }

# ---- the network -----------------------------------------------------------------------------------------------------
# Silent until told otherwise, so that the interface's own counters are those of the traffic made here.
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
echo 1 >/proc/sys/net/ipv4/ip_forward
ip netns add host
ip netns add internet
for where in host internet; do
    ip netns exec $where sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
done
ip link add br-lan address 02:00:00:00:00:01 type bridge mcast_snooping 0
ip link add lan1 type veth peer name eth0 address $mac netns host
ip link add wan address 02:00:00:00:00:02 type veth peer name eth0 address 02:00:00:00:00:05 netns internet
ip link set lan1 master br-lan
for name in lan1 br-lan wan; do ip link set $name up; done
for where in host internet; do
    ip -n $where link set lo up
    ip -n $where link set eth0 up
done
ip addr add 192.168.1.1/24 dev br-lan
ip addr add 198.51.100.1/24 dev wan
ip route add $internet4 via 198.51.100.2
ip -n host addr add $lan4/24 dev eth0
ip -n host route add default via 192.168.1.1
ip -n internet addr add 198.51.100.2/24 dev eth0
ip -n internet addr add $internet4/32 dev lo
ip -n internet route add default via 198.51.100.1
ip neigh add $lan4 lladdr $mac dev br-lan
ip -n host neigh add 192.168.1.1 lladdr 02:00:00:00:00:01 dev eth0

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
start meter
cat /tmp/log
says "attached by clsact" "$(cat /tmp/page)" 'interface_attached{interface="br-lan",hook="clsact"} 1'
same "filters on br-lan" "$(filters)" 2
says "the daemon has mounted the BPF file system" "$(cat /proc/mounts)" ' /sys/fs/bpf bpf '
# CAP_NET_ADMIN is bit 12, CAP_PERFMON 38, CAP_BPF 39.
same "capabilities that are left" "$(sed -n 's/CapEff:\t//p' "/proc/$daemon/status")" 000000c000001000
same "no new privileges" "$(sed -n 's/NoNewPrivs:\t//p' "/proc/$daemon/status")" 1
for fd in "/proc/$daemon/fdinfo"/*; do
    sed -n 's/verified_insns:\t/home: instructions the verifier went through: /p' "$fd"
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
mkdir /tmp/www
head -c 20000000 /dev/zero >/tmp/www/zero
internet httpd -f -p 80 -h /tmp/www &
server=$!
sleep 1
same "bytes that came through TCP" "$(host wget -q -O - http://$internet4/zero | wc -c)" 20000000
kill $server
rm -r /tmp/www
sleep 1
total=$(plus "100 24200 100 24200" "$(since "$before")")
echo "home: with TCP, by the host's network card: $total"
expect "and by gatemeter, aggregated packets among them" $lan4 "$total"

grep -E '^(Vm(HWM|RSS)|RssAnon|Threads)' "/proc/$daemon/status"
switches=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$daemon/status")
sleep 10
now=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$daemon/status")
echo "home: waits of the main thread in 10 s of nothing, at one collection a second: $((now - switches))"

# ---- over ends and beginnings ----------------------------------------------------------------------------------------
stop KILL
host ping -q -i 0.02 -c 50 -s 100 $internet4
same "filters while no daemon runs" "$(filters)" 2
start meter
total=$(plus "$total" "50 7100 50 7100")
expect "with 50 pings while no daemon ran, after SIGKILL" $lan4 "$total"
same "filters after the takeover" "$(filters)" 2
tc qdisc del dev br-lan clsact
sleep 4
same "filters after another program deleted the qdisc" "$(filters)" 2
host ping -q -c 5 -s 100 $internet4
total=$(plus "$total" "5 710 5 710")
expect "with 5 pings over the filters put back" $lan4 "$total"
stop TERM
same "exit code after SIGTERM" $? 0

# ---- IPv6, on three capabilities only, an interface that comes later -------------------------------------------------
for name in br-lan wan; do echo 0 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
for where in host internet; do
    ip netns exec $where sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6'
done
ip addr add 2001:db8:1::1/64 dev br-lan nodad
ip addr add 2a00:1450::1/64 dev wan nodad
ip -n host addr add $lan6/64 dev eth0 nodad
ip -n host route add default via 2001:db8:1::1
ip -n internet addr add $internet6/64 dev eth0 nodad
ip -n internet route add default via 2a00:1450::1
start setpriv --bounding-set=-all,+bpf,+perfmon,+net_admin --inh-caps=-all \
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
sleep 4
wget -q -O /tmp/page http://127.0.0.1:9999/metrics
says "an interface that came after the privileges went is counted" "$(cat /tmp/page)" \
    'interface_attached{interface="br-late",hook="clsact"} 1'
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
for _ in $(seq 20); do
    left=$(bpftool prog show | grep -c ' name gatemeter_')
    [ "$left" = 0 ] && break
    sleep 0.5
done
same "programs that are left" "$left" 0
same "maps that are left" "$(bpftool map show | grep -c ' name gm_')" 0
same "text files that are left" "$(find /tmp -name 'prom_c*')" ""
exit $failed
