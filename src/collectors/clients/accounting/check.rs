//! What accounting with nf_tables finds on this system, and how its traces are removed.

use std::io;

use smol::future::block_on;

use super::rules::Options;
use super::sets::{self, Table};
use super::{is_lack, refused, rules, single};
use crate::collectors::Finding;
use crate::error::{Error, Result};
use crate::netlink::Message;
use crate::netlink::nftables::{self, read};
use crate::netlink::transport::Requests;
use crate::sys::caps::{self, Capability};

/// What there is for `accounting=set`. Changes nothing.
pub fn check_sets() -> Vec<Finding> {
    let (mut findings, mut requests) = match usable() {
        Ok(usable) => usable,
        Err(finding) => return vec![finding],
    };
    findings.extend(match block_on(sets::state(&mut requests)) {
        Err(error) => Some(Finding::broken(error.to_string())),
        Ok(Table::Foreign) => Some(Finding::broken(sets::not_ours(sets::TRIED).to_string())),
        Ok(Table::Kept) => {
            Some(Finding::ok("the nftables table inet gatemeter counts LAN clients and is kept by a process"))
        }
        Ok(Table::Ours) => {
            Some(Finding::ok("the nftables table inet gatemeter counts LAN clients; the daemon takes it over"))
        }
        Ok(Table::None) => None,
    });
    findings.extend(check_flowtables(&mut requests));
    findings
}

/// What there is for `accounting=rules`. Changes nothing.
pub fn check_rules(options: &Options) -> Vec<Finding> {
    let (mut findings, mut requests) = match usable() {
        Ok(usable) => usable,
        Err(finding) => return vec![finding],
    };
    let mut found = 0;
    let read = rules::Rules::open_beside(options).and_then(|mut rules| {
        block_on(rules.read(|_| found += 1))?;
        Ok(rules.nothing().map(str::to_owned))
    });
    findings.push(match read {
        Err(error) => Finding::broken(error.to_string()),
        Ok(None) => Finding::ok(format!("nftables rules count for {found} addresses and directions")),
        Ok(Some(_)) if options.manage => Finding::ok("no client has nftables rules so far: the daemon makes them"),
        Ok(Some(reason)) => Finding::note(reason),
    });
    findings.extend(check_flowtables(&mut requests));
    findings
}

/// Removes the table of `accounting=set`; returns what was removed, in words.
pub fn clean_sets() -> Result<Option<String>> {
    const TRIED: &str = "remove the nftables table inet gatemeter";
    if open().is_err_and(|error| is_lack(&error)) {
        return Ok(None);
    }
    let _single = single(TRIED)?;
    block_on(sets::remove(TRIED))
}

/// Removes what `manage_rules` made, and nothing that others made; returns what was removed, in words.
pub fn clean_rules(options: &Options) -> Result<Vec<String>> {
    if open().is_err_and(|error| is_lack(&error)) {
        return Ok(Vec::new());
    }
    let _single = single("remove nftables rules")?;
    block_on(rules::remove(options))
}

/// Whether nf_tables can be used, and a socket for it.
fn usable() -> Result<(Vec<Finding>, Requests), Finding> {
    const TRIED: &str = "use nf_tables";
    if !caps::has(Capability::NetAdmin) {
        return Err(Finding::broken("CAP_NET_ADMIN is missing: run as root, or grant it"));
    }
    let requests = open().map_err(|error| Finding::broken(refused(TRIED, error).to_string()))?;
    Ok((vec![Finding::ok("the kernel has nf_tables")], requests))
}

/// A socket to which nf_tables answers.
fn open() -> io::Result<Requests> {
    let mut requests = Requests::open(libc::NETLINK_NETFILTER)?;
    let sequence = requests.next_sequence();
    requests.get(&nftables::get_generation(sequence), |_| Ok(()))?;
    Ok(requests)
}

/// Names the flow tables: what they forward is seen by no rule and no set.
fn check_flowtables(requests: &mut Requests) -> Option<Finding> {
    let listed = block_on(flowtables(requests));
    match listed {
        // Kernels without flow tables have none.
        Err(_) => None,
        Ok(found) if found.is_empty() => None,
        Ok(found) => Some(Finding::note(format!(
            "offloaded traffic is invisible to rules and sets: use clients.accounting=conntrack; offloading is set up \
             by {}",
            found.join(", ")
        ))),
    }
}

/// The flow tables of the ruleset, in words.
pub async fn flowtables(requests: &mut Requests) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let each = |message: &Message<'_>| {
        let Some(flowtable) = read::flowtable(message)? else { return Ok(()) };
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let family = flowtable.family.map_or("", nftables::Family::word);
        let kind = if flowtable.hardware { "hardware" } else { "software" };
        found.push(format!("flowtable {family} {} {} ({kind})", text(flowtable.table), text(flowtable.name)));
        Ok(())
    };
    let dumped = requests.dump(nftables::dump_flowtables, each).await;
    dumped.map_err(|error| Error::io("list flow tables", error))?;
    Ok(found)
}
