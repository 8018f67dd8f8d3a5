//! The `clients` section: whose traffic, connections and names are measured, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::networks::{Networks, may_be_interface};
use crate::config::schema::{MAIN, SectionSpec, list, option};
use crate::config::{Config, Section};
use crate::error::Result;
use crate::names::Sources;
use crate::names::directory;
use crate::names::resolv_conf::dns_server;
use crate::names::resolver::ReverseDns;
use crate::net::Cidr;

/// Longest name of a table or chain the kernel takes (NFT_NAME_MAXLEN less its NUL).
const MAX_NFT_NAME: usize = 255;
/// Where the system's name servers are written down.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// `config clients 'clients'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "clients",
    name: "clients",
    many: false,
    options: &[
        option("enabled", "1", "0 turns the collector off"),
        option("interval", "2", "seconds between two readings; rates are over the time that really passed"),
        list(
            "subnet",
            "",
            "LAN subnets, as 192.168.1.0/24, 192.168.1.0/24/br-lan, or lan for all of one; none given: found by themselves",
        ),
        option(
            "accounting",
            "set",
            "set: our own nftables sets; rules: rules commented tx_IP and rx_IP; conntrack: the kernel's flow totals; off",
        ),
        option("manage_rules", "0", "with accounting=rules, 1 makes chain, jump and a pair of rules for each client"),
        option("table", "inet filter", "family and name of the table whose rules are read; any for all"),
        option("chain", "CLIENT_TRAFFIC", "chain whose rules are read; any for all"),
        option("max_clients", "4096", "addresses kept; of those beyond it the longest unseen are forgotten first"),
        option("forget", "604800", "seconds after which a client that is not seen any more is forgotten"),
        option("stale", "300", "seconds a silent neighbour counts as online after it was last confirmed; 0 for ever"),
        list("leases", "", "lease files of dnsmasq and odhcpd; none given: the usual places"),
        list("hosts", "/var/lib/dnsmasq/dhcp-hosts /etc/ethers", "files with names given by hand"),
        option("name_cache", "", "file that keeps names over restarts; none for none, empty for state_dir/names"),
        option("reverse_dns", "0", "1 asks the name server for names that no file has"),
        list("dns_server", "", "name servers for reverse_dns; none given: those of /etc/resolv.conf"),
    ],
};

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Our own table with a set for each direction and family.
    Set,
    /// Rules that name a client in their comment.
    Rules,
    /// The totals that conntrack keeps for each flow.
    Conntrack,
    /// Nowhere: only connections, presence and names.
    Off,
}

/// A LAN subnet that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet; without one, every one that the interface has an address in.
    pub prefix: Option<Cidr>,
    /// The interface it is on; without one, that which has an address in it.
    pub ifname: Option<String>,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Time between two readings.
    pub interval: Duration,
    /// LAN subnets; none: found by themselves.
    pub subnets: Vec<Subnet>,
    /// Where bytes come from.
    pub accounting: Accounting,
    /// Whether rules are made for `accounting=rules`.
    pub manage_rules: bool,
    /// Family and name of the table with the rules; all tables if none.
    pub table: Option<(String, String)>,
    /// The chain with the rules; all chains if none.
    pub chain: Option<String>,
    /// Most clients kept.
    pub max_clients: u32,
    /// Time unseen after which a client is forgotten.
    pub forget: Duration,
    /// Time after its last confirmation for which a stale neighbour counts as online; none for ever.
    pub stale: Option<Duration>,
    /// Where names come from.
    pub names: directory::Settings,
}

impl Settings {
    /// Reads the section. The LAN that -4 and -6 describe is the clients' too, unless this section has its own.
    pub fn read(config: &Config) -> Result<Settings> {
        let (main, section) = (config.section(MAIN.kind), config.section(SECTION.kind));
        let subnet = |text: &str| subnet(text, &config.networks);
        let mut subnets = section.get("subnet").each(subnet)?;
        if cfg!(feature = "traffic") && subnets.is_empty() {
            let traffic = config.section("traffic");
            subnets = traffic.get("subnet4").each(subnet)?;
            // Without those of IPv4 the LAN is found, whatever its prefixes.
            if !subnets.is_empty() {
                subnets.extend(traffic.get("subnet6").each(subnet)?);
            }
        }
        let settings = Settings {
            interval: section.get("interval").seconds(1, 86400)?,
            subnets,
            accounting: section.get("accounting").choice(&[
                ("set", Accounting::Set),
                ("rules", Accounting::Rules),
                ("conntrack", Accounting::Conntrack),
                ("off", Accounting::Off),
            ])?,
            manage_rules: section.get("manage_rules").switch()?,
            table: section.get("table").parse(table)?,
            chain: section.get("chain").parse(chain)?,
            max_clients: section.get("max_clients").number(1, 65535)?,
            forget: section.get("forget").seconds(1, 315_360_000)?,
            stale: Some(section.get("stale").seconds(0, 604_800)?).filter(|stale| !stale.is_zero()),
            names: names(main, section)?,
        };
        if settings.manage_rules && settings.accounting == Accounting::Rules {
            if settings.table.is_none() {
                return Err(section
                    .get("table")
                    .wrong("'any' cannot be managed, expected FAMILY NAME, as in inet fw4"));
            }
            if settings.chain.is_none() {
                return Err(section.get("chain").wrong("'any' cannot be managed, expected a name, as CLIENT_TRAFFIC"));
            }
        }
        Ok(settings)
    }
}

