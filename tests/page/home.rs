//! A home to look at: devices that talk to the internet, paths, a powerline network, and the operator's box.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Daemon, Setup};
use crate::lab::firewall::Firewall;
use crate::lab::freebox::{self, Freebox};
use crate::lab::powerline::{Model, Segment};
use crate::lab::responder::{Responder, Rule};
use crate::lab::traffic::TcpPair;
use crate::lab::{Lab, Node};

/// The page as a host of the LAN opens it.
pub const URL: &str = "http://192.168.1.1:9999/";

/// Names of the hosts in the router's DHCP configuration.
const NAMES: [&str; 7] = ["laptop", "phone", "living-room-tv", "nas", "printer", "tablet", "thermostat"];

/// What keeps a home alive that has all collectors.
pub struct Home<'a> {
    _firewall: Firewall<'a>,
    _powerline: Segment,
    _freebox: Freebox,
    _far: Responder,
}

impl<'a> Home<'a> {
    /// Puts everything up around a lab of seven hosts.
    pub fn new(lab: &'a Lab) -> Self {
        let firewall = Firewall::start(lab);
        let mut model = Model::home();
        // The television is behind the second adapter, the server behind the third.
        model.adapters[1].bridged = Some(lab.host(3).mac);
        model.adapters[2].bridged = Some(lab.host(4).mac);
        let powerline = lab.powerline(model);
        freebox::grow(true);
        let freebox = Freebox::start(&lab.internet, freebox::Model::Fibre);
        let far = Responder::start(&lab.router);
        for (n, ms, spread) in [(1, 2, 400), (2, 11, 1900), (3, 17, 2400)] {
            let rule = Rule::new().delay(Duration::from_millis(ms)).jitter(Duration::from_micros(spread), n.into());
            far.rule(Ipv4Addr::new(198, 18, 0, n), rule);
        }
        Home { _firewall: firewall, _powerline: powerline, _freebox: freebox, _far: far }
    }

    /// A set-up with all collectors, registered at the box.
    pub fn setup(lab: &'a Lab) -> Setup<'a> {
        let setup = basic(lab).uci("dhcp", &leases(lab)).flags(&[
            "--collectors",
            "traffic,clients,probe,homeplug,freebox",
            "-o",
            "homeplug.interface=plc0",
            "-o",
            "target.host=198.18.0.1",
            "-o",
            "target.name=provider",
            "-o",
            "target.host=198.18.0.2",
            "-o",
            "target.name=name server",
            "-o",
            "target.host=198.18.0.3",
            "-o",
            "target.name=work",
            "-o",
            "target.tcp_port=443",
            "-o",
            "freebox.endpoint=198.51.100.10",
            "-o",
            "freebox.status=sys",
            "-o",
            "freebox.interval=2",
            "-o",
            "freebox.tls=off",
        ]);
        let registered = setup.run(&["freebox", "register"]);
        assert!(registered.status.success(), "{registered:?}");
        setup
    }
}

/// A set-up that serves HTTP and probes often.
pub fn basic(lab: &Lab) -> Setup<'_> {
    Setup::new(lab).flags(&[
        "-e",
        "-4",
        "192.168.1.1/24/br-lan",
        "-6",
        crate::lab::LAN6,
        "-t",
        "1",
        "-o",
        "clients.interval=1",
        "-o",
        "probe.unlocked=1",
        "-o",
        "probe.interval=200",
        "-o",
        "probe.timeout=500",
    ])
}

/// The router's static leases for all hosts that have a name.
fn leases(lab: &Lab) -> String {
    NAMES.iter().zip(&lab.lan).map(|(name, node)| lease(name, node)).collect()
}

/// A static lease as OpenWrt keeps it in /etc/config/dhcp.
pub fn lease(name: &str, node: &Node) -> String {
    let mac = node.mac_text().to_lowercase();
    format!("config host\n\toption name '{name}'\n\toption mac '{mac}'\n\toption ip '{}'\n\n", node.v4)
}

/// Has the hosts use the line, each in its way, until told to stop.
pub fn live(lab: &Lab, stop: &AtomicBool) {
    // kB in a tenth of a second, down and up, at most; and over how many seconds the rate swings.
    let habits = [(520.0, 40.0, 23.0), (110.0, 35.0, 9.0), (300.0, 4.0, 41.0), (15.0, 170.0, 31.0), (0.6, 0.4, 5.0)];
    std::thread::scope(|scope| {
        for (host, habit) in lab.lan.iter().zip(habits) {
            scope.spawn(move || use_line(lab, host, habit, stop));
        }
    });
}

fn use_line(lab: &Lab, host: &Node, (down, up, period): (f64, f64, f64), stop: &AtomicBool) {
    let mut pairs = [(host.on_v4(), lab.internet.on_v4()), (host.on_v6(), lab.internet.on_v6())]
        .map(|(near, far)| TcpPair::open(near, far));
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let phase = begun.elapsed().as_secs_f64() / period * std::f64::consts::TAU;
        let swing = |shift: f64| (0.55 + 0.45 * (phase + shift).sin()) * (0.8 + 0.2 * (phase * 3.7 + shift).cos());
        for (pair, share) in pairs.iter_mut().zip([0.3, 0.7]) {
            pair.up((up * share * 1000.0 * swing(1.0)) as usize + 60);
            pair.down((down * share * 1000.0 * swing(0.0)) as usize + 60);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until all collectors of a home are up.
pub fn is_up(daemon: &Daemon) {
    for collector in ["traffic", "clients", "probe", "homeplug", "freebox"] {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
    }
}
