//! Text files and HTTP of the real daemon, as their real readers have them: node_exporter, Prometheus, a browser.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;
#[path = "support/prometheus.rs"]
mod prometheus;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use gatemeter::collectors::ALL;
use harness::{Daemon, PATIENCE, Setup, exposition, http};
use lab::traffic::{StopOnDrop, UdpPair, send_udp};
use lab::{Lab, process};
use prometheus::Prometheus;

/// Hosts with names, so that they are exported.
const HOSTS: &str = "config host\n\toption name 'laptop'\n\toption mac '02:1a:00:00:01:01'\n\
                     config host\n\toption name 'phone'\n\toption mac '02:1a:00:00:01:02'\n";
/// What `lan1` has received over IPv4.
const DOWNLOAD: &str = "node_nat_traffic_download{mac=\"02:1A:00:00:01:01\",hostname=\"laptop\",ip=\"192.168.1.11\"}";
const UP: &str = "gatemeter_collector_up{collector=\"traffic\"}";
const CLIENTS_UP: &str = "gatemeter_collector_up{collector=\"clients\"}";

fn on_router(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Sends something up and down between the first host and the internet; returns the bytes down.
fn download(lab: &Lab, count: usize) -> f64 {
    let mut pair = UdpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
    pair.up(1, 10);
    pair.down(count, 500).l2 as f64
}

/// Names in a directory, sorted; hidden ones too.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether a page is whole: it begins with its first family and ends with its last.
fn is_whole(page: &str) -> bool {
    let last = page.lines().next_back().unwrap_or_default();
    page.starts_with("# HELP ")
        && page.ends_with('\n')
        && last.starts_with("gatemeter_collector_last_success_timestamp_seconds{collector=")
}

#[test]
fn the_text_files_hold_all_figures_for_everybody_to_read() {
    let lab = Lab::new();
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let setup = Setup::new(&lab).uci("dhcp", HOSTS);
    let dir = parts.display().to_string();
    let setup = setup.flags(&["-e", "-t", "1", "--collectors", "traffic,clients", "--textfile-dir", &dir]);
    // A careless umask of whoever starts it must not close the files.
    let command = setup.command();
    let mut careless = lab.router.command("sh");
    careless.arg("-c").arg("umask 077; exec \"$@\"").arg("sh").arg(command.get_program()).args(command.get_args());
    careless.current_dir(setup.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = process::Background::adopt(careless.spawn().unwrap(), setup.shown());

    let expected = {
        let page = || http::get(&lab.router, on_router(9999), "/metrics", &[]).ok();
        process::poll(PATIENCE, || page().filter(|page| page.text().contains(&format!("{UP} 1"))).map(drop)).unwrap();
        download(&lab, 20)
    };
    let [whole, traffic, clients, main] = [
        setup.textfile(),
        parts.join("gatemeter_traffic.prom"),
        parts.join("gatemeter_clients.prom"),
        parts.join("gatemeter_main.prom"),
    ];
    for file in [&whole, &traffic] {
        let read = || exposition::parse(&fs::read_to_string(file).ok()?).unwrap().get(DOWNLOAD).copied();
        assert!(process::poll(PATIENCE, || read().filter(|value| *value == expected)).is_some(), "{}", file.display());
    }
    for file in [&whole, &traffic, &clients, &main] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o644, "{}", file.display());
    }
    let families = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("# TYPE ")).map(str::to_owned).collect()
    };
    let read = |file: &Path| families(&fs::read_to_string(file).unwrap());
    // A page may be replaced between two reads, by one with a family that had no sample before.
    let same = || {
        let whole = read(&whole);
        (whole == [read(&traffic), read(&clients), read(&main)].concat()).then_some(whole)
    };
    let whole = process::poll(PATIENCE, same).unwrap_or_else(|| panic!("{:?}", read(&whole)));
    for family in ["# TYPE node_nat_traffic_download gauge", "# TYPE client_status gauge"] {
        assert!(whole.iter().any(|line| line == family), "{family} is not in {whole:?}");
    }
    assert!(!whole.iter().any(|family| family.contains("process_")), "{whole:?}");
}

#[test]
fn the_text_file_does_not_wait_for_the_interval_to_tell_of_a_collector_that_comes_later() {
    let lab = Lab::new();
    // One writes its figures once a day; whoever comes second must not wait for that.
    let daemon = Setup::new(&lab).uci("dhcp", HOSTS).flags(&["-t", "86400"]).start();
    let metrics = daemon.metrics();
    assert_eq!((metrics[UP], metrics[CLIENTS_UP]), (1.0, 1.0), "{}", daemon.stderr());
    assert!(metrics.contains_key("gatemeter_traffic_pinned") && metrics.contains_key("gatemeter_clients_limit"));
    // Nor whoever goes.
    daemon.setup().write_uci("gatemeter", "config clients\n\toption enabled 0\n");
    daemon.signal(libc::SIGHUP);
    daemon.wait_until("clients gone", |metrics| (!metrics.contains_key("gatemeter_clients_limit")).then_some(()));
    assert_eq!((daemon.metrics()[UP], daemon.metrics().get(CLIENTS_UP)), (1.0, None));
}

