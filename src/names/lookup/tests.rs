use std::fs;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;
use crate::names::flight::PATIENCE;
use crate::names::flight::tests::Server;

/// A lookup that asks these servers and knows no file.
fn lookup(servers: &[SocketAddr]) -> Lookup {
    let none = || "/nonexistent".into();
    Lookup::new(Sources { servers: servers.to_vec(), resolv_conf: none(), hosts: none() })
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn addrs(all: &[&str]) -> Vec<IpAddr> {
    all.iter().map(|addr| addr.parse().unwrap()).collect()
}

/// The answer to a question, with this code and these addresses of its family, which hold a minute.
fn answer(question: &[u8], code: u8, addrs: &[&str]) -> Vec<u8> {
    let mut message = question.to_vec();
    (message[2], message[3], message[7]) = (0x81, 0x80 | code, addrs.len() as u8);
    for addr in addrs {
        let (kind, octets) = match addr.parse().unwrap() {
            IpAddr::V4(addr) => (1, addr.octets().to_vec()),
            IpAddr::V6(addr) => (28, addr.octets().to_vec()),
        };
        message.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, octets.len() as u8]);
        message.extend(octets);
    }
    message
}

/// Answers the next question, which must be for this name and type.
fn serve(server: &Server, name: &str, kind: u8, code: u8, addrs: &[&str]) {
    let (question, from) = server.question();
    let wire: Vec<u8> = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    assert_eq!(question[12..], [&wire[..], &[0, 0, kind, 0, 1]].concat(), "{}", String::from_utf8_lossy(&question));
    server.0.send_to(&answer(&question, code, addrs), from).unwrap();
}

/// Polls once, as the task does before it waits.
fn step(lookup: &mut Lookup, now: Instant) -> bool {
    lookup.poll_work(&mut Context::from_waker(Waker::noop()), now).is_ready()
}

/// Works until something has become known.
fn work(lookup: &mut Lookup) {
    smol::block_on(poll_fn(|cx| lookup.poll_work(cx, Instant::now())));
}

