//! The `freebox` section: which box, how to reach it, and what of it is read.

use std::path::PathBuf;
use std::time::Duration;

use super::groups::{self, Group};
use super::secret::Digest;
use crate::config::Config;
use crate::config::schema::{MAIN, SectionSpec, list, option};
use crate::error::Result;

/// File in the state directory with the token.
const CREDENTIALS: &str = "freebox.json";

/// `config freebox 'freebox'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "freebox",
    name: "freebox",
    many: false,
    options: &[
        option("enabled", "0", "1 turns the collector on; gatemeter freebox register first"),
        option("endpoint", "mafreebox.freebox.fr", "the box: HOST, HOST:PORT, or either behind http:// or https://"),
        option("interval", "10", "seconds between two readings of what moves; settings and lists are read less often"),
        option("timeout", "5", "seconds the box may take for an answer"),
        option("credentials", "", "file with the token, for its owner alone; empty for state_dir/freebox.json"),
        list(
            "status",
            "",
            "what is read beside the connection: sys switch wifi lan dhcp disk lte vpnsrv vpnclient call vm, or all",
        ),
        option("auth_hash", "sha1", "sha1 or sha256: digest of the login"),
        option("tls", "auto", "auto: HTTPS if the box offers it and this gatemeter has it; on; off"),
        option("tls_domain", "0", "1 takes the domain and port that the box tells for HTTPS, as from outside"),
        option("tls_name", "", "name in the box's certificate, if it is not the endpoint's"),
        option("tls_verify", "1", "0 takes any certificate, which protects from nobody"),
        option("ca_bundle", "", "PEM file with the root certificates to trust; empty for those of the operator"),
        option("api_version", "", "version of the API to speak; empty for the newest the box has"),
        option(
            "per_host",
            "0",
            "1 writes series for each host, station, call and VPN user in Prometheus form, too; they are personal data",
        ),
        option(
            "patch_rate_up",
            "0",
            "1 takes the WAN's upload from the switch ports (with status switch): from API 7 on boxes add the download to it",
        ),
    ],
};

/// Whether HTTPS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// If box and program can.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Where the box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it was written with a scheme, and whether that is https.
    pub https: Option<bool>,
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// The port, if it is not the usual one.
    pub port: Option<u16>,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Time between two readings.
    pub interval: Duration,
    /// The box.
    pub endpoint: Endpoint,
    /// Time for one answer.
    pub timeout: Duration,
    /// The file with the token.
    pub credentials: PathBuf,
    /// Indexes in [`groups::ALL`] of what is read.
    pub groups: Vec<usize>,
    /// Digest of the login.
    pub digest: Digest,
    /// Whether HTTPS is used.
    pub tls: Tls,
    /// Whether the box's own domain is.
    pub tls_domain: bool,
    /// The name that certificates are checked for.
    pub tls_name: Option<String>,
    /// Whether they are.
    pub tls_verify: bool,
    /// Roots to trust.
    pub ca_bundle: Option<PathBuf>,
    /// The version of the API, if it is not to be found out.
    pub api_version: Option<u32>,
    /// Whether Prometheus gets series for each host.
    pub per_host: bool,
    /// Whether the upload is taken from the switch.
    pub patch_rate_up: bool,
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let (main, section) = (config.section(MAIN.kind), config.section(SECTION.kind));
        let state_dir = main.get("state_dir").path().unwrap_or_default();
        // On the command line commas are at hand, in a file several lines or spaces.
        let asked = section.get("status").each(|words| {
            words.split([',', ' ']).filter(|word| !word.is_empty()).map(asked_for).collect::<Result<Vec<_>, String>>()
        })?;
        let asked = asked.concat();
        let wanted =
            |group: &Group| group.always || asked.iter().any(|asked| asked.is_none_or(|name| name == group.name));
        let api_version = section.get("api_version");
        let text = |option| Some(section.get(option).text()).filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Settings {
            interval: section.get("interval").seconds(1, 86400)?,
            endpoint: section.get("endpoint").parse(endpoint)?,
            timeout: section.get("timeout").seconds(1, 60)?,
            credentials: section.get("credentials").path().unwrap_or_else(|| state_dir.join(CREDENTIALS)),
            groups: groups::ALL.iter().enumerate().filter(|(_, group)| wanted(group)).map(|(index, _)| index).collect(),
            digest: section.get("auth_hash").choice(&[("sha1", Digest::Sha1), ("sha256", Digest::Sha256)])?,
            tls: section.get("tls").choice(&[("auto", Tls::Auto), ("on", Tls::On), ("off", Tls::Off)])?,
            tls_domain: section.get("tls_domain").switch()?,
            tls_name: text("tls_name"),
            tls_verify: section.get("tls_verify").switch()?,
            ca_bundle: section.get("ca_bundle").path(),
            api_version: match api_version.text() {
                "" => None,
                _ => Some(api_version.number(1, 999)?),
            },
            per_host: section.get("per_host").switch()?,
            patch_rate_up: section.get("patch_rate_up").switch()?,
        })
    }

    /// What is read of the box.
    pub fn groups(&self) -> impl Iterator<Item = &'static Group> {
        self.groups.iter().filter_map(|index| groups::ALL.get(*index).copied())
    }
}

/// The name of a group that may be asked for; nothing for all of them.
fn asked_for(word: &str) -> Result<Option<&'static str>, String> {
    let mut names = groups::ALL.iter().filter(|group| !group.always).map(|group| group.name);
    match names.clone().find(|name| *name == word) {
        _ if word == "all" => Ok(None),
        Some(name) => Ok(Some(name)),
        None => {
            let mut expected = String::new();
            names.by_ref().for_each(|name| expected.extend([name, ", "]));
            Err(format!("'{word}' is not one of its values, expected {expected}all"))
        }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong =
        || format!("'{text}' is not a host, expected one as mafreebox.freebox.fr, 192.168.1.254:80 or https://HOST");
    let (https, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(false), rest),
        Some(("https", rest)) => (Some(true), rest),
        Some(_) => return Err(wrong()),
        None => (None, text),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (host, Some(port.ok_or_else(|| format!("'{text}' has no usable port, expected 1 to 65535"))?))
        }
        _ => (rest, None),
    };
    // An IPv6 address in a URL stands in brackets.
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_good = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    if host.is_empty() || host.len() > 253 || !is_good {
        return Err(wrong());
    }
    Ok(Endpoint { https, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_perhaps_with_a_port_and_a_scheme() {
        for (text, want) in [
            ("mafreebox.freebox.fr", (None, "mafreebox.freebox.fr", None)),
            ("192.168.1.254:8080", (None, "192.168.1.254", Some(8080))),
            ("http://box/", (Some(false), "box", None)),
            ("https://box:443", (Some(true), "box", Some(443))),
            ("fd00::1", (None, "[fd00::1]", None)),
            ("https://[fd00::1]:444", (Some(true), "[fd00::1]", Some(444))),
        ] {
            let got = endpoint(text).unwrap();
            assert_eq!((got.https, got.host.as_str(), got.port), want, "{text}");
        }
        for text in ["", "ftp://box", "box:0", "box:http", "box/api", "a b", "[box]", "https://"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
