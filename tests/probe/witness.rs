//! tcpdump beside the daemon: when packets crossed the interface, by the same clock of the kernel.
//!
//! On their way out it sees packets right before the driver stamps them, and on their way in it reads the very stamp that
//! the daemon gets. So no stamped round trip is longer than tcpdump's, and none is shorter than the delay on record.

use std::fs;
use std::path::PathBuf;

use super::figures::Who;
use crate::harness::PATIENCE;
use crate::lab::process::{Background, poll};
use crate::lab::responder::Request;
use crate::lab::{Lab, Node};

pub struct Wire {
    log: PathBuf,
    _tcpdump: Background,
}

/// The least and the most that a round trip can have taken, in seconds; none if it was lost.
pub type Bounds = Option<(f64, f64)>;

impl Wire {
    /// Watches an interface of a machine; what crosses it after this is seen.
    pub fn watch(lab: &Lab, node: &Node, ifname: &str) -> Self {
        let log = lab.dir().join(format!("tcpdump-{}-{ifname}", node.name));
        let words = ["tcpdump", "-n", "-l", "-S", "-v", "-tt", "--nano", "-B", "8192", "-i", ifname];
        let tcpdump = node.start(&words, &log);
        let wire = Wire { log, _tcpdump: tcpdump };
        assert!(poll(PATIENCE, || wire.text().contains("listening on").then_some(())).is_some(), "{}", wire.text());
        wire
    }

    /// All that was seen so far, a packet a line.
    pub fn text(&self) -> String {
        // The header of an IPv4 packet has a line of its own.
        fs::read_to_string(&self.log).unwrap_or_default().replace(")\n    ", ") ")
    }

    /// Waits until a line has all of these words, and returns it.
    #[track_caller]
    pub fn line(&self, words: &[&str]) -> String {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        let found = poll(PATIENCE, || self.text().lines().find(has_all).map(str::to_owned));
        found.unwrap_or_else(|| panic!("{words:?} are not in one line of\n{}", self.text()))
    }

    /// Within which the stamped round trips of these requests to `who` must be, in their order.
    pub fn bounds(&self, who: Who, requests: &[&Request]) -> Vec<Bounds> {
        let answered = requests.iter().filter(|request| request.delay().is_some()).count();
        let pairs = poll(PATIENCE, || {
            let pairs = self.pairs(who);
            let replies = pairs.iter().filter(|(_, reply)| reply.is_some()).count();
            (pairs.len() == requests.len() && replies == answered).then_some(pairs)
        });
        let pairs = pairs.unwrap_or_else(|| panic!("{} requests are not all seen in\n{}", requests.len(), self.text()));
        let bounds = pairs.into_iter().zip(requests).map(|((sent, reply), request)| {
            let least = request.delay()? as f64 / 1e9;
            Some((least, (reply? - sent) as f64 / 1e9))
        });
        bounds.collect()
    }

    /// When each request was sent and its reply received, in nanoseconds, in the order of sending.
    fn pairs(&self, who: Who) -> Vec<(u64, Option<u64>)> {
        let text = self.text();
        let mut pairs: Vec<(u32, u64, Option<u64>)> = Vec::new();
        for line in text.lines() {
            let Some((number, is_reply)) = packet(line, who) else { continue };
            let Some(at) = line.split(' ').next().and_then(nanoseconds) else { continue };
            match pairs.iter_mut().rfind(|(known, ..)| *known == number) {
                Some((_, _, reply)) if is_reply => _ = reply.get_or_insert(at),
                _ if is_reply => {}
                _ => pairs.push((number, at, None)),
            }
        }
        pairs.into_iter().map(|(_, sent, reply)| (sent, reply)).collect()
    }
}

/// The number by which request and reply are known, and whether it is a reply.
fn packet(line: &str, who: Who) -> Option<(u32, bool)> {
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split([',', ' ']).next()?.parse::<u32>().ok()
    };
    let port = who.tcp_port.map_or(String::new(), |port| format!(".{port}"));
    let (to, from) = (format!(" > {}{port}: ", who.ip), format!("{}{port} > ", who.ip));
    if line.contains(&to) && (line.contains("echo request") || line.contains("Flags [S],")) {
        let sequence = number(", seq ")?;
        return Some((if who.tcp_port.is_some() { sequence.wrapping_add(1) } else { sequence }, false));
    }
    if !line.contains(&from) {
        return None;
    }
    match who.tcp_port {
        None if line.contains("echo reply") => Some((number(", seq ")?, true)),
        Some(_) if line.contains("Flags [S.],") || line.contains("Flags [R.],") => Some((number(", ack ")?, true)),
        _ => None,
    }
}

fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, nanos) = text.split_once('.').filter(|(_, nanos)| nanos.len() == 9)?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos.parse::<u64>().ok()?)
}
