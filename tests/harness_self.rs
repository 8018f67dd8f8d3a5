//! The harness itself, with ordinary programs in the place of the daemon.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::io::{Read, Write};
use std::net::Ipv4Addr;

use harness::confine::{CAP_NET_ADMIN, CAP_NET_RAW};
use harness::{Confine, exposition, http};
use lab::{Lab, process};

#[test]
fn samples_are_read_with_their_labels_as_written() {
    let page = "# HELP a b\n# TYPE a gauge\na 1\n\nb{x=\"} 7 \\\" \\\\\",y=\"\"} 2.5e3\nc{} +Inf\n";
    let samples = exposition::parse(page).unwrap();
    assert_eq!(samples["a"], 1.0);
    assert_eq!(samples["b{x=\"} 7 \\\" \\\\\",y=\"\"}"], 2500.0);
    assert_eq!(samples["c{}"], f64::INFINITY);
    assert_eq!(exposition::label("b{x=\"} 7 \\\" \\\\\",y=\"z\"}", "x").unwrap(), "} 7 \" \\");
    assert_eq!(exposition::label("b{x=\"1\",y=\"z\"}", "y").unwrap(), "z");
    assert_eq!(exposition::label("b{x=\"a\\\\n\\n\"}", "x").unwrap(), "a\\n\n");
    assert_eq!(exposition::label("b", "y"), None);
}

#[test]
fn a_page_that_a_scrape_would_refuse_is_an_error() {
    for (page, error) in [
        ("a 1\na 2\n", "series twice: a"),
        ("a\n", "not a sample: a"),
        ("a{b=\"c} 1\n", "not a sample: a{b=\"c} 1"),
        ("a x\n", "not a number: a x"),
        ("a 1 1700000000\n", "not a sample: a 1 1700000000"),
        ("9a 1\n", "not a sample: 9a 1"),
        ("a 1", "the last line has no end"),
    ] {
        assert_eq!(exposition::parse(page).unwrap_err(), error);
    }
}

#[test]
fn answers_are_taken_apart_and_cut_ones_refused() {
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    assert_eq!(http::parse(chunked).unwrap().text(), "abc0123456789abcdef");
    let sized = http::parse(b"HTTP/1.0 404 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
    assert_eq!((sized.status, sized.header("content-length")), (404, Some("2")));
    assert!(http::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno").is_none());
    assert!(http::parse(&chunked[..60]).is_none());
    assert!(http::parse(b"HTTP/1.1 200 OK\n\n").is_none());
}

#[test]
fn requests_are_made_inside_the_lab() {
    let lab = Lab::builder().hosts(1).build();
    let listener = lab.router.tcp_listener(Ipv4Addr::LOCALHOST, 9999);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 256];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let answer = http::get(&lab.router, (Ipv4Addr::LOCALHOST, 9999).into(), "/x?y", &[("Accept", "z")]).unwrap();
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\n") && request.contains("\r\nAccept: z\r\n"), "{request}");
}

#[test]
fn a_program_without_the_bpf_call_is_told_that_the_kernel_lacks_it() {
    let output = confined(Confine::without_bpf(), &["bpftool", "prog", "list"]);
    assert!(output.stderr.contains("Function not implemented"), "{output:?}");
    let output = confined(Confine::default(), &["bpftool", "prog", "list"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_program_with_reduced_capabilities_has_those_and_no_other() {
    let confine = Confine::default().capabilities(&[CAP_NET_ADMIN, CAP_NET_RAW]).memlock(65_536).open_files(99);
    let output = confined(confine, &["cat", "/proc/self/status", "/proc/self/limits"]);
    for line in ["CapPrm:\t0000000000003000", "CapEff:\t0000000000003000", "CapBnd:\t0000000000003000"] {
        assert!(output.stdout.contains(line), "{line} not in {}", output.stdout);
    }
    let limits: Vec<String> =
        output.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(limits.contains(&"Max locked memory 65536 65536 bytes".to_owned()), "{limits:?}");
    assert!(limits.contains(&"Max open files 99 99 files".to_owned()), "{limits:?}");
}

#[test]
fn the_program_runs_in_the_routers_network_with_the_machines_mounts() {
    let lab = Lab::builder().hosts(1).build();
    let mounts = lab.router.must(&["readlink", "/proc/self/ns/mnt"]);
    assert_eq!(mounts.trim(), std::fs::read_link("/proc/self/ns/mnt").unwrap().to_string_lossy());
    assert!(lab.router.must(&["ip", "-br", "link"]).contains("br-lan"));
}

fn confined(confine: Confine, words: &[&str]) -> process::Output {
    let lab = Lab::builder().hosts(0).build();
    let mut command = lab.router.command(words[0]);
    command.args(&words[1..]);
    confine.apply(&mut command);
    process::run(command, "", process::LIMIT).unwrap()
}
