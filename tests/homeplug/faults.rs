//! What homeplug_exporter does wrong, and what adapters do wrong: one thing each, and the daemon says what is true.

use std::time::Duration;

use crate::common::{
    UP, bytes, device_up, lab, mac, on, peers, rate, rate_in, rejected, setup, tamper, wait_for_rejected,
};
use crate::harness::http;
use crate::lab::powerline::{Chip, Model, Network, adapter_mac};

/// The type of VS_NW_INFO.
const NETWORKS: u16 = 0xa038;

/// The networks of an adapter cannot be had by messages of the specification, which are tried next.
fn only_its_own(deaf_to: &mut Vec<u16>) {
    deaf_to.extend([0x6038, 0x6048]);
}

#[test]
fn rates_above_255_are_told() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    segment.model().rate(1, 3, 1024);
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 1, 3), bytes(1024));
    daemon.wait_for(&rate("rx", 3, 1), bytes(1024));
}

#[test]
fn a_role_without_a_name_is_a_number_and_ends_nobody() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    for role in [3, 7, 255] {
        segment.model().adapter(2).role = Some(role);
        let label =
            format!("device_addr=\"{}\",nid=\"52:de:ad:be:ef:00:01\",snid=\"6\",tei=\"2\",role=\"{role}\"", mac(2));
        daemon.wait_until(&label, |metrics| metrics.keys().any(|series| series.contains(&label)).then_some(()));
        daemon.wait_for(UP, 1.0);
    }
}

#[test]
fn frames_too_short_for_what_they_are_end_nobody() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    only_its_own(&mut segment.model().adapter(2).deaf_to);
    let daemon = setup(&lab).start();
    for length in [14, 16, 17, 19, 20, 21, 22, 27, 28] {
        segment.model().adapter(2).tamper = tamper(NETWORKS, move |answer| answer.truncate(length));
        segment.requests();
        let asked = || segment.requests().iter().any(|request| request.destination == adapter_mac(2)).then_some(());
        assert!(crate::lab::process::poll(crate::harness::PATIENCE, asked).is_some());
    }
    wait_for_rejected(&daemon, "malformed");
    daemon.wait_for(&rate("tx", 1, 3), bytes(301));
    daemon.wait_for(UP, 1.0);
}

#[test]
fn an_answer_that_takes_its_time_is_in_time_and_one_after_the_walk_is_never_shown() {
    let lab = lab();
    let mut model = Model::home();
    model.adapter(1).delay = Duration::from_millis(300);
    model.adapter(2).delay = Duration::from_millis(300);
    let segment = lab.powerline(model);
    let daemon = on(&lab, &["plc0"]).flags(&["-o", "homeplug.interval=8"]).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    daemon.wait_for(&rate("tx", 2, 1), bytes(97));
    // From now on its answers come in the middle between two walks.
    for adapter in &mut segment.model().adapters {
        adapter.delay = Duration::from_secs(4);
    }
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 0.0);
    let last = "gatemeter_collector_last_success_timestamp_seconds{collector=\"homeplug\"}";
    let before = daemon.metrics()[last];
    let (answers, unasked) = (daemon.metrics()["homeplug_answers_total"], daemon.metrics()[&rejected("unasked")]);
    let later = daemon.wait_until("another walk", |metrics| (metrics[last] > before).then(|| metrics.clone()));
    assert_eq!((later["homeplug_answers_total"], later[&rejected("unasked")]), (answers, unasked));
    assert_eq!(peers(&later), Vec::<String>::new());
    assert_eq!(later[&device_up(1)], 0.0);
}

/// Two networks on one wire; the first and the second adapter are in both.
fn two_networks() -> (Model, [u8; 7]) {
    let mut model = Model::home();
    let nid = [1, 2, 3, 4, 5, 6, 7];
    let members = vec![adapter_mac(2), adapter_mac(1)];
    model.networks.push(Network { nid, snid: 9, members });
    (model, nid)
}

#[test]
fn stations_of_a_second_network_are_told_as_its_own_and_one_in_both_has_a_rate_in_each() {
    let lab = lab();
    let (model, second) = two_networks();
    let _segment = lab.powerline(model);
    // A page with a series twice is an error of the harness.
    let daemon = setup(&lab).start();
    for (from, to, tx) in [(1, 2, 142), (2, 1, 97)] {
        daemon.wait_for(&rate("tx", from, to), bytes(tx));
        daemon.wait_for(&rate_in(&second, "tx", from, to), bytes(tx));
    }
    let metrics = daemon.metrics();
    assert!(!metrics.contains_key(&rate_in(&second, "tx", 1, 3)), "{metrics:#?}");
    assert_eq!(peers(&metrics), [mac(1), mac(2), mac(3)]);
}

#[test]
fn an_answer_of_another_maker_or_version_is_refused_and_counted() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    only_its_own(&mut segment.model().adapter(2).deaf_to);
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 2, 1), bytes(97));
    segment.model().adapter(2).tamper = tamper(NETWORKS, |answer| {
        let oui = if answer[14] == 0 { 17 } else { 19 };
        answer[oui..oui + 3].copy_from_slice(&[0x00, 0x1f, 0x84]);
    });
    wait_for_rejected(&daemon, "oui");
    daemon.wait_until("no rates of it", |metrics| (!metrics.contains_key(&rate("tx", 2, 1))).then_some(()));
    segment.model().adapter(2).tamper = tamper(NETWORKS, |answer| answer[14] = 5);
    wait_for_rejected(&daemon, "version");
    // The old version's answer in the clothes of the new one, and the other way round.
    segment.model().adapter(2).tamper = tamper(NETWORKS, |answer| answer[14] ^= 1);
    daemon.wait_for(UP, 1.0);
    segment.model().adapter(2).tamper = None;
    daemon.wait_for(&rate("tx", 2, 1), bytes(97));
}

