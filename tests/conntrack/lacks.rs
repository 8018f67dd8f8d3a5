//! What a system may lack.

use std::net::Ipv4Addr;

use gatemeter::collectors::Verdict;
use gatemeter::collectors::clients::flows::{Connections, Mode, Options, check};
use gatemeter::sys::caps;

use crate::lab::traffic::UdpPair;
use crate::support::{Follower, of, tracking_lab};

#[test]
fn without_the_privilege_connections_are_read_from_proc() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut pair = UdpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
        pair.up(1, 10);
        // Of this thread only, which ends with the test.
        caps::reduce(&[]).unwrap();
        let mut follower = Follower::waiting(Options::default());
        assert_eq!(follower.connections.totals().mode, Mode::Proc);
        follower.collect();
        assert_eq!(of(&follower.census(), lab.host(1).v4), (0, 1));
        let found = check::check(false);
        assert_eq!(found[0].verdict, Verdict::Note);
        assert!(found[0].text.contains("CAP_NET_ADMIN"), "{}", found[0].text);
    });
}

#[test]
fn what_is_there_is_told_with_its_size() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let found = check::check(true);
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok), "{found:?}");
        assert!(found[0].text.starts_with("connections by netlink: 0 of at most "), "{}", found[0].text);
    });
    lab.router.sysctl("netfilter/nf_conntrack_acct", "0");
    lab.router.sysctl("netfilter/nf_conntrack_events", "0");
    lab.router.enter(|| {
        let found = check::check(true);
        let verdicts: Vec<Verdict> = found.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Note, Verdict::Broken]);
        assert!(found[2].text.contains("sysctl -w net.netfilter.nf_conntrack_acct=1"), "{}", found[2].text);
    });
}

#[test]
fn a_single_reading_subscribes_to_nothing() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let connections = Connections::open(Options { follow: false, ..Options::default() }).unwrap();
        assert_eq!(connections.totals().mode, Mode::Dumps);
        assert_eq!(connections.counts(Ipv4Addr::LOCALHOST.into()).active, 0);
    });
}
