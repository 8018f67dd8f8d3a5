//! DNS that is silent, refuses or talks nonsense: what has no name is shown without one, what has an address is probed, and
//! names come when a server does.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{CLIENTS_UP, Hosts, Lab, Samples, StopOnDrop, expect_both, figures, setup_of};
use crate::harness::Documented;
use crate::lab::dns;

/// A question to what is answered, if anything is.
type Answer = fn(&[u8]) -> Option<Vec<u8>>;

/// Answers every question with what `answer` makes of it until told to stop; nothing where it makes nothing.
fn serve(socket: &UdpSocket, stop: &AtomicBool, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buf = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
        if let Some(reply) = answer(&buf[..len]) {
            let _ = socket.send_to(&reply, from);
        }
    }
}

/// The question as an answer with this code.
fn refuse(question: &[u8], code: u8) -> Option<Vec<u8>> {
    let mut reply = question.to_vec();
    (reply[2], reply[3]) = (0x80 | reply[2], 0x80 | code);
    Some(reply)
}

/// A daemon whose names are to come from `server`, where nobody has them, and from a real one there afterwards.
fn lives_without_names(heading: &str, answer: Option<Answer>) {
    let lab = Lab::builder().hosts(1).nat().build();
    let server: SocketAddr = (lab.router.v4, 5353).into();
    let [dns, probe_dns] = ["clients.dns_server", "probe.dns_server"].map(|option| format!("{option}={server}"));
    let by_address = format!("target.host={}", lab.internet.v4);
    let flags = [
        "-o",
        "clients.reverse_dns=1",
        "-o",
        &dns,
        "-o",
        &probe_dns,
        "-o",
        "probe.unlocked=1",
        "-o",
        "probe.interval=100",
        "-o",
        "target.host=www.example.org",
        "-o",
        &by_address,
        "-o",
        "traffic.unknown_hosts=1",
    ];
    let setup = setup_of(&lab, "traffic,clients,probe").flags(&flags);
    let stop = AtomicBool::new(false);
    let socket = answer.map(|_| lab.router.udp_socket(lab.router.v4, 5353));
    let told = Documented::of(heading);
    let (lab, stop) = (&lab, &stop);
    let daemon = thread::scope(|scope| {
        let _stopping = StopOnDrop(stop);
        if let (Some(socket), Some(answer)) = (socket, answer) {
            scope.spawn(move || serve(&socket, stop, answer));
        }
        let daemon = setup.start();
        daemon.wait_for(CLIENTS_UP, 1.0);
        told.by_daemon(&daemon);
        // Nobody waits for it: packets are counted as they come, and what has an address is probed.
        let sent: Hosts = [figures::mark(lab, lab.host(1))].into_iter().collect();
        expect_both(&daemon, sent);
        let series = format!("icmp_probe_packets_recv_total{{ip=\"{}\"}}", lab.internet.v4);
        daemon.wait_until("answers", |metrics: &Samples| {
            metrics.get(&series).filter(|count| **count >= 20.0).map(|_| ())
        });
        // A question is given two seconds.
        for collector in ["traffic", "clients", "probe"] {
            let took = daemon.metrics()[&format!("gatemeter_collector_duration_seconds{{collector=\"{collector}\"}}")];
            assert!(took < 2.0, "a collection of {collector} took {took} s");
        }
        let check = daemon.setup().run(&["check"]);
        assert_eq!(check.status.code(), Some(0), "{check:?}");
        told.by_check(&check);
        daemon
    });
    let record = format!("--host-record=www.example.org,{}", lab.internet.v4);
    let _server = dns::start(lab, server, &[&record]);
    daemon.wait_for("gatemeter_probe_unresolved_targets", 0.0);
    assert!(!daemon.stderr().contains("ERROR"), "{}", daemon.stderr());
}

#[test]
fn a_silent_name_server_holds_nothing_up() {
    lives_without_names("A silent name server", Some(|_| None));
}

#[test]
fn a_name_server_that_nobody_runs_holds_nothing_up() {
    lives_without_names("No name server", None);
}

#[test]
fn a_name_server_that_refuses_holds_nothing_up() {
    lives_without_names("A name server that refuses", Some(|question| refuse(question, 5)));
}

#[test]
fn a_name_server_that_talks_nonsense_holds_nothing_up() {
    lives_without_names("A name server that talks nonsense", Some(|_| Some(vec![0xff; 300])));
}
