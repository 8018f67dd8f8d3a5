#!/bin/sh
# `clients`: nf_tables, conntrack and the neighbour table, none of which the kernel has at first. Bytes are what the LAN
# host's network card counts without Ethernet headers, connections are what conntrack's own program lists.
# shellcheck disable=SC2317 # functions that lib.sh calls by their names
# shellcheck source=tests/system/guest/lib.sh
. /guest/lib.sh
make_ipv6

echo "4000000000 $mac $lan4 laptop *" >/tmp/dhcp.leases
options="-e -t 1 --collectors clients -o clients.interval=1 -o clients.leases=/tmp/dhcp.leases -o clients.name_cache=none"
printf '#!/bin/sh\nexec gatemeter %s "$@"\n' "$options" >/bin/meter
chmod 755 /bin/meter

# What one address has sent and received.
bytes() {
    for direction in tx rx; do
        value "client_traffic_bytes{direction=\"$direction\",ip=\"$1\",client=\"laptop\"}"
    done | tr '\n' ' '
}
# Bytes of a table of the kernel's, as nft tells: the set's name and the address.
in_set() { nft list set inet gatemeter "$1" | tr ',' '\n' | grep -F "$2 " | sed 's/.* bytes \([0-9]*\).*/\1/'; }
# What the host's card has counted since then, without the 14 bytes of each Ethernet header.
without_ethernet() { since "$1" | awk '{ print $2 - 14 * $1, $4 - 14 * $3 " " }'; }
sum() { echo "$1 $2" | awk '{ print $1 + $3, $2 + $4 " " }'; }
active() { value "client_active_connections{ip=\"$1\",client=\"laptop\"}"; }
# Connections of the host to the port that are open, by conntrack's own program.
open_flows() { conntrack -L -f "$1" -p tcp --dport 7 2>/dev/null | grep -c ESTABLISHED; }

# ---- a router without nf_tables --------------------------------------------------------------------------------------
check=$(meter check 2>&1)
same "exit code of check without nf_tables" $? 1
echo "$check"
says "check tells what is missing and what to do" "$check" 'BROKEN.*nf_tables'
meter 2>/tmp/log &
daemon=$!
eventually "clients without nf_tables" 0 up clients
soon reaches 'gatemeter_collector_errors_total{collector="clients"}' 3
echo "clients: what it says without nf_tables:"
cat /tmp/log
same "lines about it, after several tries" "$(lines ERROR)" 1
load_netfilter
eventually "clients, once the modules are there" 1 up clients
says "the log tells that it works again" "$(cat /tmp/log)" 'works again'
stop TERM
same "exit code after SIGTERM" $? 0
same "what the daemon keeps in nf_tables" "$(nft list tables)" "table inet gatemeter"
meter clean
same "what clean leaves in nf_tables" "$(nft list tables)" ""

# ---- bytes, exactly --------------------------------------------------------------------------------------------------
# A firewall of its own has the kernel track flows, and hides the LAN behind the router's address.
nft -f - <<'EOF'
table inet fw {
    chain forward { type filter hook forward priority 0; ct state invalid counter drop; }
    chain post { type nat hook postrouting priority 100; oifname "wan" meta nfproto ipv4 masquerade; }
}
EOF
meter check
same "exit code of check" $? 0
start clients meter
cat /tmp/log
same "errors in its log" "$(lines ERROR)" 0
eventually "where bytes come from" 1 value 'gatemeter_clients_accounting_info{source="set"}'
# CAP_NET_ADMIN alone, bit 12.
same "capabilities that are left" "$(sed -n 's/CapEff:\t//p' "/proc/$daemon/status")" 0000000000001000
host ping -q -i 0.02 -c 100 -s 200 $internet4
total4="22800 22800 "
eventually "100 pings of 20+8+200 bytes, and their answers" "$total4" bytes $lan4
host ping -6 -q -i 0.02 -c 50 -s 100 $internet6
total6="7400 7400 "
eventually "50 pings of 40+8+100 bytes, and their answers" "$total6" bytes $lan6
host ping -q -c 3 192.168.1.1
serve 5000000
before=$(statistics)
same "bytes through TCP over IPv4" "$(host wget -q -O - http://$internet4/zero | wc -c)" 5000000
sleep 1
# The pings to the router are not in what is counted since then.
total4=$(sum "$total4" "$(without_ethernet "$before")")
eventually "with TCP over IPv4, by the host's network card" "$total4" bytes $lan4
before=$(statistics)
same "bytes through TCP over IPv6" "$(host wget -q -O - "http://[$internet6]/zero" | wc -c)" 5000000
sleep 1
total6=$(sum "$total6" "$(without_ethernet "$before")")
eventually "with TCP over IPv6, by the host's network card" "$total6" bytes $lan6
unserve
same "the kernel's sets" "$(in_set tx4 $lan4) $(in_set rx4 $lan4) $(in_set tx6 $lan6) $(in_set rx6 $lan6) " "$total4$total6"
eventually "status of the host" 1 value "client_status{ip=\"$lan4\",client=\"laptop\"}"
eventually "its hardware address" 1 \
    value "client_info{ip=\"$lan6\",client=\"laptop\",mac=\"$mac\",interface=\"br-lan\"}"
