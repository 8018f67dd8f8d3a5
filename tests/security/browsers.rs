//! Browsers in the home network that run pages of strangers: they get nothing under a stranger's name, and probe nobody for it.

use crate::harness::{Daemon, Setup, http};
use crate::home;
use crate::lab::Lab;

const PAGES: [&str; 5] = ["/", "/metrics", "/plain", "/api/v1/state", "/debug/probes"];

/// The status of a GET with these header lines, the Host among them.
fn ask(lab: &Lab, path: &str, headers: &str) -> http::Response {
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let address = "127.0.0.1:9999".parse().unwrap();
    http::parse(&http::raw(&lab.router, address, request.as_bytes()).unwrap()).unwrap()
}

const BROWSER: &str = "User-Agent: Mozilla/5.0\r\nAccept-Language: fr\r\n";

#[test]
fn a_name_that_a_stranger_may_have_gets_a_browser_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = home::basic(&lab).start();
    for path in PAGES {
        let misled = ask(&lab, path, &format!("Host: rebind.example.org:9999\r\n{BROWSER}"));
        assert_eq!(misled.status, 421, "{path}");
        assert!(misled.text().contains("main.host") && !misled.text().contains("192.168."), "{}", misled.text());
        for own in ["192.168.1.1:9999", "[fd00::1]:9999", "router.lan", "openwrt"] {
            assert_eq!(ask(&lab, path, &format!("Host: {own}\r\n{BROWSER}")).status, 200, "{path} {own}");
        }
        // What is no browser scrapes under any name.
        let scraper = "Host: router.example.org\r\nUser-Agent: Prometheus/3.5.0\r\nAccept: */*\r\n";
        assert_eq!(ask(&lab, path, scraper).status, 200, "{path}");
    }
    let own = "Host: router.example.org:9999\r\n";
    assert_eq!(ask(&lab, "/", &format!("{own}{BROWSER}")).status, 421);
    // A name of one's own is a reload away.
    daemon.setup().write_uci("gatemeter", "config gatemeter 'main'\n\tlist host 'Router.example.org'\n");
    daemon.signal(libc::SIGHUP);
    let served = || (ask_if(&lab, "/", &format!("{own}{BROWSER}"))? == 200).then_some(());
    crate::lab::process::poll(crate::harness::PATIENCE, served).unwrap_or_else(|| panic!("{}", daemon.stderr()));
}

/// The same while the server moves.
fn ask_if(lab: &Lab, path: &str, headers: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let reply = http::raw(&lab.router, "127.0.0.1:9999".parse().unwrap(), request.as_bytes()).ok()?;
    Some(http::parse(&reply)?.status)
}

/// How many targets are probed.
fn targets(daemon: &Daemon<'_>) -> usize {
    daemon.get("/debug/probes").unwrap().text().matches("\"ip_address\"").count()
}

#[test]
fn another_sites_page_has_nobody_probed_and_reads_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = home::basic(&lab).start();
    let before = targets(&daemon);
    for told in
        ["Referer: http://example.org/", "Origin: https://example.org", "Origin: null", "Sec-Fetch-Site: cross-site"]
    {
        let headers = format!("Host: 192.168.1.1:9999\r\n{told}\r\n{BROWSER}");
        let refused = ask(&lab, "/probe?target=192.168.1.11", &headers);
        assert_eq!(refused.status, 403, "{told}: {}", refused.text());
        // Reading is the browser's to refuse, to which nothing says otherwise.
        for path in PAGES {
            let reply = ask(&lab, path, &headers);
            assert_eq!(reply.header("access-control-allow-origin"), None);
            assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        }
    }
    assert_eq!(targets(&daemon), before);
    let own = format!("Host: 192.168.1.1:9999\r\nReferer: http://192.168.1.1:9999/\r\n{BROWSER}");
    assert_eq!(ask(&lab, "/probe?target=192.168.1.11", &own).status, 200);
    assert_eq!(targets(&daemon), before + 1);
}

#[test]
fn what_was_asked_is_never_repeated_as_markup_or_as_a_header() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = Setup::new(&lab).flags(&["-e", "--collectors", "probe"]).start();
    for path in [
        "/probe?target=%3Cscript%3E",
        "/probe?target=a%0d%0aX-Forged:%201",
        "/probe?target=1.2.3.4&tcp_port=%3Cb%3E%0d%0aX-Forged:1",
        "/metrics?collect[]=%3Cimg%20src=x%3E%0d%0aX-Forged:%201",
        "/%3Cscript%3E",
    ] {
        let reply = daemon.get(path).unwrap();
        assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.status);
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
        assert_eq!(
            (reply.header("x-content-type-options"), reply.header("x-forged")),
            (Some("nosniff"), None),
            "{path}"
        );
    }
}
