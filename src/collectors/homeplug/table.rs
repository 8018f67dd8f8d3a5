//! `gatemeter homeplug`: the powerline network as a table, for a person with an adapter in the hand.

use std::fmt::Write as _;

use super::codec::Colons;
use super::codec::link::Link;
use super::codec::network::Role;
use super::port::FRAME_BYTES;
use super::settings::Settings;
use super::survey::{Survey, survey};
use super::walk::Device;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::sys::alarm;
use crate::words::one_line;

/// Makes one walk and returns the table.
///
/// # Errors
/// No interface could be asked on, or nobody answered.
pub fn show(config: &Config) -> Result<String> {
    let settings = Settings { extended: true, ..Settings::read(config)? };
    let survey = alarm::block_on(survey(&settings, &mut vec![0; FRAME_BYTES], &|_| None))?;
    let table = table(&survey);
    if table.is_empty() {
        let names: Vec<&str> = survey.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        return Err(nobody(&names.join(", ")));
    }
    Ok(table)
}

/// No adapter answers.
pub fn nobody(interface: &str) -> Error {
    Error::failed(format!("find a powerline adapter on {interface}"), "none answers").remedy(
        "see that it is plugged in and on this interface (-o homeplug.interface=NAME for another), or ask beyond the near \
         ones with -o homeplug.destaddr=all; G.hn adapters, as devolo Magic, speak another protocol",
    )
}

/// A number with the right noun.
pub fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The table; empty if nobody answered.
fn table(survey: &Survey) -> String {
    let mut out = String::new();
    for interface in &survey.interfaces {
        if let Some(error) = &interface.trouble {
            let _ = writeln!(out, "{}: {}\n", interface.name, one_line(&error.to_string()));
        }
    }
    let devices = &survey.walk.devices;
    if devices.is_empty() && survey.walk.boot_loaders.is_empty() {
        return String::new();
    }
    let mut told: Vec<[u8; 7]> = Vec::new();
    for network in devices.iter().flat_map(|device| &device.networks) {
        if told.contains(&network.nid) {
            continue;
        }
        told.push(network.nid);
        let members = || devices.iter().filter(|device| device.networks.iter().any(|other| other.nid == network.nid));
        let interface =
            members().next().and_then(|device| survey.interfaces.iter().find(|i| i.number == Some(device.interface)));
        let interface = interface.map_or("", |interface| &interface.name);
        let count = plural(members().count(), "adapter answers", "adapters answer");
        let _ = writeln!(out, "Network {} on {interface}: {count}\n", Colons(&network.nid));
        for device in members() {
            adapter(&mut out, device, network.nid);
        }
    }
    for device in devices.iter().filter(|device| device.networks.is_empty()) {
        let what = match device.is_up() {
            true => "is in no network: pair it with another adapter, by the buttons of both",
            false => "is listed by another adapter and does not answer",
        };
        let _ = writeln!(out, "{} {what}", Colons(&device.mac.0));
    }
    for boot_loader in &survey.walk.boot_loaders {
        let _ = writeln!(
            out,
            "An adapter ({}) is stuck in its boot loader: unplug it for a while; if that does not help, write its firmware anew",
            boot_loader.chip
        );
    }
    out
}

/// One adapter in one of its networks, with its peers there.
fn adapter(out: &mut String, device: &Device, nid: [u8; 7]) {
    let Some(network) = device.networks.iter().find(|network| network.nid == nid) else { return };
    let (chip, firmware) = match (&device.version, &device.station) {
        (Some(version), _) => (version.chip.to_string(), one_line(&version.firmware)),
        (None, Some(station)) => {
            (station.chip.map_or_else(|| "Broadcom".into(), |chip| chip.to_string()), station.firmware())
        }
        (None, None) => ("unknown chip".into(), String::new()),
    };
    let role = match network.role {
        Role::Station => "station",
        Role::Proxy => "proxy",
        Role::Coordinator => "coordinator",
        Role::Other(_) => "other role",
    };
    let line = format!("  {}  {role:<11}  {chip:<9}  {firmware}", Colons(&device.mac.0));
    let _ = writeln!(out, "{}", line.trim_end());
    if network.stations.is_empty() {
        out.push_str("    has no peer\n");
    } else {
        out.push_str("    peer               sends Mbit/s  receives Mbit/s  blocks lost  device behind it\n");
    }
    for station in &network.stations {
        let link = device.links.iter().find(|(mac, _)| *mac == station.mac);
        let lost = link.and_then(|(_, link)| lost(link)).unwrap_or_else(|| "?".into());
        let bridged = station.bridged.map(|mac| Colons(&mac.0).to_string()).unwrap_or_default();
        let line =
            format!("    {}  {:>12}  {:>15}  {lost:>11}  {bridged}", Colons(&station.mac.0), station.tx, station.rx);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

/// The share of blocks that were sent in vain, in percent with one decimal.
fn lost(link: &Link) -> Option<String> {
    let [passed, failed] = link.tx_blocks;
    let tenths = failed.checked_mul(1000)?.checked_div(passed.checked_add(failed)?)?;
    Some(format!("{}.{} %", tenths / 10, tenths % 10))
}
