# The home network of an emulated machine, which is its router: one LAN host behind a bridge, and one host in the internet.
# To be sourced.
# shellcheck shell=sh

mac=02:00:00:00:00:10
lan4=192.168.1.10 internet4=203.0.113.5 lan6=2001:db8:1::10 internet6=2a00:1450::5
export mac lan4 internet4 lan6 internet6


host() { ip netns exec host "$@"; }
internet() { ip netns exec internet "$@"; }

# What the host's own network card has counted: packets and bytes sent, packets and bytes received.
statistics() {
    for name in tx_packets tx_bytes rx_packets rx_bytes; do
        printf '%s ' "$(host cat "/sys/class/net/eth0/statistics/$name")"
    done
}
since() { echo "$1 $(statistics)" | awk '{ print $5 - $1, $6 - $2, $7 - $3, $8 - $4 " " }'; }
plus() { echo "$1 $2" | awk '{ print $1 + $5, $2 + $6, $3 + $7, $4 + $8 " " }'; }

# Serves a file of $1 bytes, all zero, on port 80 of the internet host; its process is `server`. (No function behind the `&`:
# its process would be a shell that waits for the server.)
serve() {
    mkdir -p /tmp/www
    head -c "$1" /dev/zero >/tmp/www/zero
    ip netns exec internet httpd -f -p 80 -h /tmp/www &
    server=$!
    soon listens || give_up "no HTTP server in the internet"
}
listens() { internet netstat -tln | grep -q ':80 '; }
unserve() {
    kill "$server"
    wait "$server"
    rm -r /tmp/www
}

# Makes it. Nobody says anything by himself, so the interfaces' own counters are those of the traffic that is made.
make_home() {
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
    ip route add default via 198.51.100.2
    ip -n host addr add $lan4/24 dev eth0
    ip -n host route add default via 192.168.1.1
    ip -n internet addr add 198.51.100.2/24 dev eth0
    ip -n internet addr add $internet4/32 dev lo
    ip -n internet route add default via 198.51.100.1
    ip neigh add $lan4 lladdr $mac dev br-lan
    ip -n host neigh add 192.168.1.1 lladdr 02:00:00:00:00:01 dev eth0
}

# Turns IPv6 on in it, if that was not done.
make_ipv6() {
    ip addr show dev br-lan | grep -q 2001:db8:1::1 && return
    for name in br-lan wan; do echo 0 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    for where in host internet; do
        ip netns exec $where sh -c 'cd /proc/sys/net/ipv6/conf/eth0 && echo 0 >accept_ra && echo 0 >router_solicitations &&
            echo 0 >disable_ipv6'
    done
    ip addr add 2001:db8:1::1/64 dev br-lan nodad
    ip addr add 2a00:1450::1/64 dev wan nodad
    ip -6 route add default via $internet6
    ip -n host addr add $lan6/64 dev eth0 nodad
    ip -n host route add default via 2001:db8:1::1
    ip -n internet addr add $internet6/64 dev eth0 nodad
    ip -n internet route add default via 2a00:1450::1
    ip neigh add $lan6 lladdr $mac dev br-lan
    ip -n host neigh add 2001:db8:1::1 lladdr 02:00:00:00:00:01 dev eth0
}