/// Works until nothing is under way, with the other side of the conversation beside it.
fn settle(lookup: &mut Lookup, others: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(others);
        smol::block_on(poll_fn(|cx| {
            while lookup.poll_work(cx, Instant::now()).is_ready() {}
            if lookup.jobs.is_empty() && lookup.queue.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// Has a name asked for, whatever is known of it.
fn again(lookup: &mut Lookup, name: &HostName, families: Families) {
    lookup.entries.iter_mut().for_each(|(_, entry)| entry.until = Instant::now());
    assert!(lookup.want(name, families, Instant::now()));
}

const V4: Families = Families::V4;
const BOTH: Families = Families::Both;
const A: u8 = 1;
const AAAA: u8 = 28;

#[test]
fn the_addresses_of_both_families_become_known_in_one_piece() {
    let server = Server::new();
    let mut lookup = lookup(&[server.addr()]);
    let name = host("www.example.org");
    assert!(lookup.want(&name, BOTH, Instant::now()));
    assert!(!step(&mut lookup, Instant::now()));
    serve(&server, "www.example.org", A, 0, &["192.0.2.9", "192.0.2.1"]);
    assert_eq!(lookup.get(&name, BOTH), None);
    serve(&server, "www.example.org", AAAA, 0, &["2001:db8::1"]);
    work(&mut lookup);
    let known = lookup.get(&host("WWW.example.ORG"), BOTH).unwrap();
    assert_eq!(*known, Known { addrs: addrs(&["192.0.2.9", "192.0.2.1", "2001:db8::1"]), trouble: None });
    assert_eq!(lookup.get(&name, V4), None, "it was not wanted by that family alone");
    assert_eq!((lookup.flights.len(), lookup.jobs.len()), (0, 0));
}

#[test]
fn what_holds_is_not_asked_again_within_the_bounds_of_its_time() {
    let mut lookup = lookup(&[Server::new().addr()]);
    let (name, now) = (host("a.b"), Instant::now());
    let key = Key { name: name.clone(), families: V4 };
    for (ttl, holds) in [(0, 30), (29, 30), (31, 31), (299, 299), (301, 300), (u32::MAX, 300)] {
        lookup.entries.insert(key.clone(), Entry { known: None, until: now, wanted: now });
        let mut job = Job::new(key.clone(), vec![name.clone()]);
        assert_eq!(job.step(), Step::Ask(name.clone()));
        job.take(Family::V4, Ok((addrs(&["10.0.0.1"]), ttl)));
        lookup.advance(job, now);
        let mut asks = |seconds| {
            lookup.queue.clear();
            assert!(lookup.want(&name, V4, now + Duration::from_secs(seconds)));
            !lookup.queue.is_empty()
        };
        assert_eq!((asks(holds - 1), asks(holds)), (false, true), "{ttl}");
    }
}

#[test]
fn a_lack_and_a_failure_hold_for_half_a_minute() {
    let server = Server::new();
    let name = host("gone.example.");
    for (code, trouble) in
        [(3, Trouble::NoSuchName), (0, Trouble::NoAddress(V4)), (2, Trouble::Failed(2)), (5, Trouble::Failed(5))]
    {
        let mut lookup = lookup(&[server.addr()]);
        let now = Instant::now();
        lookup.want(&name, V4, now);
        // The only server is asked once more if it failed.
        let times = if matches!(trouble, Trouble::Failed(_)) { 2 } else { 1 };
        settle(&mut lookup, || (0..times).for_each(|_| serve(&server, "gone.example", A, code, &[])));
        let known = lookup.get(&name, V4).unwrap();
        assert_eq!((&known.addrs[..], known.trouble.as_ref(), known.is_stale()), (&[][..], Some(&trouble), false));
        let until = lookup.entries.values().next().unwrap().until;
        assert!(until >= now + MIN_HOLD && until <= Instant::now() + MIN_HOLD);
    }
}

#[test]
fn a_name_is_searched_in_the_domains_of_resolv_conf() {
    let server = Server::new();
    let path = std::env::temp_dir().join(format!("gatemeter-lookup-{}", std::process::id()));
    fs::write(&path, "search home.arpa lan\n").unwrap();
    let sources = Sources { servers: vec![server.addr()], resolv_conf: path.clone(), hosts: "/nonexistent".into() };
    let mut lookup = Lookup::new(sources);
    lookup.want(&host("nas"), BOTH, Instant::now());
    settle(&mut lookup, || {
        serve(&server, "nas.home.arpa", A, 3, &[]);
        serve(&server, "nas.home.arpa", AAAA, 3, &[]);
        serve(&server, "nas.lan", A, 0, &[]);
        serve(&server, "nas.lan", AAAA, 0, &["fd00::1"]);
    });
    assert_eq!(*lookup.get(&host("nas"), BOTH).unwrap(), Known { addrs: addrs(&["fd00::1"]), trouble: None });
    lookup.want(&host("a.b"), V4, Instant::now());
    settle(&mut lookup, || {
        serve(&server, "a.b", A, 3, &[]);
        serve(&server, "a.b.home.arpa", A, 0, &[]);
        serve(&server, "a.b.lan", A, 3, &[]);
    });
    assert_eq!(lookup.get(&host("a.b"), V4).unwrap().trouble, Some(Trouble::NoAddress(V4)));
    lookup.want(&host("a."), V4, Instant::now());
    settle(&mut lookup, || serve(&server, "a", A, 0, &["10.0.0.1"]));
    assert!(server.is_idle());
    fs::remove_file(path).unwrap();
}

#[test]
fn addresses_go_on_being_told_when_they_cannot_be_asked_for_again_and_end_when_dns_says_so() {
    let server = Server::new();
    let mut lookup = lookup(&[server.addr()]);
    let name = host("a.b");
    lookup.want(&name, BOTH, Instant::now());
    settle(&mut lookup, || {
        serve(&server, "a.b", A, 0, &["10.0.0.1"]);
        serve(&server, "a.b", AAAA, 0, &["fd00::1"]);
    });
    again(&mut lookup, &name, BOTH);
    // One family changes, the other one fails twice.
    settle(&mut lookup, || {
        serve(&server, "a.b", A, 0, &["10.0.0.2"]);
        serve(&server, "a.b", AAAA, 2, &[]);
        serve(&server, "a.b", AAAA, 2, &[]);
    });
    let known = lookup.get(&name, BOTH).unwrap();
    assert_eq!(*known, Known { addrs: addrs(&["10.0.0.2", "fd00::1"]), trouble: Some(Trouble::Failed(2)) });
    assert!(known.is_stale());
    again(&mut lookup, &name, BOTH);
    settle(&mut lookup, || {
        serve(&server, "a.b", A, 3, &[]);
        serve(&server, "a.b", AAAA, 3, &[]);
    });
    assert_eq!(*lookup.get(&name, BOTH).unwrap(), Known { addrs: Vec::new(), trouble: Some(Trouble::NoSuchName) });
}

#[test]
fn a_silent_server_costs_its_time_and_the_next_one_is_asked() {
    let (silent, good) = (Server::new(), Server::new());
    let mut lookup = lookup(&[silent.addr(), good.addr()]);
    let (name, now) = (host("a.b"), Instant::now());
    lookup.want(&name, V4, now);
    assert!(!step(&mut lookup, now));
    assert!(!step(&mut lookup, now + PATIENCE - Duration::from_millis(1)));
    assert!(good.is_idle());
    assert!(!step(&mut lookup, now + PATIENCE));
    serve(&good, "a.b", A, 0, &["10.0.0.1"]);
    work(&mut lookup);
    assert_eq!(lookup.get(&name, V4).unwrap().addrs, addrs(&["10.0.0.1"]));
    // The one that answered is asked first from now on.
    again(&mut lookup, &name, V4);
    settle(&mut lookup, || serve(&good, "a.b", A, 0, &["10.0.0.1"]));
}

#[test]
fn the_third_server_gets_its_turn_when_the_first_two_are_dead() {
    let good = Server::new();
    let mut lookup = lookup(&[Server::new().addr(), Server::new().addr(), good.addr()]);
    let name = host("a.b");
    lookup.want(&name, V4, Instant::now());
    settle(&mut lookup, || ());
    let Some(Trouble::Unanswered(servers)) = &lookup.get(&name, V4).unwrap().trouble else { panic!("{lookup:?}") };
    assert!(servers.ends_with(&good.addr().to_string()));
    again(&mut lookup, &name, V4);
    settle(&mut lookup, || serve(&good, "a.b", A, 0, &["10.0.0.1"]));
    assert_eq!(*lookup.get(&name, V4).unwrap(), Known { addrs: addrs(&["10.0.0.1"]), trouble: None });
}

#[test]
fn forged_answers_and_garbage_are_ignored() {
    let (server, other) = (Server::new(), Server::new());
    let mut lookup = lookup(&[server.addr()]);
    lookup.want(&host("a.b"), V4, Instant::now());
    step(&mut lookup, Instant::now());
    let (question, from) = server.question();
    let forged = answer(&question, 0, &["6.6.6.6"]);
    other.0.send_to(&forged, from).unwrap();
    let number = [&[!forged[0]], &forged[1..]].concat();
    let name = [&forged[..13], b"x", &forged[14..]].concat();
    let kind = [&forged[..18], &[28], &forged[19..]].concat();
    for message in [&number[..], &name, &kind, b"", b"garbage", &forged[..30], &[0xff; 512], &question] {
        server.0.send_to(message, from).unwrap();
    }
    server.0.send_to(&answer(&question, 0, &["10.0.0.1"]), from).unwrap();
    work(&mut lookup);
    assert_eq!(lookup.get(&host("a.b"), V4).unwrap().addrs, addrs(&["10.0.0.1"]));
}

#[test]
fn hosts_localhost_and_literal_addresses_are_answered_without_dns() {
    let server = Server::new();
    let path = std::env::temp_dir().join(format!("gatemeter-lookup-hosts-{}", std::process::id()));
    fs::write(&path, "10.0.0.9 nas nas.lan\nfd00::9 nas\n10.0.0.8 nas\n").unwrap();
    let sources = Sources { servers: vec![server.addr()], resolv_conf: "/nonexistent".into(), hosts: path.clone() };
    let mut lookup = Lookup::new(sources);
    let now = Instant::now();
    for (name, families, expected) in [
        ("NAS.", BOTH, &["10.0.0.9", "10.0.0.8", "fd00::9"][..]),
        ("nas", Families::V6, &["fd00::9"]),
        ("localhost", BOTH, &["127.0.0.1", "::1"]),
        ("a.localhost", V4, &["127.0.0.1"]),
        ("192.0.2.1", BOTH, &["192.0.2.1"]),
    ] {
        assert!(lookup.want(&host(name), families, now));
        assert!(step(&mut lookup, now), "{name}");
        assert_eq!(*lookup.get(&host(name), families).unwrap(), Known { addrs: addrs(expected), trouble: None });
    }
    assert!(server.is_idle());
    fs::write(&path, "10.0.0.10 nas\n").unwrap();
    lookup.want(&host("nas."), BOTH, now + MIN_HOLD);
    assert!(step(&mut lookup, now + MIN_HOLD));
    assert_eq!(lookup.get(&host("nas."), BOTH).unwrap().addrs, addrs(&["10.0.0.10"]));
    fs::remove_file(path).unwrap();
    // Gone from the file, it is asked for.
    lookup.want(&host("nas."), V4, now + MIN_HOLD);
    step(&mut lookup, now + MIN_HOLD);
    serve(&server, "nas", A, 3, &[]);
}

#[test]
fn names_and_questions_are_bounded() {
    let server = Server::new();
    let mut lookup = lookup(&[server.addr()]);
    let now = Instant::now();
    let name = |n: usize| host(&format!("host{n}.example."));
    for n in 0..MAX_NAMES {
        assert!(lookup.want(&name(n), BOTH, now) && lookup.want(&name(n), BOTH, now));
    }
    assert!(!lookup.want(&name(MAX_NAMES), BOTH, now));
    assert!(lookup.want(&name(0), BOTH, now), "one that is there has its place");
    step(&mut lookup, now);
    assert_eq!((lookup.jobs.len(), lookup.flights.len()), (MAX_JOBS, 2 * MAX_JOBS));
    assert_eq!(lookup.queue.len(), MAX_NAMES - MAX_JOBS);
    lookup.queue.clear();
    let later = now + IDLE;
    for n in 0..MAX_NAMES / 2 {
        lookup.entries.get_mut(&Key { name: name(n), families: BOTH }).unwrap().wanted = later;
    }
    for n in MAX_NAMES..MAX_NAMES + MAX_NAMES / 2 {
        assert!(lookup.want(&name(n), BOTH, later), "{n}");
    }
    assert_eq!((lookup.entries.len(), lookup.queue.len()), (MAX_NAMES, MAX_NAMES / 2));
    assert!(!lookup.want(&name(1000), BOTH, later), "all are wanted");
    let is_there = |n| lookup.entries.contains_key(&Key { name: name(n), families: BOTH });
    assert!(is_there(0) && is_there(MAX_NAMES / 2 - 1) && !is_there(MAX_NAMES / 2));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_name_that_is_wanted_wakes_the_task_and_idleness_does_not() {
    let mut lookup = lookup(&[Server::new().addr()]);
    let count = Arc::new(Count::default());
    let (waker, now) = (Arc::clone(&count).into(), Instant::now());
    let poll = |lookup: &mut Lookup| lookup.poll_work(&mut Context::from_waker(&waker), now).is_ready();
    assert!(!poll(&mut lookup));
    assert!(lookup.timer.is_none());
    let woken = || count.0.load(Ordering::Relaxed);
    assert_eq!(woken(), 0);
    lookup.want(&host("localhost"), V4, now);
    assert_eq!(woken(), 1);
    assert!(poll(&mut lookup), "it is news");
    assert!(!poll(&mut lookup));
    lookup.want(&host("localhost"), V4, now);
    assert_eq!(woken(), 1, "it is known");
    lookup.want(&host("localhost"), V4, now + MIN_HOLD);
    assert_eq!(woken(), 2);
    assert!(!poll(&mut lookup), "it is no news");
}
