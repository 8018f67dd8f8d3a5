//! Everything that a home can have to measure, in the virtual home network: a crowd of clients, targets beyond the WAN,
//! powerline adapters and a Freebox, and the configuration that turns all five collectors on.
//!
//! A crate that uses this declares `mod lab;` and `mod harness;` beside it.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by benchmarks that each use a part of it")]

use std::fs;
use std::net::Ipv4Addr;

use crate::harness::Setup;
use crate::lab::crowd::Crowd;
use crate::lab::freebox::{self, Freebox};
use crate::lab::powerline::{Chip, Model, Segment};
use crate::lab::{GATEWAY4, Lab};

pub const COLLECTORS: [&str; 5] = ["traffic", "clients", "probe", "homeplug", "freebox"];

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub clients: u16,
    pub targets: u32,
    pub adapters: u8,
}

/// All of it at work; it goes away with this.
pub struct Whole<'a> {
    lab: &'a Lab,
    pub crowd: Crowd<'a>,
    pub powerline: Segment,
    pub freebox: Freebox,
    pub targets: Vec<Ipv4Addr>,
}

impl<'a> Whole<'a> {
    /// Plugs it all in; the clients live on the first host.
    pub fn start(lab: &'a Lab, size: Size) -> Self {
        let crowd = lab.crowd(lab.host(1), size.clients);
        fs::write(lab.dir().join("leases"), crowd.leases()).unwrap();
        freebox::grow(true);
        Whole {
            lab,
            crowd,
            powerline: lab.powerline(network(Chip::Qca7420, size.adapters)),
            freebox: Freebox::start(&lab.internet, freebox::Model::Fibre),
            targets: targets(lab, size.targets),
        }
    }

    /// The network it is plugged into.
    pub fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// A set-up with all five collectors, and these lines more in the prober's section. The box knows it already.
    pub fn setup(&self, probe: &str) -> Setup<'a> {
        let targets: String = self.targets.iter().map(|ip| format!("config target\n\toption host {ip}\n")).collect();
        let text = format!(
            "config gatemeter main\n\toption http 1\n\toption interval 5\n\
             config traffic traffic\n\toption unknown_hosts 1\n\
             config clients clients\n\toption interval 2\n\toption leases {}\n\
             config probe probe\n\toption max_targets {}\n{probe}\
             config homeplug homeplug\n\toption enabled 1\n\toption interface plc0\n\
             config freebox freebox\n\toption enabled 1\n\toption endpoint {}\n\toption tls off\n\toption status all\n\
             {targets}",
            self.lab.dir().join("leases").display(),
            self.targets.len().max(1),
            self.freebox.address().ip(),
        );
        let setup = Setup::new(self.lab).uci("gatemeter", &text).flags(&["-e"]);
        assert!(setup.run(&["freebox", "register"]).status.success(), "the box could not be registered with");
        setup
    }
}

/// One powerline network of so many adapters, each of which hears each other one.
pub fn network(chip: Chip, adapters: u8) -> Model {
    let mut model = Model::network(&vec![chip; usize::from(adapters)]);
    for from in 1..=adapters {
        for to in (1..=adapters).filter(|to| *to != from) {
            model.rate(from, to, 50 + u16::from(from) + u16::from(to));
        }
    }
    model
}

/// So many addresses at the far end of the WAN.
pub fn targets(lab: &Lab, count: u32) -> Vec<Ipv4Addr> {
    lab.internet.must(&["ip", "route", "add", "local", "10.88.0.0/16", "dev", "lo"]);
    lab.router.must(&["ip", "route", "add", "10.88.0.0/16", "via", &GATEWAY4.to_string()]);
    let first = u32::from(Ipv4Addr::new(10, 88, 0, 1));
    (0..count).map(|n| Ipv4Addr::from(first + n)).collect()
}
