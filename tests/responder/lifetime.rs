//! Several responders, other prefixes, rules that change, and the end.

use std::net::IpAddr;

use super::lab::responder::{Kind, Responder, Rule};
use super::lab::{Lab, Node, process};
use super::{TARGETS, ip, lab, ms, ping, sequences};

fn has_device(node: &Node, ifname: &str) -> bool {
    node.read("/proc/thread-self/net/dev").contains(&format!("{ifname}:"))
}

#[test]
fn two_responders_answer_for_their_own_prefixes() {
    let lab = lab();
    let first = Responder::start(&lab.router);
    let second = Responder::builder(&lab.router).no_prefix().prefix("10.99.0.0/24").prefix("fd00:99::/64").build();
    for target in ["10.99.0.7", "fd00:99::7"] {
        assert_eq!(sequences(&ping(&lab.router, target, 2)), [1, 2]);
        let log = second.log();
        let request = log.to(ip(target)).requests[0];
        assert_eq!(request.source, second.source(ip(target).is_ipv4()));
        assert_eq!((request.ttl, request.tos, request.dont_fragment), (64, 0, true));
        assert_eq!(request.length, if ip(target).is_ipv4() { 84 } else { 104 });
    }
    assert_eq!((first.log().requests.len(), second.log().requests.len()), (0, 4));
    assert_eq!(sequences(&ping(&lab.router, TARGETS[0], 1)), [1]);
}

#[test]
fn hosts_behind_the_router_reach_the_far_end() {
    let lab = Lab::builder().hosts(1).build();
    let far = Responder::start(&lab.router);
    let host = lab.host(1);
    for (target, source) in TARGETS.iter().zip([IpAddr::from(host.v4), host.ula.unwrap().into()]) {
        assert_eq!(sequences(&ping(host, target, 2)), [1, 2]);
        let log = far.log();
        assert_eq!((log.to(ip(target)).requests[0].source, log.to(ip(target)).requests[0].ttl), (source, 63));
    }
}

#[test]
fn a_rule_holds_from_the_request_after_it_on() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let target = ip(TARGETS[0]);
    assert_eq!(sequences(&ping(&lab.router, TARGETS[0], 2)), [1, 2]);
    far.rule(target, Rule::silent());
    assert_eq!(sequences(&ping(&lab.router, TARGETS[0], 2)), [0; 0]);
    assert_eq!(sequences(&ping(&lab.router, "198.18.0.2", 2)), [1, 2]);
    far.rule(target, Rule::new().delay(ms(5)));
    assert_eq!(sequences(&ping(&lab.router, TARGETS[0], 2)), [1, 2]);
    let log = far.log();
    assert_eq!((log.to(target).count(), log.to(target).lost(), log.to(target).delays().count()), (6, 2, 4));
    far.forget();
    assert_eq!(far.log().requests.len(), 0);
}

#[test]
fn a_link_that_is_down_takes_no_replies_and_one_that_is_gone_ends_the_responder() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(ms(300))).build();
    let device = far.ifname().to_owned();
    let _pinging = lab.router.start(&["ping", "-n", "-c", "1", TARGETS[0]], &lab.dir().join("ping"));
    let arrived = || (far.log().requests.len() == 1).then_some(());
    assert!(process::poll(process::LIMIT, arrived).is_some());
    lab.router.must(&["ip", "link", "set", &device, "down"]);
    let log = far.settled();
    // The delay may have been over before the link was down.
    assert_eq!(log.all().sent(Kind::EchoReply) as u64 + log.refused, 1);
    assert_eq!(log.ended, None);

    lab.router.must(&["ip", "link", "delete", &device]);
    let ended = process::poll(process::LIMIT, || far.log().ended);
    assert!(ended.is_some());
}

#[test]
fn a_dropped_responder_takes_its_device_along_also_with_replies_under_way() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(ms(3_600_000))).build();
    let device = far.ifname().to_owned();
    let _pinging = lab.router.start(&["ping", "-n", "-c", "1", TARGETS[0]], &lab.dir().join("ping"));
    let waiting = || (far.log().all().waiting() == 1).then_some(());
    assert!(process::poll(process::LIMIT, waiting).is_some());
    assert!(has_device(&lab.router, &device));
    drop(far);
    // A program that another test starts at this moment may hold the device until it has started.
    let gone = || (!has_device(&lab.router, &device)).then_some(());
    assert!(process::poll(process::LIMIT, gone).is_some());
}
