//! The `clients` section: whose traffic, connections and names are measured, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::config::schema::{MAIN, SectionSpec, list, option};
use crate::error::Result;
use crate::net::Cidr;

/// `config clients 'clients'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "clients",
    name: "clients",
    many: false,
    options: &[
        option("enabled", "1", "0 turns the collector off"),
        option("interval", "2", "seconds between two readings; rates are over the time that really passed"),
        list("subnet", "", "LAN subnets, as 192.168.1.0/24 or 192.168.1.0/24/br-lan; none given: found by themselves"),
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
    /// The subnet.
    pub prefix: Cidr,
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
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let (_main, section) = (config.section(MAIN.kind), config.section(SECTION.kind));
        Ok(Settings {
            interval: section.get("interval").seconds(1, 86400)?,
            subnets: Vec::new(),
            accounting: section.get("accounting").choice(&[
                ("set", Accounting::Set),
                ("rules", Accounting::Rules),
                ("conntrack", Accounting::Conntrack),
                ("off", Accounting::Off),
            ])?,
            manage_rules: section.get("manage_rules").switch()?,
            table: None,
            chain: None,
            max_clients: section.get("max_clients").number(1, 65535)?,
            forget: section.get("forget").seconds(60, 315_360_000)?,
            stale: Some(section.get("stale").seconds(0, 604_800)?).filter(|stale| !stale.is_zero()),
        })
    }
}
