//! What is exported of a network in order.

use std::process::Command;

use crate::common::{UP, bytes, device_up, lab, mac, on, rate, setup};
use crate::golden::equals_golden;
use crate::lab::powerline::{LOCAL, Model, Request, Segment};
use crate::lab::process;

/// What the daemon says of itself and of time, which differs from run to run.
fn lasting(page: &str) -> String {
    let differs = |line: &&str| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        name.starts_with("gatemeter_") || name.starts_with("homeplug_device_last_seen")
    };
    page.lines().filter(|line| !differs(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_adapter_tells_its_networks_and_rates_of_sixteen_bits() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    for (n, role) in [(1, "CCO"), (2, "STA"), (3, "STA")] {
        let series = format!(
            "homeplug_network_info{{device_addr=\"{}\",nid=\"52:de:ad:be:ef:00:01\",snid=\"6\",tei=\"{n}\",role=\"{role}\",\
             cco_addr=\"{}\",cco_tei=\"1\"}}",
            mac(n),
            mac(1)
        );
        daemon.wait_for(&series, 1.0);
    }
    for (from, to, tx, rx) in [(1, 2, 142, 97), (2, 1, 97, 142), (1, 3, 301, 255), (3, 1, 255, 301), (2, 3, 77, 81)] {
        daemon.wait_for(&rate("tx", from, to), bytes(tx));
        daemon.wait_for(&rate("rx", from, to), bytes(rx));
    }
    let phy_rate = format!(
        "homeplug_link_phy_rate_bytes_per_second{{device_addr=\"{}\",nid=\"52:de:ad:be:ef:00:01\",peer_addr=\"{}\",direction=\"tx\"}}",
        mac(1),
        mac(3)
    );
    daemon.wait_for(&phy_rate, 301e6 / 8.0);
    segment.model().rate(1, 3, 1201);
    daemon.wait_for(&phy_rate, 1201e6 / 8.0);
    assert_eq!(segment.model().harmful, []);
}

#[test]
fn a_page_is_as_it_was_and_promtool_reads_it() {
    let lab = lab();
    lab.powerline_cable(lab.host(1), "plc0");
    // On a machine without a moment to spare an answer may come too late; new adapters then begin to count again.
    let whole = || {
        let _segment = Segment::start(lab.host(1), "plc0", Model::home());
        let output = setup(&lab).run(&["once", "homeplug"]);
        assert!(output.status.success(), "{output:?}");
        output.stdout.contains("homeplug_answers_total 13\n").then_some(output.stdout)
    };
    let page = process::poll(process::LIMIT, whole).expect("never are all answers there in time");
    equals_golden("homeplug.prom", &lasting(&page));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let output = process::run(promtool, &page, process::LIMIT).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn only_networks_are_asked_for_unless_more_is_wanted() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).flags(&["-o", "homeplug.extended=0"]).start();
    daemon.wait_for(&rate("tx", 3, 2), bytes(81));
    let metrics = daemon.metrics();
    for family in ["homeplug_device_info", "homeplug_station_info", "homeplug_link_", "homeplug_device_uptime"] {
        assert!(!metrics.keys().any(|series| series.starts_with(family)), "{family} in {metrics:#?}");
    }
    let others: Vec<Request> = segment.requests().into_iter().filter(|request| request.kind != 0xa038).collect();
    assert_eq!(others, []);
}

#[test]
fn the_near_adapter_is_asked_at_the_address_for_it_and_each_other_one_at_its_own() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    // One walk.
    let daemon = on(&lab, &["plc0"]).flags(&["-o", "homeplug.interval=3600", "-o", "homeplug.extended=0"]).start();
    daemon.wait_for(UP, 1.0);
    let requests = segment.requests();
    let new = |request: &&Request| request.version == 1;
    let asked: Vec<_> = requests.iter().filter(new).map(|request| (request.destination[5], request.length)).collect();
    assert_eq!(asked, [(LOCAL[5], 60), (2, 60), (3, 60)], "{requests:?}");
    assert!(requests.iter().all(|request| request.source == requests[0].source));
    let series = ["homeplug_requests_total", "homeplug_answers_total"].map(|name| daemon.metrics()[name]);
    assert_eq!(series[0], requests.len() as f64);
    assert!(series[1] >= 3.0);
}

#[test]
fn everybody_can_be_asked_at_once_or_one_alone() {
    let lab = lab();
    let mut model = Model::home();
    model.adapter(1).local = false;
    let segment = lab.powerline(model);
    for destination in ["all", "broadcast", &mac(2)] {
        let daemon = setup(&lab).flags(&["-o", &format!("homeplug.destaddr={destination}")]).start();
        (1..=3).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
    }
    // Nobody is near.
    let daemon = setup(&lab).start();
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 0.0);
    daemon.wait_for(UP, 1.0);
    segment.model().adapter(3).local = true;
    (1..=3).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
}
