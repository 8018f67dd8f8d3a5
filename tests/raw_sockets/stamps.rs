//! Stamps of what is sent and received, and the numbers of packets.

use std::net::IpAddr;

use gatemeter::sys::batch::Sent;
use gatemeter::sys::clock::realtime_ns;
use gatemeter::sys::timestamps::Wanted;

use super::lab::{GATEWAY4, GATEWAY6, Lab};
use super::prober::Prober;

const QUEUE: Wanted = Wanted { queue: true, hardware: false };

/// Sends 1,000 requests in batches of 50 and checks every stamp.
fn probe_a_thousand(to: IpAddr) {
    let mut prober = Prober::echo(to.is_ipv4(), QUEUE);
    prober.warm_up(to);
    let mut times = Vec::new();
    for batch in 0..20 {
        prober.fill(to, batch * 50..(batch + 1) * 50);
        let before = realtime_ns();
        assert_eq!(prober.send(), []);
        times.push(before..=realtime_ns());
        prober.drain();
    }
    prober.drain_until("1,000 replies with their stamps", |prober| {
        [prober.replies.len(), prober.sent.len(), prober.queued.len()] == [1000; 3]
    });
    assert_eq!(prober.others, []);
    let ids: Vec<u32> = prober.sent.keys().copied().collect();
    assert_eq!(ids, (0..1000).collect::<Vec<u32>>());
    assert!(prober.sent.values().is_sorted(), "numbers are given in the order of sending");
    for (id, sent) in &prober.sent {
        // A wire without a queue takes the packet before the call returns: the stamp tells which batch it belongs to.
        assert!(times[*id as usize / 50].contains(sent), "packet {id}");
        let received = prober.replies[&(*id as u16)].unwrap_or_else(|| panic!("reply {id} has no stamp"));
        assert!(prober.queued[id] <= *sent && *sent <= received, "packet {id}");
    }
}

#[test]
fn a_thousand_requests_of_ipv4_are_answered_and_stamped_in_order() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.enter(|| probe_a_thousand(GATEWAY4.into()));
}

#[test]
fn a_thousand_requests_of_ipv6_are_answered_and_stamped_in_order() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.enter(|| probe_a_thousand(GATEWAY6.into()));
}

/// Three packets go out, one is refused, six more are to go, from here on with numbers that may be unknown.
fn send_up_to_a_refusal(prober: &mut Prober, refused: IpAddr, sequence: u16) -> i32 {
    let to = IpAddr::from(GATEWAY4);
    prober.fill(to, 0..3);
    prober.fill(refused, [sequence]);
    prober.fill(to, 4..10);
    assert!(matches!(prober.out.send(&prober.socket), Sent::Stopped));
    match prober.out.send(&prober.socket) {
        Sent::Refused { index: 3, error } => error.raw_os_error().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn numbers(prober: &mut Prober, count: usize) -> Vec<u32> {
    prober.drain_until("stamps and replies", |prober| prober.replies.len() == count && prober.sent.len() == count);
    prober.sent.keys().copied().collect()
}

#[test]
fn a_packet_that_the_firewall_drops_uses_up_numbers_and_one_without_a_route_does_not() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["nft", "add table inet t"]);
    lab.router.must(&["nft", "add chain inet t out { type filter hook output priority 0; }"]);
    lab.router.must(&["nft", "add rule inet t out icmp type echo-request icmp sequence 77 drop"]);
    lab.router.must(&["ip", "route", "add", "unreachable", "192.0.2.0/24"]);
    lab.router.enter(|| {
        let to = IpAddr::from(GATEWAY4);
        let mut prober = Prober::echo(true, Wanted::default());
        prober.warm_up(to);

        // Tried twice, since the first time the kernel does not say why.
        assert_eq!(send_up_to_a_refusal(&mut prober, to, 77), libc::EPERM);
        assert_eq!(prober.send(), []);
        assert_eq!(numbers(&mut prober, 9), [0, 1, 2, 5, 6, 7, 8, 9, 10]);

        prober.forget();
        let error = send_up_to_a_refusal(&mut prober, "192.0.2.1".parse().unwrap(), 3);
        assert!([libc::EHOSTUNREACH, libc::ENETUNREACH].contains(&error), "{error}");
        assert_eq!(prober.send(), []);
        assert_eq!(numbers(&mut prober, 9), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn numbers_start_anew_after_a_refusal() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["nft", "add table inet t"]);
    lab.router.must(&["nft", "add chain inet t out { type filter hook output priority 0; }"]);
    lab.router.must(&["nft", "add rule inet t out icmp type echo-request icmp sequence 77 drop"]);
    lab.router.enter(|| {
        let to = IpAddr::from(GATEWAY4);
        let mut prober = Prober::echo(true, Wanted::default());
        prober.warm_up(to);
        assert_eq!(send_up_to_a_refusal(&mut prober, to, 77), libc::EPERM);
        assert_eq!(numbers(&mut prober, 3), [0, 1, 2]);
        prober.forget();
        let before = realtime_ns();
        assert_eq!(prober.send(), []);
        assert_eq!(numbers(&mut prober, 6), [0, 1, 2, 3, 4, 5]);
        assert!(prober.sent.values().is_sorted() && prober.sent.values().all(|sent| *sent > before));
        let mut pairs = prober.sent.values().zip(prober.replies.values());
        assert!(pairs.all(|(sent, received)| *sent <= received.unwrap()));
    });
}
