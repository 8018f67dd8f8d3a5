//! A home with everything that gatemeter measures, and what can go wrong there.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup};
use crate::lab::freebox::{self, Fault, Freebox};
use crate::lab::process::Background;
use crate::lab::responder::Rule;
use crate::lab::traffic::UdpPair;
use crate::lab::{GATEWAY4, Lab, Node};

/// The router's daemon, one that reads another box, and node_exporter on the latter's text files.
pub const ROUTER: &str = "127.0.0.1:9999";
pub const OTHER: &str = "127.0.0.1:9998";
pub const FILES: &str = "127.0.0.1:9101";

/// Targets behind the responder.
pub const FAR: [u8; 4] = [198, 18, 0, 1];
pub const FARTHER: [u8; 4] = [198, 18, 0, 2];

/// Bits per second that the line carries, says the box.
const LINE: u64 = 1_600_000;
/// Datagrams with which one host fills that, ten times a second.
const SURGE: (usize, usize) = (32, 1400);
/// Nobody answers there.
const NOWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 77), 9);

/// The daemon on the router, with all collectors.
pub fn router<'a>(lab: &'a Lab, freebox: &Freebox) -> Setup<'a> {
    let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
    let options = [
        "traffic.unknown_hosts=1",
        // Room for the hosts there are.
        "traffic.max_hosts=4",
        "clients.interval=1",
        "probe.unlocked=1",
        "probe.interval=200",
        "probe.timeout=500",
        "probe.histogram=1",
        "target.host=203.0.113.1",
        "target.name=gateway",
        "target.host=198.51.100.10",
        "target.name=server",
        // One address under two names, as happens.
        "target.host=198.51.100.10",
        "target.name=again",
        "target.host=198.18.0.1",
        "target.name=far",
        "target.host=198.18.0.2",
        "target.name=farther",
        "target.host=198.18.0.3",
        "target.name=web",
        "target.tcp_port=443",
        "homeplug.interface=plc0",
        "homeplug.interval=1",
        "freebox.interval=1",
        "freebox.status=all",
        "freebox.tls=off",
        &endpoint,
    ];
    let mut setup = Setup::new(lab).uci("dhcp", &names(lab)).flags(&["-e", "-t", "1", "-4", "192.168.1.1/24/br-lan"]);
    setup = setup.flags(&["-6", crate::lab::LAN6, "--collectors", "traffic,clients,probe,homeplug,freebox"]);
    for option in options {
        setup = setup.flags(&["-o", option]);
    }
    register(&setup, freebox);
    setup
}

/// A daemon that reads a box at the provider's gateway and nothing else; text files go to `parts` in its directory.
pub fn other<'a>(lab: &'a Lab, freebox: &Freebox) -> Setup<'a> {
    let setup = Setup::new(lab);
    let parts = setup.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let (endpoint, parts) = (format!("freebox.endpoint={GATEWAY4}"), parts.display().to_string());
    let setup = setup.flags(&["-e", "-p", "9998", "-t", "1", "--collectors", "freebox", "--textfile-dir", &parts]);
    let setup = setup.flags(&[
        "-o",
        &endpoint,
        "-o",
        "freebox.interval=1",
        "-o",
        "freebox.status=all",
        "-o",
        "freebox.tls=off",
    ]);
    register(&setup, freebox);
    setup
}

/// What reads the text files of `daemon`.
pub fn node_exporter(lab: &Lab, daemon: &Daemon) -> Background {
    let directory = format!("--collector.textfile.directory={}", daemon.setup().dir().join("parts").display());
    let listen = format!("--web.listen-address={FILES}");
    let words =
        ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile", &directory, &listen];
    lab.router.start(&words, &lab.dir().join("node_exporter.log"))
}

