# Stands in for OpenWrt's /lib/functions.sh: the settings come from /standin/PACKAGE.sh, where the test has put them as
# config_load would have them in variables.
# shellcheck shell=dash disable=SC2034

config_load() {
	CONFIG_SECTIONS=
	[ -f "/standin/$1.sh" ] || return 1
	# shellcheck source=/dev/null
	. "/standin/$1.sh"
}

config_get() {
	eval "$1=\${CONFIG_${2}_${3}:-}"
	eval "[ -n \"\$$1\" ]" || eval "$1=\${4:-}"
}

config_foreach() {
	local function=$1 type=$2 section is
	shift 2
	for section in $CONFIG_SECTIONS; do
		config_get is "$section" TYPE
		[ "$is" != "$type" ] || "$function" "$section" "$@"
	done
}

# The real ones are part of what config_load runs, so nobody may have functions of these names.
config() { :; }
option() { :; }
list() { :; }
