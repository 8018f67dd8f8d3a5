//! What the daemon answers, seen without a browser.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::harness::{PATIENCE, http};
use crate::home::basic;
use crate::lab::relay::Relay;
use crate::lab::{Lab, process};

#[test]
fn the_document_is_sent_as_it_was_packed_or_inflated_with_a_strict_policy() {
    let lab = Lab::new();
    let daemon = basic(&lab).start();
    let plain = daemon.get("/").unwrap();
    let packed = daemon.get_with("/", &[("Accept-Encoding", "gzip")]).unwrap();
    for page in [&plain, &packed] {
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let policy = page.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'sha256-",
            "style-src 'sha256-",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("vary"), Some("Accept-Encoding"));
    }
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
    let mut inflated = String::new();
    GzDecoder::new(packed.body.as_slice()).read_to_string(&mut inflated).unwrap();
    assert_eq!(inflated, plain.text());
    println!("{} bytes, {} packed", plain.body.len(), packed.body.len());
}

#[test]
fn the_state_has_every_collector_and_is_as_the_document_says() {
    let lab = Lab::new();
    let daemon = basic(&lab).flags(&["-o", "target.host=203.0.113.1"]).start();
    daemon.wait_for("gatemeter_collector_up{collector=\"clients\"}", 1.0);
    let reply = daemon.get("/api/v1/state").unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        (reply.header("cache-control"), reply.header("x-content-type-options")),
        (Some("no-store"), Some("nosniff"))
    );
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(state["version"], 1);
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let collectors = state["collectors"].as_array().unwrap();
    let tables = collectors.iter().flat_map(|one| one["tables"].as_array().unwrap());
    for key in keys(&state).into_iter().chain(keys(&collectors[0])).chain(tables.flat_map(keys)) {
        assert!(manual.contains(&format!("`{key}`")), "docs/api.md does not tell of {key}");
    }
    let names: Vec<_> =
        collectors.iter().map(|one| (one["name"].as_str().unwrap(), one["state"].as_str().unwrap())).collect();
    assert_eq!(names, [("traffic", "up"), ("clients", "up"), ("probe", "up"), ("homeplug", "off"), ("freebox", "off")]);
    // Rows have a cell for each label and each column.
    for table in collectors.iter().flat_map(|one| one["tables"].as_array().unwrap()) {
        let width = table["labels"].as_array().unwrap().len() + table["columns"].as_array().unwrap().len();
        assert!(table["rows"].as_array().unwrap().iter().all(|row| row.as_array().unwrap().len() == width), "{table}");
    }
}

#[test]
fn a_browser_of_this_machine_gets_in_by_a_relay() {
    let lab = Lab::new();
    let daemon = basic(&lab).start();
    let door = Relay::open(&lab.router, (Ipv4Addr::LOCALHOST, 9999).into(), 0).unwrap();
    let mut stream = TcpStream::connect(door.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(http::parse(&reply).unwrap().body, daemon.get("/").unwrap().body);
    let address = door.address();
    drop(door);
    assert!(TcpStream::connect(address).is_err(), "{address} is still open");
}

#[test]
fn a_collector_that_is_down_tells_its_trouble_with_the_remedy() {
    let lab = Lab::new();
    let daemon = basic(&lab).flags(&["-o", "homeplug.enabled=1", "-o", "homeplug.interface=nowhere0"]).start();
    let told = || {
        let state: Value = serde_json::from_slice(&daemon.get("/api/v1/state").unwrap().body).unwrap();
        let one = state["collectors"].as_array().unwrap().iter().find(|one| one["name"] == "homeplug").unwrap().clone();
        (one["state"] == "down").then_some(one)
    };
    let one = process::poll(PATIENCE, told).unwrap_or_else(|| panic!("homeplug is never down"));
    let trouble = one["trouble"].as_str().unwrap();
    assert!(trouble.contains("nowhere0") && one["errors"].as_u64().unwrap() > 0, "{one}");
}

#[test]
fn the_page_can_be_turned_off_and_on_and_obeys_the_list_of_who_may_read() {
    let lab = Lab::new();
    let off = "config gatemeter 'main'\n\toption page '0'\n\tlist allow '127.0.0.0/8'\n\tlist allow '192.168.1.11'\n";
    let setup = basic(&lab).uci("gatemeter", off);
    let daemon = setup.start();
    let status = |path: &str| daemon.get(path).unwrap().status;
    assert_eq!((status("/"), status("/plain"), status("/api/v1/state"), status("/metrics")), (200, 404, 404, 200));
    let front = daemon.get("/").unwrap().text();
    assert!(front.contains("<td>traffic</td>") && !front.contains("<script"), "{front}");
    setup.write_uci("gatemeter", &off.replace("page '0'", "page '1'"));
    daemon.signal(libc::SIGHUP);
    assert!(process::poll(PATIENCE, || (status("/api/v1/state") == 200).then_some(())).is_some());
    assert!(daemon.get("/").unwrap().text().contains("<script>"));
    let router = SocketAddr::from((lab.router.v4, 9999));
    for path in ["/", "/plain", "/api/v1/state"] {
        let [allowed, refused] = [1, 2].map(|n| http::get(lab.host(n), router, path, &[]).unwrap().status);
        assert_eq!((allowed, refused), (200, 403), "{path}");
    }
    drop(daemon);
    let refused = setup.flags(&["-o", "main.page=maybe"]).run(&[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
