//! What other programs say of the same adapters.

#![allow(dead_code, reason = "a benchmark uses a part of it")]

use std::collections::BTreeMap;

use crate::harness::{Samples, exposition};

/// Rates in Mbit/s by adapter and peer, both in lower case: to the peer and from it.
pub type Rates = BTreeMap<(String, String), (u16, u16)>;

/// What `plcstat -m` prints: the adapter, then its peers, as `STA TEI 002 MAC 02:00:5E:AA:00:02 BDA ... TX 142 RX 097`.
pub fn rows(listing: &str) -> Rates {
    let (mut rates, mut device) = (Rates::new(), String::new());
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name| Some(words[words.iter().position(|word| *word == name)? + 1]);
        let Some(mac) = after("MAC").map(str::to_lowercase) else { continue };
        match (after("TX"), after("RX")) {
            (Some(tx), Some(rx)) => {
                rates.insert((device.clone(), mac), (tx.parse().unwrap(), rx.parse().unwrap()));
            }
            _ => device = mac,
        }
    }
    rates
}

/// What `plctool -m` and `int6k -m` print: a block for each adapter.
pub fn blocks(listing: &str) -> Rates {
    let (mut rates, mut device, mut peer) = (Rates::new(), String::new(), String::new());
    for line in listing.lines() {
        let Some((name, value)) = line.trim().split_once(" = ") else { continue };
        let number = || value.split(' ').next().unwrap().parse::<u16>().unwrap();
        let key = || (device.clone(), peer.clone());
        match name {
            "source address" => device = value.to_lowercase(),
            "station->MAC" => peer = value.to_lowercase(),
            "station->AvgPHYDR_TX" => rates.entry(key()).or_default().0 = number(),
            "station->AvgPHYDR_RX" => rates.entry(key()).or_default().1 = number(),
            _ => {}
        }
    }
    rates
}

/// What `plcrate -n` and `int6krate -n` print: `plc0 02:00:5E:AA:00:01 02:00:5E:AA:00:02 TX 142 mbps`.
pub fn lines(listing: &str) -> Rates {
    let mut rates = Rates::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, device, peer, direction, rate, ..] = words[..] else { continue };
        let pair = rates.entry((device.to_lowercase(), peer.to_lowercase())).or_default();
        *(if direction == "TX" { &mut pair.0 } else { &mut pair.1 }) = rate.parse().unwrap();
    }
    rates
}

/// The rates we export, in Mbit/s.
pub fn ours(metrics: &Samples) -> Rates {
    stations(metrics, |label| Some((label("device_addr")?, label("peer_addr")?)))
}

/// Those that Debian's homeplug_exporter (0.3.0) exports. It asks the near adapter only, whose address it does not tell.
pub fn exporters(metrics: &Samples, near: &str) -> Rates {
    stations(metrics, |label| Some((near.to_owned(), label("mac_address")?.to_lowercase())))
}

fn stations(metrics: &Samples, pair_of: impl Fn(&dyn Fn(&str) -> Option<String>) -> Option<(String, String)>) -> Rates {
    let mut rates = Rates::new();
    for (series, value) in metrics {
        let Some(rest) = series.strip_prefix("homeplug_station_") else { continue };
        if !rest.contains("_rate_bytes{") {
            continue;
        }
        let pair = rates.entry(pair_of(&|name| exposition::label(series, name)).unwrap()).or_default();
        *(if rest.starts_with("tx") { &mut pair.0 } else { &mut pair.1 }) = (value / 131_072.0) as u16;
    }
    rates
}
