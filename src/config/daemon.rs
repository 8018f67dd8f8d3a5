//! The daemon's own section, `config gatemeter 'main'`, as values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::Config;
use super::networks::{Network, Networks, may_be_network};
use super::schema::MAIN;
use crate::error::Result;
use crate::net::Cidr;

/// The port of mezoura, which ours took over.
const DEFAULT_PORT: u16 = 9999;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people and the system log, which adds the time.
    Text,
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
    /// For OpenWrt's procd, which logs lines of stderr as errors and those of stdout as information.
    Procd,
}

/// What the user asked of the daemon itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether to run at all.
    pub enabled: bool,
    /// Age at which figures in the text files give way to newer ones.
    pub interval: Duration,
    /// The text file with all figures.
    pub textfile: Option<PathBuf>,
    /// The directory for one text file of each collector.
    pub textfile_dir: Option<PathBuf>,
    /// Where to serve HTTP, if at all.
    pub listen: Option<SocketAddr>,
    /// Who may read over HTTP; nobody named means everybody.
    pub allow: Vec<Cidr>,
    /// Public names of this machine.
    pub hosts: Vec<String>,
    /// Whether the page for people is the live one.
    pub page: bool,
    /// Logical networks that HTTP needs and that have no address now, for people.
    pub awaited: Vec<String>,
    /// What is logged.
    pub log_level: LevelFilter,
    /// How it is logged.
    pub log_format: LogFormat,
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let main = config.section(MAIN.kind);
        let mut listen = main.get("listen").parse(|text| Listen::parse(text, &config.networks))?;
        if main.is_set("port") {
            listen.port = main.get("port").parse(port)?;
        }
        let http = main.get("http").switch()?;
        let mut awaited = Vec::new();
        if let (true, None, Some(network)) = (http, listen.addr, &listen.network) {
            awaited.push(format!("HTTP waits for an address of network {network}, which has none now"));
        }
        let is_empty = |text: &&str| prefixes(text, &config.networks).is_ok_and(|prefixes| prefixes.is_empty());
        for network in main.get("allow").texts().filter(|text| http && is_empty(text)) {
            awaited.push(format!("network {network} has no address now, so main.allow admits nobody on it"));
        }
        Ok(Settings {
            enabled: main.get("enabled").switch()?,
            interval: main.get("interval").seconds(1, 86400)?,
            textfile: main.get("textfile").path(),
            textfile_dir: main.get("textfile_dir").path(),
            listen: listen.addr.filter(|_| http).map(|addr| SocketAddr::new(addr, listen.port)),
            allow: allow(main.get("allow").each(|text| prefixes(text, &config.networks))?),
            hosts: main.get("host").each(host_name)?,
            page: main.get("page").switch()?,
            awaited,
            log_level: main.get("log_level").choice(&[
                ("error", LevelFilter::Error),
                ("warn", LevelFilter::Warn),
                ("info", LevelFilter::Info),
                ("debug", LevelFilter::Debug),
                ("trace", LevelFilter::Trace),
            ])?,
            log_format: main.get("log_format").choice(&[
                ("text", LogFormat::Text),
                ("logfmt", LogFormat::Logfmt),
                ("json", LogFormat::Json),
                ("procd", LogFormat::Procd),
            ])?,
        })
    }
}

/// Where to listen, as it is written.
#[derive(Debug, PartialEq)]
struct Listen {
    /// None if the network has no address now.
    addr: Option<IpAddr>,
    port: u16,
    /// The logical network it was named by.
    network: Option<String>,
}

impl Listen {
    /// `ADDR`, `ADDR:PORT`, `[ADDR6]`, `[ADDR6]:PORT`, `NETWORK`, `NETWORK:PORT`, or `:PORT` for all addresses.
    fn parse(text: &str, networks: &Networks) -> Result<Listen, String> {
        let at = |addr, port| Ok(Listen { addr: Some(addr), port, network: None });
        if let Some(number) = text.strip_prefix(':') {
            return at(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port(number)?);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(addr) = bare.parse::<IpAddr>() {
            return at(addr, DEFAULT_PORT);
        }
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        if may_be_network(name) {
            let port = number.map_or(Ok(DEFAULT_PORT), port)?;
            let addr = networks.get(name).and_then(Network::address);
            return Ok(Listen { addr, port, network: Some(name.to_owned()) });
        }
        let wrong =
            || format!("'{text}' is not an address to listen on, expected one like [::]:9999 or 192.168.1.1:9999");
        let (addr, number) = text.rsplit_once(':').ok_or_else(wrong)?;
        let addr: SocketAddr = format!("{addr}:{}", port(number)?).parse().map_err(|_| wrong())?;
        at(addr.ip(), addr.port())
    }
}

/// The prefixes that a word stands for: itself, or those of a logical network.
fn prefixes(text: &str, networks: &Networks) -> Result<Vec<Cidr>, String> {
    match networks.get(text) {
        Some(network) => Ok(network.prefixes().collect()),
        None if may_be_network(text) => Ok(Vec::new()),
        None => Ok(vec![text.parse()?]),
    }
}

/// A name as browsers send it, without a port.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match text.strip_suffix('.').unwrap_or(text) {
        name if (1..=253).contains(&name.len()) && name.bytes().all(is_name) => Ok(name.to_ascii_lowercase()),
        _ => Err(format!("'{text}' is not a host name, expected one like metrics.example.org, without a port")),
    }
}

