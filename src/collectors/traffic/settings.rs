//! The `traffic` section: which subnets to account on which interfaces, and how.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::codec::Count;
use super::loader::{self, Attach};
use crate::config::Config;
use crate::config::networks::{Networks, may_be_interface};
use crate::config::schema::{MAIN, SectionSpec, list, option};
use crate::error::Result;
use crate::names::Sources;
use crate::net::Cidr;

/// `config traffic 'traffic'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "traffic",
    name: "traffic",
    many: false,
    options: &[
        option("enabled", "1", "0 turns the collector off"),
        list(
            "subnet4",
            "",
            "IPv4 subnets to account, as 192.168.1.1/24/br-lan, or lan for all of one; none given: found by themselves",
        ),
        list("subnet6", "", "IPv6 prefixes to account on those interfaces, as 2001:db8:1::/64, or lan for all of one"),
        option("max_hosts", "1024", "addresses kept per IP version; beyond, packets are counted as uncounted"),
        option("unknown_hosts", "0", "1 exports hosts without a known name as hostname=\"unknown\""),
        option(
            "count",
            "l2",
            "l2: frames with Ethernet header as the interface counts them; wire: every segment as sent",
        ),
        option("evict_idle", "300", "seconds without traffic after which a host makes room when the table fills"),
        option("attach", "auto", "auto, tcx or clsact: which kernel hook the program is attached to"),
        option("pin_dir", "/sys/fs/bpf/gatemeter", "where programs and counts outlive the daemon; none for none"),
        list("leases", "", "lease files of dnsmasq and odhcpd; none given: the usual places"),
    ],
};

/// An IPv4 subnet on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet4 {
    /// The subnet; without one, every one that the interface has an address in.
    pub subnet: Option<Cidr>,
    /// The interface it is on.
    pub ifname: String,
}

/// An IPv6 prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subnet6 {
    /// This one.
    Prefix(Cidr),
    /// Every one that this interface has an address in.
    Of(String),
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Time between two readings of the counters.
    pub interval: Duration,
    /// IPv4 subnets with their interfaces.
    pub subnets4: Vec<Subnet4>,
    /// IPv6 prefixes, accounted on the same interfaces.
    pub subnets6: Vec<Subnet6>,
    /// Entries of the kernel's tables, one table for each IP version.
    pub max_hosts: u32,
    /// Whether hosts without a known name are exported.
    pub unknown_hosts: bool,
    /// Which bytes and packets are counted.
    pub count: Count,
    /// Idle time after which a host may be evicted from a table that fills.
    pub evict_idle: Duration,
    /// Which hook is used.
    pub attach: Attach,
    /// Where programs, links and maps are pinned.
    pub pin_dir: Option<PathBuf>,
    /// Where host names come from.
    pub names: Sources,
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let (main, section) = (config.section(MAIN.kind), config.section(SECTION.kind));
        Ok(Settings {
            interval: main.get("interval").seconds(1, 86400)?,
            subnets4: section.get("subnet4").each(|text| subnet4(text, &config.networks))?,
            subnets6: section.get("subnet6").each(|text| subnet6(text, &config.networks))?,
            max_hosts: section.get("max_hosts").number(1, 65536)?,
            unknown_hosts: section.get("unknown_hosts").switch()?,
            count: section.get("count").choice(&[("l2", Count::L2), ("wire", Count::Wire)])?,
            evict_idle: section.get("evict_idle").seconds(1, 604_800)?,
            attach: section.get("attach").choice(&[
                ("auto", Attach::Auto),
                ("tcx", Attach::Tcx),
                ("clsact", Attach::Clsact),
            ])?,
            pin_dir: section.get("pin_dir").path(),
            names: Sources {
                uci_dir: main.get("uci_dir").path().unwrap_or_default(),
                leases: section.get("leases").each(|path| Ok(PathBuf::from(path)))?,
                ..Sources::default()
            },
        })
    }

    /// What the loader needs of it.
    pub fn loader(&self, pin_dir: Option<PathBuf>) -> loader::Settings {
        loader::Settings { max_hosts: self.max_hosts, pin_dir, attach: self.attach }
    }
}

