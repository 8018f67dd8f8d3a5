//! What the tests of powerline adapters share.

use crate::harness::Setup;
use crate::lab::Lab;
use crate::lab::powerline::{NID, adapter_mac, text};

/// Whether the collector works.
pub const UP: &str = "gatemeter_collector_up{collector=\"homeplug\"}";

/// A lab with one host, whose namespace holds the adapters.
pub fn lab() -> Lab {
    Lab::builder().hosts(1).build()
}

/// The collector alone, each second, on `plc0`.
pub fn setup(lab: &Lab) -> Setup<'_> {
    on(lab, "plc0")
}

/// Likewise on an interface of one's choice.
pub fn on<'a>(lab: &'a Lab, ifname: &str) -> Setup<'a> {
    let interface = format!("homeplug.interface={ifname}");
    Setup::new(lab).flags(&["-e", "-t", "1", "--collectors", "homeplug"]).flags(&[
        "-o",
        "homeplug.interval=1",
        "-o",
        &interface,
    ])
}

/// The address of the `n`th adapter as labels have it.
pub fn mac(n: u8) -> String {
    text(&adapter_mac(n))
}

/// One of the seed's rates.
pub fn rate(direction: &str, from: u8, to: u8) -> String {
    format!(
        "homeplug_station_{direction}_rate_bytes{{device_addr=\"{}\",nid=\"{}\",peer_addr=\"{}\"}}",
        mac(from),
        text(&NID),
        mac(to)
    )
}

/// What a rate in Mbit/s is in the unit of those.
pub fn bytes(rate: u16) -> f64 {
    f64::from(rate) * 131_072.0
}
