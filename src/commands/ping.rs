//! `gatemeter ping`: the engine of the prober for a person at a terminal, printed as ping(8) does, with whose timestamps
//! measured each round trip.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use smol::future::FutureExt as _;

use super::{print, print_while_read};
use crate::cli::{Args, Ping};
use crate::collectors::SECTIONS;
use crate::collectors::probe::ROW;
use crate::collectors::probe::desk::Desk;
use crate::collectors::probe::engine::Engine;
use crate::collectors::probe::gateway;
use crate::collectors::probe::intake::News;
use crate::collectors::probe::paths::Paths;
use crate::collectors::probe::settings::{Host, Manner, Settings, Wanted, port};
use crate::collectors::probe::table::{Entry, Key, Port};
use crate::collectors::probe::target::{Clock, Heard};
use crate::config::Config;
use crate::config::daemon;
use crate::error::{Error, Result};
use crate::names::find;
use crate::names::lookup::{Families, Lookup, Sources};
use crate::sys::{alarm, caps, signals};

/// Time between two probes of a target.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(20);

/// A target while it is probed.
struct Line {
    key: Key,
    /// As it was asked for.
    host: String,
    least: Option<Duration>,
    most: Duration,
    clock: Option<Clock>,
}

/// Probes until so many probes are through or a signal asks to stop; false if some target never answered.
///
/// # Errors
/// A target that is none or has no address, or without CAP_NET_RAW.
pub fn ping(args: &Args, ping: &Ping) -> Result<bool> {
    let config = Config::load(args, SECTIONS)?;
    let main = daemon::Settings::read(&config)?;
    super::log_for(args, &main);
    let mut settings = Settings::read(&config)?;
    let port = ping.tcp.as_deref().map(port).transpose().map_err(|problem| Error::invalid("--tcp", problem))?;
    let count =
        match ping.count.as_deref() {
            None => None,
            Some(text) => Some(text.parse::<u64>().ok().filter(|count| *count > 0).ok_or_else(|| {
                Error::invalid("-n", format!("'{text}' is not a number of probes, expected 1 or more"))
            })?),
        };
    let hosts: Vec<Host> = ping
        .targets
        .iter()
        .map(|text| Host::parse(text).map_err(|problem| Error::invalid("ping", problem)))
        .collect::<Result<_>>()?;
    if hosts.is_empty() {
        return Err(Error::invalid("ping", "nobody to ping, expected addresses or host names"));
    }
    let signals = signals::open().map_err(|source| Error::io("receive signals", source))?;
    caps::reduce((ROW.capabilities)(&config)).map_err(|source| Error::io("give up capabilities", source))?;
    settings.manner = Manner { interval: INTERVAL, ..settings.manner };
    settings.max_targets = settings.max_targets.max(hosts.len());
    alarm::block_on(async {
        let signals = Async::new_nonblocking(signals).map_err(|source| Error::io("wait for signals", source))?;
        let stopped = async {
            let _ = signals.read_with(signals::read).await;
            Ok(None)
        };
        let found = targets(&hosts, &settings, port);
        match async { found.await.map(Some) }.or(stopped).await? {
            Some(lines) => run(settings, lines, count, &signals).await,
            None => Ok(false),
        }
    })
}

/// Finds an address for each host.
async fn targets(hosts: &[Host], settings: &Settings, port: Port) -> Result<Vec<Line>> {
    let mut paths = Paths::open().await?;
    let mut lookup = Lookup::new(Sources { servers: settings.dns_servers.clone(), ..Sources::default() });
    let mut lines: Vec<Line> = Vec::new();
    for host in hosts {
        let ip = match host {
            Host::Address(ip) => *ip,
            Host::Name(name) if gateway::is_meant(name) => {
                let gateways = paths.gateways(settings);
                let found = gateways.of(settings.families(Families::Both)).next();
                found.ok_or_else(|| Error::failed("ping gateway", gateways.to_string()))?.ip
            }
            Host::Name(name) => {
                let families = settings.families(Families::Both);
                let addrs = find::addresses(&mut lookup, name, families).await?;
                // The first one that there is a way to, if there is a way to any.
                let is_near = |ip: &&IpAddr| paths.find(**ip, settings.via(ip), None).is_ok();
                let found = addrs.iter().find(is_near).or(addrs.first()).copied();
                found.ok_or_else(|| Error::failed(format!("ping {name}"), "it has no address"))?
            }
        };
        let key = Key { ip, port };
        if !lines.iter().any(|line| line.key == key) {
            lines.push(Line { key, host: host.to_string(), least: None, most: Duration::ZERO, clock: None });
        }
    }
    Ok(lines)
}