fn subnet4(text: &str, networks: &Networks) -> Result<Subnet4, String> {
    let shape = || format!("'{text}' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan");
    if may_be_interface(text) {
        return Ok(Subnet4 { subnet: None, ifname: networks.device(text)? });
    }
    let (prefix, ifname) = text.rsplit_once('/').ok_or_else(shape)?;
    if ifname.is_empty() || !prefix.contains('/') {
        return Err(shape());
    }
    let ifname = networks.device(ifname)?;
    let subnet: Cidr = prefix.parse()?;
    if subnet.addr().is_ipv6() {
        return Err(format!(
            "'{prefix}' is an IPv6 prefix, expected IPv4; IPv6 goes into -6 or subnet6, without interface"
        ));
    }
    not_everything(subnet)?;
    Ok(Subnet4 { subnet: Some(subnet), ifname })
}

fn subnet6(text: &str, networks: &Networks) -> Result<Subnet6, String> {
    if may_be_interface(text) {
        return networks.device(text).map(Subnet6::Of);
    }
    if !text.contains('/') {
        return Err(format!("'{text}' is not ADDR/LEN, as in 2001:db8:1::/64"));
    }
    let prefix: Cidr = text.parse()?;
    match prefix.addr() {
        IpAddr::V6(_) => not_everything(prefix).map(Subnet6::Prefix),
        IpAddr::V4(_) => {
            Err(format!("'{text}' is an IPv4 subnet, expected IPv6; IPv4 goes into -4 or subnet4, with its interface"))
        }
    }
}

fn not_everything(prefix: Cidr) -> Result<Cidr, String> {
    match prefix.prefix_len() {
        0 => {
            Err(format!("prefix length 0 of '{prefix}' would take the whole internet for the LAN, expected 1 or more"))
        }
        _ => Ok(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_keeps_its_prefix_and_interface() {
        let none = Networks::default();
        let subnet = subnet4("192.168.2.1/24/br-lan", &none).unwrap();
        assert_eq!((subnet.subnet, subnet.ifname.as_str()), ("192.168.2.0/24".parse().ok(), "br-lan"));
        let prefix = subnet6("2001:db8:ca2:2::1/64", &none);
        assert_eq!(prefix, Ok(Subnet6::Prefix("2001:db8:ca2:2::/64".parse().unwrap())));
    }

    #[test]
    fn a_network_or_an_interface_stands_for_all_its_subnets() {
        let mut networks = Networks::default();
        networks.read("lan br-home br-home\nguest - -\n", |_, _| {});
        let all_of = |ifname: &str| Ok(Subnet4 { subnet: None, ifname: ifname.into() });
        assert_eq!(subnet4("lan", &networks), all_of("br-home"));
        assert_eq!(subnet4("eth1", &networks), all_of("eth1"));
        assert_eq!(subnet4("guest", &networks), all_of("guest (down)"));
        assert_eq!(subnet4("10.0.0.1/8/lan", &networks).unwrap().ifname, "br-home");
        assert_eq!(subnet6("lan", &networks), Ok(Subnet6::Of("br-home".into())));
    }

    #[test]
    fn a_wrong_subnet_is_told_what_was_expected() {
        let none = Networks::default();
        for (text, want) in [
            ("192.168.1.0/24", "'192.168.1.0/24' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan"),
            ("192.168.1.1", "'192.168.1.1' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan"),
            ("192.168.1.0/33/br-lan", "prefix length 33 is out of range, expected 0 to 32"),
            (
                "fd00::/8/br-lan",
                "'fd00::/8' is an IPv6 prefix, expected IPv4; IPv6 goes into -6 or subnet6, without interface",
            ),
            (
                "0.0.0.0/0/br-lan",
                "prefix length 0 of '0.0.0.0/0' would take the whole internet for the LAN, expected 1 or more",
            ),
            (
                "10.0.0.0/8/a-name-too-long-for-it",
                "interface name 'a-name-too-long-for-it' is longer than 15 characters",
            ),
        ] {
            assert_eq!(subnet4(text, &none).unwrap_err(), want);
        }
        assert_eq!(
            subnet6("10.0.0.0/8", &none).unwrap_err(),
            "'10.0.0.0/8' is an IPv4 subnet, expected IPv6; IPv4 goes into -4 or subnet4, with its interface"
        );
        assert_eq!(subnet6("fd00::1", &none).unwrap_err(), "'fd00::1' is not ADDR/LEN, as in 2001:db8:1::/64");
    }
}
