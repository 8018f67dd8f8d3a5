//! Hostile clients in numbers, with a scraper among them that goes on as if they were not there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gatemeter::sys::tcp;

use crate::client::{Client, get};
use crate::server::{Running, page};
use crate::wait::{LIMIT, StopOnDrop, poll};

/// The default limit of open connections, and the listener.
const SOCKETS: usize = 64 + 1;

/// Opens `count` connections that send `bytes` and then nothing.
fn crowd(addr: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_nonblocking(true).unwrap();
            // The server may have closed it already to let the next one in.
            let _ = stream.write(bytes);
            stream
        })
        .collect()
}

fn scrape_times(addr: SocketAddr, count: usize) {
    for _ in 0..count {
        assert_eq!(get(addr, "/metrics").text(), page());
    }
}

#[test]
fn hundreds_of_idle_connections_do_not_hold_up_a_scrape() {
    let server = Running::new();
    // The first request has started whatever starts late.
    scrape_times(server.v4(), 1);
    let before = server.memory().0;
    let threads = server.threads();
    let crowd = crowd(server.v4(), 500, b"");
    scrape_times(server.v4(), 20);
    let (now, highest) = server.memory();
    println!("500 idle: {before} kB before, {now} kB now, {highest} kB at most, {} sockets", server.sockets());
    assert!(server.sockets() <= SOCKETS);
    assert_eq!(server.threads(), threads);
    drop(crowd);
}

#[test]
fn slow_senders_do_not_hold_up_a_scrape() {
    let server = Running::new();
    let mut crowd = crowd(server.v4(), 500, b"GET /metrics HTTP/1.1\r\nX: ");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopping = StopOnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for stream in &mut crowd {
                    let _ = stream.write(b"a");
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        for _ in 0..30 {
            scrape_times(server.v4(), 1);
            assert!(server.sockets() <= SOCKETS + 1);
            thread::sleep(Duration::from_millis(100));
        }
    });
    println!("500 slow senders: {:?} kB now and at most", server.memory());
}

#[test]
fn slow_readers_do_not_hold_up_a_scrape() {
    let server = Running::new();
    let before = server.memory().0;
    let mut readers = crowd(server.v4(), 200, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4).as_bytes());
    for _ in 0..20 {
        scrape_times(server.v6(), 1);
        for stream in &mut readers {
            let _ = stream.read(&mut [0; 1]);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let (now, highest) = server.memory();
    println!("200 readers of 1 MB: {before} kB before, {now} kB now, {highest} kB at most");
    // Four of them are on their way at most, and one is being made.
    assert!(highest < before + 8 * 1024, "{before} kB before, {highest} kB at most");
    assert!(server.sockets() <= SOCKETS);
}

#[test]
fn one_address_that_keeps_every_connection_busy_is_turned_away_and_others_are_not() {
    let server = Running::new();
    let wait = b"GET /wait?ms=600000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut busy = crowd(server.v6(), 64, wait);
    // Until all 64 requests have been read there is room to be made; then the next ones of this address find none.
    let turned_away = poll(LIMIT, || {
        busy.extend(crowd(server.v6(), 3, wait));
        get(server.v4(), "/replies").text().contains("other 503 ").then_some(())
    });
    assert!(turned_away.is_some(), "nobody is turned away");
    scrape_times(server.v4(), 20);
    drop(busy);
}

#[test]
fn endless_headers_and_torrents_of_requests_do_not_hold_up_a_scrape() {
    let server = Running::new();
    let over = AtomicBool::new(false);
    let torrent = |bytes: &[u8]| {
        while !over.load(Ordering::Relaxed) {
            let Ok(mut stream) = TcpStream::connect(server.v4()) else { continue };
            stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            for _ in 0..1000 {
                if stream.write_all(bytes).is_err() || over.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    };
    thread::scope(|scope| {
        let _stopping = StopOnDrop(&over);
        scope.spawn(|| torrent(&[b'a'; 65536]));
        scope.spawn(|| torrent(&[b'\n'; 65536]));
        scope.spawn(|| torrent("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000).as_bytes()));
        scrape_times(server.v4(), 30);
    });
    println!("torrents: {:?} kB now and at most", server.memory());
}

#[test]
fn resets_at_any_moment_leave_nothing_behind() {
    let server = Running::new();
    let parts: [&[u8]; 4] =
        [b"", b"GET /me", b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /wait?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n"];
    for n in 0..400 {
        let mut stream = TcpStream::connect(server.v4()).unwrap();
        let _ = stream.write_all(parts[n % parts.len()]);
        // Only the last two are answered.
        if n % parts.len() > 1 && n % 3 == 0 {
            let _ = stream.read(&mut [0; 1]);
        }
        tcp::reset_on_close(&stream).unwrap();
    }
    scrape_times(server.v4(), 5);
    server.wait_for_sockets(1);
}

#[test]
fn a_server_out_of_descriptors_still_answers_and_says_so_once() {
    let server = Running::with_open_files(24);
    let crowd = crowd(server.v4(), 200, b"GET ");
    scrape_times(server.v4(), 20);
    println!("24 descriptors, 200 connections: {} sockets", server.sockets());
    drop(crowd);
    scrape_times(server.v4(), 20);
    let log = server.log();
    assert_eq!(log.matches("cannot accept a connection").count(), 1, "{log}");
    assert!(log.contains("Too many open files"), "{log}");
}

#[test]
fn ten_thousand_requests_on_one_connection_take_no_more_memory_than_ten() {
    let server = Running::new();
    let mut client = Client::new(server.v4());
    let headers = "Accept-Encoding: gzip\r\n";
    (0..10).for_each(|_| assert_eq!(client.get("/metrics", headers).status, 200));
    let before = server.memory().0;
    let start = std::time::Instant::now();
    (0..10_000).for_each(|_| assert_eq!(client.get("/metrics", headers).status, 200));
    println!("10,000 requests: {:?}, {before} kB before, {} kB after", start.elapsed(), server.memory().0);
    // The listener and this client.
    server.wait_for_sockets(2);
}
