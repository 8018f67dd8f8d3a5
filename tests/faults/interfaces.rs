//! Interfaces that are removed, renamed and flap under every collector that uses them: it is told once, whoever uses others
//! never notices, and they are taken up again.

use super::{
    Lab, PATIENCE, Samples, expect_both, figures, let_it_flow, open_files, process, setup_of, sum, while_talking,
};
use crate::harness::Documented;
use crate::lab::powerline::Model;

const ALL: [&str; 4] = ["traffic", "clients", "probe", "homeplug"];

fn up(collector: &str) -> String {
    format!("gatemeter_collector_up{{collector=\"{collector}\"}}")
}

#[test]
fn interfaces_that_go_and_come_under_every_collector_are_told_and_taken_up_again() {
    let lab = Lab::builder().hosts(1).guest().nat().build();
    let _segment = lab.powerline(Model::home());
    let guest = &lab.guests[0];
    let (to_guest, to_internet) = (guest.v4.to_string(), lab.internet.v6.to_string());
    let targets = [format!("target.host={to_guest}"), format!("target.host={to_internet}")];
    let flags = [
        "-o",
        "probe.unlocked=1",
        "-o",
        "probe.interval=100",
        "-o",
        "probe.interface4=br-guest",
        "-o",
        "probe.timeout=500",
        "-o",
        &targets[0],
        "-o",
        &targets[1],
        "-o",
        "homeplug.interface=plc0",
        "-o",
        "homeplug.interval=1",
        "-4",
        "192.168.1.1/24/br-lan",
        "-4",
        "192.168.2.1/24/br-guest",
        "-6",
        "2001:db8:1:1::/64",
        "-6",
        "fd00:1:1::/64",
    ];
    let daemon = setup_of(&lab, &ALL.join(",")).flags(&flags).start();
    for collector in ALL {
        daemon.wait_for(&up(collector), 1.0);
    }
    let before = open_files(daemon.pid());
    let told = Documented::of("Interfaces that go and come");
    let router = |words: &str| lab.router.must(&format!("ip link {words}").split(' ').collect::<Vec<_>>());
    let rename = |from: &str, to: &str| {
        router(&format!("set {from} down"));
        router(&format!("set {from} name {to}"));
        router(&format!("set {to} up"));
    };
    // Gone by their names for long enough to be told.
    rename("br-guest", "br-other");
    rename("plc0", "plc1");
    told.by_metrics(&daemon);
    let check = daemon.setup().run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    told.by_check(&check);
    rename("br-other", "br-guest");
    rename("plc1", "plc0");
    // Then they flap, while the LAN talks on.
    let (sent, ()) = while_talking(&lab, || {
        for _ in 0..20 {
            for (name, other) in [("br-guest", "br-other"), ("plc0", "plc1")] {
                rename(name, other);
                rename(other, name);
                router(&format!("set {name} down"));
                router(&format!("set {name} up"));
            }
        }
        let_it_flow(&lab);
    });
    for collector in ALL {
        daemon.wait_for(&up(collector), 1.0);
    }
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 1.0);
    for ip in [&to_guest, &to_internet] {
        let series = format!("icmp_probe_packets_recv_total{{ip=\"{ip}\"}}");
        let now = daemon.metrics()[&series];
        daemon.wait_until("answers", |metrics: &Samples| {
            metrics.get(&series).filter(|count| **count >= now + 10.0).map(|_| ())
        });
    }
    let attached = "gatemeter_traffic_interface_attached{interface=\"br-guest\",hook=\"tcx\"}";
    daemon.wait_for(attached, 1.0);
    figures::fresh(&daemon);
    let more = figures::exchange(guest.on_v4(), lab.internet.on_v4(), (20, 300), (10, 900));
    expect_both(&daemon, sum(sent.into_iter().chain([(figures::host(guest.on_v4()), more)])));
    told.by_log(|| daemon.stderr());
    let settled = || (open_files(daemon.pid()) <= before).then_some(());
    assert!(process::poll(PATIENCE, settled).is_some(), "{before} descriptors before, {}", open_files(daemon.pid()));
}
