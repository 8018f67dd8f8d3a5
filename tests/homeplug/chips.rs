//! Chips of every generation and of other makers, alone and mixed in one network.

use crate::common::{bytes, device_up, lab, mac, rate, rejected, setup};
use crate::harness::PATIENCE;
use crate::lab::powerline::{Chip, Model, adapter_mac};
use crate::lab::process;

/// The information about an adapter.
fn info(n: u8, chip: &str, firmware: &str) -> String {
    format!("homeplug_device_info{{device_addr=\"{}\",chip=\"{chip}\",firmware=\"{firmware}\"}}", mac(n))
}

/// All that two adapters say of each other at 510 and 97 Mbit/s, of which `most` fit their messages.
fn pair(chips: [Chip; 2], flags: &[&str], most: u16) {
    let lab = lab();
    let mut model = Model::network(&chips);
    model.rate(1, 2, 510);
    model.rate(2, 1, 97);
    let segment = lab.powerline(model);
    let daemon = setup(&lab).flags(flags).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(510.min(most)));
    daemon.wait_for(&rate("rx", 1, 2), bytes(97));
    daemon.wait_for(&rate("tx", 2, 1), bytes(97));
    daemon.wait_for(&rate("rx", 2, 1), bytes(510.min(most)));
    for (n, role) in [(1, "CCO"), (2, "STA")] {
        let info = format!(
            "homeplug_network_info{{device_addr=\"{}\",nid=\"52:de:ad:be:ef:00:01\",snid=\"6\",tei=\"{n}\",role=\"{role}\",\
             cco_addr=\"{}\",cco_tei=",
            mac(n),
            mac(1)
        );
        daemon.wait_until(&info, |metrics| metrics.keys().any(|series| series.starts_with(&info)).then_some(()));
    }
    assert_eq!(segment.model().harmful, []);
}

#[test]
fn old_chips_have_rates_of_eight_bits() {
    pair([Chip::Int6400, Chip::Int6400], &[], 255);
}

#[test]
fn broadcom_s_chips_are_asked_in_their_own_messages() {
    pair([Chip::Bcm60333, Chip::Bcm60333], &[], 510);
}

#[test]
fn chips_of_other_makers_are_asked_in_the_messages_of_the_specification() {
    pair([Chip::Other, Chip::Other], &["-o", "homeplug.destaddr=all"], 510);
}

#[test]
fn one_network_may_have_chips_of_all_kinds() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7500, Chip::Int6400, Chip::Bcm60333, Chip::Other]);
    for (from, to, rate) in [(1, 2, 120), (2, 1, 110), (1, 3, 700), (3, 1, 650), (1, 4, 400), (4, 1, 390)] {
        model.rate(from, to, rate);
    }
    let segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    for (from, to, tx) in [(1, 2, 120), (2, 1, 110), (1, 3, 700), (3, 1, 650), (1, 4, 400), (4, 1, 390)] {
        daemon.wait_for(&rate("tx", from, to), bytes(tx));
        daemon.wait_for(&rate("rx", to, from), bytes(tx));
    }
    (1..=4).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
    daemon.wait_for(&info(1, "QCA7500", "MAC-QCA7550-2.2.1.26-00-20150504-CS"), 1.0);
    daemon.wait_for(&info(2, "INT6400", "INT6000-MAC-4-1-4102-00-3679-20090724-FINAL-B"), 1.0);
    daemon.wait_for(&info(3, "BCM60333", "2.1.12.8"), 1.0);
    daemon.wait_for(&format!("homeplug_device_uptime_seconds{{device_addr=\"{}\"}}", mac(3)), 123_456.0);
    assert_eq!(segment.model().harmful, []);
}

#[test]
fn a_chip_that_says_what_it_does_not_know_is_not_asked_for_it_again() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7420, Chip::Int6400]);
    model.adapter(2).complains = true;
    model.rate(2, 1, 88);
    let segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 2, 1), bytes(88));
    daemon.wait_until("a refusal", |metrics| (metrics[&rejected("refused")] > 0.0).then_some(()));
    // What it answered is remembered for some walks: in the next ones it is asked that first, and answers.
    let last = "gatemeter_collector_last_success_timestamp_seconds{collector=\"homeplug\"}";
    let remembered = || {
        segment.requests();
        let now = daemon.metrics()[last];
        daemon.wait_until("two more walks", |metrics| (metrics[last] > now + 1.5).then_some(()));
        let to_it: Vec<_> =
            segment.requests().into_iter().filter(|r| r.destination == adapter_mac(2) && r.kind == 0xa038).collect();
        (!to_it.is_empty() && to_it.iter().all(|request| request.version == 0)).then_some(())
    };
    assert!(process::poll(PATIENCE, remembered).is_some(), "it is always asked in the version it does not know");
}

#[test]
fn an_adapter_without_firmware_is_told_and_is_no_device() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7420, Chip::BootLoader]);
    model.adapter(2).local = true;
    let _segment = lab.powerline(model);
    let setup = setup(&lab);
    let daemon = setup.start();
    daemon.wait_for("homeplug_boot_loaders", 1.0);
    daemon.wait_for(&device_up(1), 1.0);
    let metrics = daemon.metrics();
    assert!(!metrics.keys().any(|series| series.contains("00:b0:52:00:00:01")), "{metrics:#?}");
}

#[test]
fn an_adapter_in_no_network_is_up_and_has_no_peers() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7420]);
    model.networks.clear();
    let _segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    daemon.wait_for(&device_up(1), 1.0);
    daemon.wait_for(&format!("homeplug_device_stations{{device_addr=\"{}\"}}", mac(1)), 0.0);
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 1.0);
}
