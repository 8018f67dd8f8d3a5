//! The daemon's own section, `config gatemeter 'main'`, as values.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::Config;
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
    /// Whether the page for people is the live one.
    pub page: bool,
    /// What is logged.
    pub log_level: LevelFilter,
    /// How it is logged.
    pub log_format: LogFormat,
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let main = config.section(MAIN.kind);
        let mut listen = main.get("listen").parse(listen)?;
        if main.is_set("port") {
            listen.set_port(main.get("port").parse(port)?);
        }
        Ok(Settings {
            enabled: main.get("enabled").switch()?,
            interval: main.get("interval").seconds(1, 86400)?,
            textfile: main.get("textfile").path(),
            textfile_dir: main.get("textfile_dir").path(),
            listen: main.get("http").switch()?.then_some(listen),
            allow: main.get("allow").each(str::parse)?,
            page: main.get("page").switch()?,
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
            ])?,
        })
    }
}

/// `ADDR`, `ADDR:PORT`, `[ADDR6]`, `[ADDR6]:PORT`, or `:PORT` for all addresses.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("'{text}' is not an address to listen on, expected one like [::]:9999 or 192.168.1.1:9999");
    if let Some(number) = text.strip_prefix(':') {
        return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port(number)?));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(addr) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(addr, DEFAULT_PORT));
    }
    let (addr, number) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port(number)?;
    format!("{addr}:{port}").parse().map_err(|_| wrong())
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
            assert_eq!(listen(text).unwrap().to_string(), want, "{text}");
        }
        for text in ["router.lan:9999", "[::1", "192.168.1.1]", "[[::1]]", "", "[]"] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert_eq!(listen("[::]:0").unwrap_err(), "'0' is not a port, expected 1 to 65535");
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
