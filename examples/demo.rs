//! A home network on this machine, measured by the real daemon on its router: `make demo`.
//!
//! The operator's box on the WAN side is a simulated Freebox, which the daemon logs in to and reads.
//!
//! Five LAN hosts browse, call, stream, play and ping, each with a server on the internet, over IPv4 and IPv6. Every two seconds
//! tables show what the daemon's /metrics says: bytes and packets, then rates, connections and who is there, then loss and
//! latency of the paths to the provider's gateway and to the server, of whose answers one in ten is dropped. At the end
//! the traffic stops, and what each host's network card has sent and received is compared with what both collectors
//! counted for it, byte for byte. Meanwhile the live page can be opened in a browser of this machine. Then the powerline
//! network is shown, whose adapters are simulated. Ends with 0 only if all agree.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "not part of the daemon: it runs real programs and stops at the first failed assumption"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Daemon, Samples, Setup, exposition};
use lab::firewall::Firewall;
use lab::freebox::{self, Freebox};
use lab::powerline::{self, Model, Segment};
use lab::relay::Relay;
use lab::traffic::{Sent, StopOnDrop, TcpPair, UdpPair};
use lab::{Counters, Lab, Node};

/// The text file, where mezoura's users expect it.
const TEXTFILE: &str = "/tmp/prom_c";
/// Names in the router's DHCP configuration; the fifth host has none.
const NAMES: [&str; 4] = ["laptop", "phone", "tv", "console"];
/// The families with one series per host address.
const FAMILIES: [&str; 4] = [
    "node_nat_traffic_download",
    "node_nat_traffic_download_pkts",
    "node_nat_traffic_upload",
    "node_nat_traffic_upload_pkts",
];

/// What ping sends without being told otherwise.
const PING_PAYLOAD: usize = 56;
/// Length of an Ethernet header, which `traffic` counts and `clients` does not.
const ETHERNET: u64 = 14;

/// What one host does ten times a second, in bytes of payload.
struct Habit {
    /// For people.
    does: &'static str,
    /// Downloaded and uploaded over TCP; none opens no connection.
    tcp: Option<(usize, usize)>,
    /// One in so many times there is TCP; 0 is each time.
    pause: u32,
    /// Datagrams down and up and the payload of each, once over IPv4 and once over IPv6.
    udp: (usize, usize, usize),
    /// Once in a second it pings the provider over IPv4, whose answers are not lost.
    pings: bool,
}

const QUIET: Habit = Habit { does: "", tcp: None, pause: 0, udp: (0, 0, 0), pings: false };