#[test]
fn a_reader_never_misses_a_page_nor_sees_a_part_of_one() {
    let lab = Lab::new();
    let setup = Setup::new(&lab).uci("dhcp", HOSTS);
    let daemon = setup.flags(&["-o", "traffic.unknown_hosts=1"]).start();
    let path = daemon.setup().textfile();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut written = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let mut file = fs::File::open(&path).unwrap();
                let mut page = String::new();
                file.read_to_string(&mut page).unwrap();
                if !is_whole(&page) {
                    return Err(page);
                }
                written.insert(file.metadata().unwrap().mtime_nsec());
            }
            Ok(written.len())
        });
        let stopping = StopOnDrop(&done);
        // Each of these writes anew at once: the interval changes to and fro.
        for times in 1..=200 {
            let text = format!("config gatemeter 'main'\n\toption interval {}\n", 5 + times % 2);
            daemon.setup().write_uci("gatemeter", &text);
            daemon.signal(libc::SIGHUP);
            let read = || (daemon.stderr().matches("configuration read again").count() >= times).then_some(());
            assert!(process::poll(PATIENCE, read).is_some(), "{}", daemon.stderr());
        }
        drop(stopping);
        match reader.join().unwrap() {
            Ok(pages) => {
                println!("{pages} different pages seen");
                assert!(pages > 100, "only {pages} pages seen");
            }
            Err(page) => panic!("a part of a page was seen: {page:?}"),
        }
    });
}

#[test]
fn no_temporary_file_outlives_a_kill_and_a_restart() {
    let lab = Lab::new();
    let dir = lab.dir().join("out");
    fs::create_dir(&dir).unwrap();
    let (whole, parts) = (dir.join("prom_c").display().to_string(), dir.display().to_string());
    let flags = ["-t", "1", "--collectors", "traffic,clients", "--textfile", &whole, "--textfile-dir", &parts];
    let setup = Setup::new(&lab).flags(&flags);
    let complete = ["gatemeter_clients.prom", "gatemeter_main.prom", "gatemeter_traffic.prom", "prom_c"];
    for _ in 0..3 {
        let mut daemon = setup.start();
        daemon.kill9();
        // What it would have left, had it been killed between writing and renaming.
        for name in complete {
            fs::write(dir.join(format!(".{name}.gatemeter-{}-0123456789abcdef", daemon.pid())), "half a pa").unwrap();
        }
    }
    let mut daemon = setup.start();
    assert!(process::poll(PATIENCE, || (names(&dir) == complete).then_some(())).is_some(), "{:?}", names(&dir));
    assert!(daemon.stop().success());
    assert!(names(&dir).is_empty(), "{:?}", names(&dir));
}

#[test]
fn stale_pages_of_a_killed_daemon_go_even_if_the_collector_fails() {
    let lab = Lab::new();
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("gatemeter_traffic.prom"), "node_nat_traffic_download 1\n").unwrap();
    fs::write(parts.join("gatemeter_clients.prom"), "client_status 1\n").unwrap();
    fs::write(parts.join("other.prom"), "other 1\n").unwrap();
    // What -4 says is for both.
    let flags = ["-e", "-t", "1", "-4", "10.9.9.1/24/nowhere", "--textfile-dir", &parts.display().to_string()];
    let daemon = Setup::new(&lab).flags(&flags).flags(&["--collectors", "traffic,clients"]).start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_for(CLIENTS_UP, 0.0);
    let left = ["gatemeter_main.prom", "other.prom"];
    assert!(process::poll(PATIENCE, || (names(&parts) == left).then_some(())).is_some(), "{:?}", names(&parts));
}

#[test]
fn a_link_in_the_text_files_place_is_replaced_and_not_followed() {
    let lab = Lab::new();
    let precious = lab.dir().join("precious");
    fs::write(&precious, "keep me").unwrap();
    let setup = Setup::new(&lab);
    symlink(&precious, setup.textfile()).unwrap();
    let mut daemon = setup.start();
    assert!(fs::symlink_metadata(setup.textfile()).unwrap().is_file());
    assert!(daemon.stop().success());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "keep me");
}

