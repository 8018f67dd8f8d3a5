//! What a walk has found as a page.

use std::fmt;
use std::time::Instant;

use super::Totals;
use super::codec::Colons;
use super::codec::link::Link;
use super::codec::network::{Coupling, Network, Station};
use super::memory::Memory;
use super::metrics;
use super::survey::Survey;
use super::walk::{Counts, Device, Reason};
use crate::metrics::{Desc, LabelSet, Page};
use crate::names::Mac;

/// What one Mbit/s is in the unit of homeplug_exporter's rates.
const SEED_BYTES: u64 = 1024 * 1024 / 8;

/// What one Mbit/s really is, in bytes per second.
const BYTES: u64 = 1_000_000 / 8;

/// What the survey itself does not know.
pub struct Context<'a> {
    /// Adapters of this walk and earlier ones.
    pub memory: &'a Memory,
    /// What all walks have counted.
    pub totals: &'a Totals,
    /// Whether more than networks and rates was asked for.
    pub extended: bool,
    /// When the walk ended.
    pub now: Instant,
    /// The same in seconds since 1970.
    pub unix_now: f64,
}

/// A link from an adapter to a peer.
struct Peer<'a> {
    device: &'a Device,
    network: &'a Network,
    station: &'a Station,
    /// Adapter, network and peer.
    labels: LabelSet,
}

/// Writes all families.
pub fn write(page: &mut Page, survey: &Survey, context: &Context<'_>) {
    let devices = || survey.walk.devices.iter().filter(|device| device.is_up());
    let mut labels = Vec::new();
    for (device, network) in devices().flat_map(|device| device.networks.iter().map(move |network| (device, network))) {
        let (device_addr, cco_addr) = (Colons(&device.mac.0), Colons(&network.cco.0));
        let (nid, cco_tei) = (Colons(&network.nid), Maybe(network.cco_tei));
        labels.push(page.labels(&[
            &device_addr,
            &nid,
            &network.snid,
            &network.tei,
            &network.role,
            &cco_addr,
            &cco_tei,
        ]));
    }
    page.family(&metrics::NETWORK_INFO);
    labels.iter().for_each(|labels| page.sample(*labels, 1u64));
    let mut peers = Vec::new();
    for device in devices() {
        for network in &device.networks {
            for station in &network.stations {
                let labels = page.labels(&[&Colons(&device.mac.0), &Colons(&network.nid), &Colons(&station.mac.0)]);
                peers.push(Peer { device, network, station, labels });
            }
        }
    }
    page.family(&metrics::TX_RATE);
    peers.iter().for_each(|peer| page.sample(peer.labels, u64::from(peer.station.tx) * SEED_BYTES));
    page.family(&metrics::RX_RATE);
    peers.iter().for_each(|peer| page.sample(peer.labels, u64::from(peer.station.rx) * SEED_BYTES));
    if context.extended {
        write_links(page, &peers);
        write_devices(page, survey);
    }
    write_presence(page, survey, context);
    write_counts(page, survey, context.totals);
}