/// Some traffic of one host until told to stop; with `surge` more than the line is said to carry.
pub fn live(lab: &Lab, host: &Node, surge: &AtomicBool, stop: &AtomicBool) {
    let ends = [(host.on_v4(), lab.internet.on_v4()), (host.on_v6(), lab.internet.on_v6())];
    let mut pairs = ends.map(|(near, far)| UdpPair::open(near, far));
    let into_the_void = host.udp_socket(host.v4, 0);
    while !stop.load(Ordering::Relaxed) {
        for pair in &mut pairs {
            pair.up(1, 60);
            pair.down(2, 200);
        }
        if surge.load(Ordering::Relaxed) {
            pairs[0].down(SURGE.0, SURGE.1);
        }
        // It is refused or not; what counts is that nothing answers.
        let _ = into_the_void.send_to(&[0], NOWHERE);
        thread::sleep(Duration::from_millis(100));
    }
}

/// A device that nobody has seen before, plugged in behind a host; it goes away with it. It pings the internet all the time.
pub struct Newcomer<'a> {
    host: &'a Node,
    _ping: Background,
}

impl<'a> Newcomer<'a> {
    pub fn plug_in(lab: &Lab, host: &'a Node) -> Self {
        // Each of the two answers for its own address only.
        host.sysctl("ipv4/conf/all/arp_ignore", "1");
        let link = "ip link add new0 link eth0 address 02:1a:00:00:77:77 type macvlan mode bridge";
        for words in [
            link,
            "ip addr add 192.168.1.77/24 dev new0",
            "ip link set new0 up",
            "ip route add default via 192.168.1.1 dev new0 metric 500",
        ] {
            host.must(&words.split(' ').collect::<Vec<_>>());
        }
        let ping = ["ping", "-n", "-q", "-i", "0.2", "-I", "new0", "198.51.100.10"];
        Self { host, _ping: host.start(&ping, &lab.dir().join("ping.log")) }
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.host.run(&["ip", "link", "del", "new0"]);
    }
}

/// Has the server drop every fourth of its answers to ICMP echo, or none any more.
pub fn lose_one_in_four(lab: &Lab, on: bool) {
    let chain = "add chain inet boards out { type filter hook output priority 0; }";
    let rule = "add rule inet boards out ip saddr 198.51.100.10 icmp type echo-reply numgen inc mod 4 0 drop";
    let commands = if on { &["add table inet boards", chain, rule][..] } else { &["delete table inet boards"][..] };
    for words in commands {
        lab.internet.must(&["nft", words]);
    }
}

/// How far away `FAR` is, in milliseconds.
pub fn distance(milliseconds: u64) -> Rule {
    Rule::new().delay(Duration::from_millis(milliseconds))
}

/// The box says that its line is slow enough to be filled here.
pub fn slow_line(freebox: &Freebox) {
    answer(freebox, "ftth-v8", "connection", |result| result["bandwidth_down"] = json!(LINE));
}

/// The box sees little light.
pub fn low_light(freebox: &Freebox) {
    answer(freebox, "ftth-v8", "connection/ftth", |result| result["sfp_pwr_rx"] = json!(-2710));
}

/// The DSL line was synchronised a moment ago.
pub fn resynchronised(freebox: &Freebox) {
    answer(freebox, "xdsl-v5", "connection/xdsl", |result| result["status"]["uptime"] = json!(7));
}

/// The box has no connection.
pub fn no_connection(freebox: &Freebox) {
    freebox.fault("connection", Fault::Edge("connection.down"));
}

/// Another answer than the box's own.
fn answer(freebox: &Freebox, model: &str, path: &str, change: impl FnOnce(&mut Value)) {
    let file = freebox::fixtures().join(model).join(format!("{}.json", path.replace('/', "_")));
    let mut told: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    change(&mut told["result"]);
    freebox.fault(path, Fault::Body(200, told.to_string()));
}

fn register(setup: &Setup<'_>, freebox: &Freebox) {
    let path = setup.dir().join("state/freebox.json");
    fs::write(&path, freebox.credentials()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Names of the hosts but for the last.
fn names(lab: &Lab) -> String {
    let name = |(name, node): (&&str, &Node)| {
        format!("config host\n\toption name '{name}'\n\toption mac '{}'\n", node.mac_text().to_lowercase())
    };
    ["laptop", "phone", "tv"].iter().zip(&lab.lan).map(name).collect()
}