async fn run(
    mut settings: Settings,
    lines: Vec<Line>,
    count: Option<u64>,
    signals: &Async<std::os::fd::OwnedFd>,
) -> Result<bool> {
    settings.targets = lines.iter().map(|line| wanted(line, &settings)).collect();
    let desk = Desk::new(settings.clone(), Instant::now());
    let mut engine = Engine::open(&settings).await?;
    desk.state().follow(engine.paths().gateways(&settings), Instant::now());
    for line in &lines {
        let (ip, size) = (line.key.ip, settings.manner.size);
        print(&match line.key.port {
            None => format!("PING {} ({ip}): {size} bytes of data\n", line.host),
            Some(port) => format!("PING {} ({ip}) TCP port {port}\n", line.host),
        })?;
    }
    let lines = Rc::new(RefCell::new(lines));
    let printer = lines.clone();
    // Set once nothing more can be printed, or nobody reads it.
    let printed = Rc::new(RefCell::new(None));
    let end = printed.clone();
    engine.listen(Box::new(move |entry, sequence, news| {
        let text = line(&mut printer.borrow_mut(), entry, sequence, news);
        match print_while_read(&text) {
            Ok(true) => {}
            other => _ = end.borrow_mut().get_or_insert(other.map(drop)),
        }
    }));
    let done = async {
        loop {
            Timer::after(LOOK).await;
            if let Some(outcome) = printed.borrow_mut().take() {
                return outcome;
            }
            if count.is_some_and(|count| desk.state().table.finish(count, Instant::now())) {
                return Ok(());
            }
        }
    };
    let stopped = async {
        let _ = signals.read_with(signals::read).await;
        Ok(())
    };
    let failed = async { Err(engine.run(&desk).await) };
    done.or(stopped).or(failed).await?;
    desk.state().table.decide(Instant::now());
    let text = summary(&desk, &lines.borrow());
    print(&text)?;
    let state = desk.state();
    let mut targets = state.table.iter().map(|(_, entry)| entry.target.totals());
    Ok(targets.all(|totals| totals.answered > 0))
}

fn wanted(line: &Line, settings: &Settings) -> Wanted {
    Wanted {
        host: Host::Address(line.key.ip),
        name: line.host.clone(),
        families: Families::Both,
        ports: vec![line.key.port],
        manner: settings.manner,
    }
}

/// The line about one piece of news.
fn line(lines: &mut [Line], entry: &Entry, sequence: u16, news: News) -> String {
    let number = u32::from(sequence) + 1;
    let (from, seq) = match entry.key.port {
        None => (entry.key.ip.to_string(), format!("icmp_seq={number}")),
        Some(port) => (format!("{} port {port}", entry.key.ip), format!("tcp_seq={number}")),
    };
    let heard = match news {
        News::Heard(heard) => heard,
        News::Failed(cause) => {
            let why = cause.word().replace('_', " ");
            return match entry.reporter.filter(|_| !cause.is_local()) {
                Some(reporter) => format!("From {reporter}: {seq} {why}\n"),
                None => format!("{from}: {seq} not sent: {why}\n"),
            };
        }
    };
    let ttl = entry.target.hop_limit().map_or_else(String::new, |ttl| format!(" ttl={ttl}"));
    let what = match entry.key.port {
        None => format!("{} bytes from {from}", usize::from(entry.manner.size) + 8),
        Some(_) => format!("Answer from {from}"),
    };
    let rtt = entry.target.round_trip(sequence);
    match (heard, rtt) {
        (Heard::Answer, Some((rtt, clock))) => {
            if let Some(line) = lines.iter_mut().find(|line| line.key == entry.key) {
                line.least = Some(line.least.map_or(rtt, |least| least.min(rtt)));
                line.most = line.most.max(rtt);
                line.clock = Some(clock);
            }
            let closed = if entry.target.is_refused(sequence) { " closed" } else { "" };
            format!("{what}: {seq}{ttl} time={} ms{closed} ({})\n", ms(rtt), clock.word())
        }
        (Heard::Duplicate, _) => format!("{what}: {seq}{ttl} (DUP!)\n"),
        (Heard::Late, Some((rtt, _))) => format!("{what}: {seq}{ttl} time={} ms (too late)\n", ms(rtt)),
        _ => String::new(),
    }
}

fn summary(desk: &Desk, lines: &[Line]) -> String {
    let mut out = String::new();
    let state = desk.state();
    for line in lines {
        let Some(entry) = state.table.find(&line.key).and_then(|id| state.table.get(id)) else { continue };
        let totals = entry.target.totals();
        let lost = totals.sent - totals.answered;
        let loss = if totals.sent > 0 { lost as f64 * 100.0 / totals.sent as f64 } else { 0.0 };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n--- {} ({}) ping statistics ---\n{} packets transmitted, {} received, {}% packet loss",
            line.host,
            line.key.ip,
            totals.sent,
            totals.answered,
            (loss * 10.0).round() / 10.0
        );
        for (number, what) in [
            (totals.refused, "refused"),
            (totals.late, "too late"),
            (totals.duplicates, "duplicates"),
            (totals.reordered, "reordered"),
        ] {
            if number > 0 {
                let _ = write!(out, ", {number} {what}");
            }
        }
        out.push('\n');
        if let (Some(least), Some(clock)) = (line.least, line.clock) {
            let answered = totals.answered.max(1) as f64;
            let mean = totals.rtt as f64 / answered;
            let deviation = (totals.rtt_squares as f64 / answered - mean * mean).max(0.0).sqrt();
            let [mean, deviation] = [mean, deviation].map(|nanos| ms(Duration::from_nanos(nanos as u64)));
            let _ = writeln!(
                out,
                "rtt min/avg/max/mdev = {}/{mean}/{}/{deviation} ms, timestamps: {}",
                ms(least),
                ms(line.most),
                clock.word()
            );
        }
    }
    out
}

/// Milliseconds with three digits behind the point, as ping has them.
fn ms(time: Duration) -> String {
    let micros = (time.as_nanos() + 500) / 1000;
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_digits_rounded() {
        let shown = |nanos| ms(Duration::from_nanos(nanos));
        assert_eq!(
            [shown(0), shown(499), shown(23_500), shown(1_000_000), shown(12_345_678)],
            ["0.000", "0.000", "0.024", "1.000", "12.346"]
        );
    }
}