const HABITS: [Habit; 5] = [
    Habit { does: "laptop browses", tcp: Some((90_000, 6_000)), pause: 15, udp: (1, 1, 60), ..QUIET },
    Habit { does: "phone is on a call", udp: (4, 6, 700), ..QUIET },
    Habit { does: "tv streams", tcp: Some((40_000, 0)), udp: (1, 1, 64), ..QUIET },
    Habit { does: "console plays and pings", udp: (2, 2, 120), pings: true, ..QUIET },
    Habit { does: "a thing without a name ticks", udp: (1, 1, 48), ..QUIET },
];

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let seconds = match words[..] {
        [] => Some(20),
        ["--seconds", seconds] => seconds.parse().ok().filter(|seconds| (0..=3600).contains(seconds)),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("usage: demo [--seconds 1..3600, or 0 for until Ctrl-C]");
        return ExitCode::from(2);
    };
    clean_up_when_interrupted();
    // Nothing is compared at the end of a demonstration that only Ctrl-C ends.
    let length = if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) };
    match show(length) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if INTERRUPTED.load(Ordering::Relaxed) && seconds == 0 => {
            println!("\nThe network is taken down");
            ExitCode::SUCCESS
        }
        Err(_) if INTERRUPTED.load(Ordering::Relaxed) => {
            eprintln!("\ninterrupted: the network is taken down");
            ExitCode::from(130)
        }
        Err(why) => {
            eprintln!("\ndemo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn show(length: Duration) -> Result<(), String> {
    println!(
        "Building a home network: router, 5 hosts, a server on the internet, powerline adapters, a Freebox (namespaces, nothing \
         leaves this machine)"
    );
    let lab = Lab::builder().hosts(5).try_build()?;
    // NAT, and connections of both families followed.
    let _firewall = Firewall::start(&lab);
    for node in lab.lan.iter().chain([&lab.internet]) {
        // One segment, one packet: a network card would show the same figures.
        node.set_offloads("eth0", &[("tso", false), ("gso", false), ("gro", false)]);
    }
    let powerline = lab.powerline(Model::home());
    freebox::grow(true);
    let freebox = Freebox::start(&lab.internet, freebox::Model::Fibre);
    let setup = daemon(&lab);
    lose_one_in_ten(&lab);
    register(&setup)?;
    println!("There {}", HABITS.map(|habit| habit.does).join(", "));
    println!("Starting on the router:\n  {}\n", setup.shown());
    go_on()?;
    let mut daemon = setup.start();
    // The network is not this machine's, and a browser knows nothing of namespaces.
    let door = Relay::open(&lab.router, (Ipv4Addr::LOCALHOST, 9999).into(), 9999).map_err(|e| e.to_string())?;
    let address = format!("http://localhost:{}/", door.address().port());
    println!("*** Open {address} in a browser of this machine: the live page ***\n");
    let outcome = measure(&lab, &daemon, length, &address).and_then(|()| show_powerline(&setup, &daemon, &powerline));
    // A clean stop, so that the text file goes away also after Ctrl-C.
    let status = daemon.stop();
    println!(
        "\nThe Freebox was asked {} times in {} session(s)",
        freebox.requests().len(),
        freebox.count("login/session")
    );
    if !status.success() {
        eprintln!("{}", setup.report());
        return outcome.and(Err(format!("the daemon stopped with {status}")));
    }
    outcome
}

/// The daemon with all collectors, each second.
fn daemon(lab: &Lab) -> Setup<'_> {
    let flags = ["-e", "-p", "9999", "-4", "192.168.1.1/24/br-lan", "-6", lab::LAN6, "-t", "1", "--textfile", TEXTFILE];
    let setup = Setup::new(lab).uci("dhcp", &static_leases(lab)).flags(&flags);
    let setup = setup.flags(&["--collectors", "traffic,clients,probe,homeplug,freebox"]);
    let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
    let options = [
        "homeplug.interface=plc0",
        "traffic.unknown_hosts=1",
        "clients.interval=1",
        "probe.unlocked=1",
        "probe.interval=200",
        "probe.timeout=500",
        "target.host=203.0.113.1",
        "target.name=gateway",
        "target.host=198.51.100.10",
        "target.name=server",
        "target.host=198.51.100.10",
        "target.name=web",
        "target.tcp_port=80",
        &endpoint,
        "freebox.interval=1",
        "freebox.status=all",
        "freebox.tls=off",
    ];
    options.into_iter().fold(setup, |setup, option| setup.flags(&["-o", option]))
}

/// Registers the daemon at the box, whose owner agrees at once.
fn register(setup: &Setup<'_>) -> Result<(), String> {
    let output = setup.run(&["freebox", "register"]);
    println!("gatemeter freebox register");
    print_lines(&output.stdout, usize::MAX, |_| true);
    if output.status.success() { Ok(()) } else { Err(format!("it could not be registered: {}", output.stderr)) }
}

fn measure(lab: &Lab, daemon: &Daemon, length: Duration, address: &str) -> Result<(), String> {
    for collector in ["traffic", "clients", "probe", "homeplug", "freebox"] {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
    }
    let before: Vec<Counters> = lab.lan.iter().map(|host| host.counters("eth0")).collect();
    let known = run_traffic(lab, daemon, length, address)?;
    let Settled { moved, counted, clients } = settle(lab, daemon, &before)?;
    print_pages(lab, daemon)?;
    compare(lab, &moved, &known, &counted)?;
    compare_clients(&moved, &clients)
}

