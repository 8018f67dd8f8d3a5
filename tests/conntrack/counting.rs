//! Which connection counts for whom.

use gatemeter::collectors::clients::flows::{Mode, Options};

use crate::lab::traffic::{TcpPair, UdpPair};
use crate::lab::{Lab, WAN4};
use crate::support::{Census, Follower, forget_all, of, rules, tracking_lab};

/// TCP, UDP and ICMP from both hosts over both families; what must stay open is returned.
fn talk(lab: &Lab) -> (Vec<TcpPair>, Vec<UdpPair>) {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for host in &lab.lan {
        for (near, far) in [(host.on_v4(), lab.internet.on_v4()), (host.on_v6(), lab.internet.on_v6())] {
            tcp.extend((0..3).map(|_| TcpPair::open(near, far)));
            let mut answered = UdpPair::open(near, far);
            answered.up(1, 10);
            answered.down(1, 10);
            let mut unanswered = UdpPair::open(near, far);
            unanswered.up(1, 10);
            udp.extend([answered, unanswered]);
            assert!(host.pings(far.ip, 1));
            // Both sides close: TIME_WAIT, which counts for nobody.
            drop(TcpPair::open(near, far));
        }
    }
    (tcp, udp)
}

/// Each host has what [`talk`] leaves open per family: three TCP, one UDP, one ping; one UDP that nobody answered.
fn all_talk(lab: &Lab, seen: &Census) -> bool {
    lab.lan.iter().all(|host| (of(seen, host.v4), of(seen, host.v6)) == ((5, 1), (5, 1)))
}

#[test]
fn connections_that_begin_while_followed_are_those_of_conntrack() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        assert_eq!(follower.connections.totals().mode, Mode::Events);
        let (tcp, udp) = talk(&lab);
        follower.agree_on(&lab.router, |seen| all_talk(&lab, seen));
        drop((tcp, udp));
        follower.agree_on(&lab.router, |seen| of(seen, lab.host(1).v4) == (2, 1));
        forget_all(&lab.router);
        follower.agree_on(&lab.router, Census::is_empty);
        let totals = follower.connections.totals();
        assert_eq!((totals.flows, totals.dumps, totals.overruns), (0, 1, 0));
    });
}

#[test]
fn connections_that_were_there_before_are_those_of_conntrack() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let kept = talk(&lab);
        for proc in [false, true] {
            let mut follower = Follower::open(Options { proc, ..Options::default() });
            follower.agree_on(&lab.router, |seen| all_talk(&lab, seen));
        }
        drop(kept);
    });
}

#[test]
fn a_half_closed_connection_is_active_until_the_other_side_closes() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let listener = lab.internet.tcp_listener(lab.internet.v4, 0);
        let near = lab.host(1).tcp_connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        follower.agree_on(&lab.router, |seen| of(seen, lab.host(1).v4) == (1, 0));
        drop(far);
        follower.agree_on(&lab.router, |seen| of(seen, lab.host(1).v4) == (0, 0));
        drop(near);
    });
}

#[test]
fn a_refused_connection_counts_for_nobody() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let address = (lab.internet.v4, 9).into();
        assert!(lab.host(1).tcp_connect(address).is_err());
        follower.agree_on(&lab.router, Census::is_empty);
    });
}

#[test]
fn a_port_forward_counts_for_the_host_behind_it_and_a_hairpin_for_both() {
    let lab = tracking_lab();
    let (server, client) = (lab.host(1), lab.host(2));
    // Forwarded from both sides, and masqueraded back so that answers pass the router.
    rules(
        &lab.router,
        &format!(
            "table ip lab_forward {{\n\
             chain prerouting {{\ntype nat hook prerouting priority dstnat\n\
             ip daddr {WAN4} tcp dport 8080 dnat to {}:80\n}}\n\
             chain postrouting {{\ntype nat hook postrouting priority srcnat\n\
             ip saddr 192.168.1.0/24 ip daddr {} tcp dport 80 masquerade\n}}\n}}\n",
            server.v4, server.v4
        ),
    );
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let listener = server.tcp_listener(server.v4, 80);
        let outside = lab.internet.tcp_connect((WAN4, 8080).into()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        follower.agree_on(&lab.router, |seen| (of(seen, server.v4), seen.len()) == ((1, 0), 1));
        let inside = client.tcp_connect((WAN4, 8080).into()).unwrap();
        let (hairpin, _) = listener.accept().unwrap();
        follower.agree_on(&lab.router, |seen| {
            (of(seen, server.v4), of(seen, client.v4), seen.len()) == ((2, 0), (1, 0), 2)
        });
        drop((outside, accepted, inside, hairpin));
    });
}

#[test]
fn between_lans_each_side_has_the_connection_and_with_the_router_only_the_client() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let (host, guest) = (lab.host(1), &lab.guests[0]);
        let between = [TcpPair::open(host.on_v4(), guest.on_v4()), TcpPair::open(host.on_v6(), guest.on_v6())];
        let seen = follower.agree(&lab.router);
        assert_eq!((of(&seen, host.v4), of(&seen, guest.v4)), ((1, 0), (1, 0)));
        assert_eq!((of(&seen, host.v6), of(&seen, guest.v6)), ((1, 0), (1, 0)));
        let with_router = TcpPair::open(host.on_v4(), lab.router.on_v4());
        let from_router = TcpPair::open(lab.router.on_v4(), guest.on_v4());
        let own = TcpPair::open(lab.router.on(WAN4), lab.internet.on_v4());
        let seen = follower.agree(&lab.router);
        assert_eq!((of(&seen, host.v4), of(&seen, guest.v4), seen.len()), ((2, 0), (2, 0), 4));
        drop((between, with_router, from_router, own));
    });
}

#[test]
fn a_scan_from_outside_makes_no_clients() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let socket = lab.internet.udp_socket(lab.internet.v6, 0);
        for last in 0x1000..0x1100 {
            socket
                .send_to(b"?", (format!("2001:db8:1:1::{last:x}").parse::<std::net::Ipv6Addr>().unwrap(), 9))
                .unwrap();
        }
        let listed = || lab.router.must(&["conntrack", "-L"]).lines().count();
        assert!(crate::lab::process::poll(crate::lab::process::LIMIT, || (listed() >= 256).then_some(())).is_some());
        follower.collect();
        assert_eq!((follower.census().len(), follower.connections.totals().flows), (0, 0));
        // As of a dump, too.
        assert!(Follower::open(Options::default()).census().is_empty());
    });
}

#[test]
fn when_the_lan_changes_connections_are_counted_anew() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        let kept = talk(&lab);
        follower.agree_on(&lab.router, |seen| all_talk(&lab, seen));
        follower.is_client = |addr| addr == std::net::IpAddr::from([192, 168, 1, 12]);
        follower.connections.recount();
        // A reading of all flows may follow the last one only after nineteen times as long as that took.
        follower.ahead += std::time::Duration::from_secs(10);
        let seen = follower.agree(&lab.router);
        assert_eq!((seen.len(), of(&seen, lab.host(2).v4)), (1, (5, 1)));
        drop(kept);
    });
}
