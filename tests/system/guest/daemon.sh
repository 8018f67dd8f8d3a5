#!/bin/sh
# The daemon as a service, all collectors that need no box: text files, pages over HTTP, a new configuration, a sudden end,
# memory, and the time from start to the first whole page.
# shellcheck disable=SC2317 # functions that lib.sh calls by their names
# shellcheck source=tests/system/guest/lib.sh
. /guest/lib.sh
make_ipv6
load_netfilter

mkdir -p /etc/config /tmp/prometheus
configure() {
    cat >/etc/config/gatemeter <<EOF
config gatemeter 'main'
    option http '1'
    option interval '1'
    option textfile_dir '/tmp/prometheus'

config traffic 'traffic'
    list subnet4 '192.168.1.1/24/br-lan'
    list subnet6 '2001:db8:1::/64'

config clients 'clients'
    option interval '1'
    list subnet '192.168.1.0/24/br-lan'
    list subnet '2001:db8:1::/64/br-lan'

config homeplug 'homeplug'
    option enabled '1'
    list interface 'lan1'

config target
    option host '$internet4'
$1
EOF
}
configure
cat >/etc/config/dhcp <<EOF
config host
    option name 'laptop'
    option mac '$mac'
EOF

all=traffic,clients,probe,homeplug
seconds() { cut -d ' ' -f 1 /proc/uptime; }
upload() { value "node_nat_traffic_upload{mac=\"$mac\",hostname=\"laptop\",ip=\"$lan4\"}"; }
sent() { value "client_traffic_bytes{direction=\"tx\",ip=\"$lan4\",client=\"laptop\"}"; }
get() { wget -q -O - "http://127.0.0.1:9999$1"; }
resident() { sed -n 's/VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status"; }

began=$(seconds)
gatemeter 2>/tmp/log &
daemon=$!
whole() {
    page
    [ -e /tmp/page ] && [ "$(grep -c '^gatemeter_collector_up{.*} 1$' /tmp/page)" = 4 ]
}
for _ in $(seq 300); do
    whole && break
    sleep 0.02
done
echo "daemon: seconds from start to the first whole page: $(echo "$began $(seconds)" | awk '{ print $2 - $1 }')"
for collector in $(echo $all | tr , ' '); do eventually "$collector" 1 up "$collector"; done
cat /tmp/log
same "errors in its log" "$(lines ERROR)" 0

host ping -q -i 0.02 -c 20 -s 100 $internet4
eventually "uploads of 20 pings with Ethernet headers" 2840 upload
eventually "and without" 2560 sent

# ---- what comes out --------------------------------------------------------------------------------------------------
in_file() { sed -n "s/^node_nat_traffic_upload{mac=\"$mac\",hostname=\"laptop\",ip=\"$lan4\"} //p" "$1"; }
eventually "the text file has it, too" 2840 in_file /tmp/prom_c
eventually "so has that of the collector" 2840 in_file /tmp/prometheus/gatemeter_traffic.prom
for collector in $(echo $all | tr , ' '); do
    says "a text file of $collector" "$(cat /tmp/prometheus/gatemeter_"$collector".prom)" '^# TYPE'
done
says "the page for people" "$(get /)" '<html'
same "health" "$(get /healthz >/dev/null && echo well)" well
says "one collector only" "$(get '/metrics?collect[]=clients' | grep -c node_nat)" '^0$'
says "who is probed" "$(get /debug/probes)" "$internet4"
same "a compressed page, once unpacked" "$(wget -q -O - --header 'Accept-Encoding: gzip' http://127.0.0.1:9999/metrics |
    gunzip | grep -c '^gatemeter_build_info')" 1
says "what it was built for" "$(get /metrics | grep '^gatemeter_build_info')" "target=\"$(cat /etc/target)\""
once=$(gatemeter once clients -f influxdb)
same "exit code of once" $? 0
says "a line for InfluxDB" "$once" '^client_traffic_bytes,'

# ---- memory ----------------------------------------------------------------------------------------------------------
for _ in $(seq 100); do page; done
grep -E '^(Vm(HWM|RSS)|Rss(Anon|File)|Threads)' "/proc/$daemon/status"
# The budget is that of programs as they are shipped.
case $(cat /etc/target) in
    *-musl) same "whether all of it, after 100 scrapes, is below 5 MB: $(resident) kB" "$(($(resident) < 5120))" 1 ;;
esac

# ---- a new configuration, a sudden end -------------------------------------------------------------------------------
configure "
config target
    option host '$internet6'
"
sed -i "s/'laptop'/'renamed'/" /etc/config/dhcp
kill -HUP "$daemon"
soon reaches "icmp_probe_packets_recv_total{ip=\"$internet6\"}" 1 || bad "the target of the new configuration is not probed"
eventually "counts are kept, under the new name" 2840 \
    value "node_nat_traffic_upload{mac=\"$mac\",hostname=\"renamed\",ip=\"$lan4\"}"
echo "    option interval 'often'" >>/etc/config/gatemeter
kill -HUP "$daemon"
told() { lines ERROR; }
eventually "errors about a configuration that cannot be used" 1 told
grep '^ERROR' /tmp/log
soon is_up traffic || bad "it does not go on with the old one"
configure
sed -i "s/'renamed'/'laptop'/" /etc/config/dhcp
stop KILL
host ping -q -i 0.02 -c 20 -s 100 $internet4
start $all gatemeter
eventually "uploads, with 20 pings after SIGKILL" 5680 upload
eventually "and without Ethernet headers" 5120 sent
kill -TERM "$daemon"
wait "$daemon"
same "exit code after SIGTERM" $? 0
same "text files that are left" "$(find /tmp -name 'prom_c*' -o -name '*.prom' -o -name '*gatemeter-*' | tr '\n' ' ')" ""
gatemeter clean >/dev/null
rm -r /etc/config /tmp/prometheus
exit $failed
