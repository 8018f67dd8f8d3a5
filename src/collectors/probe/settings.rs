//! The `probe` section and the sections of its targets: whom to probe, how often, and who may ask for more.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use super::codec::icmp;
use super::table::Port;
use crate::config::Config;
use crate::config::networks::Networks;
use crate::config::schema::{MAIN, SectionSpec, list, option};
use crate::error::Result;
use crate::names::host_name::HostName;
use crate::names::lookup::Families;
use crate::names::resolv_conf::dns_server;
use crate::net::Cidr;

/// Most targets that may be allowed.
const MOST_TARGETS: u32 = 10_000;
/// What is taken without `unlocked`: no faster than this.
const LOCKED_INTERVAL_MS: u32 = 2000;
const LOCKED_MAXPPS: u32 = 10_000;
const MOST_MAXPPS: u32 = 1_000_000;
const LONGEST_MS: u32 = 3_600_000;

/// `config probe 'probe'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "probe",
    name: "probe",
    many: false,
    options: &[
        option("enabled", "1", "0 turns the collector off"),
        option("interval", "2000", "milliseconds between two probes of a target; below 2000 takes unlocked=1"),
        option("timeout", "2000", "milliseconds after which a probe is lost; for TCP at most 900"),
        option("maxpps", "10000", "most probes in a second, of all targets together; beyond 10000 takes unlocked=1"),
        option(
            "interface4",
            "auto",
            "interface or logical network for IPv4 probes; auto: as the routes say; none: none",
        ),
        option(
            "interface6",
            "auto",
            "interface or logical network for IPv6 probes; auto: as the routes say; none: none",
        ),
        option("hardware", "0", "1 has the network card stamp packets where it can"),
        option(
            "identifier",
            "0",
            "ICMP identifier; 0: from the process id, 1: random, or 2 to 65535, which takes unlocked=1",
        ),
        option("unlocked", "0", "1 allows the values above that can harm others"),
        option("max_targets", "256", "most addresses and ports that are probed at a time"),
        option("targets_from_http", "1", "0: /probe answers only for the targets of this file"),
        list("allow_target", "", "networks that /probe may aim at, as 192.0.2.0/24; none given means all"),
        option("histogram", "0", "1 adds histograms of round trips"),
        list("dns_server", "", "name servers, as 192.168.1.1 or [fd00::1]:5353; none given: those of /etc/resolv.conf"),
    ],
};

/// `config target`.
pub static TARGET_SECTION: SectionSpec = SectionSpec {
    kind: "target",
    name: "target",
    many: true,
    options: &[
        option("host", "", "address or host name to probe; gateway: whichever router the default route leads to"),
        option("name", "", "what to call it in icmp_probe_target_info; none given: the host"),
        option("ip_version", "all", "4, 6 or all: which addresses of a host name are probed"),
        list("tcp_port", "", "TCP ports to probe by SYN; none given: by ICMP echo"),
        option("interval", "", "milliseconds between two probes; none given: that of the probe section"),
        option("dscp", "0", "differentiated services code point of the probes, 0 to 63"),
        option("size", "56", "payload of an ICMP probe in bytes, 8 to 65507"),
    ],
};

/// The values of `ip_version`, of the option and of the parameter of /probe.
pub const FAMILIES: [(&str, Families); 3] = [("4", Families::V4), ("6", Families::V6), ("all", Families::Both)];

/// Who is to be probed, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name that has addresses.
    Name(HostName),
}

impl Host {
    /// Reads an address or a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Host, String> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Host::Address(ip.to_canonical()));
        }
        // What ends in digits only is an address with a mistake in it: no top-level domain does.
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        if text.contains(':') || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{}' is neither an address nor a host name", text.escape_debug()));
        }
        HostName::parse(text).map(Host::Name).map_err(|problem| format!("'{}' {problem}", text.escape_debug()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(ip) => ip.fmt(f),
            Host::Name(name) => f.write_str(name.as_str()),
        }
    }
}

/// The interface that probes of one family leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Whichever the routes say.
    Routes,
    /// This one.
    Interface(String),
    /// None: the family is not probed.
    Nowhere,
}

/// Where the ICMP identifier comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier {
    /// The process id.
    Process,
    /// A random number.
    Random,
    /// This one.
    Fixed(u16),
}

/// How one target is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Time between two probes.
    pub interval: Duration,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Payload of an ICMP probe in bytes.
    pub size: u16,
}

