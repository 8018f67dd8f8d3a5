//! The roster as a page.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use super::flows::Totals;
use super::metrics;
use super::roster::{Client, Roster};
use super::source::Source;
use crate::metrics::{LabelSet, Page};
use crate::names::Mac;

/// What stands in place of a name that is not known.
const UNKNOWN: &str = "unknown";

/// What the roster itself does not know.
pub struct Context<'a> {
    /// The name of a client.
    pub name: &'a dyn Fn(IpAddr, &Client) -> Option<&'a str>,
    /// The hardware address of a client.
    pub mac: &'a dyn Fn(IpAddr, &Client) -> Option<Mac>,
    /// The interface a client is behind.
    pub interface: &'a dyn Fn(IpAddr, &Client) -> &'a str,
    /// Where bytes come from.
    pub source: &'a Source,
    /// Figures about all flows, if connections are known.
    pub flows: Option<Totals>,
    /// How many times events about the network were lost.
    pub overruns: u64,
    /// Most clients kept.
    pub limit: u64,
    /// When the readings were taken.
    pub now: Instant,
    /// The same in seconds since 1970.
    pub unix_now: f64,
}

/// The labels of one client in each shape that families have them.
struct Labels {
    tx: LabelSet,
    rx: LabelSet,
    client: LabelSet,
    info: LabelSet,
}

/// Writes all families of the roster.
pub fn write(page: &mut Page, roster: &Roster, context: &Context<'_>) {
    let labels: Vec<Labels> = roster.iter().map(|(addr, client)| labels(page, addr, client, context)).collect();
    let clients = || labels.iter().zip(roster.iter().map(|(_, client)| client));
    if !matches!(context.source, Source::Off) {
        page.family(&metrics::TRAFFIC);
        for (labels, client) in clients() {
            page.sample(labels.tx, client.tx.total);
            page.sample(labels.rx, client.rx.total);
        }
        page.family(&metrics::RATE);
        for (labels, client) in clients() {
            page.sample(labels.tx, client.tx.rate);
            page.sample(labels.rx, client.rx.rate);
        }
    }
    if context.flows.is_some() {
        page.family(&metrics::CONNECTIONS);
        for (labels, client) in clients() {
            page.sample(labels.client, u64::from(client.flows.active));
        }
        page.family(&metrics::UNREPLIED);
        for (labels, client) in clients() {
            page.sample(labels.client, u64::from(client.flows.unreplied));
        }
    }
    page.family(&metrics::STATUS);
    for (labels, client) in clients() {
        page.sample(labels.client, client.online);
    }
    page.family(&metrics::INFO);
    for (labels, _) in clients() {
        page.sample(labels.info, 1u64);
    }
    page.family(&metrics::LAST_SEEN);
    for (labels, client) in clients() {
        if let Some(seen) = client.last_seen() {
            // Whole seconds: the two clocks are not read at the same moment.
            let ago = context.now.saturating_duration_since(seen).as_secs_f64();
            page.sample(labels.client, (context.unix_now - ago).max(0.0).round());
        }
    }
    write_totals(page, roster, context);
    if let Some(totals) = &context.flows {
        write_flows(page, totals);
    }
    page.single(&metrics::NETWORK_OVERRUNS, context.overruns);
    if let Some(overruns) = context.source.overruns() {
        page.single(&metrics::RULESET_OVERRUNS, overruns);
    }
}

fn write_flows(page: &mut Page, totals: &Totals) {
    let mode = page.labels(&[&totals.mode.name()]);
    page.family(&metrics::FLOWS_INFO);
    page.sample(mode, 1u64);
    page.single(&metrics::FLOWS, totals.flows as u64);
    page.single(&metrics::FLOWS_OFFLOADED, totals.offloaded as u64);
    page.single(&metrics::FLOWS_UNTRACKED, totals.untracked as u64);
    page.single(&metrics::FLOW_READS, totals.dumps);
    page.single(&metrics::FLOW_OVERRUNS, totals.overruns);
}

fn labels(page: &mut Page, addr: IpAddr, client: &Client, context: &Context<'_>) -> Labels {
    let name = (context.name)(addr, client).unwrap_or(UNKNOWN);
    let (tx, rx) = (page.labels(&[&"tx", &addr, &name]), page.labels(&[&"rx", &addr, &name]));
    let info = page.labels(&[&addr, &name, &Hardware((context.mac)(addr, client)), &(context.interface)(addr, client)]);
    Labels { tx, rx, client: page.labels(&[&addr, &name]), info }
}

fn write_totals(page: &mut Page, roster: &Roster, context: &Context<'_>) {
    let mut counts = [[0u64; 2]; 2];
    for (addr, client) in roster.iter() {
        let [online, offline] = &mut counts[usize::from(addr.is_ipv6())];
        *(if client.online { online } else { offline }) += 1;
    }
    let labels = ["ipv4", "ipv6"].map(|family| ["online", "offline"].map(|state| page.labels(&[&family, &state])));
    page.family(&metrics::CLIENTS);
    for (labels, count) in labels.iter().flatten().zip(counts.iter().flatten()) {
        page.sample(*labels, *count);
    }
    page.single(&metrics::LIMIT, context.limit);
    page.single(&metrics::FORGOTTEN, roster.forgotten());
    let source = page.labels(&[&context.source.name()]);
    page.family(&metrics::SOURCE);
    page.sample(source, 1u64);
    let fill = context.source.fill();
    let labels: Vec<_> = fill.iter().map(|fill| page.labels(&[&fill.set])).collect();
    if !fill.is_empty() {
        page.family(&metrics::SET_ENTRIES);
    }
    for (labels, fill) in labels.iter().zip(&fill) {
        page.sample(*labels, u64::from(fill.used));
    }
}

/// A hardware address as a label; empty if it is not known.
struct Hardware(Option<Mac>);

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |mac| mac.fmt(f))
    }
}
