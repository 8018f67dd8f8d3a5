//! plc-utils and prometheus-homeplug-exporter on the same segment at the same time: they take the adapters for real, and say
//! what we say.

use crate::common::{UP, lab, mac};
use crate::exporters::Kind;
use crate::harness::{Samples, Setup, exposition};
use crate::lab::powerline::{Chip, Model};
use crate::lab::{Lab, process};
use crate::witness::{Rates, blocks, exporters, lines, ours, rows};

/// The daemon asks now and then only: these programs take answers to its questions for answers to theirs.
fn setup(lab: &Lab) -> Setup<'_> {
    crate::common::setup(lab).flags(&["-o", "homeplug.interval=6"])
}

/// Repeats a program until it has heard from so many adapters: it waits for 50 ms only, which a busy machine may exceed.
fn heard(lab: &Lab, words: &[&str], pairs: usize, read: fn(&str) -> Rates) -> Rates {
    let mut last = String::new();
    let told = || {
        last = lab.router.must(words);
        let rates = read(&last);
        (rates.len() == pairs).then_some(rates)
    };
    process::poll(process::LIMIT, told).unwrap_or_else(|| panic!("{words:?} says\n{last}"))
}

#[test]
fn plc_utils_say_of_every_adapter_what_we_say() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    let told = daemon.wait_until("all adapters", |metrics| Some(ours(metrics)).filter(|rates| rates.len() == 6));

    // Adapters one after the other, and all at once.
    let all = heard(&lab, &["plctool", "-m", "-i", "plc0", "all"], 6, blocks);
    assert_eq!(all, told);
    for n in 1..=3 {
        let one = heard(&lab, &["plcstat", "-m", "-i", "plc0", &mac(n)], 2, rows);
        let ours: Rates = told.clone().into_iter().filter(|((device, _), _)| *device == mac(n)).collect();
        assert_eq!(one, ours);
        let one = heard(&lab, &["plcrate", "-n", "-i", "plc0", &mac(n)], 2, lines);
        assert_eq!(one, ours);
        // In the old version there are eight bits.
        let one = heard(&lab, &["int6krate", "-n", "-i", "plc0", &mac(n)], 2, lines);
        let eight_bits: Rates = ours.into_iter().map(|(pair, (tx, rx))| (pair, (tx.min(255), rx.min(255)))).collect();
        assert_eq!(one, eight_bits);
    }
    assert_eq!(segment.model().harmful, []);
}

#[test]
fn plcstat_and_plctool_name_the_chips_and_firmware_that_we_name() {
    let lab = lab();
    let _segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    let infos = |metrics: &Samples| -> Vec<Vec<String>> {
        let infos = metrics.keys().filter(|series| series.starts_with("homeplug_device_info{"));
        let labels =
            |series: &String| ["device_addr", "chip", "firmware"].map(|name| exposition::label(series, name).unwrap());
        infos.map(|series| labels(series).to_vec()).collect()
    };
    let told = daemon.wait_until("all adapters", |metrics| Some(infos(metrics)).filter(|infos| infos.len() == 3));
    let listed = || {
        let listing = lab.router.must(&["plctool", "-r", "-i", "plc0", "all"]);
        let words = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let lines = listing.lines().map(words).filter(|words| words.len() == 3);
        let lines: Vec<_> =
            lines.map(|words| vec![words[0].to_lowercase(), words[1].clone(), words[2].clone()]).collect();
        (lines.len() == 3).then_some(lines)
    };
    assert_eq!(process::poll(process::LIMIT, listed), Some(told.clone()));
    let table = || {
        let listing = lab.router.must(&["plcstat", "-t", "-i", "plc0"]);
        told.iter().all(|info| listing.contains(&info[2]) && listing.contains(&info[0].to_uppercase())).then_some(())
    };
    assert!(process::poll(process::LIMIT, table).is_some(), "plcstat -t names others than {told:?}");
}

#[test]
fn counters_of_a_link_are_those_that_plcstat_prints() {
    let lab = lab();
    let _segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    let series = |family: &str, result: &str| {
        let (nid, device, peer) = ("52:de:ad:be:ef:00:01", mac(1), mac(2));
        format!(
            "homeplug_link_{family}_total{{device_addr=\"{device}\",nid=\"{nid}\",peer_addr=\"{peer}\",result=\"{result}\"}}"
        )
    };
    daemon.wait_until("counters", |metrics| metrics.get(&series("tx_mpdus", "acked")).map(drop));
    // The counters grow with each question, all in the same proportion: how often they were asked is told by one of them.
    let words = ["plcstat", "-d", "both", "-s", "CSMA-PEER", "-p", &mac(2), "-i", "plc0", &mac(1)];
    let row = |listing: &str, name: &str| -> Option<Vec<f64>> {
        let line = listing.lines().find(|line| line.trim_start().starts_with(name))?;
        Some(line.split_whitespace().skip(1).map(|word| word.trim_end_matches('%').parse().unwrap()).collect())
    };
    let both = || {
        let listing = lab.router.must(&words);
        Some((row(&listing, "TX")?, row(&listing, "RX")?))
    };
    let (tx, rx) = process::poll(process::LIMIT, both).expect("plcstat prints no counters");
    let metrics = daemon.metrics();
    let asked = metrics[&series("tx_mpdus", "acked")] / 1249.0;
    // plcstat prints them as they were at its own question, whose number is told likewise.
    let theirs = tx[3] / 1249.0;
    for (ours, theirs_now) in [
        (series("tx_phy_blocks", "passed"), tx[0]),
        (series("tx_phy_blocks", "failed"), tx[1]),
        (series("tx_mpdus", "acked"), tx[3]),
        (series("tx_mpdus", "failed"), tx[4]),
        (series("tx_mpdus", "collided"), tx[5]),
        (series("rx_phy_blocks", "passed"), rx[0]),
        (series("rx_phy_blocks", "failed"), rx[1]),
        (series("rx_mpdus", "acked"), rx[3]),
        (series("rx_mpdus", "failed"), rx[4]),
    ] {
        assert_eq!(metrics[&ours] / asked, theirs_now / theirs, "{ours}");
    }
}

#[test]
fn the_exporter_of_debian_takes_the_adapters_and_says_what_we_say() {
    let lab = lab();
    let _segment = lab.powerline(Model::network(&[Chip::Int6400, Chip::Int6400]));
    _segment.model().rate(1, 2, 142);
    _segment.model().rate(2, 1, 97);
    let daemon = setup(&lab).start();
    let told = daemon.wait_until("both adapters", |metrics| Some(ours(metrics)).filter(|rates| rates.len() == 2));
    let exporter = Kind::Homeplug.start(&lab, &[]);
    let rates = || {
        let page = exposition::parse(&exporter.get("/metrics").text()).unwrap();
        let rates = exporters(&page, &mac(1));
        (!rates.is_empty()).then_some(rates)
    };
    let theirs = process::poll(process::LIMIT, rates).expect("the exporter tells no rates");
    let near: Rates = told.into_iter().filter(|((device, _), _)| *device == mac(1)).collect();
    assert_eq!(near, theirs);
}