/// Who may read. As nobody named means everybody, networks that are down leave this machine itself.
fn allow(named: Vec<Vec<Cidr>>) -> Vec<Cidr> {
    let mut all: Vec<Cidr> = named.concat();
    if all.is_empty() && !named.is_empty() {
        let loopback = [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
        all.extend(loopback.into_iter().filter_map(|(addr, len)| Cidr::new(addr, len).ok()));
    }
    all
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("'{text}' is not a port, expected 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use crate::config::schema::SectionSpec;

    fn read(change: impl FnOnce(&mut Args)) -> Result<Settings> {
        let mut args = Args::default();
        change(&mut args);
        static SPECS: [&SectionSpec; 1] = [&MAIN];
        Settings::read(&Config::load(&args, &SPECS)?)
    }

    #[test]
    fn the_defaults_are_those_of_mezoura_with_http_off() {
        let settings = read(|_| {}).unwrap();
        assert_eq!(settings.interval, Duration::from_secs(5));
        assert_eq!(settings.textfile, Some("/tmp/prom_c".into()));
        assert_eq!((settings.listen, settings.textfile_dir), (None, None));
    }

    #[test]
    fn a_listen_address_may_leave_out_the_port_or_the_address() {
        for (text, want) in [
            ("[::]:9999", "[::]:9999"),
            ("[::1]", "[::1]:9999"),
            ("fd00::1", "[fd00::1]:9999"),
            ("192.168.1.1", "192.168.1.1:9999"),
            ("192.168.1.1:80", "192.168.1.1:80"),
            (":9100", "[::]:9100"),
        ] {
            let found = Listen::parse(text, &Networks::default()).unwrap();
            assert_eq!(SocketAddr::new(found.addr.unwrap(), found.port).to_string(), want, "{text}");
        }
        for text in ["router.lan:9999", "[::1", "192.168.1.1]", "[[::1]]", "", "[]", "12:80"] {
            assert!(Listen::parse(text, &Networks::default()).is_err(), "{text}");
        }
        let error = Listen::parse("[::]:0", &Networks::default()).unwrap_err();
        assert_eq!(error, "'0' is not a port, expected 1 to 65535");
    }

    fn home() -> Networks {
        let mut home = Networks::default();
        home.read("lan br-lan br-lan 192.168.1.1/24 fd00:1::1/64\nsix br6 br6 fd00:6::1/64\nguest - -\n", |_, _| {});
        home
    }

    #[test]
    fn a_network_to_listen_on_stands_for_its_address_and_is_waited_for() {
        let found =
            |text| Listen::parse(text, &home()).map(|found| (found.addr.map(|addr| addr.to_string()), found.port));
        assert_eq!(found("lan"), Ok((Some("192.168.1.1".into()), 9999)));
        assert_eq!(found("six:80"), Ok((Some("fd00:6::1".into()), 80)));
        for text in ["guest:80", "unknown:80"] {
            assert_eq!(found(text), Ok((None, 80)));
        }
        assert_eq!(found("lan:x").unwrap_err(), "'x' is not a port, expected 1 to 65535");
    }

    #[test]
    fn a_network_that_is_down_never_means_that_everybody_may_read() {
        let allowed = |words: &[&str]| {
            let named = words.iter().map(|word| prefixes(word, &home()).unwrap()).collect();
            allow(named).iter().map(Cidr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(allowed(&[]), [""; 0]);
        assert_eq!(allowed(&["lan", "10.0.0.0/8", "guest"]), ["192.168.1.0/24", "fd00:1::/64", "10.0.0.0/8"]);
        assert_eq!(allowed(&["guest", "unknown"]), ["127.0.0.0/8", "::1/128"]);
    }

    #[test]
    fn a_port_flag_changes_the_port_only_and_is_named_when_wrong() {
        let listen = |settings: Settings| settings.listen.unwrap().to_string();
        let settings = read(|args| {
            args.http = true;
            args.listen = Some("127.0.0.1".into());
            args.port = Some("8080".into());
        });
        assert_eq!(listen(settings.unwrap()), "127.0.0.1:8080");
        for port in ["0", "70000", "http", "-1", ""] {
            let error = read(|args| args.port = Some(port.into())).unwrap_err();
            assert_eq!(error.to_string(), format!("-p: '{port}' is not a port, expected 1 to 65535"));
        }
    }

    #[test]
    fn networks_that_may_read_are_prefixes() {
        let error = read(|args| args.option = vec!["main.allow=192.168.1.0/33".into()]).unwrap_err();
        assert_eq!(error.to_string(), "-o main.allow: prefix length 33 is out of range, expected 0 to 32");
    }
}
