//! What `gatemeter check` says of this collector.

use super::ROW;
use super::gateway;
use super::paths::Paths;
use super::ports::Ports;
use super::random::Random;
use super::settings::{Host, Settings, Via};
use crate::collectors::Finding;
use crate::config::{Config, networks};
use crate::names::find;
use crate::names::host_name::HostName;
use crate::names::lookup::{Families, Lookup, Sources};
use crate::sys::caps;
use crate::sys::hardware_stamps;

/// What it would use, and what this system lacks for it.
pub fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let mut findings: Vec<Finding> = settings.locked.iter().map(|line| Finding::note(line.clone())).collect();
    for capability in (ROW.capabilities)(config).iter().filter(|capability| !caps::has(**capability)) {
        let name = capability.name();
        findings.push(Finding::broken(format!("{name} is missing: run as root, or grant it")));
    }
    if let Err(error) = Ports::hold(&mut Random::new()) {
        findings.push(Finding::broken(error.to_string()));
    }
    match smol::block_on(Paths::open()) {
        Ok(mut paths) => {
            for (family, via) in [("IPv4", &settings.via4), ("IPv6", &settings.via6)] {
                findings.extend(interface(&settings, &paths, family, via));
            }
            findings.extend(targets(&settings, &mut paths));
        }
        Err(error) => findings.push(Finding::broken(error.to_string())),
    }
    findings
}

/// Whether an interface is there, and what its card can do if that is wanted.
fn interface(settings: &Settings, paths: &Paths, family: &str, via: &Via) -> Option<Finding> {
    let name = match via {
        Via::Routes => return None,
        Via::Nowhere => return Some(Finding::note(format!("{family} is not probed"))),
        Via::Interface(name) => name,
    };
    if networks::is_down(name) {
        return Some(Finding::note(format!("{family} is probed by {name} once it is up")));
    }
    if !paths.has(name) {
        return Some(Finding::broken(format!(
            "there is no interface {name} for {family} probes: name another, or auto"
        )));
    }
    let abilities = settings.hardware.then(|| hardware_stamps::abilities(name))?;
    Some(match abilities {
        Ok(abilities) if abilities.every_packet => Finding::ok(format!("the network card of {name} stamps packets")),
        _ => Finding::note(format!("the network card of {name} does not stamp every packet; the kernel does")),
    })
}

fn targets(settings: &Settings, paths: &mut Paths) -> Vec<Finding> {
    if settings.targets.is_empty() {
        return vec![match settings.targets_from_http {
            true => Finding::ok("no targets are configured: whoever asks /probe names them"),
            false => Finding::note("no targets are configured, and probe.targets_from_http is 0: nothing is probed"),
        }];
    }
    let mut findings = vec![Finding::ok(format!("{} targets are configured", settings.targets.len()))];
    let mut names = Vec::new();
    for wanted in &settings.targets {
        let ip = match &wanted.host {
            Host::Address(ip) => *ip,
            Host::Name(name) if gateway::is_meant(name) => {
                let gateways = paths.gateways(settings);
                let is_there = gateways.of(settings.families(wanted.families)).next().is_some();
                let text = format!("target gateway: {gateways}");
                findings.push(if is_there { Finding::ok(text) } else { Finding::note(text) });
                continue;
            }
            Host::Name(name) => {
                names.push((name, settings.families(wanted.families)));
                continue;
            }
        };
        if let Err(cause) = paths.find(ip, settings.via(&ip), None) {
            let why = cause.word().replace('_', " ");
            findings.push(Finding::note(format!("target {ip} cannot be reached now: {why}")));
        }
    }
    findings.extend(unresolved(settings, &names));
    findings
}

/// Names that nobody knows an address of.
fn unresolved(settings: &Settings, names: &[(&HostName, Families)]) -> Vec<Finding> {
    let mut lookup = Lookup::new(Sources { servers: settings.dns_servers.clone(), ..Sources::default() });
    smol::block_on(find::all(&mut lookup, names));
    let trouble = |(name, families): &(&HostName, Families)| {
        let trouble = match lookup.get(name, *families) {
            Some(known) if !known.addrs.is_empty() => return None,
            Some(known) => known.trouble.as_ref().map(ToString::to_string),
            None => None,
        };
        let why = trouble.unwrap_or_else(|| "no DNS server answers".to_owned());
        Some(Finding::note(format!("target {name}: {why}")))
    };
    names.iter().filter_map(trouble).collect()
}
