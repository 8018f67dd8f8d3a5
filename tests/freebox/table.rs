//! Every metric of the API's table against the answers themselves: which value of which file stands under which
//! measurement, tags and field, and in which Prometheus series. Read by another JSON library, and written down by hand.

use serde_json::Value;

use crate::lab::freebox::{Model, fixtures};
use crate::support::{Home, printed};

/// One line of the table; a place is a path in the result, or `=X` for X whatever the file says.
struct Row(&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, f64);

/// Measurement, tags that tell the record, field, file, place, Prometheus series, and by what it multiplies the number.
#[rustfmt::skip]
const FIBRE: &[Row] = &[
    Row("freebox", "", "config_ping_external", "connection_config", "/ping", "freebox_connection_config_ping", 1.0),
    Row("freebox", "", "config_adblock", "connection_config", "/adblock", "freebox_connection_config_adblock", 1.0),
    Row("freebox", "", "config_wol", "connection_config", "/wol", "freebox_connection_config_wol", 1.0),
    Row("freebox", "", "config_sip_alg", "connection_config", "=1", "freebox_connection_config_sip_alg_code", 1.0),
    Row("freebox", "remote_ip=198.51.100.27,remote_access_port=40443", "config_remote_is_secure_pass", "connection_config", "/is_secure_pass", "freebox_connection_config_secure_password", 1.0),
    Row("freebox", "remote_ip=198.51.100.27,remote_access_port=40443", "config_remote_access", "connection_config", "/remote_access", "freebox_connection_config_remote_access", 1.0),
    Row("freebox", "remote_ip=198.51.100.27,remote_access_port=40443", "config_api_remote_access", "connection_config", "/api_remote_access", "freebox_connection_config_api_remote_access", 1.0),
    Row("freebox", "remote_ip=198.51.100.27,remote_access_port=40443", "config_api_allow_token_request", "connection_config", "/allow_token_request", "freebox_connection_config_allow_token_request", 1.0),
    Row("freebox", "conn_media=ftth", "bytes_down", "connection", "/bytes_down", "freebox_connection_bytes_total{direction=\"down\",media=\"ftth\"}", 1.0),
    Row("freebox", "conn_media=ftth", "bytes_up", "connection", "/bytes_up", "freebox_connection_bytes_total{direction=\"up\",media=\"ftth\"}", 1.0),
    Row("freebox", "conn_media=ftth", "rate_down", "connection", "/rate_down", "freebox_connection_rate_bytes_per_second{direction=\"down\"}", 1.0),
    Row("freebox", "conn_media=ftth", "rate_up", "connection", "/rate_up", "freebox_connection_rate_bytes_per_second{direction=\"up\"}", 1.0),
    Row("freebox", "conn_media=ftth", "bandwidth_down", "connection", "/bandwidth_down", "freebox_connection_bandwidth_bytes_per_second{direction=\"down\"}", 0.125),
    Row("freebox", "conn_media=ftth", "bandwidth_up", "connection", "/bandwidth_up", "freebox_connection_bandwidth_bytes_per_second{direction=\"up\"}", 0.125),
    Row("freebox", "conn_media=ftth", "state", "connection", "=1", "freebox_connection_up", 1.0),
    Row("freebox", "conn_media=ftth", "wan_ipv4", "connection", "/ipv4", "", 1.0),
    Row("freebox", "conn_media=ftth", "wan_ipv4_port_range_min", "connection", "/ipv4_port_range/0", "freebox_connection_ipv4_port_range_min", 1.0),
    Row("freebox", "conn_media=ftth", "wan_ipv4_port_range_max", "connection", "/ipv4_port_range/1", "freebox_connection_ipv4_port_range_max", 1.0),
    Row("freebox", "conn_media=ftth", "wan_ipv6", "connection", "/ipv6", "", 1.0),
    Row("freebox", "conn_media=ftth,sfp_model=DOC-XGSPON-1,sfp_vendor=Fibre\\ Societ,sfp_serial=DOC00000042", "sfp_pwr_rx", "connection_ftth", "/sfp_pwr_rx", "freebox_connection_ftth_sfp_power_dbm{direction=\"rx\"}", 0.01),
    Row("freebox", "conn_media=ftth,sfp_model=DOC-XGSPON-1,sfp_vendor=Fibre\\ Societ,sfp_serial=DOC00000042", "sfp_pwr_tx", "connection_ftth", "/sfp_pwr_tx", "freebox_connection_ftth_sfp_power_dbm{direction=\"tx\"}", 0.01),
    Row("freebox", "conn_media=ftth,sfp_model=DOC-XGSPON-1,sfp_vendor=Fibre\\ Societ,sfp_serial=DOC00000042", "sfp_alim_ok", "connection_ftth", "/sfp_alim_ok", "freebox_connection_ftth_sfp_alim_ok", 1.0),
    Row("freebox", "conn_media=ftth,sfp_model=DOC-XGSPON-1,sfp_vendor=Fibre\\ Societ,sfp_serial=DOC00000042", "sfp_has_power_report", "connection_ftth", "/sfp_has_power_report", "freebox_connection_ftth_sfp_has_power_report", 1.0),
    Row("freebox", "conn_media=ftth,sfp_model=DOC-XGSPON-1,sfp_vendor=Fibre\\ Societ,sfp_serial=DOC00000042", "sfp_has_signal", "connection_ftth", "/sfp_has_signal", "freebox_connection_ftth_sfp_has_signal", 1.0),
    Row("freebox", "hw_firmware=4.12.1,hw_serial=000000J000000008,hw_mac=02:00:5E:00:53:08,hw_model_pretty=Freebox\\ v7\\ (r1),hw_model=fbxgw7-r1/full,net_operator=free", "sys_uptime", "system", "/uptime_val", "freebox_system_uptime_seconds", 1.0),
    Row("freebox", "hw_firmware=4.12.1", "sys_authenticated", "system", "/box_authenticated", "freebox_system_authenticated", 1.0),
    Row("freebox", "hw_firmware=4.12.1", "firmware_version", "system", "/firmware_version", "", 1.0),
    Row("freebox", "hw_firmware=4.12.1", "sys_disk_status", "system", "=1", "freebox_system_disk_active", 1.0),
    Row("freebox", "hw_firmware=4.12.1", "minfo_customer_hdd_slots", "system", "/model_info/customer_hdd_slots", "freebox_system_hdd_slots", 1.0),
    Row("freebox", "hw_firmware=4.12.1", "minfo_internal_hdd_size", "system", "/model_info/internal_hdd_size", "freebox_system_internal_hdd_size", 1.0),
    Row("freebox", "fan=main,fan_name=Ventilateur\\ 1", "sys_fan_rpm", "system", "/fans/1/value", "freebox_system_fan_rpm{fan=\"main\",name=\"Ventilateur 1\"}", 1.0),
    Row("freebox", "", "sys_fan_count", "system", "=2", "", 1.0),
    Row("freebox", "sensor=cpu_ap,sensor_name=Temperature\\ CPU", "sys_temp", "system", "/sensors/2/value", "freebox_system_temp_celsius{sensor=\"cpu_ap\",name=\"Température CPU\"}", 1.0),
    Row("freebox", "", "sys_temp_count", "system", "=5", "", 1.0),
    Row("freebox_switch", "switch_port=4,switch_mode=2500BaseT-FD,switch_name=Ethernet\\ 4", "switch_link", "switch_status", "=1", "freebox_switch_port_up{port=\"4\",name=\"Ethernet 4\"}", 1.0),
    Row("freebox_switch", "switch_port=3", "switch_duplex", "switch_status", "=0", "freebox_switch_port_full_duplex{port=\"3\",name=\"Ethernet 3\"}", 1.0),
    Row("freebox_switch", "switch_port=4", "switch_speed", "switch_status", "=2500", "freebox_switch_port_speed_bytes_per_second{port=\"4\"}", 125000.0),
    Row("freebox_switch", "switch_port=1", "switch_client_count", "switch_status", "=2", "freebox_switch_port_hosts{port=\"1\"}", 1.0),
    Row("freebox_switch", "switch_port=2", "switch_rx_bytes_rate", "switch_port_2_stats", "/rx_bytes_rate", "freebox_switch_port_rate_bytes_per_second{port=\"2\",direction=\"rx\"}", 1.0),
    Row("freebox_switch", "switch_port=2", "switch_tx_bytes_rate", "switch_port_2_stats", "/tx_bytes_rate", "freebox_switch_port_rate_bytes_per_second{port=\"2\",direction=\"tx\"}", 1.0),
    Row("freebox_switch", "switch_port=9999", "switch_tx_bytes_rate", "switch_port_9999_stats", "/tx_bytes_rate", "", 1.0),
    Row("freebox_switch", "switch_port=4", "switch_err_packets", "switch_port_4_stats", "/rx_err_packets", "freebox_switch_port_receive_errors_total{port=\"4\"}", 1.0),
    Row("freebox_switch", "switch_port=4", "switch_discard_packets", "switch_port_4_stats", "/rx_discard_packets", "freebox_switch_port_receive_discards_total{port=\"4\"}", 1.0),
    Row("freebox_switch", "switch_port=4", "switch_collisions", "switch_port_4_stats", "/tx_collisions", "freebox_switch_port_transmit_collisions_total{port=\"4\"}", 1.0),
    Row("freebox_switch", "", "switch_port_count", "switch_status", "=5", "", 1.0),
    Row("freebox_storage", "hdd=1000,hdd_type=sata,hdd_model=DOC\\ SSD\\ 1TB,hdd_serial=DOC-SSD-0001,hdd_table_type=gpt", "disk_temp", "storage_disk", "/0/temp", "freebox_disk_temp_celsius{disk=\"1000\"}", 1.0),
    Row("freebox_storage", "hdd=1000", "disk_total_bytes", "storage_disk", "/0/total_bytes", "freebox_disk_size_bytes{disk=\"1000\"}", 1.0),
    Row("freebox_storage", "hdd=2000", "disk_idle", "storage_disk", "/1/idle", "freebox_disk_idle{disk=\"2000\"}", 1.0),
    Row("freebox_storage", "hdd=1000", "disk_state", "storage_disk", "=1", "freebox_disk_state_code{disk=\"1000\"}", 1.0),
    Row("freebox_storage", "hdd=1000", "disk_write_error", "storage_disk", "/0/write_error_requests", "freebox_disk_write_errors_total{disk=\"1000\"}", 1.0),
    Row("freebox_storage", "hdd=2000", "disk_write_error", "storage_disk", "=0", "", 1.0),
    Row("freebox_storage", "hdd=1000,hdd_type=sata,partition=1001,partition_label=Disque\\ 1,partition_fstype=ext4,partition_state=mounted,partition_path=/Disque\\ 1", "diskfs_total_bytes", "storage_disk", "/0/partitions/0/total_bytes", "freebox_filesystem_size_bytes{disk=\"1000\",partition=\"1001\",label=\"Disque 1\",fstype=\"ext4\"}", 1.0),
    Row("freebox_storage", "partition=1001", "diskfs_used_bytes", "storage_disk", "/0/partitions/0/used_bytes", "freebox_filesystem_used_bytes{disk=\"1000\",partition=\"1001\",label=\"Disque 1\",fstype=\"ext4\"}", 1.0),
    Row("freebox_storage", "partition=1001", "diskfs_free_bytes", "storage_disk", "/0/partitions/0/free_bytes", "freebox_filesystem_free_bytes{disk=\"1000\",partition=\"1001\",label=\"Disque 1\",fstype=\"ext4\"}", 1.0),
    Row("freebox_wifi", "wifi_ap=1,wifi_ap_name=5G,wifi_ap_band=5g", "wifi_state", "wifi_ap", "=1", "freebox_wifi_ap_active{ap=\"1\",name=\"5G\",band=\"5g\"}", 1.0),
    Row("freebox_wifi", "wifi_ap=1,wifi_ap_name=5G,wifi_ap_band=5g", "wifi_channel_width", "wifi_ap", "/1/status/channel_width", "", 1.0),
    Row("freebox_wifi", "wifi_ap=1,wifi_ap_name=5G,wifi_ap_band=5g", "wifi_primary_channel", "wifi_ap", "/1/status/primary_channel", "freebox_wifi_channel{ap=\"1\",channel_type=\"primary\"}", 1.0),
    Row("freebox_wifi", "wifi_ap=1,wifi_ap_name=5G,wifi_ap_band=5g", "wifi_secondary_channel", "wifi_ap", "/1/status/secondary_channel", "freebox_wifi_channel{ap=\"1\",channel_type=\"secondary\"}", 1.0),
    Row("freebox_wifi", "wifi_ap=0,wifi_ap_name=2.4G,wifi_station_hostname=tél\\=perso\\,\\ bleu,wifi_station_mac=02:00:5E:00:53:B2,wifi_station=02:00:5E:00:53:F0-02:00:5E:00:53:B2,wifi_station_bssid=02:00:5E:00:53:F0", "wifi_station_tx_bytes", "wifi_ap_0_stations", "/0/tx_bytes", "freebox_wifi_station_bytes_total{mac=\"02:00:5E:00:53:B2\",direction=\"tx\"}", 1.0),
    Row("freebox_wifi", "wifi_station_mac=02:00:5E:00:53:B2", "wifi_station_rx_bytes", "wifi_ap_0_stations", "/0/rx_bytes", "freebox_wifi_station_bytes_total{mac=\"02:00:5E:00:53:B2\",direction=\"rx\"}", 1.0),
    Row("freebox_wifi", "wifi_station_mac=02:00:5E:00:53:B2", "wifi_station_signal", "wifi_ap_0_stations", "/0/signal", "freebox_wifi_station_signal_dbm{mac=\"02:00:5E:00:53:B2\"}", 1.0),
    Row("freebox_wifi", "wifi_station_mac=02:00:5E:00:53:B2", "wifi_station_conn_duration", "wifi_ap_0_stations", "/0/conn_duration", "freebox_wifi_station_connected_seconds{mac=\"02:00:5E:00:53:B2\"}", 1.0),
    Row("freebox_wifi", "wifi_station_mac=02:00:5E:00:53:B2", "wifi_station_inactive", "wifi_ap_0_stations", "/0/inactive", "freebox_wifi_station_inactive_seconds{mac=\"02:00:5E:00:53:B2\"}", 1.0),
    Row("freebox_dhcp", "dhcp_gateway=192.0.2.1,dhcp_ip_range_start=192.0.2.10,dhcp_ip_range_end=192.0.2.99,dhcp_netmask=255.255.255.0,dhcp_dns=192.0.2.1\\,198.51.100.53", "dhcp_enabled", "dhcp_config", "/enabled", "freebox_dhcp_enabled", 1.0),
    Row("freebox_dhcp", "dhcp_gateway=192.0.2.1", "dhcp_sticky_assign", "dhcp_config", "/sticky_assign", "freebox_dhcp_sticky_assign", 1.0),
    Row("freebox_dhcp", "dhcp_gateway=192.0.2.1", "dhcp_always_broadcast", "dhcp_config", "/always_broadcast", "freebox_dhcp_always_broadcast", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1,client_hostname=openwrt,client_ip=192.0.2.2,client_primary_name=openwrt", "dhcp_lease_static", "dhcp_dynamic_lease", "/0/is_static", "freebox_dhcp_lease_static{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_refresh_time", "dhcp_dynamic_lease", "/0/refresh_time", "freebox_dhcp_lease_refresh_timestamp_seconds{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_assign_time", "dhcp_dynamic_lease", "/0/assign_time", "freebox_dhcp_lease_assign_timestamp_seconds{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_remaining_time", "dhcp_dynamic_lease", "/0/lease_remaining", "freebox_dhcp_lease_remaining_seconds{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_active", "dhcp_dynamic_lease", "/0/host/active", "freebox_dhcp_lease_active{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_reachable", "dhcp_dynamic_lease", "/0/host/reachable", "freebox_dhcp_lease_reachable{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "client_mac=02:00:5E:00:53:A1", "dhcp_lease_last_time_reachable", "dhcp_dynamic_lease", "/0/host/last_time_reachable", "freebox_dhcp_lease_last_reachable_timestamp_seconds{mac=\"02:00:5E:00:53:A1\"}", 1.0),
    Row("freebox_dhcp", "", "dhcp_lease_count", "dhcp_dynamic_lease", "=3", "freebox_dhcp_leases", 1.0),
    Row("freebox_lan", "lan_iface=wifiguest", "lanhost_count", "lan_browser_interfaces", "/1/host_count", "freebox_lan_hosts{interface=\"wifiguest\"}", 1.0),
    Row("freebox_lan", "lan_type=workstation,lan_primary_name=PC\\ de\\ Zoé,lan_vendor=Societe\\ Gene,lan_mac_address=02:00:5E:00:53:B1,lan_iface=pub,lan_ipv4=192.0.2.21,lan_ipv6=2001:db8:8::2f", "lanhost_reachable", "lan_browser_pub", "/1/reachable", "freebox_lan_host_reachable{mac=\"02:00:5E:00:53:B1\",interface=\"pub\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:B1", "lanhost_first_activity", "lan_browser_pub", "/1/first_activity", "freebox_lan_host_first_activity_timestamp_seconds{mac=\"02:00:5E:00:53:B1\",interface=\"pub\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:B1", "lanhost_last_activity", "lan_browser_pub", "/1/last_activity", "freebox_lan_host_last_activity_timestamp_seconds{mac=\"02:00:5E:00:53:B1\",interface=\"pub\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:B1", "lanhost_last_time_reachable", "lan_browser_pub", "/1/last_time_reachable", "freebox_lan_host_last_reachable_timestamp_seconds{mac=\"02:00:5E:00:53:B1\",interface=\"pub\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:A1", "lanhost_persistent", "lan_browser_pub", "/0/persistent", "freebox_lan_host_persistent{mac=\"02:00:5E:00:53:A1\",interface=\"pub\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:A1", "lanhost_ipv4_active", "lan_browser_pub", "/0/l3connectivities/0/active", "freebox_lan_host_l3_active{mac=\"02:00:5E:00:53:A1\",family=\"ipv4\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:B1", "lanhost_ipv6_active", "lan_browser_pub", "/1/l3connectivities/2/active", "", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:A1", "lanhost_ipv4_count", "lan_browser_pub", "=1", "freebox_lan_host_addresses{mac=\"02:00:5E:00:53:A1\",family=\"ipv4\"}", 1.0),
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:A1", "lanhost_ipv6_count", "lan_browser_pub", "=2", "freebox_lan_host_addresses{mac=\"02:00:5E:00:53:A1\",family=\"ipv6\"}", 1.0),
    // The first host of the second interface takes no other's place.
    Row("freebox_lan", "lan_mac_address=02:00:5E:00:53:C1,lan_iface=wifiguest", "lanhost_reachable", "lan_browser_wifiguest", "/0/reachable", "freebox_lan_host_reachable{mac=\"02:00:5E:00:53:C1\",interface=\"wifiguest\"}", 1.0),
    Row("freebox_call", "phone_number=0999000042", "call_phone_number", "call_account", "/phone_number", "", 1.0),
    Row("freebox_call", "call=2,call_number=0199000002,call_name=0199000002,call_type=accepted,call_contact_id=0", "call_duration", "call_log", "/1/duration", "", 1.0),
    Row("freebox_call", "call=2", "call_datetime", "call_log", "/1/datetime", "freebox_call_last_timestamp_seconds{type=\"accepted\"}", 1.0),
    Row("freebox_call", "call=3", "call_contact_id", "call_log", "/0/contact_id", "", 1.0),
    Row("freebox_virtualmachine", "", "total_memory", "vm_info", "/total_memory", "freebox_vm_host_memory_bytes", 1048576.0),
    Row("freebox_virtualmachine", "", "used_memory", "vm_info", "/used_memory", "freebox_vm_host_memory_used_bytes", 1048576.0),
    Row("freebox_virtualmachine", "", "total_cpus", "vm_info", "/total_cpus", "freebox_vm_host_cpus", 1.0),
    Row("freebox_virtualmachine", "", "usb_ports_count", "vm_info", "=2", "freebox_vm_host_usb_ports", 1.0),
    Row("freebox_virtualmachine", "", "usb_used", "vm_info", "/usb_used", "freebox_vm_host_usb_used", 1.0),
    Row("freebox_virtualmachine", "vm=0,vm_name=debian-doc,vm_disk_path=/Disque\\ 1/VMs/debian.qcow2,vm_disk_type=qcow2,vm_cd_path=none,vm_cloudinit_hostname=debian-doc,vm_mac=02:00:5E:00:53:D0,vm_os=debian", "vm_status", "vm", "=1", "freebox_vm_running{vm=\"0\",name=\"debian-doc\"}", 1.0),
    Row("freebox_virtualmachine", "vm=1", "vm_memory", "vm", "/1/memory", "freebox_vm_memory_bytes{vm=\"1\",name=\"essai\"}", 1048576.0),
    Row("freebox_virtualmachine", "vm=1", "vm_vcpus", "vm", "/1/vcpus", "freebox_vm_vcpus{vm=\"1\",name=\"essai\"}", 1.0),
    Row("freebox_virtualmachine", "vm=0", "vm_enable_screen", "vm", "/0/enable_screen", "freebox_vm_screen_enabled{vm=\"0\",name=\"debian-doc\"}", 1.0),
    Row("freebox_virtualmachine", "vm=1", "vm_bind_usb_ports_count", "vm", "=1", "freebox_vm_usb_ports{vm=\"1\",name=\"essai\"}", 1.0),
    Row("freebox_virtualmachine", "vm=0", "vm_enable_cloudinit", "vm", "/0/enable_cloudinit", "freebox_vm_cloudinit_enabled{vm=\"0\",name=\"debian-doc\"}", 1.0),
    Row("freebox_vpn_server", "vpn_type=openvpn,vpn_name=openvpn_bridge,vpn_port=41195", "vpnsrv_state", "vpn", "=99", "freebox_vpn_server_state_code{server=\"openvpn_bridge\",type=\"openvpn\"}", 1.0),
    Row("freebox_vpn_server", "vpn_type=openvpn,vpn_name=openvpn_routed,vpn_port=41194,vpn_ip_start=192.0.2.193,vpn_ip_end=192.0.2.223,vpn_ip6_start=2001:db8:8:7::65,vpn_ip6_end=2001:db8:8:7::95", "vpnsrv_connection_count", "vpn", "/2/connection_count", "", 1.0),
    Row("freebox_vpn_server", "vpn_name=openvpn_routed", "vpnsrv_auth_connection_count", "vpn", "/2/auth_connection_count", "freebox_vpn_server_connections{server=\"openvpn_routed\",authenticated=\"true\"}", 1.0),
    Row("freebox_vpn_server", "vpn_name=ipsec,vpn_port=4500", "vpnsrv_enabled", "vpn_ipsec_config", "/enabled", "freebox_vpn_server_enabled{server=\"ipsec\",type=\"ipsec\"}", 1.0),
    Row("freebox_vpn_server", "conn_id=openvpn_routed-1,conn_user=zoe,vpn_name=openvpn_routed,conn_src_ip=203.0.113.9,conn_local_ip=192.0.2.194", "vpnsrv_conn_authenticated", "vpn_connection", "/0/authenticated", "freebox_vpn_server_connection_authenticated{id=\"openvpn_routed-1\",user=\"zoe\",server=\"openvpn_routed\"}", 1.0),
    Row("freebox_vpn_server", "conn_id=openvpn_routed-1", "vpnsrv_conn_auth_time", "vpn_connection", "/0/auth_time", "freebox_vpn_server_connection_auth_timestamp_seconds{id=\"openvpn_routed-1\",user=\"zoe\",server=\"openvpn_routed\"}", 1.0),
    Row("freebox_vpn_server", "conn_id=openvpn_routed-1", "vpnsrv_conn_rx_bytes", "vpn_connection", "/0/rx_bytes", "freebox_vpn_server_connection_bytes_total{id=\"openvpn_routed-1\",user=\"zoe\",server=\"openvpn_routed\",direction=\"rx\"}", 1.0),
    Row("freebox_vpn_server", "conn_id=openvpn_routed-1", "vpnsrv_conn_tx_bytes", "vpn_connection", "/0/tx_bytes", "freebox_vpn_server_connection_bytes_total{id=\"openvpn_routed-1\",user=\"zoe\",server=\"openvpn_routed\",direction=\"tx\"}", 1.0),
    Row("freebox_vpn_client", "ivc=vpn0,ivc_type=pptp,ivc_description=siège,ivc_username=zoe,ivc_remote_host=vpn.example.org", "vpnclient_state", "vpn_client_config", "/0/active", "freebox_vpn_client_profile_active{id=\"vpn0\",type=\"pptp\",description=\"siège\"}", 1.0),
    Row("freebox_vpn_client", "ivc=vpn1,ivc_type=wireguard,ivc_description=wg\\ doc,ivc_mtu=1420,ivc_remote_host=203.0.113.10,ivc_remote_port=51820", "vpnclient_state", "vpn_client_config", "/1/active", "freebox_vpn_client_profile_active{id=\"vpn1\",type=\"wireguard\",description=\"wg doc\"}", 1.0),
    Row("freebox_vpn_client", "type=wireguard,active_vpn_description=wg\\ doc,active_vpn=vpn1,ipv4=198.18.0.10,ipv4_mask=255.255.255.0,ipv4_gateway=198.18.0.1,ipv4_domain=example.org,ipv4_provider=static,last_error_desc=none", "vpnconn_enabled", "vpn_client_status", "/enabled", "freebox_vpn_client_enabled", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_state", "vpn_client_status", "=1", "freebox_vpn_client_up", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_last_try", "vpn_client_status", "/last_try", "freebox_vpn_client_last_try_timestamp_seconds", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_last_up", "vpn_client_status", "/last_up", "freebox_vpn_client_last_up_timestamp_seconds", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_next_try", "vpn_client_status", "/next_try", "freebox_vpn_client_next_try_seconds", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_rate_up", "vpn_client_status", "/stats/rate_up", "freebox_vpn_client_rate_bytes_per_second{direction=\"up\"}", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_rate_down", "vpn_client_status", "/stats/rate_down", "freebox_vpn_client_rate_bytes_per_second{direction=\"down\"}", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_bytes_up", "vpn_client_status", "/stats/bytes_up", "freebox_vpn_client_bytes_total{direction=\"up\"}", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_bytes_down", "vpn_client_status", "/stats/bytes_down", "freebox_vpn_client_bytes_total{direction=\"down\"}", 1.0),
    Row("freebox_vpn_client", "type=wireguard", "vpnconn_last_error", "vpn_client_status", "=0", "freebox_vpn_client_last_error_code", 1.0),
];

/// 4G, by the old version of the API.
#[rustfmt::skip]
const LTE: &[Row] = &[
    Row("freebox", "conn_media=lte", "lte_enabled", "connection_lte_config", "/enabled", "freebox_lte_enabled{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte", "lte_state", "connection_lte_config", "=1", "freebox_lte_connected{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,lte_net_ipv4=203.0.113.77,lte_net_ipv6=2001:db8:4::77", "lte_net_pdn_up", "connection_lte_config", "/network/pdn_up", "freebox_lte_pdn_up{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,lte_radio_gcid=20815000042a", "lte_radio_associated", "connection_lte_config", "/radio/associated", "freebox_lte_radio_associated{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,lte_radio_gcid=20815000042a", "lte_radio_plmn", "connection_lte_config", "/radio/plmn", "", 1.0),
    Row("freebox", "conn_media=lte,lte_radio_gcid=20815000042a", "lte_radio_signal_level", "connection_lte_config", "/radio/signal_level", "freebox_lte_radio_signal_level{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,lte_radio_gcid=20815000042a", "lte_radio_ue_active", "connection_lte_config", "/radio/ue_active", "freebox_lte_radio_ue_active{link=\"aggregation\"}", 1.0),
    Row("freebox", "band=7", "lte_rband_enabled", "connection_lte_config", "/radio/bands/0/enabled", "freebox_lte_band_enabled{link=\"aggregation\",band=\"7\"}", 1.0),
    Row("freebox", "band=7", "lte_rband_bandwidth", "connection_lte_config", "/radio/bands/0/bandwidth", "freebox_lte_band_bandwidth_hertz{link=\"aggregation\",band=\"7\"}", 1e6),
    Row("freebox", "band=7", "lte_rband_pci", "connection_lte_config", "/radio/bands/0/pci", "freebox_lte_band_pci{link=\"aggregation\",band=\"7\"}", 1.0),
    Row("freebox", "band=7", "lte_rband_rsrp", "connection_lte_config", "/radio/bands/0/rsrp", "freebox_lte_band_rsrp_dbm{link=\"aggregation\",band=\"7\"}", 1.0),
    Row("freebox", "band=7", "lte_rband_rsrq", "connection_lte_config", "/radio/bands/0/rsrq", "freebox_lte_band_rsrq_db{link=\"aggregation\",band=\"7\"}", 1.0),
    Row("freebox", "band=7", "lte_rband_rssi", "connection_lte_config", "/radio/bands/0/rssi", "freebox_lte_band_rssi_dbm{link=\"aggregation\",band=\"7\"}", 1.0),
    Row("freebox", "conn_media=lte,sim_iccid=8933000000000000042", "lte_sim", "connection_lte_config", "/sim/present", "freebox_lte_sim_present{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,sim_iccid=8933000000000000042", "lte_sim_pin_locked", "connection_lte_config", "/sim/pin_locked", "freebox_lte_sim_pin_locked{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,sim_iccid=8933000000000000042", "lte_sim_pin_remaining", "connection_lte_config", "/sim/pin_remaining", "freebox_lte_sim_pin_attempts_remaining{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,sim_iccid=8933000000000000042", "lte_sim_puk_locked", "connection_lte_config", "/sim/puk_locked", "freebox_lte_sim_puk_locked{link=\"aggregation\"}", 1.0),
    Row("freebox", "conn_media=lte,sim_iccid=8933000000000000042", "lte_sim_puk_remaining", "connection_lte_config", "/sim/puk_remaining", "freebox_lte_sim_puk_attempts_remaining{link=\"aggregation\"}", 1.0),
];

/// What differs on the other box; the line's figures of each direction follow below.
#[rustfmt::skip]
const DSL: &[Row] = &[
    Row("freebox", "", "config_sip_alg", "connection_config", "=-1", "", 1.0),
    Row("freebox", "conn_media=xdsl", "bytes_down", "connection", "/bytes_down", "freebox_connection_bytes_total{direction=\"down\",media=\"xdsl\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "wan_ipv4_port_range_max", "connection", "/ipv4_port_range/1", "freebox_connection_ipv4_port_range_max", 1.0),
    Row("freebox", "conn_media=xdsl", "wan_ipv6", "connection", "=\"none\"", "", 1.0),
    Row("freebox", "conn_media=xdsl,xdsl_status=showtime,xdsl_modulation=adsl,xdsl_protocol=adsl2plus_a", "xdsl_modulation", "connection_xdsl", "=\"adsl (adsl2plus_a)\"", "", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_uptime", "connection_xdsl", "/status/uptime", "freebox_connection_xdsl_uptime_seconds", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_status", "connection_xdsl", "=5", "freebox_connection_xdsl_status_code", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_down_rtx_tx", "connection_xdsl", "/down/rtx_tx", "freebox_connection_xdsl_retransmissions_total{direction=\"down\",kind=\"ginp\",result=\"sent\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_down_rtx_c", "connection_xdsl", "/down/rtx_c", "freebox_connection_xdsl_retransmissions_total{direction=\"down\",kind=\"ginp\",result=\"corrected\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_down_rtx_uc", "connection_xdsl", "/down/rtx_uc", "freebox_connection_xdsl_retransmissions_total{direction=\"down\",kind=\"ginp\",result=\"uncorrected\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_up_rtx_tx", "connection_xdsl", "/up/rxmt", "freebox_connection_xdsl_retransmissions_total{direction=\"up\",kind=\"phyr\",result=\"sent\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_up_rtx_c", "connection_xdsl", "/up/rxmt_corr", "freebox_connection_xdsl_retransmissions_total{direction=\"up\",kind=\"phyr\",result=\"corrected\"}", 1.0),
    Row("freebox", "conn_media=xdsl", "xdsl_up_rtx_uc", "connection_xdsl", "/up/rxmt_uncorr", "freebox_connection_xdsl_retransmissions_total{direction=\"up\",kind=\"phyr\",result=\"uncorrected\"}", 1.0),
    Row("freebox", "hw_firmware=3.5.2,hw_serial=000000T000000005,hw_mac=n/a,hw_model=fbxgw-r2/full", "sys_uptime", "system", "/uptime_val", "freebox_system_uptime_seconds", 1.0),
    Row("freebox", "sensor=main,sensor_name=main", "sys_fan_rpm", "system", "/fan_rpm", "freebox_system_fan_rpm{fan=\"main\",name=\"main\"}", 1.0),
    Row("freebox", "sensor=main,sensor_name=main", "sys_temp_sw", "system", "/temp_sw", "freebox_system_temp_celsius{sensor=\"sw\",name=\"sw\"}", 1.0),
    Row("freebox", "sensor=main,sensor_name=main", "sys_temp_cpub", "system", "/temp_cpub", "freebox_system_temp_celsius{sensor=\"cpub\",name=\"cpub\"}", 1.0),
    Row("freebox", "sensor=main,sensor_name=main", "sys_temp_cpum", "system", "/temp_cpum", "freebox_system_temp_celsius{sensor=\"cpum\",name=\"cpum\"}", 1.0),
    Row("freebox_call", "call=69,call_number=0199000003,call_name=Atelier,call_type=missed,call_line_id=0,call_contact_id=56", "call_duration", "call_log", "/0/duration", "", 1.0),
    Row("freebox_switch", "switch_port=4,mac=02:00:5E:00:53:52,hostname=Freebox\\ Player", "client_last_seen", "switch_status", "", "", 1.0),
    Row("freebox_vpn_client", "", "vpnconn_enabled", "vpn_client_status", "=0", "freebox_vpn_client_enabled", 1.0),
    Row("freebox_vpn_client", "", "vpnconn_state", "vpn_client_status", "=0", "freebox_vpn_client_up", 1.0),
];

fn expected(folder: &str, row: &Row) -> Option<Value> {
    let Row(_, _, _, file, place, ..) = row;
    if let Some(fixed) = place.strip_prefix('=') {
        return Some(serde_json::from_str(fixed).unwrap());
    }
    if place.is_empty() {
        return None;
    }
    let bytes = std::fs::read(fixtures().join(folder).join(format!("{file}.json"))).unwrap();
    let doc: Value = serde_json::from_slice(&bytes).unwrap();
    let value = doc.pointer(&format!("/result{place}")).unwrap_or_else(|| panic!("no {place} in {file}")).clone();
    Some(value.as_bool().map_or(value, |yes| Value::from(u8::from(yes))))
}

/// Looks for the line with this measurement, field and, among its tags, all of these, and compares what it says.
fn compare(rows: &[Row], folder: &str, influx: &str, prometheus: &str) {
    let samples = crate::harness::exposition::parse(prometheus).unwrap();
    for row in rows {
        let Row(measurement, tags, field, _, _, series, factor) = row;
        let is_it = |line: &&str| {
            let head = line.split_once(&format!(" {field}=")).map_or("", |(head, _)| head);
            let has = |tag: &str| format!("{head},").contains(&format!(",{tag},"));
            head.split(',').next() == Some(measurement) && has(tags) | tags.is_empty()
        };
        let found: Vec<&str> = influx.lines().filter(is_it).collect();
        assert!(!found.is_empty(), "no {measurement},...{tags} {field} in\n{influx}");
        if tags.is_empty() {
            assert_eq!(found.len(), 1, "{found:#?}");
        }
        let Some(value) = expected(folder, row) else { continue };
        let text = found[0].split_once(&format!(" {field}=")).unwrap().1;
        assert_eq!(text, value.to_string(), "{}", found[0]);
        if !series.is_empty() {
            let got = samples.get(*series).unwrap_or_else(|| panic!("no {series}"));
            let want = value.as_f64().unwrap() * factor;
            assert!((got - want).abs() <= want.abs() * 1e-12, "{series}: {got} is not {want}");
        }
    }
}

#[test]
fn every_metric_of_the_fibre_box_is_that_of_its_answers() {
    let home = Home::new(Model::Fibre);
    let setup = home.setup("all").flags(&["-o", "freebox.per_host=1"]);
    let (influx, prometheus) = (setup.run(&["once", "-f", "influxdb"]), setup.run(&["once"]));
    compare(FIBRE, "ftth-v8", printed(&influx), printed(&prometheus));
    let setup = home.setup("lte").flags(&["-o", "freebox.api_version=9"]);
    let (influx, prometheus) = (setup.run(&["once", "-f", "influxdb"]), setup.run(&["once"]));
    compare(LTE, "ftth-v8", printed(&influx), printed(&prometheus));
}

#[test]
fn every_metric_of_the_dsl_box_is_that_of_its_answers() {
    let home = Home::new(Model::Dsl);
    let setup = home.setup("all").flags(&["-o", "freebox.per_host=1"]);
    let (influx, prometheus) = (setup.run(&["once", "-f", "influxdb"]), setup.run(&["once"]));
    let (influx, prometheus) = (printed(&influx), printed(&prometheus));
    compare(DSL, "xdsl-v5", influx, prometheus);
    let samples = crate::harness::exposition::parse(prometheus).unwrap();
    let bytes = std::fs::read(fixtures().join("xdsl-v5/connection_xdsl.json")).unwrap();
    let line: Value = serde_json::from_slice(&bytes).unwrap();
    for direction in ["down", "up"] {
        let number = |field: &str| line["result"][direction][field].as_f64().unwrap();
        for field in ["es", "attn", "snr", "rate", "hec", "crc", "ses", "fec", "maxrate"] {
            assert!(influx.contains(&format!(" xdsl_{direction}_{field}={}\n", number(field))), "{direction} {field}");
        }
        for name in ["es", "ses", "hec", "crc", "fec"] {
            let series = format!("freebox_connection_xdsl_errors_total{{direction=\"{direction}\",name=\"{name}\"}}");
            assert_eq!(samples[&series], number(name));
        }
        // Tenths where there are any.
        for (series, want) in [
            ("attenuation_db", number("attn_10") / 10.0),
            ("snr_db", number("snr_10") / 10.0),
            ("rate_bytes_per_second", number("rate") * 125.0),
            ("max_rate_bytes_per_second", number("maxrate") * 125.0),
        ] {
            let series = format!("freebox_connection_xdsl_{series}{{direction=\"{direction}\"}}");
            assert_eq!(samples[&series], want, "{series}");
        }
    }
}
