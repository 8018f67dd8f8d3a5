//! Targets as pages: those of the configuration for the snapshot, those of a request for /probe, all for /debug/probes.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use super::desk::State;
use super::ledger::Ignored;
use super::metrics::{self, Family};
use super::table::{Entry, Port};
use super::target::{Cause, Clock, Target, histogram};
use crate::metrics::{LabelSet, Page, Value};
use crate::names::host_name::HostName;
use crate::sorted::Sorted;
use crate::words::quoted;

/// A family of a target with what its sample is, if there is any.
type Column = (&'static Family, fn(&Target) -> Option<Value>);

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

/// The families that have one sample for each target.
static COLUMNS: [Column; 16] = [
    (&metrics::SENT, |target| Some(target.totals().sent.into())),
    (&metrics::RECEIVED, |target| Some(target.totals().answered.into())),
    (&metrics::LATENCY_SUM, |target| seconds(target.totals().rtt)),
    (&metrics::SQUARES_SUM, |target| Some((target.totals().rtt_squares as f64 / NANOS / NANOS).into())),
    (&metrics::LATENCY, |target| or_nan(target.window().summary().latency)),
    (&metrics::DEVIATION, |target| or_nan(target.window().summary().deviation)),
    (&metrics::LOSS, |target| or_nan(target.window().summary().loss_ratio)),
    (&metrics::SAMPLES, |target| Some((target.window().summary().samples as u64).into())),
    (&metrics::JITTER, |target| target.jitter().map(|jitter| jitter.as_secs_f64().into())),
    (&metrics::VARIATION_SUM, |target| seconds(target.totals().variation)),
    (&metrics::VARIATIONS, |target| Some(target.totals().variations.into())),
    (&metrics::LATE, |target| Some(target.totals().late.into())),
    (&metrics::DUPLICATES, |target| Some(target.totals().duplicates.into())),
    (&metrics::REORDERED, |target| Some(target.totals().reordered.into())),
    (&metrics::TTL, |target| target.hop_limit().map(|ttl| u64::from(ttl).into())),
    (&metrics::TTL_CHANGES, |target| Some(target.totals().hop_limit_changes.into())),
];

fn seconds(nanos: u64) -> Option<Value> {
    Some((nanos as f64 / NANOS).into())
}

fn or_nan(value: Option<f64>) -> Option<Value> {
    Some(value.unwrap_or(f64::NAN).into())
}

/// What somebody calls a target: the host as it was asked for, and the name in the configuration.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Called {
    ip: IpAddr,
    port: Port,
    host: String,
    name: String,
}

/// The page of the collector: the targets of the configuration, and the figures about all.
pub fn of_configuration(state: &mut State, page: &mut Page) {
    let mut called = Vec::new();
    for wanted in &state.settings.targets {
        for ip in state.addresses_of(&wanted.host, wanted.families) {
            let call =
                |port: &Port| Called { ip, port: *port, host: wanted.host.to_string(), name: wanted.name.clone() };
            called.extend(wanted.ports.iter().map(call));
        }
    }
    let entries: Vec<&Entry> = state.table.iter().map(|(_, entry)| entry).filter(|entry| entry.is_configured).collect();
    for is_tcp in [false, true] {
        write(page, &entries, &called, is_tcp);
    }
    write_meta(page, state);
}

/// The answer to a request: the targets it names, and under which host.
pub fn of_request(state: &State, ids: &[u32], addresses: &[(IpAddr, Option<&HostName>)]) -> Page {
    let entries: Vec<&Entry> = ids.iter().filter_map(|id| state.table.get(*id)).collect();
    let mut called = Vec::new();
    for entry in &entries {
        for (ip, host) in addresses.iter().filter(|(ip, _)| *ip == entry.key.ip) {
            let host = host.map_or_else(|| ip.to_string(), ToString::to_string);
            let name = state.name_of(&host).unwrap_or(&host).to_owned();
            called.push(Called { ip: *ip, port: entry.key.port, host, name });
        }
    }
    let mut page = Page::new();
    let is_tcp = entries.first().is_some_and(|entry| entry.key.port.is_some());
    write(&mut page, &entries, &called, is_tcp);
    page
}

fn write(page: &mut Page, entries: &[&Entry], called: &[Called], is_tcp: bool) {
    let entries: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.key.port.is_some() == is_tcp).collect();
    if entries.is_empty() {
        return;
    }
    let labels: Vec<LabelSet> = entries.iter().map(|entry| labels(page, entry)).collect();
    let each = || labels.iter().copied().zip(entries.iter().map(|entry| &entry.target));
    for (family, value) in &COLUMNS {
        page.family(family.of(is_tcp));
        for (labels, target) in each() {
            if let Some(value) = value(target) {
                page.sample(labels, value);
            }
        }
    }
    if is_tcp {
        page.family(&metrics::REFUSED);
        each().for_each(|(labels, target)| page.sample(labels, target.totals().refused));
    }
    page.family(metrics::LOST.of(is_tcp));
    for (entry, own) in entries.iter().zip(&labels) {
        for (cause, word) in Cause::ALL {
            let lost = entry.target.totals().lost(cause);
            if lost > 0 || cause == Cause::Timeout {
                let labels = page.labels_behind(*own, &[&word]);
                page.sample(labels, lost);
            }
        }
    }
    if entries.iter().any(|entry| entry.target.histogram().is_some()) {
        page.family(metrics::HISTOGRAM.of(is_tcp));
        for (labels, target) in each() {
            if let Some(histogram) = target.histogram() {
                page.histogram(labels, &histogram::BOUNDS, &histogram.counts, histogram.sum as f64 / NANOS);
            }
        }
    }
    page.family(metrics::INFO.of(is_tcp));
    let mut written = Sorted::default();
    for call in called.iter().filter(|call| call.port.is_some() == is_tcp) {
        // One host may be wanted twice, and one label set may stand in a page once.
        if written.insert(call, ()).is_some() {
            continue;
        }
        let labels = match call.port {
            Some(port) => page.labels(&[&call.ip, &port, &call.host, &call.name]),
            None => page.labels(&[&call.ip, &call.host, &call.name]),
        };
        page.sample(labels, 1u64);
    }
}

