//! What well-behaved clients get.

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use flate2::read::GzDecoder;

use crate::client::{Client, get};
use crate::server::{BIG, Running, page};
use crate::wait::{LIMIT, poll};

/// What Prometheus 2.42 sends with a scrape.
const PROMETHEUS: &str = "User-Agent: Prometheus/2.42.0\r\nAccept: application/openmetrics-text;version=1.0.0,\
    application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\
    Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n";

#[test]
fn a_page_comes_in_the_form_that_the_scraper_wants() {
    let server = Running::new();
    let mut client = Client::new(server.v4());

    let plain = client.get("/metrics", "");
    assert_eq!((plain.status, plain.version.as_str()), (200, "HTTP/1.1"));
    assert_eq!(plain.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(plain.header("Server"), Some(concat!("gatemeter/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(plain.header("Vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(plain.text(), page());

    let packed = client.get("/metrics", PROMETHEUS);
    assert_eq!(packed.header("Content-Type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(packed.body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, page());
    println!("{} bytes, {} with gzip", plain.body.len(), packed.body.len());
}

#[test]
fn head_gets_the_headers_of_get() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    for headers in ["", PROMETHEUS] {
        let get = client.get("/metrics", headers);
        client.send(format!("HEAD /metrics HTTP/1.1\r\nHost: test\r\n{headers}\r\n"));
        let head = client.head().unwrap();
        let dateless = |headers: &[(String, String)]| {
            headers.iter().filter(|(name, _)| name != "Date").cloned().collect::<Vec<_>>()
        };
        assert_eq!(dateless(&head.headers), dateless(&get.headers));
    }
    // The next reply comes right after the head: no body was sent.
    assert_eq!(client.get("/echo?a=1", "").status, 200);
    client.send("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 400);
    client.assert_closed();
}

#[test]
fn a_hundred_pipelined_requests_are_answered_in_order() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    let requests: String = (0..100)
        .map(|n| {
            let page = if n % 10 == 0 { "metrics" } else { "echo" };
            format!("\r\nGET /{page}?n={n} HTTP/1.1\r\nHost: test\r\nUser-Agent: pipeline/{n}\r\n\r\n")
        })
        .collect();
    client.send(requests);
    for n in 0..100 {
        let response = client.response().unwrap();
        let expected = if n % 10 == 0 { page() } else { format!("n={n}; from 127.0.0.1 by pipeline/{n}\n") };
        assert_eq!(response.text(), expected);
    }
}

#[test]
fn http_1_0_is_closed_after_the_reply_unless_the_client_asks() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    client.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let first = client.response().unwrap();
    assert_eq!((first.version.as_str(), first.header("Connection")), ("HTTP/1.0", Some("keep-alive")));
    client.send("GET /echo HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().unwrap().header("Connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn a_client_that_has_closed_its_side_still_gets_its_replies() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    client.send("GET /wait?ms=50 HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    client.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().unwrap().text(), "waited\n");
    assert_eq!(client.response().unwrap().body.len(), BIG);
    client.assert_closed();
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    for byte in b"GET /echo?x=%41 HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.response().unwrap().text(), "x=A; from 127.0.0.1 by nobody\n");
}

#[test]
fn ipv4_and_ipv6_clients_are_told_apart_on_one_socket() {
    let server = Running::new();
    assert_eq!(get(server.v4(), "/echo").text(), " from 127.0.0.1 by nobody\n");
    assert_eq!(get(server.v6(), "/echo").text(), " from ::1 by nobody\n");
}

#[test]
fn every_reply_is_counted_under_its_label() {
    let server = Running::new();
    get(server.v4(), "/metrics");
    get(server.v4(), "/metrics?x=1");
    get(server.v4(), "/made/up/1");
    get(server.v4(), "/made/up/2");
    Client::new(server.v4()).get("/%", "");
    assert_eq!(get(server.v4(), "/replies").text(), "/metrics 200 2\nother 400 1\nother 404 2\n");
}

#[test]
fn a_page_that_panics_or_hangs_harms_no_other() {
    let server = Running::with("handle_ms=300");
    let mut client = Client::new(server.v4());
    assert_eq!(client.get("/panic", "").status, 500);
    assert_eq!(client.get("/wait?ms=600000", "").status, 503);
    assert_eq!(client.get("/metrics", "").text(), page());
    let log = server.log();
    assert!(log.contains("the page \"/panic\" could not be made"), "{log}");
}

#[test]
fn a_stop_lets_replies_under_way_through_and_closes_the_rest() {
    let mut server = Running::new();
    let (mut idle, mut busy) = (Client::new(server.v4()), Client::new(server.v4()));
    idle.get("/echo", "");
    busy.get("/echo", "");
    busy.send("GET /wait?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n");
    let under_way = || (get(server.v4(), "/waiting").text() == "1\n").then_some(());
    assert!(poll(LIMIT, under_way).is_some(), "the request is not read");
    server.stop();
    idle.assert_closed();
    assert_eq!(busy.response().unwrap().text(), "waited\n");
    busy.assert_closed();
    assert_eq!(server.log(), "");
}

/// Runs curl and returns what it prints.
fn curl(args: &[&str], addr: SocketAddr, path: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "60"])
        .args(args)
        .arg(format!("http://{addr}{path}"))
        .output()
        .expect("curl, from the package of that name");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_gets_the_page_in_every_way_it_can_ask() {
    let server = Running::new();
    for addr in [server.v4(), server.v6()] {
        assert_eq!(curl(&[], addr, "/metrics"), page());
        assert_eq!(curl(&["--compressed"], addr, "/metrics"), page());
        assert_eq!(curl(&["--http1.0"], addr, "/metrics"), page());
        assert_eq!(
            curl(&["--globoff"], addr, "/echo?collect[]=a%20b"),
            format!("collect[]=a b; from {} by curl/{}\n", addr.ip(), curl_version())
        );
        let head = curl(&["--head", "--compressed"], addr, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Encoding: gzip\r\n"), "{head}");
    }
}

fn curl_version() -> String {
    let output = Command::new("curl").arg("--version").output().expect("curl, from the package of that name");
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}