fn write_links(page: &mut Page, peers: &[Peer<'_>]) {
    let with = |page: &mut Page, peer: &Peer<'_>, what: &dyn fmt::Display| {
        let Peer { device, network, station, .. } = peer;
        page.labels(&[&Colons(&device.mac.0), &Colons(&network.nid), &Colons(&station.mac.0), what])
    };
    let labels: Vec<_> = peers.iter().map(|peer| ["tx", "rx"].map(|direction| with(page, peer, &direction))).collect();
    page.family(&metrics::PHY_RATE);
    for (peer, [tx, rx]) in peers.iter().zip(labels) {
        page.sample(tx, u64::from(peer.station.tx) * BYTES);
        page.sample(rx, u64::from(peer.station.rx) * BYTES);
    }
    let labels: Vec<_> = peers.iter().map(|peer| station_labels(page, peer)).collect();
    page.family(&metrics::STATION_INFO);
    labels.iter().for_each(|labels| page.sample(*labels, 1u64));

    // A link is counted for a peer, whatever networks both are in: it stands under the first one.
    let mut links: Vec<(&Peer<'_>, &Link)> = Vec::new();
    for peer in peers {
        let link = peer.device.links.iter().find(|(mac, _)| *mac == peer.station.mac);
        let is_told =
            |(told, _): &(&Peer<'_>, _)| told.device.mac == peer.device.mac && told.station.mac == peer.station.mac;
        if let Some((_, link)) = link.filter(|_| !links.iter().any(is_told)) {
            links.push((peer, link));
        }
    }
    type Read = fn(&Link) -> &[u64];
    let families: [(&'static Desc, &[&str], Read); 5] = [
        (&metrics::TX_MPDUS, &["acked", "collided", "failed"], |link| &link.tx_mpdus),
        (&metrics::RX_MPDUS, &["acked", "failed"], |link| &link.rx_mpdus),
        (&metrics::TX_BLOCKS, &["passed", "failed"], |link| &link.tx_blocks),
        (&metrics::RX_BLOCKS, &["passed", "failed"], |link| &link.rx_blocks),
        (&metrics::RX_BIT_ERRORS, &["passed", "failed"], |link| &link.rx_bit_errors),
    ];
    for (desc, results, read) in families {
        page.family(desc);
        for (peer, link) in &links {
            for (result, count) in results.iter().zip(read(link)) {
                let labels = with(page, peer, result);
                page.sample(labels, *count);
            }
        }
    }
}

fn station_labels(page: &mut Page, peer: &Peer<'_>) -> LabelSet {
    let Peer { device, network, station, .. } = peer;
    let (tx, rx) = station.coupling.unzip();
    let name = |pair: Option<Coupling>| pair.map_or("", Coupling::name);
    page.labels(&[
        &Colons(&device.mac.0),
        &Colons(&network.nid),
        &Colons(&station.mac.0),
        &Maybe(station.tei),
        &Colons(station.bridged.as_ref().map_or(&[], |Mac(bytes)| &bytes[..])),
        &name(tx),
        &name(rx),
    ])
}

fn write_devices(page: &mut Page, survey: &Survey) {
    let devices = || survey.walk.devices.iter().filter(|device| device.is_up());
    page.family(&metrics::DEVICE_INFO);
    for device in devices() {
        let labels = match (&device.version, &device.station) {
            (Some(version), _) => page.labels(&[&Colons(&device.mac.0), &version.chip, &version.firmware]),
            (None, Some(station)) => page.labels(&[&Colons(&device.mac.0), &Maybe(station.chip), &station.firmware()]),
            (None, None) => continue,
        };
        page.sample(labels, 1u64);
    }
    page.family(&metrics::UPTIME);
    for device in devices() {
        if let Some(station) = &device.station {
            let labels = page.labels(&[&Colons(&device.mac.0)]);
            page.sample(labels, u64::from(station.uptime));
        }
    }
}

fn write_presence(page: &mut Page, survey: &Survey, context: &Context<'_>) {
    page.family(&metrics::UP);
    for interface in &survey.interfaces {
        let labels = page.labels(&[&interface.name]);
        page.sample(labels, survey.is_up(interface));
    }
    let adapters: Vec<_> =
        context.memory.iter().map(|(mac, adapter)| (page.labels(&[&Colons(&mac.0)]), adapter)).collect();
    page.family(&metrics::DEVICE_UP);
    adapters.iter().for_each(|(labels, adapter)| page.sample(*labels, adapter.is_up));
    page.family(&metrics::LAST_SEEN);
    for (labels, adapter) in &adapters {
        if let Some(seen) = adapter.seen {
            // Whole seconds: the two clocks are not read at the same moment.
            let ago = context.now.saturating_duration_since(seen).as_secs_f64();
            page.sample(*labels, (context.unix_now - ago).max(0.0).round());
        }
    }
    page.family(&metrics::STATIONS);
    for device in survey.walk.devices.iter().filter(|device| device.is_up()) {
        let labels = page.labels(&[&Colons(&device.mac.0)]);
        page.sample(labels, device.stations() as u64);
    }
    page.single(&metrics::BOOT_LOADERS, survey.walk.boot_loaders.len() as u64);
}

fn write_counts(page: &mut Page, survey: &Survey, totals: &Totals) {
    let Counts { requests, answers, rejected } = &totals.counts;
    page.single(&metrics::REQUESTS, *requests);
    page.single(&metrics::ANSWERS, *answers);
    page.family(&metrics::REJECTED);
    for ((_, name), count) in Reason::ALL.iter().zip(rejected) {
        let labels = page.labels(&[name]);
        page.sample(labels, *count);
    }
    page.family(&metrics::DROPPED);
    for interface in &survey.interfaces {
        let labels = page.labels(&[&interface.name]);
        page.sample(labels, totals.dropped.get(&interface.name).copied().unwrap_or(0));
    }
}

/// A label of what may not be known: empty if it is not.
struct Maybe<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}