/// A target of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whom.
    pub host: Host,
    /// What it is called.
    pub name: String,
    /// Which addresses of a host name.
    pub families: Families,
    /// TCP ports, or one `None` for ICMP.
    pub ports: Vec<Port>,
    /// How it is probed.
    pub manner: Manner,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Time between two pages of figures.
    pub page_interval: Duration,
    /// How a target is probed that says nothing else.
    pub manner: Manner,
    /// Time after which a probe is lost.
    pub timeout: Duration,
    /// Most probes in a second.
    pub maxpps: u32,
    /// Interface for IPv4.
    pub via4: Via,
    /// Interface for IPv6.
    pub via6: Via,
    /// Whether network cards are to stamp packets.
    pub hardware: bool,
    /// The ICMP identifier.
    pub identifier: Identifier,
    /// Most addresses and ports at a time.
    pub max_targets: usize,
    /// Whether /probe may add targets.
    pub targets_from_http: bool,
    /// Networks that /probe may aim at; none means all.
    pub allow: Vec<Cidr>,
    /// Whether histograms are written.
    pub histogram: bool,
    /// Name servers; none for those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// The targets of the configuration.
    pub targets: Vec<Wanted>,
    /// Values that are not taken without `unlocked`, in words.
    pub locked: Vec<String>,
}

impl Settings {
    /// Reads the sections.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn read(config: &Config) -> Result<Settings> {
        let section = config.section(SECTION.kind);
        let mut locked = Vec::new();
        let unlocked = section.get("unlocked").switch()?;
        let mut hold = |name: &str, wanted: u32, held: u32, is_harmless: bool| {
            if unlocked || is_harmless {
                return wanted;
            }
            locked.push(format!("{name} {wanted} takes probe.unlocked=1; it is {held}"));
            held
        };
        let interval = section.get("interval").number(10, LONGEST_MS)?;
        let interval = hold("probe.interval", interval, LOCKED_INTERVAL_MS, interval >= LOCKED_INTERVAL_MS);
        let maxpps = section.get("maxpps").number(1, MOST_MAXPPS)?;
        let maxpps = hold("probe.maxpps", maxpps, LOCKED_MAXPPS, maxpps <= LOCKED_MAXPPS);
        let identifier = section.get("identifier").number(0, u16::MAX.into())?;
        let identifier = match hold("probe.identifier", identifier, 0, identifier == 0) {
            0 => Identifier::Process,
            1 => Identifier::Random,
            other => Identifier::Fixed(other as u16),
        };
        let max_targets = section.get("max_targets").number(1, MOST_TARGETS)? as usize;
        let via = |option| section.get(option).parse(|word| via(word, &config.networks));
        let (via4, via6) = (via("interface4")?, via("interface6")?);
        if (&via4, &via6) == (&Via::Nowhere, &Via::Nowhere) {
            return Err(section.get("interface6").wrong("neither family has an interface, expected auto or a name"));
        }
        let manner =
            Manner { interval: Duration::from_millis(interval.into()), tos: 0, size: icmp::DEFAULT_SIZE as u16 };
        let mut targets = Vec::new();
        for section in config.sections_of(TARGET_SECTION.kind) {
            let host = section.get("host").parse(Host::parse)?;
            let name = match section.get("name").text() {
                "" => host.to_string(),
                name => name.to_owned(),
            };
            let ports: Vec<_> = section.get("tcp_port").each(port)?.into_iter().map(Some).collect();
            let own = match section.get("interval").text() {
                "" => interval,
                _ => {
                    let own = section.get("interval").number(10, LONGEST_MS)?;
                    let held = interval.max(LOCKED_INTERVAL_MS);
                    hold(&format!("the interval of target {host}"), own, held, own >= LOCKED_INTERVAL_MS)
                }
            };
            let manner = Manner {
                interval: Duration::from_millis(own.into()),
                tos: (section.get("dscp").number(0, 63)? << 2) as u8,
                size: section.get("size").number(icmp::MIN_SIZE as u32, icmp::MAX_SIZE as u32)? as u16,
            };
            let families = section.get("ip_version").choice(&FAMILIES)?;
            let ports = if ports.is_empty() { vec![None] } else { ports };
            targets.push(Wanted { host, name, families, ports, manner });
        }
        let wanted: usize = targets.iter().map(|target| target.ports.len()).sum();
        if wanted > max_targets {
            let problem = format!("the configuration has {wanted} targets, expected no more than max_targets");
            return Err(section.get("max_targets").wrong(problem));
        }
        Ok(Settings {
            page_interval: config.section(MAIN.kind).get("interval").seconds(1, 86400)?,
            manner,
            timeout: Duration::from_millis(section.get("timeout").number(10, 60_000)?.into()),
            maxpps,
            via4,
            via6,
            hardware: section.get("hardware").switch()?,
            identifier,
            max_targets,
            targets_from_http: section.get("targets_from_http").switch()?,
            allow: section.get("allow_target").each(str::parse)?,
            histogram: section.get("histogram").switch()?,
            dns_servers: section.get("dns_server").each(dns_server)?,
            targets,
            locked,
        })
    }

    /// The interface for an address.
    pub fn via(&self, ip: &IpAddr) -> &Via {
        if ip.is_ipv4() { &self.via4 } else { &self.via6 }
    }

    /// The families of those that are wanted that are probed at all.
    pub fn families(&self, wanted: Families) -> Families {
        match (&self.via4, &self.via6) {
            (Via::Nowhere, _) => Families::V6,
            (_, Via::Nowhere) => Families::V4,
            _ => wanted,
        }
    }

    /// Largest payload of an ICMP probe.
    pub fn largest(&self) -> u16 {
        self.targets.iter().map(|target| target.manner.size).max().unwrap_or(0).max(self.manner.size)
    }
}

