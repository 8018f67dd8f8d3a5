//! Following events: ends of connections that were there before, lost events, floods, and who makes no events.

use std::time::Duration;

use gatemeter::collectors::clients::flows::{Mode, Options};
use gatemeter::netlink::Message;
use gatemeter::netlink::conntrack::{self, Event, GROUP_NEW};
use gatemeter::netlink::transport::{Events, Overrun};

use crate::inject::{self, Flow, Injector};
use crate::lab::process;
use crate::lab::traffic::TcpPair;
use crate::support::{Census, Follower, forget_all, of, tracking_lab};

const S: Duration = Duration::from_secs(1);

#[test]
fn connections_from_before_the_subscription_end_by_a_reading_every_minute() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let old = TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
        let mut follower = Follower::open(Options::default());
        assert_eq!(follower.connections.totals().silent, 1);
        let new = TcpPair::open(lab.host(2).on_v4(), lab.internet.on_v4());
        // The kernel tells nothing of that, unless somebody listened before us, be it in another namespace.
        drop(old);
        follower.ahead += 61 * S;
        follower.agree_on(&lab.router, |seen| (of(seen, lab.host(1).v4), of(seen, lab.host(2).v4)) == ((0, 0), (1, 0)));
        let totals = follower.connections.totals();
        assert_eq!(totals.silent, 0);
        // The next minute needs none: all that are left tell of their end.
        follower.ahead += 61 * S;
        drop(new);
        follower.agree_on(&lab.router, Census::is_empty);
        assert_eq!(follower.connections.totals().dumps, totals.dumps);
    });
}

#[test]
fn lost_events_are_made_up_for() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options { event_buffer: 4096, ..Options::default() });
        follower.is_client = inject::is_client;
        let mut injector = Injector::open();
        injector.add((0..500).map(|n| Flow::nth(n, 20)));
        follower.ahead += S;
        let seen = follower.agree(&lab.router);
        assert_eq!(seen.len(), 20);
        let totals = follower.connections.totals();
        assert_eq!((totals.overruns, totals.dumps, totals.mode, totals.flows), (1, 2, Mode::Events, 500));
        // The subscription goes on.
        injector.remove([Flow::nth(0, 20)]);
        follower.agree(&lab.router);
        assert_eq!((follower.connections.totals().flows, follower.connections.totals().dumps), (499, 2));
    });
}

#[test]
fn after_a_loss_only_what_happens_then_is_told() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut events = Events::open(libc::NETLINK_NETFILTER, GROUP_NEW, 4096).unwrap();
        let mut told = || {
            let mut ports = Vec::new();
            let each = |message: &Message<'_>| {
                if let Some(Event::Known(entry)) = conntrack::decode(message)? {
                    ports.push(entry.original.ports[0]);
                }
                Ok(())
            };
            events.drain(1000, each).map(|_| ports)
        };
        let mut injector = Injector::open();
        injector.add((0..500).map(|n| Flow::nth(n, 1)));
        assert_eq!(told(), Err(Overrun));
        // What the kernel still had queued is older than what is listed now; and it adds nothing to a queue that was full
        // before that is empty.
        injector.add([Flow::nth(500, 1)]);
        assert_eq!(told(), Ok(vec![1524]));
    });
}

#[test]
fn in_a_flood_events_are_given_up_for_a_while() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options { event_buffer: 4096, ..Options::default() });
        follower.is_client = inject::is_client;
        let mut injector = Injector::open();
        for round in 0..3 {
            assert_eq!(follower.connections.totals().mode, Mode::Events);
            injector.add((round * 500..round * 500 + 500).map(|n| Flow::nth(n, 20)));
            follower.ahead += S;
            follower.agree(&lab.router);
        }
        assert_eq!(follower.connections.totals().mode, Mode::Dumps);
        assert!(follower.connections.is_flooded());
        injector.add((1500..2000).map(|n| Flow::nth(n, 20)));
        follower.ahead += S;
        follower.agree(&lab.router);
        assert_eq!(follower.connections.totals().overruns, 3);
        follower.ahead += 30 * S;
        follower.agree(&lab.router);
        let totals = follower.connections.totals();
        assert_eq!((totals.mode, totals.overruns, totals.flows), (Mode::Events, 3, 2000));
        // What began while nobody listened ends without an event.
        forget_all(&lab.router);
        follower.ahead += 61 * S;
        follower.agree_on(&lab.router, Census::is_empty);
    });
}

#[test]
fn where_the_kernel_makes_no_events_all_connections_are_read_each_time() {
    let lab = tracking_lab();
    lab.router.sysctl("netfilter/nf_conntrack_events", "0");
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        assert_eq!(follower.connections.totals().mode, Mode::Dumps);
        let pair = TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
        follower.ahead += S;
        follower.agree_on(&lab.router, |seen| of(seen, lab.host(1).v4) == (1, 0));
        drop(pair);
        follower.ahead += S;
        follower.agree_on(&lab.router, Census::is_empty);
    });
}

#[test]
fn between_collections_events_are_taken_in_before_their_room_is_full() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        // Room for some 800 events as the kernel counts them.
        let mut follower = Follower::open(Options { event_buffer: 512 * 1024, ..Options::default() });
        follower.is_client = inject::is_client;
        let mut injector = Injector::open();
        let mut next = 0;
        let rounds = async {
            for _ in 0..8 {
                injector.add((next..next + 250).map(|n| Flow::nth(n, 20)));
                next += 250;
                smol::Timer::after(Duration::from_millis(600)).await;
            }
        };
        let is_client = follower.is_client;
        let follow = async {
            follower.connections.follow(&is_client).await;
        };
        smol::block_on(smol::future::or(rounds, follow));
        assert_eq!(follower.connections.totals().flows, 2000);
        follower.agree(&lab.router);
        assert_eq!((follower.connections.totals().overruns, follower.connections.totals().dumps), (0, 1));
    });
}

#[test]
fn of_the_seven_events_of_a_tcp_connection_the_kernel_hands_out_three() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut filtered = Events::open(libc::NETLINK_NETFILTER, 7, 1 << 20).unwrap();
        filtered.filter(&conntrack::event_filter()).unwrap();
        let mut all = Events::open(libc::NETLINK_NETFILTER, 7, 1 << 20).unwrap();
        drop(TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4()));
        let states = |events: &mut Events| {
            let mut states = Vec::new();
            let drained = events.drain(100, |message| {
                states.extend(match conntrack::decode(message)? {
                    Some(Event::Known(entry)) => entry.tcp.map(|state| format!("{state:?}")),
                    Some(Event::Gone(_)) => Some("gone".to_owned()),
                    None => None,
                });
                Ok(())
            });
            drained.unwrap();
            states
        };
        let mut seen = Vec::new();
        let mut wait_for = |state: &str| {
            let came = process::poll(process::LIMIT, || {
                seen.extend(states(&mut all));
                seen.iter().any(|seen| seen == state).then_some(())
            });
            assert!(came.is_some(), "{state} is not among {seen:?}");
        };
        wait_for("TimeWait");
        forget_all(&lab.router);
        wait_for("gone");
        assert!(seen.len() >= 6, "{seen:?}");
        assert_eq!(states(&mut filtered), ["SynSent", "Established", "LastAck"]);
        // One that does not close tells of its end.
        let open = TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
        forget_all(&lab.router);
        assert_eq!(states(&mut filtered), ["SynSent", "Established", "gone"]);
        drop(open);
    });
}
