//! Any bytes as a request head, whole and as the connection meets them: nothing panics, and what is let through
//! keeps its promises.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use gatemeter::collectors::probe::request::{Asked, Raw};
use gatemeter::collectors::probe::settings::Host;
use gatemeter::outputs::http::{Exposition, Head, MAX_HEAD, MAX_HEADERS, Query, Request, accepts_gzip, head_end, parse_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Where the end is found may not depend on how the bytes are split over reads.
    let whole = head_end(data, 0);
    let split = data.len() / 2;
    let first = head_end(data.get(..split).unwrap_or_default(), 0);
    assert_eq!(first.or_else(|| head_end(data, split)), whole);

    if let Some(end) = whole {
        check(data.get(..end).unwrap_or_default());
    }
    check(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(query) = Query::parse(text)
    {
        for (key, value) in query.pairs() {
            assert!(!key.contains('\0') || text.contains('\0'));
            assert!(!value.contains('\0') || text.contains('\0'));
        }
    }
});

/// What a request asks of the prober: whom it names can be named, and a refusal is one line.
fn asked(head: &Head) {
    let values = |key| head.query.values(key).collect::<Vec<_>>();
    let (targets, ip_versions, tcp_ports) = (values("target"), values("ip_version"), values("tcp_port"));
    let raw = Raw {
        targets: targets.iter().map(AsRef::as_ref).collect(),
        ip_versions: ip_versions.iter().map(AsRef::as_ref).collect(),
        tcp_ports: tcp_ports.iter().map(AsRef::as_ref).collect(),
        limits: head.headers("x-target-limit").collect(),
    };
    match Asked::read(&raw) {
        Ok(asked) => {
            assert!(!asked.hosts.is_empty() && asked.hosts.len() * asked.ports().len() <= asked.limit);
            for host in asked.hosts {
                assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
        Err(refusal) => assert!(refusal.status == 400 && !refusal.why.contains('\n')),
    }
}

fn check(bytes: &[u8]) {
    match parse_head(bytes) {
        Ok(head) => {
            assert!(bytes.len() <= MAX_HEAD);
            assert!(head.path.starts_with('/') && !head.path.contains('\0'));
            assert!(matches!(head.method.as_str(), "GET" | "HEAD"));
            assert!(head.headers("Transfer-Encoding").next().is_none());
            assert!(head.headers("Host").count() <= MAX_HEADERS);
            asked(&head);
            let request = Request { head, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
            let _ = (Exposition::wanted_by(&request), accepts_gzip(&request), request.is_foreign(), request.is_misled(&[]));
        }
        Err(reject) => assert!(matches!(reject.status, 400 | 405 | 413 | 414 | 417 | 431 | 501 | 505)),
    }
}
