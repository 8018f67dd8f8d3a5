//! Addresses from a real dnsmasq, which fails, comes back and changes its mind, and from a hosts file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption must stop the test")]

mod lab;

use std::cell::RefCell;
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use async_io::Timer;
use gatemeter::names::lookup::{Families, Known, Lookup, MAX_HOLD, MIN_HOLD, Sources, Trouble};
use gatemeter::names::{HostName, lookup};
use lab::process::{Background, LIMIT};
use lab::{Lab, dns};
use smol::future::FutureExt as _;

const V4: Families = Families::V4;
const BOTH: Families = Families::Both;

/// The zone that dnsmasq begins with.
const ZONE: [&str; 5] = [
    "--host-record=www.example.org,192.0.2.10,2001:db8::10",
    "--cname=alias.example.org,middle.example.org",
    "--cname=middle.example.org,www.example.org",
    "--host-record=nas.home.arpa,192.168.1.20",
    "--local-ttl=60",
];

/// dnsmasq on the router, which knows these records and asks nobody else.
fn start_dnsmasq(lab: &Lab, zone: &[&str]) -> Background {
    let local = ["--local=/example.org/home.arpa/"];
    dns::start(lab, (lab.router.v4, 53).into(), &[&local[..], zone].concat())
}

/// A lookup as a collector and a request have it, and a clock that the test sets forward.
struct Looking {
    lookup: RefCell<Lookup>,
    ahead: Duration,
}

impl Looking {
    /// Asks these servers, or the router's by its resolv.conf.
    fn new(lab: &Lab, servers: Vec<SocketAddr>) -> Self {
        let (resolv_conf, hosts) = (lab.dir().join("resolv.conf"), lab.dir().join("hosts"));
        fs::write(&resolv_conf, format!("search home.arpa\nnameserver {}\n", lab.router.v4)).unwrap();
        let lookup = RefCell::new(Lookup::new(Sources { servers, resolv_conf, hosts }));
        Looking { lookup, ahead: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    /// Has a name asked for and works until what is known of it is as expected.
    #[track_caller]
    fn until(&self, name: &str, families: Families, expected: impl Fn(&Known) -> bool) -> Known {
        let name = HostName::parse(name).unwrap();
        let deadline = Instant::now() + LIMIT;
        loop {
            assert!(self.lookup.borrow_mut().want(&name, families, self.now()));
            if let Some(known) = self.lookup.borrow().get(&name, families)
                && expected(known)
            {
                return known.clone();
            }
            // As a collector does it: what has failed is asked again, also where a busy machine was the reason.
            let interval = async { _ = Timer::after(Duration::from_secs(1)).await };
            let work = poll_fn(|cx| self.lookup.borrow_mut().poll_work(cx, self.now()));
            smol::block_on(work.or(interval));
            assert!(Instant::now() < deadline, "{name} does not become known as expected: {:#?}", self.lookup);
        }
    }

    /// Waits until the name has these addresses and no trouble.
    #[track_caller]
    fn finds(&self, name: &str, families: Families, addrs: &[&str]) {
        let mut addrs: Vec<IpAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        addrs.sort();
        self.until(name, families, |known| known.addrs == addrs && known.trouble.is_none());
    }

    /// Waits until the name has no address, for this reason.
    #[track_caller]
    fn lacks(&self, name: &str, families: Families, why: &str) {
        self.until(name, families, |known| {
            known.addrs.is_empty() && known.trouble.as_ref().is_some_and(|trouble| trouble.to_string() == why)
        });
    }
}

#[test]
fn addresses_of_both_families_come_by_aliases_and_search_domains_too() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab, &ZONE);
    lab.router.enter(|| {
        let looking = Looking::new(&lab, Vec::new());
        looking.finds("www.example.org", BOTH, &["192.0.2.10", "2001:db8::10"]);
        looking.finds("WWW.example.org.", Families::V6, &["2001:db8::10"]);
        looking.finds("alias.example.org", BOTH, &["192.0.2.10", "2001:db8::10"]);
        looking.finds("nas", BOTH, &["192.168.1.20"]);
        looking.finds("nas.home.arpa", V4, &["192.168.1.20"]);
        looking.lacks("nas", Families::V6, "it has no IPv6 address");
        looking.lacks("none.example.org", BOTH, "there is no such name");
        // Nobody is there to be asked for it.
        looking.lacks("www.example.com.", V4, "the DNS server refuses to look it up (REFUSED)");
    });
}

