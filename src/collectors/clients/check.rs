//! What `gatemeter check` says of this collector, and what `gatemeter clean` removes.

use std::path::Path;

use super::accounting::check as accounting;
use super::flows;
use super::settings::{Accounting, Settings};
use super::source::rules_options;
use super::subnets::Lans;
use super::{ROW, no_lan};
use crate::collectors::{Finding, Verdict, interfaces};
use crate::config::Config;
use crate::error::Result;
use crate::names::Names;
use crate::names::cache::file;
use crate::sys::caps;

/// What it would use, and what this system lacks for it.
pub fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let mut findings = Vec::new();
    for capability in (ROW.capabilities)(config).iter().filter(|capability| !caps::has(**capability)) {
        let name = capability.name();
        findings.push(Finding::broken(format!("{name} is missing: run as root, or grant it")));
    }
    match smol::block_on(interfaces::now()) {
        Ok(interfaces) => findings.extend(lans(&Lans::find(&settings.subnets, &interfaces))),
        Err(error) => findings.push(Finding::broken(error.to_string())),
    }
    match settings.accounting {
        Accounting::Set => findings.extend(accounting::check_sets()),
        Accounting::Rules => findings.extend(accounting::check_rules(&rules_options(&settings))),
        Accounting::Conntrack => findings.push(Finding::ok("bytes come from the kernel's flows")),
        Accounting::Off => findings.push(Finding::note("accounting is off: no bytes and no rates")),
    }
    let needed = settings.accounting == Accounting::Conntrack;
    findings.extend(flows::check::check(needed).into_iter().map(|finding| match finding.verdict {
        // The rest works without connections.
        Verdict::Broken if !needed => Finding::note(finding.text),
        _ => finding,
    }));
    if matches!(settings.accounting, Accounting::Set | Accounting::Rules) {
        findings.extend(bridged());
    }
    // What is missing for one thing may be missing for the next, too.
    let mut told: Vec<String> = Vec::new();
    findings.retain(|finding| {
        let is_new = !told.contains(&finding.text);
        told.push(finding.text.clone());
        is_new
    });
    findings.push(names(&settings));
    findings.extend(settings.names.cache.as_deref().and_then(name_cache));
    findings
}

fn lans(lans: &Lans) -> Vec<Finding> {
    let mut findings: Vec<_> = lans.problems.iter().map(|problem| Finding::broken(problem.clone())).collect();
    findings.extend(lans.doubts.iter().map(|doubt| Finding::note(doubt.clone())));
    findings.push(match lans.lans.is_empty() {
        true => Finding::broken(no_lan(lans).to_string()),
        false => Finding::ok(lans.to_string()),
    });
    findings
}

/// Whether what passes between ports of a bridge is sent through the firewall, and so counted.
fn bridged() -> Option<Finding> {
    let setting = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").ok()?;
    (setting.trim() == "1").then(|| {
        Finding::note(
            "bridge-nf-call-iptables is 1, so traffic between ports of one bridge is counted, too; \
             sysctl -w net.bridge.bridge-nf-call-iptables=0 unless something needs it",
        )
    })
}

fn names(settings: &Settings) -> Finding {
    let mut names = Names::new(settings.names.sources.clone());
    names.refresh();
    match names.len() {
        0 => Finding::note("no host names are known: clients without one are exported with client=\"unknown\""),
        known => Finding::ok(format!("{known} host names are known")),
    }
}

/// Whether names will be kept over restarts; nothing if so.
fn name_cache(path: &Path) -> Option<Finding> {
    let error = file::try_place(path).err()?;
    Some(Finding::note(format!(
        "names are lost at a restart, as {} cannot be written: {error}; set clients.name_cache to another path, or to none",
        path.display()
    )))
}

/// Removes every trace that runs left on this system.
pub fn clean(config: &Config) -> Result<Vec<String>> {
    let settings = Settings::read(config)?;
    let mut removed: Vec<_> = accounting::clean_sets()?.into_iter().collect();
    removed.extend(accounting::clean_rules(&rules_options(&settings))?);
    Ok(removed.into_iter().map(|what| format!("removed {what}")).collect())
}