#[test]
fn what_a_cut_or_overcounted_answer_holds_is_told() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    segment.model().adapter(1).tamper = tamper(NETWORKS, |answer| {
        // In the middle of the second station.
        let end = if answer[14] == 0 { 39 + 15 + 7 } else { 60 + 24 + 7 };
        answer.truncate(end);
    });
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    wait_for_rejected(&daemon, "malformed");
    assert!(!daemon.metrics().contains_key(&rate("tx", 1, 3)));
    segment.model().adapter(1).tamper = tamper(NETWORKS, |answer| {
        let count = if answer[14] == 0 { 20 + 18 } else { 28 + 26 };
        answer[count] = 200;
    });
    daemon.wait_for(&rate("tx", 1, 3), bytes(301));
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
}

#[test]
fn padding_and_impossible_addresses_are_nobody_and_are_not_asked() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7420, Chip::Qca7420]);
    model.rate(1, 2, 50);
    model.adapter(1).phantoms = vec![[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], adapter_mac(1)];
    let segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(50));
    wait_for_rejected(&daemon, "malformed");
    // One station by count, none by bytes.
    segment.model().adapter(1).phantoms.clear();
    segment.model().adapter(1).tamper = tamper(NETWORKS, |answer| {
        let (count, end) = if answer[14] == 0 { (38, 39) } else { (54, 60) };
        answer[count] = 1;
        answer[end..].fill(0);
    });
    daemon.wait_until("no peer of it", |metrics| (!metrics.contains_key(&rate("tx", 1, 2))).then_some(()));
    let listed = peers(&daemon.metrics());
    assert!(listed.iter().all(|peer| [mac(1), mac(2)].contains(peer)), "{listed:?}");
    let near = [0x00, 0xb0, 0x52, 0, 0, 1];
    let to: Vec<_> = segment.requests().into_iter().map(|request| (request.destination, request.ethertype)).collect();
    let real = |(mac, ethertype): &([u8; 6], u16)| {
        // Broadcom's discovery goes to everybody.
        *mac == near || *mac == adapter_mac(1) || *mac == adapter_mac(2) || (*mac == [0xff; 6] && *ethertype == 0x8912)
    };
    assert!(to.iter().all(real), "{to:?}");
}

#[test]
fn an_adapter_that_answers_three_times_counts_once() {
    let lab = lab();
    let mut model = Model::home();
    model.adapters.iter_mut().for_each(|adapter| adapter.times = 3);
    let _segment = lab.powerline(model);
    let daemon = setup(&lab).flags(&["-o", "homeplug.destaddr=all"]).start();
    (1..=3).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    wait_for_rejected(&daemon, "duplicate");
}

#[test]
fn scrapes_ask_no_adapter_and_wait_for_none() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = on(&lab, &["plc0"]).flags(&["-o", "homeplug.interval=3600"]).start();
    daemon.wait_for(UP, 1.0);
    let page = |daemon: &crate::harness::Daemon| daemon.page().unwrap();
    let homeplug =
        |page: &str| page.lines().filter(|line| line.starts_with("homeplug_")).map(str::to_owned).collect::<Vec<_>>();
    let first = homeplug(&page(&daemon));
    segment.requests();
    let scrape = || http::get(&lab.router, ([127, 0, 0, 1], 9999).into(), "/metrics", &[]).unwrap().text();
    std::thread::scope(|scope| {
        let scrapes: Vec<_> = (0..6).map(|_| scope.spawn(scrape)).collect();
        for scrape in scrapes {
            assert_eq!(homeplug(&scrape.join().unwrap()), first);
        }
    });
    assert_eq!(segment.requests(), []);
}

#[test]
fn a_silent_adapter_is_told_to_be_down_and_was_seen_once() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(&device_up(3), 1.0);
    daemon.wait_for(&rate("tx", 3, 1), bytes(255));
    segment.model().adapter(3).silent = true;
    daemon.wait_for(&device_up(3), 0.0);
    let metrics = daemon.metrics();
    let seen = |n| metrics[&format!("homeplug_device_last_seen_timestamp_seconds{{device_addr=\"{}\"}}", mac(n))];
    assert!(seen(3) > 0.0 && seen(3) <= seen(1), "{metrics:#?}");
    // Its own rates are gone, what others say of it is not.
    assert!(!metrics.contains_key(&rate("tx", 3, 1)));
    assert_eq!(metrics.get(&rate("tx", 1, 3)), Some(&bytes(301)));
    segment.model().adapter(3).silent = false;
    daemon.wait_for(&device_up(3), 1.0);
    daemon.wait_for(&rate("tx", 3, 1), bytes(255));
}

#[test]
fn an_adapter_that_answers_only_some_questions_is_shown_with_what_it_answers() {
    let lab = lab();
    let mut model = Model::home();
    model.adapter(1).deaf_to = vec![0xa000, 0xa030];
    let _segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    daemon.wait_until("the others' chips", |metrics| {
        let infos: Vec<_> = metrics.keys().filter(|series| series.starts_with("homeplug_device_info{")).collect();
        (infos.len() == 2 && !infos.iter().any(|series| series.contains(&mac(1)))).then_some(())
    });
}
