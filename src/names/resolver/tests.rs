use std::net::Ipv4Addr;

use super::*;
use crate::names::dns::query;
use crate::names::flight::PATIENCE;
use crate::names::flight::tests::Server;

/// The answer to a question, with this code and perhaps a name.
fn answer(question: &[u8], code: u8, name: Option<&[u8]>) -> Vec<u8> {
    let mut message = question.to_vec();
    (message[2], message[3]) = (0x81, 0x80 | code);
    if let Some(name) = name {
        message[7] = 1;
        message.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, name.len() as u8]);
        message.extend(name);
    }
    message
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(ReverseDns { servers: servers.to_vec(), resolv_conf: "/nonexistent".into() })
}

fn addr(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

/// Takes the step that `work` takes before it waits.
fn step(resolver: &mut Resolver) {
    resolver.receive(Instant::now());
    resolver.send(Instant::now());
}

/// Has the resolver work until something has become known, or nothing is under way.
fn settle(resolver: &mut Resolver) {
    smol::block_on(async {
        loop {
            step(resolver);
            if resolver.flights.is_empty() {
                return;
            }
            resolver.wait().await;
        }
    });
}

const NAS: &[u8] = b"\x03nas\x03lan\x00";

#[test]
fn a_name_becomes_known_and_work_says_so() {
    let server = Server::new();
    let mut resolver = resolver(&[server.addr()]);
    resolver.want(addr(1), Instant::now());
    step(&mut resolver);
    let (question, from) = server.question();
    assert_eq!(question[2..], query(0, &addr(1))[2..]);
    server.0.send_to(&answer(&question, 0, Some(NAS)), from).unwrap();
    smol::block_on(resolver.work());
    assert_eq!(resolver.name(&addr(1)), Some("nas"));
    assert_eq!(resolver.name(&addr(2)), None);
}

#[test]
fn work_that_is_dropped_goes_on_where_it_was() {
    let server = Server::new();
    let mut resolver = resolver(&[server.addr()]);
    resolver.want(addr(1), Instant::now());
    // Polled once, it has asked; then it is dropped, as at a collection.
    assert!(smol::block_on(smol::future::poll_once(resolver.work())).is_none());
    let (question, from) = server.question();
    server.0.send_to(&answer(&question, 0, Some(NAS)), from).unwrap();
    smol::block_on(resolver.work());
    assert_eq!(resolver.name(&addr(1)), Some("nas"));
    assert!(server.is_idle());
}

#[test]
fn an_answer_that_was_not_asked_for_or_is_garbage_is_ignored() {
    let (server, other) = (Server::new(), Server::new());
    let mut resolver = resolver(&[server.addr()]);
    resolver.want(addr(1), Instant::now());
    step(&mut resolver);
    let (question, from) = server.question();
    let forged = answer(&question, 0, Some(b"\x06forged\x00"));
    // From another port; with another number; for another address; without sense.
    other.0.send_to(&forged, from).unwrap();
    let number = [&[!forged[0]], &forged[1..]].concat();
    let address = [&forged[..13], b"2", &forged[14..]].concat();
    for message in [&number[..], &address, b"", b"garbage", &forged[..40], &[0xff; 512], &question] {
        server.0.send_to(message, from).unwrap();
    }
    server.0.send_to(&answer(&question, 0, Some(NAS)), from).unwrap();
    smol::block_on(resolver.work());
    assert_eq!(resolver.name(&addr(1)), Some("nas"));
}

#[test]
fn a_server_that_fails_refuses_or_does_not_listen_is_followed_by_the_next() {
    let (bad, good) = (Server::new(), Server::new());
    let closed = Server::new().addr();
    for code in [2, 5] {
        let mut resolver = resolver(&[bad.addr(), good.addr()]);
        resolver.want(addr(1), Instant::now());
        step(&mut resolver);
        let (question, from) = bad.question();
        bad.0.send_to(&answer(&question, code, None), from).unwrap();
        while resolver.flights.iter().all(|flight| flight.server == 0) {
            smol::block_on(resolver.wait());
            step(&mut resolver);
        }
        let (again, from) = good.question();
        assert_ne!((again[0], again[1]), (question[0], question[1]));
        good.0.send_to(&answer(&again, 0, Some(NAS)), from).unwrap();
        smol::block_on(resolver.work());
        assert_eq!((resolver.name(&addr(1)), resolver.first), (Some("nas"), 1));
    }
    let mut resolver = resolver(&[closed, good.addr()]);
    resolver.want(addr(1), Instant::now());
    while resolver.flights.iter().all(|flight| flight.server == 0) {
        step(&mut resolver);
    }
    let (question, from) = good.question();
    good.0.send_to(&answer(&question, 3, None), from).unwrap();
    settle(&mut resolver);
    assert!(resolver.name(&addr(1)).is_none() && resolver.known[&addr(1)].is_answer);
    // The one that answered is asked first from now on.
    resolver.want(addr(2), Instant::now());
    step(&mut resolver);
    assert_eq!(resolver.flights[0].server, 1);
}

#[test]
fn few_are_asked_at_a_time_and_few_wait() {
    let server = Server::new();
    let mut resolver = resolver(&[server.addr()]);
    let now = Instant::now();
    for n in 0..1000 {
        resolver.want(addr(n), now);
        resolver.want(addr(n), now);
    }
    assert_eq!(resolver.queue.len(), MAX_QUEUE);
    step(&mut resolver);
    assert_eq!((resolver.queue.len(), resolver.flights.len()), (MAX_QUEUE - MAX_FLIGHTS, MAX_FLIGHTS));
    resolver.want(addr(0), now);
    assert!(!resolver.queue.contains(&addr(0)), "it is being asked");
    let ports: std::collections::BTreeSet<_> = (0..MAX_FLIGHTS).map(|_| server.question().1).collect();
    assert_eq!(ports.len(), MAX_FLIGHTS);
    assert!(server.is_idle());
}

#[test]
fn what_is_known_is_not_asked_again_for_a_while() {
    let mut resolver = resolver(&[]);
    let now = Instant::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    resolver.record(addr(1), 0, Some("nas".into()), now);
    resolver.record(addr(2), 0, None, now);
    let mut asks = |n: u32, seconds: u64| {
        resolver.queue.clear();
        resolver.want(addr(n), later(seconds));
        !resolver.queue.is_empty()
    };
    assert!(!asks(1, 3599) && asks(1, 3600));
    assert!(!asks(2, 599) && asks(2, 600));
    assert!(asks(3, 0));
    assert_eq!(resolver.name(&addr(1)), Some("nas"), "until it is known better");
    resolver.nobody_answers(addr(1), later(3600));
    assert_eq!(resolver.name(&addr(1)), Some("nas"));
    resolver.news = false;
    resolver.record(addr(1), 0, Some("nas".into()), later(3601));
    assert!(!resolver.news);
    resolver.record(addr(1), 0, Some("backup".into()), later(3602));
    assert!(resolver.news);
    resolver.record(addr(1), 0, None, later(3603));
    assert_eq!(resolver.name(&addr(1)), None);
}

#[test]
fn while_no_server_answers_nobody_is_asked_for_a_minute_at_a_time() {
    let mut resolver = resolver(&[Server::new().addr()]);
    let now = Instant::now();
    (0..100).for_each(|n| resolver.want(addr(n), now));
    settle(&mut resolver);
    assert!(resolver.queue.is_empty() && resolver.unanswered >= MAX_FLIGHTS);
    resolver.want(addr(200), Instant::now());
    assert!(resolver.queue.is_empty());
    resolver.want(addr(200), Instant::now() + REST);
    assert_eq!(resolver.queue.len(), 1);
    resolver.queue.clear();
    resolver.answers_come(Instant::now());
    resolver.want(addr(0), Instant::now());
    assert_eq!(resolver.queue, [addr(0)], "what went unanswered is asked at once");
}

#[test]
fn a_silent_server_costs_its_time_and_no_more() {
    let (silent, good) = (Server::new(), Server::new());
    let mut resolver = resolver(&[silent.addr(), good.addr()]);
    resolver.want(addr(1), Instant::now());
    step(&mut resolver);
    let sent = resolver.flights[0].deadline - PATIENCE;
    let answers = std::thread::spawn(move || {
        let (question, from) = good.question();
        good.0.send_to(&answer(&question, 0, Some(NAS)), from).unwrap();
    });
    smol::block_on(resolver.work());
    answers.join().unwrap();
    assert!(sent.elapsed() >= PATIENCE);
    assert_eq!(resolver.name(&addr(1)), Some("nas"));
}

#[test]
fn no_more_is_known_than_the_limit() {
    let mut resolver = resolver(&[]);
    let now = Instant::now();
    let all = MAX_KNOWN as u32;
    (0..all + 10).for_each(|n| resolver.record(addr(n), 0, None, now));
    assert_eq!(resolver.known.len(), MAX_KNOWN);
    resolver.want(addr(all), now);
    assert!(resolver.queue.is_empty(), "there is no room for its answer");
    resolver.want(addr(all), now + NAMELESS);
    assert_eq!(resolver.queue.len(), 1);
    resolver.record(addr(all), 0, Some("nas".into()), now + NAMELESS);
    assert_eq!((resolver.known.len(), resolver.name(&addr(all))), (1, Some("nas")));
}
