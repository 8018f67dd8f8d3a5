#!/bin/sh
# `probe` and `gatemeter ping`: ICMP and TCP over both families, by the kernel's own time stamps, against a host that is near,
# far (netem), deaf, and back again.
# shellcheck disable=SC2317 # functions that lib.sh calls by their names
# shellcheck source=tests/system/guest/lib.sh
. /guest/lib.sh
make_ipv6

mkdir -p /etc/config
cat >/etc/config/gatemeter <<EOF
config gatemeter 'main'
    option http '1'
    option interval '1'

config probe 'probe'
    option interval '200'
    option timeout '1000'
    option unlocked '1'

config target
    option host '$internet4'
    option name 'internet'

config target
    option host '$internet6'

config target
    option host '$internet4'
    list tcp_port '80'
    list tcp_port '81'

config target
    option host '$internet6'
    list tcp_port '80'
EOF

# Sent and received, of the family and the labels of a target.
counts() {
    page
    echo "$(on_page "$1_probe_packets_sent_total{$2}") $(on_page "$1_probe_packets_recv_total{$2}")"
}
lost() {
    page
    awk -v "start=$1_probe_packets_lost_total{$2" 'index($0, start) == 1 { sum += $2 } END { print sum + 0 }' /tmp/page
}
by_kernel() { value 'gatemeter_probe_round_trips_total{interface="wan",timestamps="kernel"}'; }
# Round trips that were measured by other clocks than the kernel's, of all interfaces.
by_others() {
    page
    grep '^gatemeter_probe_round_trips_total{' /tmp/page | grep -v 'timestamps="kernel"' |
        awk '{ sum += $2 } END { print sum + 0 }'
}
echoes() { internet awk "/^Icmp: [0-9]/ { print \$10 }" /proc/net/snmp; }

serve 1000
icmp4="ip=\"$internet4\"" icmp6="ip=\"$internet6\""
open4="$icmp4,tcp_port=\"80\"" closed4="$icmp4,tcp_port=\"81\"" open6="$icmp6,tcp_port=\"80\""
gatemeter --collectors probe check
same "exit code of check" $? 0
heard=$(echoes)
start probe gatemeter --collectors probe
cat /tmp/log
# CAP_NET_RAW alone, bit 13.
same "capabilities that are left" "$(sed -n 's/CapEff:\t//p' "/proc/$daemon/status")" 0000000000002000

for target in "icmp $icmp4" "icmp $icmp6" "tcp $open4" "tcp $closed4" "tcp $open6"; do
    family=${target%% *} labels=${target#* }
    soon reaches "${family}_probe_packets_recv_total{$labels}" 20 || bad "$target is not answered"
    same "lost of $target" "$(lost "$family" "$labels")" 0
    echo "probe: $target: sent and received $(counts "$family" "$labels"), mean round trip" \
        "$(value "${family}_probe_latency_seconds{$labels}") s"
done
soon reaches "tcp_probe_packets_refused_total{$closed4}" 20 || bad "the closed port does not refuse"
same "refused of the open port" "$(value "tcp_probe_packets_refused_total{$open4}")" 0
same "ignored packets that are malformed" "$(value 'gatemeter_probe_ignored_packets_total{reason="malformed"}')" 0
soon reaches 'gatemeter_probe_round_trips_total{interface="wan",timestamps="kernel"}' 100 || bad "no kernel time stamps"
echo "probe: round trips by the kernel's stamps: $(by_kernel), by other clocks: $(by_others)"
# The very first stamps of a system may come too late.
same "whether hardly any are by other clocks" "$(($(by_others) <= 5))" 1
page
same "impossible stamps" "$(awk '/^gatemeter_probe_impossible_timestamps_total/ { n += $2 } END { print n + 0 }' /tmp/page)" 0
received=$(value "icmp_probe_packets_recv_total{$icmp4}")
same "whether the other end has heard what was answered" "$(($(echoes) - heard >= received))" 1

# ---- deaf, and back --------------------------------------------------------------------------------------------------
internet tc qdisc add dev eth0 root netem loss 100%
some_lost() { [ "$(lost icmp "$icmp4")" -ge 5 ] && [ "$(lost icmp "$icmp6")" -ge 5 ] && [ "$(lost tcp "$open4")" -ge 5 ]; }
if soon some_lost; then ok "what is not answered is lost"; else bad "what is not answered is not lost"; fi
internet tc qdisc del dev eth0 root
for target in "icmp $icmp4" "icmp $icmp6" "tcp $open4"; do
    family=${target%% *} labels=${target#* }
    received=$(value "${family}_probe_packets_recv_total{$labels}")
    if soon reaches "${family}_probe_packets_recv_total{$labels}" $((received + 10)); then
        ok "$target is answered again"
    else
        bad "$target is not answered any more"
    fi
done
asked=$(wget -q -O - "http://127.0.0.1:9999/probe?target=198.51.100.2")
says "/probe has somebody probed" "$asked" '^icmp_probe_packets_sent_total{ip="198.51.100.2"}'
same "errors in its log" "$(lines ERROR)" 0
grep -E '^(Vm(HWM|RSS)|RssAnon)' "/proc/$daemon/status"
stop TERM
same "exit code after SIGTERM" $? 0

# ---- a person at the terminal ----------------------------------------------------------------------------------------
ping=$(gatemeter ping $internet4 $internet6 -n 5)
same "exit code of ping" $? 0
echo "$ping"
same "summaries without loss, by kernel stamps" \
    "$(echo "$ping" | grep -c '5 packets transmitted, 5 received, 0% packet loss') $(echo "$ping" | grep -c 'timestamps: kernel')" "2 2"
internet tc qdisc add dev eth0 root netem delay 30ms
ping=$(gatemeter ping $internet4 $internet6 --tcp 80 -n 3)
echo "$ping"
least=$(echo "$ping" | sed -n 's,^rtt min/avg/max/mdev = \([0-9]*\).*,\1,p')
for least in $least; do same "whether a delay of 30 ms is in a round trip of $least ms" "$((least >= 30))" 1; done
internet tc qdisc del dev eth0 root
unserve
rm /etc/config/gatemeter
exit $failed
