//! What the tests of powerline adapters share.

use std::sync::Arc;

use crate::harness::{Daemon, Samples, Setup};
use crate::lab::Lab;
use crate::lab::powerline::{NID, Tamper, adapter_mac, text};

/// Whether the collector works.
pub const UP: &str = "gatemeter_collector_up{collector=\"homeplug\"}";

/// A lab with one host, whose namespace holds the adapters.
pub fn lab() -> Lab {
    Lab::builder().hosts(1).build()
}

/// The collector alone, each second, on `plc0`.
pub fn setup(lab: &Lab) -> Setup<'_> {
    on(lab, &["plc0"])
}

/// Likewise on interfaces of one's choice.
pub fn on<'a>(lab: &'a Lab, ifnames: &[&str]) -> Setup<'a> {
    let mut setup = Setup::new(lab).flags(&["-e", "-t", "1", "--collectors", "homeplug", "-o", "homeplug.interval=1"]);
    for ifname in ifnames {
        setup = setup.flags(&["-o", &format!("homeplug.interface={ifname}")]);
    }
    setup
}

/// The address of the `n`th adapter as labels have it.
pub fn mac(n: u8) -> String {
    text(&adapter_mac(n))
}

/// One of the seed's rates, in the first network.
pub fn rate(direction: &str, from: u8, to: u8) -> String {
    rate_in(&NID, direction, from, to)
}

/// One of the seed's rates.
pub fn rate_in(nid: &[u8; 7], direction: &str, from: u8, to: u8) -> String {
    let (from, nid, to) = (mac(from), text(nid), mac(to));
    format!("homeplug_station_{direction}_rate_bytes{{device_addr=\"{from}\",nid=\"{nid}\",peer_addr=\"{to}\"}}")
}

/// What a rate in Mbit/s is in the unit of those.
pub fn bytes(rate: u16) -> f64 {
    f64::from(rate) * 131_072.0
}

/// Whether an adapter answers.
pub fn device_up(n: u8) -> String {
    format!("homeplug_device_up{{device_addr=\"{}\"}}", mac(n))
}

/// What was rejected for a reason.
pub fn rejected(reason: &str) -> String {
    format!("homeplug_rejected_total{{reason=\"{reason}\"}}")
}

/// Waits until something was rejected for a reason.
pub fn wait_for_rejected(daemon: &Daemon, reason: &str) {
    daemon.wait_until(reason, |metrics| metrics.get(&rejected(reason)).is_some_and(|count| *count > 0.0).then_some(()));
}

/// The addresses of peers in all rates there are.
pub fn peers(metrics: &Samples) -> Vec<String> {
    let rates = metrics.keys().filter(|series| series.starts_with("homeplug_station_tx_rate_bytes{"));
    let mut peers: Vec<String> =
        rates.filter_map(|series| crate::harness::exposition::label(series, "peer_addr")).collect();
    peers.sort();
    peers.dedup();
    peers
}

/// Changes answers of one type.
pub fn tamper(kind: u16, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Option<Tamper> {
    Some(Arc::new(move |request: &[u8], answer: &mut Vec<u8>| {
        if request[15..17] == kind.to_le_bytes() {
            change(answer);
        }
    }))
}