says "its last sight is a time" "$(value "client_last_seen_timestamp_seconds{ip=\"$lan4\",client=\"laptop\"}")" '^[0-9]'

# ---- connections, by events ------------------------------------------------------------------------------------------
eventually "how connections are read" 1 value 'gatemeter_clients_flows_info{mode="events"}'
eventually "connections before there are any, IPv4" 0 active $lan4
reads=$(value gatemeter_clients_flow_reads_total)
ip netns exec internet nc -ll -p 7 -e cat &
echo_server=$!
echo_listens() { internet netstat -tln | grep -q ':7 '; }
soon echo_listens || bad "no echo server"
clients=
for _ in 1 2 3; do
    host sh -c "tail -f /dev/null | exec nc $internet4 7" &
    clients="$clients $!"
done
host sh -c "tail -f /dev/null | exec nc $internet6 7" &
clients="$clients $!"
eventually "open connections of the host over IPv4, by conntrack" 3 open_flows ipv4
eventually "and by gatemeter" 3 active $lan4
eventually "open connections of the host over IPv6, by conntrack" 1 open_flows ipv6
eventually "and by gatemeter" 1 active $lan6
pids=$(ip netns pids host)
# shellcheck disable=SC2086 # one word for each process
kill $pids 2>/dev/null
# shellcheck disable=SC2086
wait $clients 2>/dev/null
eventually "connections after they were closed, IPv4" 0 active $lan4
eventually "connections after they were closed, IPv6" 0 active $lan6
# A connection attempt that nobody answers.
internet ip route add blackhole 198.51.100.1/32
host nc -w 1 $internet4 8 </dev/null
eventually "connections that nobody has answered" 1 value "client_unreplied_connections{ip=\"$lan4\",client=\"laptop\"}"
internet ip route del blackhole 198.51.100.1/32
same "how often all connections were read meanwhile" "$(($(value gatemeter_clients_flow_reads_total) - reads < 3))" 1
kill $echo_server
grep -E '^(Vm(HWM|RSS)|RssAnon)' "/proc/$daemon/status"

# ---- over ends and beginnings ----------------------------------------------------------------------------------------
stop KILL
# By the kernel's own word: the daemon may not have read yet how the connection attempt was repeated.
total4="$(in_set tx4 $lan4) $(in_set rx4 $lan4) "
host ping -q -i 0.02 -c 50 -s 100 $internet4
start clients meter
total4=$(sum "$total4" "6400 6400")
eventually "with 50 pings while no daemon ran, after SIGKILL" "$total4" bytes $lan4
nft flush ruleset
soon reaches 'gatemeter_collector_up{collector="clients"}' 1
made_again() { nft list tables; }
eventually "the table, after somebody flushed the ruleset" "table inet gatemeter" made_again
host ping -q -i 0.02 -c 10 -s 100 $internet4
total4=$(sum "$total4" "1280 1280")
eventually "counts go on over the table that was made again" "$total4" bytes $lan4
stop TERM
meter clean

# ---- the other two sources -------------------------------------------------------------------------------------------
nft add table inet filter
nft add chain inet filter forward '{ type filter hook forward priority 0; }'
start clients meter -o clients.accounting=rules -o clients.manage_rules=1
rule() { nft list chain inet filter CLIENT_TRAFFIC | grep -c "tx_$lan4"; }
eventually "a rule for the client" 1 rule
before=$(bytes $lan4)
host ping -q -i 0.02 -c 20 -s 100 $internet4
eventually "20 pings by rules" "$(sum "$before" "2560 2560")" bytes $lan4
stop TERM
nft flush ruleset
echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct
nft -f - <<'EOF'
table inet fw { chain forward { type filter hook forward priority 0; ct state invalid drop; }; }
EOF
start clients meter -o clients.accounting=conntrack
eventually "where bytes come from" 1 value 'gatemeter_clients_accounting_info{source="conntrack"}'
host ping -q -i 0.02 -c 20 -s 100 $internet4
host ping -6 -q -i 0.02 -c 20 -s 100 $internet6
eventually "20 pings by conntrack's totals, IPv4" "2560 2560 " bytes $lan4
eventually "20 pings by conntrack's totals, IPv6" "2960 2960 " bytes $lan6
stop TERM
nft flush ruleset
exit $failed
