//! What goes wrong on the path, as ping, fping and tcpdump see it.

use std::fs;
use std::time::Duration;

use super::lab::process;
use super::lab::responder::{Error, Flaw, Kind, Responder, Rule};
use super::{TARGETS, field, ip, lab, ms, ping, sequences};

#[test]
fn every_third_reply_is_lost_and_no_other() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose_every(3)).build();
    for target in TARGETS {
        let printed = ping(&lab.router, target, 10);
        assert_eq!(sequences(&printed), [1, 2, 4, 5, 7, 8, 10], "{printed}");
        let log = far.log();
        let seen = log.to(ip(target));
        assert_eq!((seen.count(), seen.lost(), seen.delays().count()), (10, 3, 7));
        assert_eq!((seen.duplicates(), seen.inversions(), seen.flawed()), (0, 0, 0));
    }
}

#[test]
fn fping_counts_the_same_losses_for_every_address_of_a_prefix() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose(0.3, 7)).build();
    let words = ["fping", "-q", "-C", "10", "-p", "20", "-i", "0.1", "-t", "2000", "-g", "198.18.7.0/27"];
    let printed = lab.router.run(&words).stderr;
    let log = far.log();
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains(" : ")).collect();
    assert_eq!(lines.len(), 30, "{printed}");
    for line in lines {
        let (address, results) = line.split_once(" : ").unwrap();
        let delays = log.to(ip(address.trim())).delays();
        let answered: Vec<bool> = results.split_whitespace().map(|result| result != "-").collect();
        let logged: Vec<bool> = delays.nanoseconds().iter().map(Option::is_some).collect();
        assert_eq!(answered, logged, "{address}");
    }
    assert_eq!(log.all().count(), 300);
    // 90 are expected, with a standard deviation of 7.9; the seed decides which.
    assert!((60..120).contains(&log.all().lost()), "{}", log.all().lost());
}

#[test]
fn the_same_seed_loses_the_same_requests_again_and_another_seed_others() {
    let lab = lab();
    let pattern = |seed| {
        let far = Responder::builder(&lab.router).rule(Rule::new().lose(0.5, seed)).build();
        ping(&lab.router, "198.18.0.9", 40);
        far.log().requests.iter().map(|request| request.fate).collect::<Vec<_>>()
    };
    let first = pattern(1);
    assert_eq!(first.len(), 40);
    assert_eq!(first, pattern(1));
    assert_ne!(first, pattern(2));
}

#[test]
fn every_second_reply_is_duplicated() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().duplicate_every(2)).build();
    for target in TARGETS {
        let printed = ping(&lab.router, target, 5);
        assert_eq!(sequences(&printed), [1, 2, 2, 3, 4, 4, 5], "{printed}");
        assert_eq!(printed.matches("(DUP!)").count(), 2, "{printed}");
        let log = far.log();
        assert_eq!((log.to(ip(target)).duplicates(), log.to(ip(target)).sent(Kind::EchoReply)), (2, 7));
    }
}

#[test]
fn a_held_reply_follows_its_successor() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().reorder_every(3)).build();
    for target in TARGETS {
        let printed = ping(&lab.router, target, 10);
        assert_eq!(sequences(&printed), [1, 2, 4, 3, 5, 7, 6, 8, 10, 9], "{printed}");
        let log = far.log();
        let seen = log.to(ip(target));
        assert_eq!((seen.inversions(), seen.lost(), seen.waiting()), (3, 0, 0));
    }
}

#[test]
fn a_new_rule_sets_free_what_is_held_without_a_successor() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().reorder_every(1)).build();
    let printed = ping(&lab.router, TARGETS[0], 1);
    assert_eq!(sequences(&printed), [0; 0], "{printed}");
    assert_eq!(far.settled().all().waiting(), 1);
    far.rule(ip(TARGETS[0]), Rule::new());
    let freed = process::poll(process::LIMIT, || (far.settled().all().waiting() == 0).then_some(()));
    assert!(freed.is_some());
}

#[test]
fn a_late_reply_is_lost_for_fping_and_on_record() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().late_every(2, ms(1500))).build();
    let printed = lab.router.run(&["fping", "-q", "-C", "4", "-p", "700", "-t", "600", TARGETS[0], TARGETS[1]]).stderr;
    let log = far.settled();
    for target in TARGETS {
        let line = printed.lines().find(|line| line.starts_with(target)).unwrap();
        let (_, results) = line.split_once(" : ").unwrap();
        let results: Vec<&str> = results.split_whitespace().collect();
        let seen = log.to(ip(target));
        assert_eq!((seen.count(), seen.answered_within(ms(1499)), seen.late_for(ms(1499))), (4, 2, 2), "{printed}");
        assert_eq!((results[1], results[3]), ("-", "-"), "{printed}");
        assert!(seen.delays().max() >= Some(ms(1500)));
    }
}

