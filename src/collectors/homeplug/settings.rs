//! The `homeplug` section: where powerline adapters are plugged in, and what they are asked.

use std::time::Duration;

use super::codec::network::may_be_adapter;
use super::codec::{BROADCAST, LOCAL};
use crate::config::Config;
use crate::config::schema::{SectionSpec, list, option};
use crate::error::Result;
use crate::names::Mac;

/// `config homeplug 'homeplug'`.
pub static SECTION: SectionSpec = SectionSpec {
    kind: "homeplug",
    name: "homeplug",
    many: false,
    options: &[
        option("enabled", "0", "1 turns the collector on; off by default, as it sends frames where it is told to"),
        list(
            "interface",
            "",
            "interfaces with powerline adapters, or logical networks; none given: the first Ethernet one that is up",
        ),
        option(
            "destaddr",
            "local",
            "whom to ask first: local (adapters on this side), all or broadcast, or a MAC address",
        ),
        option("interval", "15", "seconds between two walks through the network"),
        option(
            "extended",
            "1",
            "0 asks for networks and rates only; 1 also for firmware and links, and other makers' chips",
        ),
        option("max_devices", "64", "adapters asked in one walk; those beyond are left out"),
    ],
};

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Interfaces with adapters; none: the first one that fits.
    pub interfaces: Vec<String>,
    /// Whom to ask first.
    pub destination: Mac,
    /// Time between two walks.
    pub interval: Duration,
    /// Whether to ask for more than networks and rates.
    pub extended: bool,
    /// Most adapters asked in one walk.
    pub max_devices: usize,
}

impl Settings {
    /// Reads the section.
    pub fn read(config: &Config) -> Result<Settings> {
        let section = config.section(SECTION.kind);
        let mut interfaces: Vec<String> = Vec::new();
        for name in section.get("interface").each(|word| config.networks.port(word))? {
            // Asked on twice, each adapter would answer twice.
            if !interfaces.contains(&name) {
                interfaces.push(name);
            }
        }
        Ok(Settings {
            interfaces,
            destination: section.get("destaddr").parse(destination)?,
            interval: section.get("interval").seconds(1, 86400)?,
            extended: section.get("extended").switch()?,
            max_devices: section.get("max_devices").number(1, 253)? as usize,
        })
    }
}

fn destination(text: &str) -> Result<Mac, String> {
    match text {
        "local" => Ok(LOCAL),
        "all" | "broadcast" => Ok(BROADCAST),
        _ => text.parse().ok().filter(|mac| may_be_adapter(*mac) || *mac == BROADCAST).ok_or_else(|| {
            format!("'{text}' is no adapter's address, expected local, all, or a MAC address as 00:b0:52:aa:bb:cc")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_s_words_and_every_way_to_write_an_address_are_taken() {
        let adapter = Mac([0, 0xb0, 0x52, 0xaa, 0xbb, 0xcc]);
        for (text, want) in [
            ("local", LOCAL),
            ("all", BROADCAST),
            ("broadcast", BROADCAST),
            ("ff:ff:ff:ff:ff:ff", BROADCAST),
            ("00:b0:52:00:00:01", LOCAL),
            ("00:b0:52:aa:bb:cc", adapter),
            ("00-B0-52-AA-BB-CC", adapter),
            ("00b0.52aa.bbcc", adapter),
            // The one way that homeplug_exporter 0.3.0 takes.
            ("00B052AABBCC", adapter),
        ] {
            assert_eq!(destination(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_an_adapter_is_told_what_was_expected() {
        for text in ["", "Local", "00:b0:52:aa:bb", "00:b0:52:aa:bb:cc:dd:ee", "00:00:00:00:00:00", "01:00:5e:00:00:01"]
        {
            let problem = destination(text).unwrap_err();
            assert!(problem.starts_with(&format!("'{text}' is no")) && problem.contains("local, all, or"), "{problem}");
        }
    }
}
