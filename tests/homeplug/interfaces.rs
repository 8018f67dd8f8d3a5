//! Interfaces as routers have them: bridges and their ports, several at once, ones that come and go or carry no Ethernet.

use crate::common::{UP, bytes, device_up, lab, on, rate, setup};
use crate::harness::Setup;
use crate::lab::powerline::{Chip, Model, Segment, adapter_mac};

/// Whether anybody answers on an interface.
fn up(ifname: &str) -> String {
    format!("homeplug_up{{interface=\"{ifname}\"}}")
}

#[test]
fn adapters_behind_a_bridge_are_heard_on_the_bridge_and_on_its_port() {
    let lab = lab();
    let _segment = Segment::start(lab.host(1), "eth0", Model::home());
    for ifname in ["br-lan", "lan1"] {
        let daemon = on(&lab, &[ifname]).start();
        daemon.wait_for(&rate("tx", 1, 2), bytes(142));
        daemon.wait_for(&rate("tx", 3, 1), bytes(255));
        daemon.wait_for(&up(ifname), 1.0);
    }
}

#[test]
fn several_interfaces_are_walked_together_and_an_adapter_on_two_of_them_is_one() {
    let lab = lab();
    let _first = lab.powerline(Model::home());
    let mut other = Model::network(&[Chip::Qca7420, Chip::Qca7420]);
    for adapter in &mut other.adapters {
        adapter.mac = adapter_mac(adapter.mac[5] + 10);
    }
    other.networks[0].members.iter_mut().for_each(|mac| *mac = adapter_mac(mac[5] + 10));
    other.rate(11, 12, 33);
    let _second = Segment::start(lab.host(1), "eth0", other);
    // Bridge and port are the same wire.
    let daemon = on(&lab, &["plc0", "br-lan", "lan1"]).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    daemon.wait_for(&rate("tx", 11, 12), bytes(33));
    daemon.wait_for(&up("plc0"), 1.0);
    let metrics = daemon.metrics();
    let devices = metrics.keys().filter(|series| series.starts_with("homeplug_device_up{")).count();
    assert_eq!(devices, 5, "{metrics:#?}");
}

#[test]
fn an_interface_that_is_missing_costs_no_other_its_figures() {
    let lab = lab();
    let _segment = lab.powerline(Model::home());
    let daemon = on(&lab, &["plc0", "plc7"]).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    daemon.wait_for(&up("plc0"), 1.0);
    daemon.wait_for(&up("plc7"), 0.0);
    daemon.wait_for(UP, 1.0);
    let requests = daemon.metrics()["homeplug_requests_total"];
    daemon.wait_until("more walks", |metrics| (metrics["homeplug_requests_total"] > requests + 30.0).then_some(()));
    let said = daemon.stderr();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("plc7")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("there is no such interface; this system has ") && lines[0].contains("plc0"), "{said}");
    // It comes, without a restart.
    lab.powerline_cable(lab.host(1), "plc7");
    let _segment = Segment::start(lab.host(1), "plc7", {
        let mut model = Model::network(&[Chip::Qca7420]);
        model.adapters[0].mac = adapter_mac(77);
        model.networks[0].members = vec![adapter_mac(77)];
        model
    });
    daemon.wait_for(&up("plc7"), 1.0);
    daemon.wait_for(&device_up(77), 1.0);
    assert!(daemon.stderr().contains("plc7 works again"), "{}", daemon.stderr());
}

#[test]
fn an_interface_that_goes_down_or_is_made_anew_is_followed() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(&device_up(1), 1.0);
    lab.router.must(&["ip", "link", "set", "plc0", "down"]);
    daemon.wait_for(UP, 0.0);
    lab.router.must(&["ip", "link", "set", "plc0", "up"]);
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(&device_up(3), 1.0);
    // Another address, while it runs.
    lab.router.must(&["ip", "link", "set", "plc0", "address", "02:1a:00:00:77:01"]);
    segment.requests();
    let asks = || segment.requests().iter().any(|request| request.source == [2, 0x1a, 0, 0, 0x77, 1]).then_some(());
    assert!(crate::lab::process::poll(crate::harness::PATIENCE, asks).is_some(), "the old address is still used");
    drop(segment);
    lab.router.must(&["ip", "link", "del", "plc0"]);
    daemon.wait_for(UP, 0.0);
    // A walk that was under way tells that it went down, the next one that it is gone.
    let told = || daemon.stderr().contains("there is no such interface").then_some(());
    assert!(crate::lab::process::poll(crate::harness::PATIENCE, told).is_some(), "{}", daemon.stderr());
    let _segment = lab.powerline(Model::home());
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(&device_up(3), 1.0);
    let said = daemon.stderr();
    assert!(said.contains("the interface is down; ip link set plc0 up"), "{said}");
}

#[test]
fn an_interface_without_ethernet_is_refused_with_what_to_name_instead() {
    let lab = lab();
    lab.router.must(&["ip", "tuntap", "add", "dev", "tun9", "mode", "tun"]);
    for ifname in ["tun9", "lo"] {
        for words in [&["once", "homeplug"][..], &["homeplug"], &["check"]] {
            let output = on(&lab, &[ifname]).run(words);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let said = output.stderr + &output.stdout;
            assert!(said.contains(&format!("on {ifname}: it carries no Ethernet frames")), "{said}");
            assert!(said.contains("-o homeplug.interface="), "{said}");
        }
    }
    lab.router.must(&["ip", "link", "del", "tun9"]);
}

#[test]
fn without_a_name_the_first_ethernet_interface_that_is_up_is_asked_on() {
    let lab = lab();
    let setup = Setup::new(&lab).flags(&["-e", "-t", "1", "--collectors", "homeplug", "-o", "homeplug.interval=1"]);
    // Interfaces of the router by index: lo, then br-lan.
    let _segment = Segment::start(lab.host(1), "eth0", Model::home());
    let daemon = setup.start();
    daemon.wait_for(&up("br-lan"), 1.0);
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
}