/// Each host's traffic on a thread of its own, and the table on this one; returns what the hosts with nothing but
/// datagrams must have moved, by arithmetic.
fn run_traffic(
    lab: &Lab,
    daemon: &Daemon,
    length: Duration,
    address: &str,
) -> Result<Vec<Option<(Sent, Sent)>>, String> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let hosts: Vec<_> =
            lab.lan.iter().zip(&HABITS).map(|(host, habit)| scope.spawn(|| live(lab, host, habit, &stop))).collect();
        let stopping = StopOnDrop(&stop);
        let start = Instant::now();
        let outcome = loop {
            let left = length.saturating_sub(start.elapsed());
            // Who watches the page wants to find its address again.
            let every = if length == Duration::MAX { 30 } else { 2 };
            if let Err(e) = pause(left.min(Duration::from_secs(every))) {
                break Err(e);
            }
            let metrics = daemon.metrics();
            print_table(start.elapsed(), &metrics);
            print_clients(&metrics);
            print_paths(&metrics);
            print_freebox(&metrics);
            println!("  The live page: {address}\n");
            if start.elapsed() >= length {
                break Ok(());
            }
        };
        drop(stopping);
        let known = hosts.into_iter().map(|host| host.join().unwrap()).collect();
        outcome.map(|()| known)
    })
}

/// The traffic of one host until told to stop. What it says it sent has arrived.
fn live(lab: &Lab, host: &Node, habit: &Habit, stop: &AtomicBool) -> Option<(Sent, Sent)> {
    let ends = [(host.on_v4(), lab.internet.on_v4()), (host.on_v6(), lab.internet.on_v6())];
    let mut udp = ends.map(|(near, far)| UdpPair::open(near, far));
    let mut tcp = habit.tcp.map(|_| ends.map(|(near, far)| TcpPair::open(near, far)));
    let (mut down, mut up) = (Sent::default(), Sent::default());
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let (datagrams_down, datagrams_up, payload) = habit.udp;
        for pair in &mut udp {
            // Up first: NAT lets nothing in that was not asked for.
            up += pair.up(datagrams_up, payload);
            down += pair.down(datagrams_down, payload);
        }
        if let (Some(pairs), Some((bytes_down, bytes_up))) = (&mut tcp, habit.tcp)
            && times % habit.pause.max(1) == 0
        {
            for pair in pairs {
                pair.up(bytes_up);
                pair.down(bytes_down);
            }
        }
        if habit.pings && times % 10 == 0 {
            host.must(&["ping", "-n", "-q", "-c", "1", "-W", "10", &lab::GATEWAY4.to_string()]);
            // As long as a datagram: an echo message has a header of eight bytes, too.
            let each = Sent::datagrams(lab::GATEWAY4.into(), 1, PING_PAYLOAD);
            up += each;
            down += each;
        }
        times += 1;
        thread::sleep(Duration::from_millis(100));
    }
    habit.tcp.is_none().then_some((down, up))
}

/// Bytes down and up.
type Bytes = (u64, u64);

/// What each host has moved in the end, and what gatemeter says of it.
struct Settled {
    /// By its network card.
    moved: Vec<Counters>,
    /// As the traffic collector counted it.
    counted: Vec<Counters>,
    /// As the clients collector counted it.
    clients: Vec<Bytes>,
}

/// Waits for the last packets and for the daemon to have read its counters; returns what was moved since `before` and
/// what was counted, equal or not.
fn settle(lab: &Lab, daemon: &Daemon, before: &[Counters]) -> Result<Settled, String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        pause(Duration::from_millis(500))?;
        let metrics = daemon.metrics();
        let (counted, clients) = (per_host(lab, &metrics), per_client(lab, &metrics));
        let moved: Vec<_> = lab.lan.iter().zip(before).map(|(host, before)| host.counters("eth0") - *before).collect();
        let agree = counted == moved && clients.iter().zip(&moved).all(|(client, card)| *client == ip_bytes(card));
        if agree || Instant::now() >= deadline {
            return Ok(Settled { moved, counted, clients });
        }
    }
}

/// What a network card has moved, without Ethernet headers.
fn ip_bytes(card: &Counters) -> Bytes {
    (card.rx_bytes - ETHERNET * card.rx_packets, card.tx_bytes - ETHERNET * card.tx_packets)
}

