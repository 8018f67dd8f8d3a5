# Stands in for OpenWrt's /lib/functions/network.sh: /standin/networks has NAME UP L3-DEVICE L2-DEVICE SUBNETS SUBNETS6, with -
# for nothing and , between several. Like the real functions these fail where there is nothing.
# shellcheck shell=dash disable=SC2034

network_flush_cache() { :; }

# The real functions put the name into an eval.
find_network() {
	case $2 in
		*[!A-Za-z0-9_]*) echo "network.sh '$2'" >>/record ;;
	esac
	# The caller's variable may have any name but these.
	local __name __up __device __port __subnets __subnets6 __found
	while read -r __name __up __device __port __subnets __subnets6; do
		if [ "$__name" = "$2" ]; then
			eval "__found=\$__$3"
			[ "$__found" != - ] || break
			eval "$1=\$(echo \"\$__found\" | tr , ' ')"
			return 0
		fi
	done </standin/networks
	unset "$1"
	return 1
}

network_get_device() { find_network "$1" "$2" device; }
network_get_physdev() { find_network "$1" "$2" port; }
network_get_subnets() { find_network "$1" "$2" subnets; }
network_get_subnets6() { find_network "$1" "$2" subnets6; }
network_is_up() {
	local is_up
	find_network is_up "$1" up && [ "$is_up" = 1 ]
}
