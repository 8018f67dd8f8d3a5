//! What is asked of /probe: parameters and headers in, whom to probe out, or why not. Pure.

use std::num::NonZeroU16;

use super::settings::{FAMILIES, Host, port};
use super::table::Port;
use crate::names::lookup::Families;

/// Most targets and ports that a request may name, whatever it says.
const MOST_NAMED: usize = 4096;

/// A request that can be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom, each one once.
    pub hosts: Vec<Host>,
    /// Which addresses of host names.
    pub families: Families,
    /// TCP ports, each one once; none means ICMP.
    tcp_ports: Vec<NonZeroU16>,
    /// Most addresses and ports that the asker wants to have probed.
    pub limit: usize,
}

/// Why a request is not answered with figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status: 400, 403 or 503.
    pub status: u16,
    /// The reason, one line.
    pub why: String,
}

impl Refusal {
    /// The request is wrong.
    pub fn bad(why: impl Into<String>) -> Self {
        Refusal { status: 400, why: why.into() }
    }

    /// The configuration does not allow it.
    pub fn forbidden(why: impl Into<String>) -> Self {
        Refusal { status: 403, why: why.into() }
    }

    /// It may work later.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Refusal { status: 503, why: why.into() }
    }
}

/// A request as it came: values of parameters and header lines, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Raw<'a> {
    /// `target`.
    pub targets: Vec<&'a str>,
    /// `ip_version`.
    pub ip_versions: Vec<&'a str>,
    /// `tcp_port`.
    pub tcp_ports: Vec<&'a str>,
    /// The header `x-target-limit`.
    pub limits: Vec<&'a str>,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(raw: &Raw<'_>) -> Result<Asked, Refusal> {
        if raw.targets.is_empty() {
            return Err(Refusal::bad("target parameter missing, expected an address or a host name"));
        }
        let families = match raw.ip_versions.first().filter(|text| !text.is_empty()) {
            None => Families::Both,
            Some(text) => {
                let found = FAMILIES.iter().find(|(word, _)| word == text).map(|(_, families)| *families);
                let why = || Refusal::bad(format!("ip_version '{}': expected 4, 6 or all", text.escape_debug()));
                found.ok_or_else(why)?
            }
        };
        let mut limit = MOST_NAMED;
        for text in &raw.limits {
            let why = || Refusal::bad(format!("x-target-limit '{}': expected a whole number", text.escape_debug()));
            limit = limit.min(text.trim().parse().map_err(|_| why())?);
        }
        let mut tcp_ports = Vec::new();
        for text in &raw.tcp_ports {
            let port = port(text).map_err(|why| Refusal::bad(format!("tcp_port {why}")))?;
            if !tcp_ports.contains(&port) {
                tcp_ports.push(port);
            }
        }
        let mut hosts = Vec::new();
        for text in &raw.targets {
            let host = Host::parse(text).map_err(|why| Refusal::bad(format!("target {why}")))?;
            if !hosts.contains(&host) {
                hosts.push(host);
            }
            if hosts.len() * tcp_ports.len().max(1) > limit {
                return Err(Refusal::bad(format!("too many targets, the limit is {limit}")));
            }
        }
        Ok(Asked { hosts, families, tcp_ports, limit })
    }

    /// TCP ports, or one `None` for ICMP.
    pub fn ports(&self) -> Vec<Port> {
        if self.tcp_ports.is_empty() { vec![None] } else { self.tcp_ports.iter().copied().map(Some).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(targets: &[&str], ip_version: &str, tcp_ports: &[&str], limits: &[&str]) -> Result<Asked, String> {
        let (targets, tcp_ports, limits) = (targets.to_vec(), tcp_ports.to_vec(), limits.to_vec());
        let raw = Raw { targets, ip_versions: vec![ip_version], tcp_ports, limits };
        Asked::read(&raw).map_err(|refusal| format!("{} {}", refusal.status, refusal.why))
    }

    #[test]
    fn targets_and_ports_count_once_however_often_they_are_named() {
        let asked = read(&["192.0.2.1", "Host.example", "192.0.2.1", "host.example"], "4", &["80", "443", "80"], &[]);
        let asked = asked.unwrap();
        assert_eq!(asked.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "host.example"]);
        assert_eq!((asked.families, asked.ports().len()), (Families::V4, 2));
        assert_eq!(read(&["::1"], "", &[], &[]).unwrap().ports(), [None]);
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_the_ipv4_address() {
        assert_eq!(
            read(&["::ffff:192.0.2.1"], "all", &[], &[]).unwrap().hosts,
            read(&["192.0.2.1"], "all", &[], &[]).unwrap().hosts
        );
    }

    #[test]
    fn the_least_of_all_limits_holds() {
        assert_eq!(read(&["a"], "", &[], &["9", " 7 ", "8"]).unwrap().limit, 7);
        assert_eq!(read(&["a", "b"], "", &["1", "2"], &["3"]).unwrap_err(), "400 too many targets, the limit is 3");
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        for (targets, ip_version, tcp_ports, limits, want) in [
            (&[][..], "", &[][..], &[][..], "400 target parameter missing, expected an address or a host name"),
            (&["a"], "5", &[], &[], "400 ip_version '5': expected 4, 6 or all"),
            (&["a"], "", &["0"], &[], "400 tcp_port '0' is not a TCP port, expected 1 to 65535"),
            (&["a"], "", &["65536"], &[], "400 tcp_port '65536' is not a TCP port, expected 1 to 65535"),
            (&["a"], "", &[], &["-1"], "400 x-target-limit '-1': expected a whole number"),
            (&["a"], "", &[], &["x"], "400 x-target-limit 'x': expected a whole number"),
            (&[""], "", &[], &[], "400 target '' is not a host name: it is empty"),
            (&["fe80::1%eth0"], "", &[], &[], "400 target 'fe80::1%eth0' is neither an address nor a host name"),
        ] {
            assert_eq!(read(targets, ip_version, tcp_ports, limits).unwrap_err(), want);
        }
        let line = read(&["a\nb 1"], "", &[], &[]).unwrap_err();
        assert!(!line.contains('\n'), "{line}");
    }
}