/// What gatemeter counted for each host as a client, its addresses added up.
fn per_client(lab: &Lab, metrics: &Samples) -> Vec<Bytes> {
    let is = |series: &str, name, value: &str| exposition::label(series, name).as_deref() == Some(value);
    let sum = |host: &Node, direction| -> u64 {
        let addresses = [host.v4.to_string(), host.v6.to_string()];
        let of_host =
            |series: &str| addresses.iter().any(|ip| is(series, "ip", ip)) && is(series, "direction", direction);
        let bytes = metrics.iter().filter(|(series, _)| series.starts_with("client_traffic_bytes{") && of_host(series));
        bytes.map(|(_, value)| *value as u64).sum()
    };
    lab.lan.iter().map(|host| (sum(host, "rx"), sum(host, "tx"))).collect()
}

/// What gatemeter counted for each host, its addresses added up.
fn per_host(lab: &Lab, metrics: &Samples) -> Vec<Counters> {
    let sum = |family: &str, host: &Node| -> u64 {
        let rows = rows(metrics);
        let of_host = rows.iter().filter(|(key, _)| key.mac == host.mac_text());
        of_host.map(|(_, values)| values.get(family).copied().unwrap_or(0)).sum()
    };
    let host = |host: &Node| Counters {
        rx_bytes: sum(FAMILIES[0], host),
        rx_packets: sum(FAMILIES[1], host),
        tx_bytes: sum(FAMILIES[2], host),
        tx_packets: sum(FAMILIES[3], host),
        ..Counters::default()
    };
    lab.lan.iter().map(host).collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    hostname: String,
    ip: String,
    mac: String,
}

/// The traffic series by host address, values by family.
fn rows(metrics: &Samples) -> BTreeMap<Row, BTreeMap<&str, u64>> {
    let mut rows: BTreeMap<Row, BTreeMap<&str, u64>> = BTreeMap::new();
    for (series, value) in metrics {
        let family = series.split('{').next().unwrap_or(series);
        if FAMILIES.contains(&family) {
            let label = |name| exposition::label(series, name).unwrap_or_default();
            let row = Row { hostname: label("hostname"), ip: label("ip"), mac: label("mac") };
            rows.entry(row).or_default().insert(family, *value as u64);
        }
    }
    rows
}

fn print_table(elapsed: Duration, metrics: &Samples) {
    println!("after {} s", elapsed.as_secs_f32().round());
    println!(
        "  {:<12} {:<20} {:>12} {:>9} {:>12} {:>9}",
        "host", "address", "down bytes", "packets", "up bytes", "packets"
    );
    for (row, values) in rows(metrics) {
        let [down, down_packets, up, up_packets] = FAMILIES.map(|family| values.get(family).copied().unwrap_or(0));
        println!("  {:<12} {:<20} {down:>12} {down_packets:>9} {up:>12} {up_packets:>9}", row.hostname, row.ip);
    }
    println!();
}

/// The line as the box has it.
fn print_freebox(metrics: &Samples) {
    let value = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
    let bytes = |way: &str| value(&format!("freebox_connection_bytes_total{{direction=\"{way}\",media=\"ftth\"}}"));
    let warmest = metrics.iter().filter(|(series, _)| series.starts_with("freebox_system_temp_celsius{"));
    println!(
        "  Freebox: {:.0} bytes down, {:.0} up, {} dBm of light, {:.0} degrees at the warmest, {:.0} series\n",
        bytes("down"),
        bytes("up"),
        value("freebox_connection_ftth_sfp_power_dbm{direction=\"rx\"}"),
        warmest.map(|(_, degrees)| *degrees).fold(0.0, f64::max),
        metrics.keys().filter(|series| series.starts_with("freebox_")).count() as f64,
    );
}

