//! Ports, as a plain connect() finds them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::lab::responder::{Error, Fate, Flaw, Kind, Port, Responder, Rule};
use super::lab::{Node, process};
use super::{TARGETS, ip, lab, ms};

fn connect(node: &Node, target: &str, port: u16, limit: Duration) -> Result<(), ErrorKind> {
    let address = SocketAddr::new(ip(target), port);
    node.enter(|| TcpStream::connect_timeout(&address, limit).map(drop).map_err(|error| error.kind()))
}

#[test]
fn open_ports_accept_closed_ones_refuse_and_filtered_ones_are_silent() {
    let lab = lab();
    let rule = Rule::new().port(81, Port::Closed).port(82, Port::Filtered);
    let far = Responder::builder(&lab.router).rule(rule).build();
    for target in TARGETS {
        assert_eq!(connect(&lab.router, target, 80, process::LIMIT), Ok(()));
        assert_eq!(connect(&lab.router, target, 81, process::LIMIT), Err(ErrorKind::ConnectionRefused));
        assert_eq!(connect(&lab.router, target, 82, ms(100)), Err(ErrorKind::TimedOut));
        let log = far.log();
        let seen = log.to(ip(target));
        assert_eq!((seen.syns(80).count(), seen.syns(80).sent(Kind::SynAck)), (1, 1));
        assert_eq!((seen.syns(81).count(), seen.syns(81).sent(Kind::Reset)), (1, 1));
        assert_eq!(seen.syns(82).requests[0].fate, Fate::Silent);
        assert_eq!((seen.echoes().count(), seen.resets()), (0, 0));
        assert_eq!((seen.syns(80).delays().count(), seen.syns(82).delays().count()), (1, 0));
    }
}

#[test]
fn other_ports_are_closed_where_the_rule_says_so() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    far.rule(ip(TARGETS[0]), Rule::new().port(443, Port::Open).other_ports(Port::Closed));
    assert_eq!(connect(&lab.router, TARGETS[0], 443, process::LIMIT), Ok(()));
    assert_eq!(connect(&lab.router, TARGETS[0], 444, process::LIMIT), Err(ErrorKind::ConnectionRefused));
    assert_eq!(connect(&lab.router, TARGETS[1], 444, process::LIMIT), Ok(()));
}

#[test]
fn a_lost_syn_ack_is_sent_again_a_second_later() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().syn_ack_lost_every(1)).build();
    for target in TARGETS {
        assert_eq!(connect(&lab.router, target, 80, process::LIMIT), Ok(()));
        let log = far.settled();
        let first = log.to(ip(target)).requests[0];
        assert!(first.replies[0].retransmitted && first.delay() >= Some(1_000_000_000), "{first:?}");
    }
}

#[test]
fn what_does_not_belong_to_the_syn_is_reset_and_counted() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    for flaw in [Flaw::Port, Flaw::Acknowledged] {
        far.default_rule(Rule::new().flawed(flaw));
        far.forget();
        for target in TARGETS {
            assert_eq!(connect(&lab.router, target, 80, ms(100)), Err(ErrorKind::TimedOut), "{flaw:?}");
            let log = far.log();
            let seen = log.to(ip(target));
            assert!(seen.count() >= 1 && seen.flawed() == seen.count(), "{flaw:?} {log:?}");
            assert_eq!((seen.resets(), seen.delays().count()), (seen.count(), 0), "{flaw:?} {log:?}");
        }
    }
}

#[test]
fn an_error_ends_a_connect_and_a_datagram_has_no_other_answer() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    for target in TARGETS {
        let bind = if ip(target).is_ipv4() { ip("0.0.0.0") } else { ip("::") };
        let socket = lab.router.udp_socket(bind, 0);
        socket.connect((ip(target), 33_434)).unwrap();
        far.default_rule(Rule::new());
        socket.send(b"anybody?").unwrap();
        assert_eq!(far.log().to(ip(target)).requests[0].fate, Fate::Silent);

        far.default_rule(Rule::new().error(Error::v4(3, 3)).error(Error::v6(1, 4)));
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // Where the queues of this machine's processors are full, which all namespaces share, an error may get lost.
        let refused = process::poll(process::LIMIT, || {
            // A refusal may also be told by the next attempt to send.
            let sent = socket.send(b"anybody?").err();
            let why = sent.unwrap_or_else(|| socket.recv(&mut [0; 9]).unwrap_err()).kind();
            assert!([ErrorKind::ConnectionRefused, ErrorKind::WouldBlock].contains(&why), "{why:?}");
            (why == ErrorKind::ConnectionRefused).then_some(())
        });
        assert!(refused.is_some(), "{target} does not refuse");
        assert_eq!(connect(&lab.router, target, 80, process::LIMIT), Err(ErrorKind::ConnectionRefused));
    }
}
