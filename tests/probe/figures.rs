//! A daemon that probes, what it shows of a target, and the moment at which that can be compared with the far end's log.

use std::net::IpAddr;
use std::time::Duration;

use crate::harness::{Daemon, PATIENCE, Samples, Setup, exposition, http};
use crate::lab::Lab;
use crate::lab::process::{must, poll};
use crate::lab::responder::{Log, Responder, Rule, Seen};

/// An address of either family that a responder answers for.
pub const TARGETS: [&str; 2] = ["198.18.0.1", "fd00:18::1"];
/// One that nothing depends on: the kernel begins to stamp packets a little after it was first asked to, so the figures of
/// others begin after those of this one.
pub const WARM_UP: &str = "198.18.0.99";
/// The collector's state as the daemon sees it.
pub const UP: &str = "gatemeter_collector_up{collector=\"probe\"}";
/// After how long a probe is lost, unless a test says otherwise.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// An interval, in milliseconds, within which a test is over.
const FOR_EVER: &str = "3600000";

/// A router that nobody is behind.
pub fn lab() -> Lab {
    Lab::builder().hosts(0).build()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The configuration's section `probe`: a probe every 20 ms, lost after half a second, with these options in place of
/// or besides these; a `list` if there are several of a name.
pub fn section(options: &[(&str, &str)]) -> String {
    let own = [("unlocked", "1"), ("interval", "20"), ("timeout", "500")];
    let own = own.into_iter().filter(|(name, _)| options.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> = own.chain(options.iter().copied()).collect();
    "config probe 'probe'\n".to_owned() + &lines(&all)
}

/// A section of the configuration for a target.
pub fn target(host: &str, options: &[(&str, &str)]) -> String {
    format!("config target\n\toption host '{host}'\n") + &lines(options)
}

fn lines(options: &[(&str, &str)]) -> String {
    let lists = ["tcp_port", "allow_target", "dns_server"];
    let line = |(name, value): &(&str, &str)| {
        let word = if lists.contains(name) { "list" } else { "option" };
        format!("\t{word} {name} '{value}'\n")
    };
    options.iter().map(line).collect()
}

/// A daemon with this collector only and this configuration; it writes figures every second and serves HTTP.
pub fn setup<'a>(lab: &'a Lab, config: &str) -> Setup<'a> {
    Setup::new(lab).uci("gatemeter", config).flags(&["-e", "-t", "1", "--collectors", "probe"])
}

/// A running daemon that has taken the first stamps of the kernel, and a far end without faults.
pub fn warm<'a>(lab: &'a Lab, config: &str) -> (Responder, Daemon<'a>) {
    let far = Responder::start(&lab.router);
    far.rule(ip(WARM_UP), Rule::new());
    let daemon = setup(lab, config).start();
    warm_up(&daemon);
    (far, daemon)
}

/// Waits until the kernel stamps packets, in and out.
pub fn warm_up(daemon: &Daemon) {
    let stamped = |metrics: &Samples| {
        let by_kernel = |(series, count): (&String, &f64)| series.contains("timestamps=\"kernel\"") && *count >= 3.0;
        metrics.iter().any(by_kernel).then_some(())
    };
    asked(daemon, &format!("target={WARM_UP}"));
    daemon.wait_until("stamps of the kernel", stamped);
}

/// The answer to a request to /probe that must be answered with figures.
#[track_caller]
pub fn asked(daemon: &Daemon, query: &str) -> Samples {
    let answer = ask(daemon, query, &[]);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    exposition::parse(&answer.text()).unwrap_or_else(|e| panic!("{e} in\n{}", answer.text()))
}

/// The answer to a request to /probe, whatever it is.
#[track_caller]
pub fn ask(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> http::Response {
    daemon.get_with(&format!("/probe?{query}"), headers).unwrap()
}

/// The answer to a request to /probe once `wanted` is content with it.
#[track_caller]
pub fn asked_until(daemon: &Daemon, query: &str, what: &str, wanted: impl Fn(&Samples) -> bool) -> Samples {
    let mut last = Samples::new();
    let seen = poll(PATIENCE, || {
        last = asked(daemon, query);
        wanted(&last).then_some(())
    });
    assert!(seen.is_some(), "{what}: not seen; the last figures were {last:#?}");
    last
}

/// Who is probed: an address by ICMP, or one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    pub ip: IpAddr,
    pub tcp_port: Option<u16>,
}

impl Who {
    pub fn icmp(ip: &str) -> Self {
        Who { ip: ip.parse().unwrap(), tcp_port: None }
    }

    pub fn tcp(ip: &str, port: u16) -> Self {
        Who { tcp_port: Some(port), ..Who::icmp(ip) }
    }

    /// The query by which /probe is asked for it.
    pub fn query(&self) -> String {
        let port = self.tcp_port.map(|port| format!("&tcp_port={port}"));
        format!("target={}{}", self.ip, port.unwrap_or_default())
    }

    /// The series of a figure, such as `packets_sent_total`, as the page writes it; `more` are further labels.
    pub fn series(&self, name: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        match self.tcp_port {
            None => format!("icmp_probe_{name}{{ip=\"{}\"{comma}{more}}}", self.ip),
            Some(port) => format!("tcp_probe_{name}{{ip=\"{}\",tcp_port=\"{port}\"{comma}{more}}}", self.ip),
        }
    }

    /// Its requests on record.
    pub fn seen<'a>(&self, log: &'a Log) -> Seen<'a> {
        match self.tcp_port {
            None => log.to(self.ip).echoes(),
            Some(port) => log.to(self.ip).syns(port),
        }
    }
}