/// The clients that move something or have a connection.
fn print_clients(metrics: &Samples) {
    println!(
        "  {:<12} {:<20} {:>12} {:>12} {:>12} {:>9}",
        "client", "address", "down kbit/s", "up kbit/s", "connections", "state"
    );
    for series in metrics.keys().filter(|series| series.starts_with("client_status{")) {
        let labels = series.trim_start_matches("client_status{");
        let value = |name: String| metrics.get(&name).copied().unwrap_or(0.0);
        let rate = |way: &str| value(format!("client_traffic_rate_bps{{direction=\"{way}\",{labels}")) / 1000.0;
        let (down, up) = (rate("rx"), rate("tx"));
        let connections = value(format!("client_active_connections{{{labels}"));
        if down + up + connections == 0.0 {
            continue;
        }
        let label = |name| exposition::label(series, name).unwrap_or_default();
        let state = if metrics[series] == 1.0 { "online" } else { "offline" };
        println!("  {:<12} {:<20} {down:>12.0} {up:>12.0} {connections:>12} {state:>9}", label("client"), label("ip"));
    }
    println!();
}

/// Has the server drop every tenth of its answers to ICMP echo.
fn lose_one_in_ten(lab: &Lab) {
    let chain = "add chain inet demo out { type filter hook output priority 0; }";
    let rule = "add rule inet demo out ip saddr 198.51.100.10 icmp type echo-reply numgen inc mod 10 0 drop";
    for words in ["add table inet demo", chain, rule] {
        lab.internet.must(&["nft", words]);
    }
}

/// The paths that are probed.
fn print_paths(metrics: &Samples) {
    println!("  {:<12} {:<20} {:>12} {:>9} {:>12} {:>9}", "path", "address", "sent", "loss", "latency us", "jitter us");
    for (prefix, info) in [("icmp_probe", "icmp_probe_target_info{"), ("tcp_probe", "tcp_probe_target_info{")] {
        for series in metrics.keys().filter(|series| series.starts_with(info)) {
            let label = |name| exposition::label(series, name).unwrap_or_default();
            let (ip, port) = (label("ip"), label("tcp_port"));
            let labels =
                if port.is_empty() { format!("ip=\"{ip}\"") } else { format!("ip=\"{ip}\",tcp_port=\"{port}\"") };
            let value = |name: &str| metrics.get(&format!("{prefix}_{name}{{{labels}}}")).copied().unwrap_or(f64::NAN);
            let (sent, loss) = (value("packets_sent_total"), value("loss_ratio") * 100.0);
            let (latency, jitter) = (value("latency_seconds") * 1e6, value("jitter_seconds") * 1e6);
            let address = if port.is_empty() { ip } else { format!("{ip} port {port}") };
            let name = label("name");
            println!("  {name:<12} {address:<20} {sent:>12} {loss:>7.1} % {latency:>12.1} {jitter:>9.1}");
        }
    }
    println!();
}

/// The two ways out, as a user sees them.
fn print_pages(lab: &Lab, daemon: &Daemon) -> Result<(), String> {
    println!("The text file: head -n 12 {TEXTFILE}");
    print_lines(&daemon.textfile()?, 12, |_| true);

    let url = format!("http://{}:9999/metrics", lab.router.v4);
    println!("\nOver HTTP, from a host of the LAN: curl -s {url} | grep -e '^{}{{' -e '^client_info'", FAMILIES[0]);
    let page = lab.host(1).must(&["curl", "-sS", "--fail", "--max-time", "10", &url]);
    let wanted = [format!("{}{{", FAMILIES[0]), "client_info".to_owned()];
    print_lines(&page, usize::MAX, |line| wanted.iter().any(|name| line.starts_with(name)));
    println!();
    Ok(())
}

fn print_lines(text: &str, count: usize, wanted: impl Fn(&str) -> bool) {
    for line in text.lines().filter(|line| wanted(line)).take(count) {
        println!("  {line}");
    }
}