/// The labels of a target.
fn labels(page: &mut Page, entry: &Entry) -> LabelSet {
    match &entry.key.port {
        None => page.labels(&[&entry.key.ip]),
        Some(port) => page.labels(&[&entry.key.ip, port]),
    }
}

fn write_meta(page: &mut Page, state: &mut State) {
    let counts = [false, true]
        .map(|is_tcp| state.table.iter().filter(|(_, entry)| entry.key.port.is_some() == is_tcp).count() as u64);
    let sides = [(&metrics::ICMP, state.ledger.icmp), (&metrics::TCP, state.ledger.tcp)];
    for ((meta, packets), active) in sides.into_iter().zip(counts) {
        page.single(&meta.active, active);
        page.single(&meta.sent, packets.sent);
        page.single(&meta.received, packets.received);
        page.single(&meta.errors, packets.errors);
    }
    page.single(&metrics::LIMIT, state.settings.max_targets as u64);
    page.single(&metrics::UNRESOLVED, state.unresolved() as u64);
    let (stretch, missed) = (state.table.schedule().stretch(), state.table.schedule().missed());
    page.single(&metrics::STRETCH, stretch);
    page.single(&metrics::MISSED, missed);
    let ledger = &state.ledger;
    page.single(&metrics::OVERFLOWS, ledger.overflows);
    let reasons = Ignored::ALL.map(|(why, word)| (page.labels(&[&word]), ledger.ignored(why)));
    page.family(&metrics::IGNORED);
    reasons.into_iter().for_each(|(labels, count)| page.sample(labels, count));
    if ledger.interfaces().is_empty() {
        return;
    }
    let mut clocks = Vec::new();
    for interface in ledger.interfaces() {
        for ((_, word), count) in Clock::ALL.iter().zip(interface.sums.clocks).filter(|(_, count)| *count > 0) {
            clocks.push((page.labels(&[&interface.name, word]), count));
        }
    }
    page.family(&metrics::CLOCKS);
    clocks.into_iter().for_each(|(labels, count)| page.sample(labels, count));
    let labels: Vec<_> = ledger.interfaces().iter().map(|interface| page.labels(&[&interface.name])).collect();
    let each = || labels.iter().copied().zip(ledger.interfaces().iter().map(|interface| interface.sums));
    page.family(&metrics::QUEUE_DELAY);
    each().for_each(|(labels, sums)| page.sample(labels, sums.queued as f64 / NANOS));
    page.family(&metrics::QUEUED);
    each().for_each(|(labels, sums)| page.sample(labels, sums.queued_probes));
    page.family(&metrics::IMPOSSIBLE);
    each().for_each(|(labels, sums)| page.sample(labels, sums.impossible));
}

/// All targets as JSON, in the order of their addresses as text. `unix_now` is `now` in seconds since 1970.
pub fn json(state: &mut State, now: Instant, unix_now: f64) -> String {
    let until = state.received_until;
    state.table.entries_mut().for_each(|entry| entry.target.expire(until));
    let mut entries: Vec<(String, &Entry)> =
        state.table.iter().map(|(_, entry)| (entry.key.ip.to_string(), entry)).collect();
    entries.sort_by(|(a, one), (b, other)| (a, one.key.port).cmp(&(b, other.key.port)));
    let mut out = format!("{{\"timestamp\":{},\"total_probes\":{},\"probes\":[", unix_now as u64, entries.len());
    for (at, (ip, entry)) in entries.iter().enumerate() {
        let (target, totals, summary) = (&entry.target, entry.target.totals(), entry.target.window().summary());
        let names = state.table.names().iter().filter(|name| name.addresses.contains(&entry.key.ip));
        let names: Vec<String> = names.map(|name| quoted(name.host.as_str())).collect();
        let accessed = unix_now - now.saturating_duration_since(target.accessed()).as_secs_f64();
        let lost = Cause::ALL.iter().filter(|(cause, _)| totals.lost(*cause) > 0);
        let lost: Vec<String> = lost.map(|(cause, word)| format!("\"{word}\":{}", totals.lost(*cause))).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{}{{\"ip_address\":\"{ip}\",\"tcp_port\":{},\"sent_count\":{},\"recv_count\":{},\"last_access\":{},\
             \"hosts\":[{}],\"configured\":{},\"interval_seconds\":{},\"latency_seconds\":{},\"loss_ratio\":{},\
             \"samples\":{},\"ttl\":{},\"late\":{},\"duplicate\":{},\"lost\":{{{}}},\"reporter\":{}}}",
            if at == 0 { "" } else { "," },
            entry.key.port.map_or(0, |port| port.get()),
            totals.sent,
            totals.answered,
            accessed.max(0.0) as u64,
            names.join(","),
            entry.is_configured,
            entry.manner.interval.as_secs_f64(),
            or_null(summary.latency),
            or_null(summary.loss_ratio),
            summary.samples,
            or_null(target.hop_limit()),
            totals.late,
            totals.duplicates,
            lost.join(","),
            entry.reporter.map_or_else(|| "null".into(), |ip| format!("\"{ip}\"")),
        );
    }
    out.push_str("]}\n");
    out
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".into(), |value| value.to_string())
}