#[test]
fn ttls_alternate_or_stay_as_they_were_set() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().ttl_alternating(50, 60)).build();
    far.rule(ip("fd00:18::2"), Rule::new().ttl(7));
    for (target, ttls) in [(TARGETS[0], [50, 60, 50]), (TARGETS[1], [50, 60, 50]), ("fd00:18::2", [7; 3])] {
        let printed = ping(&lab.router, target, 3);
        let lines = printed.lines().filter(|line| line.contains("icmp_seq="));
        let seen: Vec<u8> = lines.map(|line| field(line, "ttl=").parse().unwrap()).collect();
        assert_eq!(seen, ttls, "{printed}");
        assert_eq!(far.log().to(ip(target)).ttls(), ttls);
    }
}

#[test]
fn errors_come_from_a_router_and_belong_to_the_request() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let shapes: [fn(Error) -> Error; 4] = [
        |error| error,
        Error::quoting_eight_bytes,
        Error::quoting_options,
        |error| error.quoting_options().quoting_eight_bytes(),
    ];
    for shape in shapes {
        for (v4, v6, shown) in [
            (Error::v4(3, 13), Error::v6(1, 1), ["Packet filtered", "Administratively prohibited"]),
            (Error::v4(11, 0), Error::v6(3, 0), ["Time to live exceeded", "Time exceeded: Hop limit"]),
            (Error::v4(3, 4).mtu(1280), Error::v6(2, 0).mtu(1300), ["(mtu = 1280)", "Packet too big: mtu=1300"]),
        ] {
            far.default_rule(Rule::new().error_every(2, shape(v4)).error_every(2, shape(v6)));
            for ((target, shown), router) in TARGETS.iter().zip(shown).zip(["198.19.254.1", "fd00:19::254:1"]) {
                let printed = ping(&lab.router, target, 4);
                for sequence in [2, 4] {
                    let start = format!("From {router} icmp_seq={sequence} ");
                    let line = printed.lines().find(|line| line.starts_with(&start));
                    assert!(line.is_some_and(|line| line.contains(shown)), "{v4:?} {v6:?}\n{printed}");
                }
                assert_eq!(sequences(&printed), [1, 3], "{printed}");
            }
        }
    }
    let log = far.log();
    assert_eq!((log.all().errors(), log.all().delays().count()), (4 * 3 * 2 * 2, 4 * 3 * 2 * 2));
}

#[test]
fn an_error_names_the_router_it_was_given() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    far.default_rule(Rule::new().error(Error::v4(3, 1).from([192, 0, 2, 77])));
    let printed = ping(&lab.router, TARGETS[0], 1);
    assert!(printed.contains("From 192.0.2.77 icmp_seq=1 Destination Host Unreachable"), "{printed}");
    assert_eq!(sequences(&ping(&lab.router, TARGETS[1], 1)), [1]);
}

#[test]
fn flawed_replies_are_what_ping_takes_them_for() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    for (flaw, shown) in [
        (Flaw::Identifier, None),
        (Flaw::Source, Some("(DIFFERENT ADDRESS!)")),
        (Flaw::Truncated(20), Some("(truncated)")),
        (Flaw::Truncated(6), None),
        (Flaw::Cookie, Some("icmp_seq=2")),
    ] {
        far.default_rule(Rule::new().flawed_every(2, flaw));
        far.forget();
        for target in TARGETS {
            let printed = ping(&lab.router, target, 3);
            match shown {
                Some(shown) => assert_eq!(printed.matches(shown).count(), 1, "{flaw:?} {printed}"),
                None => assert_eq!(sequences(&printed), [1, 3], "{flaw:?} {printed}"),
            }
            let log = far.log();
            let seen = log.to(ip(target));
            assert_eq!((seen.count(), seen.flawed(), seen.delays().count()), (3, 1, 2), "{flaw:?}");
        }
    }
}

#[test]
fn checksums_are_right_but_for_the_one_that_is_to_be_wrong() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().corrupt_every(3)).build();
    let path = lab.dir().join("tcpdump");
    let _tcpdump = lab.router.start(&["tcpdump", "-n", "-l", "-vv", "-Q", "in", "-i", far.ifname()], &path);
    let shown = || fs::read_to_string(&path).unwrap_or_default();
    assert!(process::poll(process::LIMIT, || shown().contains("listening on").then_some(())).is_some());
    for target in TARGETS {
        for _ in 0..3 {
            let address = (ip(target), 80).into();
            let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
            // The third is damaged: the kernel asks again when a second has passed, which is longer than this waits.
            let _ = lab.router.enter(connect);
        }
        ping(&lab.router, target, 4);
    }
    // tcpdump says nothing about ICMP over IPv4 that is right.
    let complete = || (shown().matches("ICMP6, echo reply").count() == 4).then_some(());
    assert!(process::poll(process::LIMIT, complete).is_some(), "{}", shown());
    let shown = shown();
    for (wrong, times) in [("(wrong icmp cksum", 1), ("[bad icmp6 cksum", 1), ("(incorrect", 2)] {
        assert_eq!(shown.matches(wrong).count(), times, "{wrong} in {shown}");
    }
    assert_eq!(shown.matches("ICMP echo reply").count(), 4, "{shown}");
    assert_eq!(shown.matches("[icmp6 sum ok]").count(), 3, "{shown}");
    assert!(!shown.contains("bad cksum") && !shown.contains("invalid"), "{shown}");
    assert_eq!(far.log().damaged, 0);
}