/// Network cards against gatemeter, and where only datagrams were sent, arithmetic against both.
fn compare(lab: &Lab, moved: &[Counters], known: &[Option<(Sent, Sent)>], counted: &[Counters]) -> Result<(), String> {
    let mut wrong = Vec::new();
    let (mut sent, mut seen) = ((0, 0), (0, 0));
    println!("{:<13} {:>27} {:>29}", "host", "moved by its network card", "counted by gatemeter");
    for (n, host) in lab.lan.iter().enumerate() {
        let (card, gate) = (moved[n], counted[n]);
        for (way, card, gate) in [
            ("down", (card.rx_bytes, card.rx_packets), (gate.rx_bytes, gate.rx_packets)),
            ("up", (card.tx_bytes, card.tx_packets), (gate.tx_bytes, gate.tx_packets)),
        ] {
            let name = NAMES.get(n).unwrap_or(&"unnamed");
            println!("{:<8} {way:<4} {:>12} B {:>8} pkt {:>14} B {:>8} pkt", name, card.0, card.1, gate.0, gate.1);
            sent = (sent.0 + card.0, sent.1 + card.1);
            seen = (seen.0 + gate.0, seen.1 + gate.1);
            if card != gate {
                wrong.push(format!("{name} {way}"));
            }
        }
        if let Some((down, up)) = known[n] {
            let figures = [(down.l2, down.packets), (up.l2, up.packets)];
            if figures != [(card.rx_bytes, card.rx_packets), (card.tx_bytes, card.tx_packets)] {
                wrong.push(format!("{}: datagrams by arithmetic {figures:?}", host.name));
            }
        }
    }
    println!("\nsent and received: {} bytes in {} packets; gatemeter counted {} in {}", sent.0, sent.1, seen.0, seen.1);
    if wrong.is_empty() {
        println!("They agree.");
        return Ok(());
    }
    Err(format!("the counts differ: {}", wrong.join(", ")))
}

/// Network cards against what clients are said to have moved through the router: the same bytes without Ethernet headers.
fn compare_clients(moved: &[Counters], clients: &[Bytes]) -> Result<(), String> {
    let mut wrong = Vec::new();
    println!("\n{:<13} {:>31} {:>30}", "client", "moved, without Ethernet headers", "counted by gatemeter");
    for (n, (card, gate)) in moved.iter().map(ip_bytes).zip(clients).enumerate() {
        let name = NAMES.get(n).unwrap_or(&"unnamed");
        for (way, card, gate) in [("down", card.0, gate.0), ("up", card.1, gate.1)] {
            println!("{name:<8} {way:<4} {card:>29} B {gate:>28} B");
            if card != gate {
                wrong.push(format!("{name} {way}"));
            }
        }
    }
    if wrong.is_empty() {
        println!("\nThey agree, too.");
        return Ok(());
    }
    Err(format!("the bytes of clients differ: {}", wrong.join(", ")))
}

/// The powerline network as its command prints it, and what the daemon says of its links against what they are.
fn show_powerline(setup: &Setup, daemon: &Daemon, powerline: &Segment) -> Result<(), String> {
    println!("\nThe powerline on plc0 (simulated adapters): gatemeter -o homeplug.interface=plc0 homeplug");
    let output = setup.run(&["homeplug"]);
    if !output.status.success() {
        return Err(format!("gatemeter homeplug: {}", output.stderr));
    }
    print_lines(&output.stdout, usize::MAX, |_| true);
    for ((from, to), rate) in powerline.model().rates.clone() {
        let (from, to, nid) = (powerline::text(&from), powerline::text(&to), powerline::text(&powerline::NID));
        let series = format!(
            "homeplug_link_phy_rate_bytes_per_second{{device_addr=\"{from}\",nid=\"{nid}\",peer_addr=\"{to}\",direction=\"tx\"}}"
        );
        daemon.wait_for(&series, f64::from(rate) * 125_000.0);
    }
    println!("The daemon's rates are those of the adapters.");
    Ok(())
}

/// The router's static leases, as OpenWrt keeps them in /etc/config/dhcp.
fn static_leases(lab: &Lab) -> String {
    let host = |(name, node): (&&str, &Node)| {
        format!(
            "config host\n\toption name '{name}'\n\toption mac '{}'\n\toption ip '{}'\n\n",
            node.mac_text().to_lowercase(),
            node.v4
        )
    };
    NAMES.iter().zip(&lab.lan).map(host).collect()
}

/// Sleeps, in steps short enough for Ctrl-C to feel immediate.
fn pause(length: Duration) -> Result<(), String> {
    let until = Instant::now() + length;
    while Instant::now() < until {
        go_on()?;
        thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
    }
    go_on()
}

fn go_on() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
}

fn clean_up_when_interrupted() {
    extern "C" fn note(_signal: i32) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(i32) = note;
        // SAFETY: the handler stores to an atomic and does nothing else, which any moment allows.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}
