//! What requests are refused with, and that clients get to read it.

use crate::client::{Client, get};
use crate::server::{Running, page};

#[test]
fn each_malformed_request_gets_its_status_and_an_orderly_close() {
    let server = Running::new();
    let host = "Host: a\r\n\r\n";
    let cases: [(String, u16); 18] = [
        (format!("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n{host}abc"), 405),
        (format!("OPTIONS * HTTP/1.1\r\n{host}"), 405),
        (format!("BREW / HTTP/1.1\r\n{host}"), 501),
        (format!("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{host}0\r\n\r\n"), 501),
        (format!("GET / HTTP/3.0\r\n{host}"), 505),
        (format!("GET /% HTTP/1.1\r\n{host}"), 400),
        (format!("GET /?a=%ff HTTP/1.1\r\n{host}"), 400),
        (format!("GET /%00 HTTP/1.1\r\n{host}"), 400),
        (format!("GET / HTTP/1.1\r\nno colon\r\n{host}"), 400),
        (format!("GET / HTTP/1.1\r\nX : 1\r\n{host}"), 400),
        (format!("GET / HTTP/1.1\r\nX: 1\r\n folded\r\n{host}"), 400),
        (format!("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 1\r\n{host}x"), 400),
        (format!("GET / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n{host}"), 413),
        (format!("GET / HTTP/1.1\r\nExpect: miracles\r\n{host}"), 417),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET /\r\n\r\n".into(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}".into(), 400),
        (format!("GET /{} HTTP/1.1\r\n{host}", "a".repeat(5000)), 414),
    ];
    for (request, status) in cases {
        let mut client = Client::new(server.v4());
        client.send(&request);
        let response = client.response().unwrap_or_else(|| panic!("no reply to {request:?}"));
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.header("Connection"), Some("close"));
        assert_eq!(response.header("Allow"), (status == 405).then_some("GET, HEAD"));
        client.assert_closed();
    }
}

#[test]
fn a_megabyte_of_header_is_refused_and_the_refusal_can_be_read() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(1_000_000)));
    assert_eq!(client.response().unwrap().status, 431);
    client.assert_closed();
    let mut client = Client::new(server.v4());
    client.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1_000_000)));
    assert_eq!(client.response().unwrap().status, 414);
    client.assert_closed();
    let mut client = Client::new(server.v4());
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a:\r\n".repeat(1000)));
    assert_eq!(client.response().unwrap().status, 431);
    client.assert_closed();
}

#[test]
fn a_request_that_is_refused_does_not_spoil_those_before_it() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    client.send("GET /echo?a=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /% HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\n");
    assert_eq!(client.response().unwrap().text(), "a=1; from 127.0.0.1 by nobody\n");
    assert_eq!(client.response().unwrap().status, 400);
    client.assert_closed();
}

#[test]
fn a_head_that_does_not_end_in_time_is_told_so() {
    let server = Running::with("head_ms=2000");
    let mut client = Client::new(server.v4());
    assert_eq!(client.get("/echo", "").status, 200);
    client.send("GET /echo HTTP/1.1\r\n");
    assert_eq!(client.response().unwrap().status, 408);
    client.assert_closed();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Running::with("idle_ms=2000");
    Client::new(server.v4()).assert_closed();
    let mut client = Client::new(server.v4());
    assert_eq!(client.get("/echo", "").status, 200);
    client.assert_closed();
}

#[test]
fn a_reader_that_takes_nothing_is_reset() {
    let server = Running::with("write_ms=200");
    let mut client = Client::new(server.v4());
    for _ in 0..8 {
        client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    client.wait_for_reset();
    server.wait_for_sockets(1);
    assert_eq!(get(server.v4(), "/metrics").text(), page());
}

#[test]
fn only_addresses_on_the_allow_list_get_a_page() {
    let server = Running::with("allow=192.0.2.0/24 allow=127.0.0.0/8");
    assert_eq!(get(server.v4(), "/metrics").text(), page());
    let mut client = Client::new(server.v6());
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response().unwrap();
    assert_eq!((response.status, response.text()), (403, "this address is not on the allow list\n"));
    client.assert_closed();
}