#[test]
fn node_exporter_reads_our_files_beside_its_own_figures() {
    let lab = Lab::new();
    let (parts, single) = (lab.dir().join("parts"), lab.dir().join("single"));
    fs::create_dir(&parts).unwrap();
    fs::create_dir(&single).unwrap();
    let (file, dir) = (single.join("gatemeter.prom").display().to_string(), parts.display().to_string());
    let setup = Setup::new(&lab).uci("dhcp", HOSTS).flags(&["-t", "1", "--textfile", &file, "--textfile-dir", &dir]);
    let daemon = setup.start();
    let expected = download(&lab, 30);
    daemon.wait_for(DOWNLOAD, expected);
    // The directory is written after the one file.
    let part = parts.join("gatemeter_traffic.prom");
    let part = || exposition::parse(&fs::read_to_string(&part).ok()?).ok()?.get(DOWNLOAD).copied();
    let written = || part().filter(|value| *value == expected);
    assert!(process::poll(PATIENCE, written).is_some());
    for (port, dir) in [(9101, &parts), (9102, &single)] {
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let directory = format!("--collector.textfile.directory={}", dir.display());
        let words = ["prometheus-node-exporter", &listen, &directory];
        let exporter = lab.router.start(&words, &lab.dir().join("node_exporter.log"));
        let page = process::poll(PATIENCE, || {
            let response = http::get(&lab.router, on_router(port), "/metrics", &[]).ok()?;
            (response.status == 200).then(|| response.text())
        });
        let page = page.unwrap_or_else(|| {
            let answer = http::get(&lab.router, on_router(port), "/metrics", &[]);
            panic!("{answer:?} {}", fs::read_to_string(lab.dir().join("node_exporter.log")).unwrap_or_default())
        });
        drop(exporter);
        let lines: Vec<&str> = page.lines().collect();
        assert!(lines.contains(&"node_textfile_scrape_error 0"), "{page}");
        // It sorts labels by name.
        let ours = lines
            .iter()
            .find(|line| line.starts_with("node_nat_traffic_download{hostname=\"laptop\",ip=\"192.168.1.11\""));
        let value: f64 = ours.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(value, expected);
        for up in [UP, CLIENTS_UP] {
            assert!(lines.contains(&format!("{up} 1").as_str()), "{page}");
        }
        assert!(lines.iter().any(|line| line.starts_with("client_status{")), "{page}");
        assert!(lines.iter().any(|line| line.starts_with("process_resident_memory_bytes ")), "{page}");
    }
}

#[test]
fn prometheus_scrapes_the_daemon_and_rate_works() {
    let lab = Lab::new();
    let daemon = Setup::new(&lab).uci("dhcp", HOSTS).flags(&["-e", "-t", "1"]).start();
    let server = Prometheus::start(&lab.router, lab.dir(), &[("gatemeter", "127.0.0.1:9999", "/metrics")]);
    server.wait_for("up{job=\"gatemeter\"}", |up| up == 1.0);
    server.wait_for("scrape_samples_scraped{job=\"gatemeter\"}", |count| count > 10.0);
    let mut pair = UdpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
    let mut sent = pair.up(1, 10).l2;
    let rate = format!("rate({}[30s])", DOWNLOAD.replace("node_nat_traffic_download", "node_nat_traffic_upload"));
    server.wait_for("node_nat_traffic_upload{hostname=\"laptop\"}", |value| value == sent as f64);
    let moving = process::poll(PATIENCE, || {
        sent += pair.up(20, 800).l2;
        server.query(&rate).first().map(|(_, rate)| *rate).filter(|rate| *rate > 0.0)
    });
    println!("rate() is {} bytes a second", moving.unwrap());
    let expected = download(&lab, 25);
    server.wait_for(DOWNLOAD, |value| value == expected);
    assert_eq!(daemon.metrics()[DOWNLOAD], expected);
    server.wait_for("gatemeter_build_info", |value| value == 1.0);
    let type_of_traffic = daemon.page().unwrap();
    assert!(type_of_traffic.contains("# TYPE node_nat_traffic_download gauge\n"));
}