/// The figures of one target.
#[derive(Debug, Clone)]
pub struct Figures {
    who: Who,
    samples: Samples,
}

impl Figures {
    /// Of a target on a page.
    pub fn of(who: Who, samples: &Samples) -> Self {
        Figures { who, samples: samples.clone() }
    }

    /// One figure, by the end of its name; none if it is not there.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.samples.get(&self.who.series(name, "")).copied()
    }

    /// One figure that must be there.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        self.get(name).unwrap_or_else(|| panic!("there is no {name} of {:?} in {:#?}", self.who, self.samples))
    }

    /// How often something happened, which must be told.
    #[track_caller]
    pub fn count(&self, name: &str) -> usize {
        let value = self.value(name);
        assert!(value >= 0.0 && value.fract() == 0.0, "{name} is {value}");
        value as usize
    }

    /// Probes that are decided, and those that were answered.
    #[track_caller]
    pub fn counts(&self) -> (usize, usize) {
        (self.count("packets_sent_total"), self.count("packets_recv_total"))
    }

    /// Losses of a cause; 0 where the cause is not told.
    pub fn lost(&self, cause: &str) -> usize {
        self.causes().into_iter().find(|(word, _)| word == cause).map_or(0, |(_, count)| count)
    }

    /// Causes of losses with how many there were, as far as there were any.
    pub fn causes(&self) -> Vec<(String, usize)> {
        let series = self.who.series("packets_lost_total", "");
        let prefix = series.trim_end_matches('}');
        let of_cause = self.samples.iter().filter(|(series, count)| series.starts_with(prefix) && **count > 0.0);
        of_cause.map(|(series, count)| (exposition::label(series, "cause").unwrap(), *count as usize)).collect()
    }

    /// A bucket of the histogram: how many round trips were not above its bound.
    pub fn bucket(&self, bound: &str) -> f64 {
        self.samples[&self.who.series("rtt_seconds_bucket", &format!("le=\"{bound}\""))]
    }
}

/// Has the daemon read another configuration, and waits until the collector has it.
pub fn reload(daemon: &Daemon, config: &str) {
    let count = || daemon.stderr().matches("configuration read again").count();
    let before = count();
    daemon.setup().write_uci("gatemeter", config);
    daemon.signal(libc::SIGHUP);
    let read = poll(PATIENCE, || (count() > before).then_some(()));
    assert!(read.is_some(), "the configuration is not read again:\n{}", daemon.stderr());
}

/// Ends the probing without forgetting anything: the next probe of anybody is due long after the test. `config` is what
/// the section had; the targets of the configuration stay where they are in it.
pub fn halt(daemon: &Daemon, options: &[(&str, &str)], targets: &str) {
    let mut options: Vec<(&str, &str)> = options.iter().copied().filter(|(name, _)| *name != "interval").collect();
    options.push(("interval", FOR_EVER));
    reload(daemon, &(section(&options) + targets));
    let halted = || {
        let text = daemon.get("/debug/probes").ok()?.text();
        let intervals = text.matches("\"interval_seconds\":").count();
        (intervals == text.matches("\"interval_seconds\":3600,").count()).then_some(())
    };
    assert!(poll(PATIENCE, halted).is_some(), "probing does not end: {:?}", daemon.get("/debug/probes"));
}

/// Waits until each has `count` requests on record, then ends the probing and waits until all that was sent is decided;
/// returns the figures of each and the record. `options` is what the section had.
pub fn compared(
    daemon: &Daemon,
    far: &Responder,
    all: &[Who],
    count: usize,
    options: &[(&str, &str)],
) -> (Vec<Figures>, Log) {
    all.iter().for_each(|who| on_record(far, *who, count));
    halt(daemon, options, "");
    decided(daemon, far, all)
}

/// Waits until there are so many requests on record.
#[track_caller]
pub fn on_record(far: &Responder, who: Who, count: usize) {
    let enough = || (who.seen(&far.log()).count() >= count).then_some(());
    assert!(poll(PATIENCE, enough).is_some(), "{who:?} is not probed {count} times");
}

/// The figures of targets that are not probed any more, once all that was sent is decided, and the record.
#[track_caller]
pub fn decided(daemon: &Daemon, far: &Responder, all: &[Who]) -> (Vec<Figures>, Log) {
    let log = far.settled();
    let figures = all.iter().map(|who| {
        let sent = who.seen(&log).count();
        let name = who.series("packets_sent_total", "");
        let is_all = |page: &Samples| page[&name] == sent as f64;
        Figures::of(*who, &asked_until(daemon, &who.query(), &format!("{sent} probes decided"), is_all))
    });
    (figures.collect(), log)
}

/// A process's threads and open files.
pub fn threads_and_files(daemon: &Daemon) -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).unwrap().count();
    (count("task"), count("fd"))
}

/// Waits until the daemon's log holds all of these words in one line.
#[track_caller]
pub fn told(daemon: &Daemon, words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    let line = poll(PATIENCE, || daemon.stderr().lines().any(has_all).then_some(()));
    assert!(line.is_some(), "{words:?} are not in one line of\n{}", daemon.stderr());
}

/// What jq makes of /debug/probes with this filter, raw.
pub fn debug(lab: &Lab, daemon: &Daemon, filter: &str) -> String {
    let text = daemon.get("/debug/probes").unwrap().text();
    let mut jq = lab.router.command("jq");
    jq.args(["-S", "-r", "-c", filter]);
    must(jq, &text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
