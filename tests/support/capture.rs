//! A capture of echo requests and replies on an interface, by tcpdump, with the kernel's stamps in nanoseconds.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared by benchmarks that each use a part of it; a failed assumption must stop them"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::process::{self, Background, LIMIT};
use crate::lab::{Lab, Node};

/// An Ethernet header, and one of IPv4 without options.
const HEADERS: usize = 14 + 20;

/// A running capture.
pub struct Capture {
    tcpdump: Background,
    file: PathBuf,
}

/// Whom a request went to, with identifier and sequence.
pub type Key = (Ipv4Addr, u16, u16);

/// When a request and its first reply passed, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub request: Option<i64>,
    pub reply: Option<i64>,
}

impl Times {
    pub fn round_trip(&self) -> Option<i64> {
        Some(self.reply? - self.request?)
    }
}

impl Capture {
    /// Returns once packets are captured.
    pub fn start(lab: &Lab, node: &Node, ifname: &str) -> Capture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A file that is there already would tell nothing of the beginning.
        let name = format!("capture-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (file, log) = (lab.dir().join(name), lab.dir().join("tcpdump.log"));
        let path = file.to_str().unwrap();
        let words = ["tcpdump", "-i", ifname, "-U", "-j", "host", "--nano", "-s", "80", "-w", path, "icmp"];
        let tcpdump = node.start(&words, &log);
        process::poll(LIMIT, || fs::read(&file).ok().filter(|bytes| bytes.len() >= 24)).expect("tcpdump has begun");
        Capture { tcpdump, file }
    }

    /// Ends it once it holds what is wanted.
    pub fn finish(mut self, is_complete: impl Fn(&BTreeMap<Key, Times>) -> bool) -> BTreeMap<Key, Times> {
        let found = process::poll(LIMIT, || Some(self.read()).filter(&is_complete)).expect("a complete capture");
        self.tcpdump.signal(libc::SIGTERM);
        self.tcpdump.wait(LIMIT);
        found
    }

    fn read(&self) -> BTreeMap<Key, Times> {
        let (bytes, mut found) = (fs::read(&self.file).unwrap(), BTreeMap::<_, Times>::new());
        assert_eq!(bytes[..4], 0xa1b2_3c4du32.to_ne_bytes(), "a capture with nanoseconds");
        let mut rest = &bytes[24..];
        let word = |bytes: &[u8], at: usize| i64::from(u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()));
        while rest.len() >= 16 {
            let length = word(rest, 8) as usize;
            let Some(frame) = rest.get(16..16 + length) else { break };
            let (addresses, icmp) = (&frame[14 + 12..HEADERS], &frame[HEADERS..]);
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&addresses[at..at + 4]).unwrap());
            let half = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
            let time = word(rest, 0) * 1_000_000_000 + word(rest, 4);
            match icmp[0] {
                8 => _ = found.entry((address(4), half(4), half(6))).or_default().request.get_or_insert(time),
                0 => _ = found.entry((address(0), half(4), half(6))).or_default().reply.get_or_insert(time),
                _ => {}
            }
            rest = &rest[16 + length..];
        }
        found
    }
}