#[test]
fn a_changed_address_is_seen_when_the_old_one_no_longer_holds() {
    let lab = Lab::builder().hosts(1).build();
    let dnsmasq = start_dnsmasq(&lab, &ZONE);
    lab.router.enter(|| {
        let mut looking = Looking::new(&lab, Vec::new());
        looking.finds("www.example.org", V4, &["192.0.2.10"]);
        drop(dnsmasq);
        let _dnsmasq = start_dnsmasq(&lab, &["--host-record=www.example.org,192.0.2.11"]);
        // The minute is over that the server gave it.
        looking.ahead = Duration::from_secs(60);
        looking.finds("www.example.org", V4, &["192.0.2.11"]);
    });
}

#[test]
fn a_dead_server_leaves_old_addresses_and_is_asked_again_when_it_is_back() {
    let lab = Lab::builder().hosts(1).build();
    let dnsmasq = start_dnsmasq(&lab, &ZONE);
    lab.router.enter(|| {
        let mut looking = Looking::new(&lab, Vec::new());
        looking.finds("www.example.org", BOTH, &["192.0.2.10", "2001:db8::10"]);
        drop(dnsmasq);
        looking.ahead = MAX_HOLD;
        let known = looking.until("www.example.org", BOTH, Known::is_stale);
        let unanswered = Trouble::Unanswered("192.168.1.1:53".into());
        assert_eq!((known.addrs.len(), known.trouble), (2, Some(unanswered)));
        looking.lacks("nas", BOTH, "no DNS server answers (asked: 192.168.1.1:53)");
        let _dnsmasq = start_dnsmasq(&lab, &ZONE);
        looking.ahead += MIN_HOLD + LIMIT;
        looking.finds("www.example.org", BOTH, &["192.0.2.10", "2001:db8::10"]);
        looking.finds("nas", BOTH, &["192.168.1.20"]);
    });
}

#[test]
fn a_server_that_nobody_has_is_followed_by_the_next() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab, &ZONE);
    lab.router.enter(|| {
        // Nobody has the first address, and nobody listens at the second.
        for dead in ["192.168.1.200:53".parse().unwrap(), SocketAddr::from((lab.host(1).v4, 53))] {
            let looking = Looking::new(&lab, vec![dead, (lab.router.v4, 53).into()]);
            looking.finds("www.example.org", BOTH, &["192.0.2.10", "2001:db8::10"]);
        }
    });
}

#[test]
fn a_changed_hosts_file_is_seen_and_comes_before_dns() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab, &ZONE);
    let hosts = |text: &str| fs::write(lab.dir().join("hosts"), text).unwrap();
    lab.router.enter(|| {
        let mut looking = Looking::new(&lab, Vec::new());
        hosts("192.168.1.30 nas nas.home.arpa\nfd00:1:1::30 nas\n");
        looking.finds("nas", BOTH, &["192.168.1.30", "fd00:1:1::30"]);
        hosts("192.168.1.31 nas\n");
        looking.ahead += MIN_HOLD;
        looking.finds("nas", BOTH, &["192.168.1.31"]);
        hosts("");
        looking.ahead += MIN_HOLD;
        looking.finds("nas", BOTH, &["192.168.1.20"]);
    });
}

#[test]
fn many_names_wait_their_turn_and_all_become_known() {
    let lab = Lab::builder().hosts(1).build();
    let records: Vec<String> = (0..100).map(|n| format!("--host-record=h{n}.example.org,10.1.0.{n}")).collect();
    let _dnsmasq = start_dnsmasq(&lab, &records.iter().map(String::as_str).collect::<Vec<_>>());
    lab.router.enter(|| {
        let looking = Looking::new(&lab, Vec::new());
        for n in 0..lookup::MAX_NAMES {
            let name = HostName::parse(&format!("h{n}.example.org")).unwrap();
            assert!(looking.lookup.borrow_mut().want(&name, V4, looking.now()));
        }
        for n in 0..100 {
            looking.finds(&format!("h{n}.example.org"), V4, &[&format!("10.1.0.{n}")]);
        }
        looking.lacks("h255.example.org", V4, "there is no such name");
    });
}