fn names(main: &Section, section: &Section) -> Result<directory::Settings> {
    let paths = |option| section.get(option).each(|path| Ok(PathBuf::from(path)));
    let reverse_dns =
        ReverseDns { servers: section.get("dns_server").each(dns_server)?, resolv_conf: PathBuf::from(RESOLV_CONF) };
    Ok(directory::Settings {
        sources: Sources {
            uci_dir: main.get("uci_dir").path().unwrap_or_default(),
            leases: paths("leases")?,
            hosts: paths("hosts")?,
        },
        cache: match section.get("name_cache").text() {
            "" => main.get("state_dir").path().map(|dir| dir.join("names")),
            _ => section.get("name_cache").path(),
        },
        reverse_dns: section.get("reverse_dns").switch()?.then_some(reverse_dns),
    })
}

fn subnet(text: &str, networks: &Networks) -> Result<Subnet, String> {
    let shape = || format!("'{text}' is not ADDR/LEN or ADDR/LEN/IFACE, as in 192.168.1.0/24/br-lan");
    if may_be_interface(text) {
        return Ok(Subnet { prefix: None, ifname: Some(networks.device(text)?) });
    }
    let mut parts = text.splitn(3, '/');
    let (Some(addr), Some(length)) = (parts.next(), parts.next()) else { return Err(shape()) };
    let ifname = parts.next();
    if ifname.is_some_and(str::is_empty) {
        return Err(shape());
    }
    let ifname = ifname.map(|ifname| networks.device(ifname)).transpose()?;
    let prefix: Cidr = format!("{addr}/{length}").parse()?;
    if prefix.prefix_len() == 0 {
        return Err(format!(
            "'{text}' would take the whole internet for the LAN, expected a prefix length of 1 or more"
        ));
    }
    Ok(Subnet { prefix: Some(prefix), ifname })
}

fn table(text: &str) -> Result<Option<(String, String)>, String> {
    if text == "any" {
        return Ok(None);
    }
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(family @ ("inet" | "ip" | "ip6")), Some(name), None) if name.len() <= MAX_NFT_NAME => {
            Ok(Some((family.into(), name.into())))
        }
        _ => Err(format!("'{text}' is not FAMILY NAME with family inet, ip or ip6, as in inet filter, nor any")),
    }
}

fn chain(text: &str) -> Result<Option<String>, String> {
    match text {
        "any" => Ok(None),
        "" => Err("it is empty, expected the name of a chain, or any".into()),
        _ if text.len() > MAX_NFT_NAME || text.contains(char::is_whitespace) => {
            Err(format!("'{text}' is not the name of a chain, expected one as CLIENT_TRAFFIC, or any"))
        }
        _ => Ok(Some(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use crate::collectors::SECTIONS;

    #[test]
    fn the_lan_that_traffic_is_given_is_the_clients_too() {
        let subnets = |flags: &[&str]| {
            let option = flags.iter().map(|flag| format!("traffic.{flag}")).collect();
            let args = Args { option, ..Args::default() };
            Settings::read(&Config::load(&args, SECTIONS).unwrap()).unwrap().subnets.len()
        };
        assert_eq!(subnets(&["subnet4=192.168.1.1/24/br-lan", "subnet6=2001:db8::/48"]), 2);
        assert_eq!(subnets(&["subnet6=2001:db8::/48"]), 0, "it is found");
    }

    #[test]
    fn a_subnet_may_name_its_interface() {
        let mut networks = Networks::default();
        networks.read("lan br-home br-home\nguest - -\n", |_, _| {});
        let prefix = |subnet: &Subnet| subnet.prefix.map_or_else(String::new, |prefix| prefix.to_string());
        let parsed = |text| subnet(text, &networks).map(|subnet| (prefix(&subnet), subnet.ifname));
        assert_eq!(parsed("lan"), Ok((String::new(), Some("br-home".into()))));
        assert_eq!(parsed("eth1"), Ok((String::new(), Some("eth1".into()))));
        assert_eq!(parsed("10.0.0.0/8/guest"), Ok(("10.0.0.0/8".into(), Some("guest (down)".into()))));
        assert_eq!(parsed("192.168.1.1/24"), Ok(("192.168.1.0/24".into(), None)));
        assert_eq!(parsed("fd00:1::/64/br-lan"), Ok(("fd00:1::/64".into(), Some("br-lan".into()))));
    }

    #[test]
    fn a_wrong_subnet_is_told_what_was_expected() {
        let shape = |text: &str| format!("'{text}' is not ADDR/LEN or ADDR/LEN/IFACE, as in 192.168.1.0/24/br-lan");
        for (text, want) in [
            ("192.168.1.0", shape("192.168.1.0")),
            ("192.168.1.0/24/", shape("192.168.1.0/24/")),
            ("192.168.1.0/33", "prefix length 33 is out of range, expected 0 to 32".into()),
            (
                "10.0.0.0/8/a-name-too-long-for-it",
                "interface name 'a-name-too-long-for-it' is longer than 15 characters".into(),
            ),
            (
                "0.0.0.0/0",
                "'0.0.0.0/0' would take the whole internet for the LAN, expected a prefix length of 1 or more".into(),
            ),
        ] {
            assert_eq!(subnet(text, &Networks::default()).unwrap_err(), want);
        }
    }

    #[test]
    fn a_table_has_a_family_and_any_stands_for_all() {
        assert_eq!(table("ip  nat"), Ok(Some(("ip".into(), "nat".into()))));
        assert_eq!(table("any"), Ok(None));
        for text in ["filter", "arp filter", "inet filter forward", ""] {
            assert!(table(text).is_err(), "{text}");
        }
    }
}