#[test]
fn a_page_comes_in_the_format_and_encoding_that_was_asked_for() {
    let lab = Lab::new();
    let daemon = Setup::new(&lab).uci("dhcp", HOSTS).flags(&["-e"]).start();
    send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 2, 20);
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    // What Prometheus 2 sends, a browser, and nobody in particular.
    let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                  text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, content_type) in [(accept, open), ("text/html,*/*;q=0.8", plain), ("*/*", plain)] {
        let response = daemon.get_with("/metrics", &[("Accept", accept), ("Accept-Encoding", "gzip")]).unwrap();
        assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)));
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let mut page = String::new();
        GzDecoder::new(&response.body[..]).read_to_string(&mut page).unwrap();
        assert_eq!(page.ends_with("# EOF\n"), content_type == open);
        exposition::parse(&page).unwrap();
        assert!(response.body.len() * 2 < page.len(), "{} of {}", response.body.len(), page.len());
    }
    let response = daemon.get("/metrics").unwrap();
    assert_eq!(response.header("content-encoding"), None);
    let head =
        http::raw(&lab.router, on_router(9999), b"HEAD /metrics HTTP/1.1\r\nHost: router\r\nConnection: close\r\n\r\n");
    let head = String::from_utf8(head.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn collect_chooses_collectors_and_refuses_those_there_are_not() {
    let lab = Lab::new();
    let daemon = Setup::new(&lab).uci("dhcp", HOSTS).flags(&["-e"]).start();
    for query in ["collect[]=traffic", "collect%5B%5D=traffic", "collect[]=traffic&collect[]=traffic"] {
        let page = daemon.get(&format!("/metrics?{query}")).unwrap();
        assert_eq!(page.status, 200, "{query}");
        let metrics = exposition::parse(&page.text()).unwrap();
        assert!(metrics.contains_key("gatemeter_traffic_pinned"), "{query}");
        assert!(!metrics.contains_key("gatemeter_clients_limit"), "{query}");
    }
    for (query, traffic) in [("collect[]=clients", false), ("collect[]=clients&collect[]=traffic", true)] {
        let metrics = exposition::parse(&daemon.get(&format!("/metrics?{query}")).unwrap().text()).unwrap();
        assert!(metrics.contains_key("gatemeter_clients_limit"), "{query}");
        assert_eq!(metrics.contains_key("gatemeter_traffic_pinned"), traffic, "{query}");
        // How each of them is doing is told in any case.
        assert_eq!((metrics[UP], metrics[CLIENTS_UP]), (1.0, 1.0), "{query}");
    }
    let refused = daemon.get("/metrics?collect[]=traffic&collect[]=wifi").unwrap();
    assert_eq!(refused.status, 400);
    let expected = ALL.iter().map(|row| row.name).collect::<Vec<_>>().join(" or ");
    assert_eq!(refused.text(), format!("collect[]=wifi: there is no such collector, expected {expected}\n"));
}

#[test]
fn the_pages_for_people_tell_how_it_is() {
    let lab = Lab::new();
    let daemon = Daemon::start(&lab, &["-e", "-t", "1"]);
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let health = daemon.get("/healthz").unwrap();
    assert_eq!(health.status, 200);
    let text = health.text();
    assert!(text.starts_with("gatemeter is running\ntraffic: up\nclients: up\n"), "{text}");
    assert!(text.contains("\nfreebox: off\n"), "{text}");
    let front = daemon.get("/plain").unwrap();
    assert_eq!((front.status, front.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = front.text();
    for part in [
        "<title>gatemeter</title>",
        "<td>traffic</td><td>up</td>",
        "<td>clients</td><td>up</td>",
        "href=\"/metrics\"",
        "href=\"/healthz\"",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.len() < 6000, "{} bytes", text.len());
    assert_eq!(daemon.get("/metrics/").unwrap().status, 404);
    drop(daemon);

    // Words of the configuration appear on the page; none of them becomes a tag.
    let daemon = Setup::new(&lab).flags(&["-e", "-t", "1", "-4", "10.9.9.1/24/<b>'&\""]).start();
    daemon.wait_for(UP, 0.0);
    let text = daemon.get("/plain").unwrap().text();
    assert!(text.contains("&lt;b&gt;&#39;&amp;&quot;") && !text.contains("<b>"), "{text}");
}

#[test]
fn crowds_of_idle_and_slow_connections_do_not_hold_up_a_scrape() {
    let lab = Lab::new();
    let daemon = Daemon::start(&lab, &["-e"]);
    let open = |count: usize, request: &[u8]| -> Vec<_> {
        let connect = |_| {
            let mut stream = lab.router.tcp_connect(on_router(9999)).unwrap();
            // It may have been closed already to make room, which is as it should be.
            let _ = stream.write_all(request);
            stream
        };
        (0..count).map(connect).collect()
    };
    let crowd = [open(100, b""), open(100, b"GET /metrics HTT"), open(100, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")];
    for _ in 0..20 {
        assert_eq!(daemon.get("/metrics").unwrap().status, 200);
        assert_eq!(daemon.get("/healthz").unwrap().status, 200);
    }
    // What the crowd takes is bounded, too.
    let files = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(files < 150, "{files} descriptors are open");
    drop(crowd);
    assert_eq!(daemon.get("/metrics").unwrap().status, 200);
}