/// Whether `hardware` is on, where nothing else of the settings matters.
pub fn wants_hardware(config: &Config) -> bool {
    config.section(SECTION.kind).get("hardware").switch().unwrap_or(false)
}

/// A TCP port as written in the configuration or in a request.
pub fn port(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("'{text}' is not a TCP port, expected 1 to 65535"))
}

fn via(text: &str, networks: &Networks) -> Result<Via, String> {
    match text {
        "auto" => Ok(Via::Routes),
        "" | "none" => Ok(Via::Nowhere),
        name => networks.device(name).map(Via::Interface).map_err(|problem| format!("{problem}, or auto, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;

    static SPECS: [&SectionSpec; 3] = [&MAIN, &SECTION, &TARGET_SECTION];

    fn read(options: &[&str]) -> Result<Settings> {
        let args = Args { option: options.iter().map(|text| (*text).to_owned()).collect(), ..Args::default() };
        Settings::read(&Config::load(&args, &SPECS)?)
    }

    #[test]
    fn what_can_harm_others_is_not_taken_while_locked_and_that_is_told() {
        let fast = ["probe.interval=100", "probe.maxpps=20000", "probe.identifier=7"];
        let settings = read(&fast).unwrap();
        assert_eq!(settings.manner.interval, Duration::from_secs(2));
        assert_eq!((settings.maxpps, settings.identifier), (10_000, Identifier::Process));
        assert_eq!(settings.locked.len(), 3, "{:?}", settings.locked);
        assert_eq!(settings.locked[0], "probe.interval 100 takes probe.unlocked=1; it is 2000");
        let settings = read(&[&fast[..], &["probe.unlocked=1"]].concat()).unwrap();
        assert_eq!(settings.manner.interval, Duration::from_millis(100));
        assert_eq!((settings.maxpps, settings.identifier), (20_000, Identifier::Fixed(7)));
        assert!(settings.locked.is_empty());
    }

    #[test]
    fn what_is_gentler_than_the_default_needs_no_unlocking() {
        let settings = read(&["probe.interval=10000", "probe.maxpps=10", "target.host=192.0.2.1"]).unwrap();
        assert_eq!((settings.manner.interval, settings.maxpps), (Duration::from_secs(10), 10));
        assert_eq!(settings.targets[0].manner.interval, Duration::from_secs(10));
        assert!(settings.locked.is_empty());
    }

    #[test]
    fn targets_have_what_they_do_not_say_from_the_section() {
        let options = ["target.host=Example.COM", "target.tcp_port=80", "target.tcp_port=443", "target.dscp=46"];
        let settings = read(&[&options[..], &["target.host=2001:db8::1", "target.size=1000"]].concat()).unwrap();
        let [first, second] = &settings.targets[..] else { panic!("{:?}", settings.targets) };
        assert_eq!((first.host.to_string().as_str(), first.name.as_str()), ("example.com", "example.com"));
        assert_eq!((first.ports.len(), first.manner.tos), (2, 184));
        assert_eq!((&second.host, &second.ports[..]), (&Host::Address("2001:db8::1".parse().unwrap()), &[None][..]));
        assert_eq!(settings.largest(), 1000);
    }

    #[test]
    fn a_wrong_value_is_told_with_its_option_and_what_was_expected() {
        for (options, want) in [
            (
                &["target.host=a b"][..],
                "-o target.host: 'a b' is not a host name: ' ' is no letter, digit, '-', '_' or dot",
            ),
            (&["target.host=192.0.2.300"], "-o target.host: '192.0.2.300' is neither an address nor a host name"),
            (&["target.host=x", "target.tcp_port=0"], "-o target.tcp_port: '0' is not a TCP port, expected 1 to 65535"),
            (
                &["probe.interface4=none", "probe.interface6="],
                "-o probe.interface6: neither family has an interface, expected auto or a name",
            ),
            (
                &["probe.max_targets=1", "target.host=a", "target.host=b"],
                "-o probe.max_targets: the configuration has 2 targets, expected no more than max_targets",
            ),
            (&["target.host="], "-o target.host: '' is not a host name: it is empty"),
        ] {
            assert_eq!(read(options).unwrap_err().to_string(), want);
        }
    }
}
