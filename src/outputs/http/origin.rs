//! Whose page has sent a browser here (Fetch, "HTTP extensions"; RFC 9110 sections 7.2 and 10.1.3). Pure.
//!
//! Whoever is in the home network may read. But browsers there run pages of strangers, and such a page has two ways to us. It
//! can have its own name lead to the router's address (DNS rebinding): then the browser takes us for the page's own server and
//! lets it read. And it can make the browser ask for any address of ours, though not read the answer.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv6Addr};

use super::Head;

/// Names that nobody can register: of home networks by custom, and kept for private or no use at all (RFC 2606, 6761, 6762,
/// 8375; ICANN's `internal`).
const PRIVATE: [&str; 11] =
    ["lan", "local", "home", "internal", "intranet", "localdomain", "localhost", "test", "example", "invalid", "corp"];
/// Likewise, of two labels.
const PRIVATE_ARPA: &str = ".home.arpa";

/// Whether this is a browser that was led here under a name that might be a stranger's: one that can be registered and is
/// not in `names`.
///
/// Only a browser can be misled like that. Each of them says in which language it wants its pages, and no page can keep
/// it from that; scrapers do not, and are served under any name.
pub(super) fn is_misled(head: &Head, names: &[String]) -> bool {
    let is_browser =
        ["Accept-Language", "Sec-Fetch-Site", "Origin"].iter().any(|name| head.headers(name).next().is_some());
    is_browser && head.headers("Host").next().is_some_and(|host| !is_own(name(host), names))
}

/// Whether a browser asks because another site's page told it to, as far as it says so.
pub(super) fn is_foreign(head: &Head) -> bool {
    if head.headers("Sec-Fetch-Site").any(|site| matches!(site, "cross-site" | "same-site")) {
        return true;
    }
    let host = head.headers("Host").next().unwrap_or_default();
    let origins = head.headers("Origin").chain(head.headers("Referer"));
    origins.into_iter().any(|url| {
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !authority.eq_ignore_ascii_case(host)
    })
}

/// The name or address in a Host, without the port and a dot at its end.
fn name(host: &str) -> &str {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((addr, _)) => addr,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn is_own(name: &str, names: &[String]) -> bool {
    // An address needs no name server, and what has no dot is not asked of those of the internet.
    let is_addr =
        name.parse::<IpAddr>().is_ok() || name.split('%').next().is_some_and(|addr| addr.parse::<Ipv6Addr>().is_ok());
    let name = name.to_ascii_lowercase();
    let last = name.rsplit_once('.').map(|(_, last)| last);
    is_addr
        || last.is_none_or(|last| PRIVATE.contains(&last))
        || name.ends_with(PRIVATE_ARPA)
        || names.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::super::parse_head;
    use super::*;

    fn head(host: &str, more: &str) -> Head {
        parse_head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").as_bytes()).unwrap()
    }

    const BROWSER: &str = "User-Agent: Mozilla/5.0\r\nAccept-Language: de\r\n";

    #[test]
    fn a_browser_is_served_under_names_that_are_the_homes_own() {
        for host in [
            "192.168.1.1",
            "192.168.1.1:9999",
            "[fd00::1]:9999",
            "[fe80::1%25eth0]",
            "localhost:9999",
            "router",
            "OpenWrt.lan:9999",
            "gatemeter.home.arpa.",
            "router.local",
            "metrics.example.org:9999",
        ] {
            assert!(!is_misled(&head(host, BROWSER), &["Metrics.Example.org".to_owned()]), "{host}");
        }
    }

    #[test]
    fn a_browser_is_not_served_under_names_that_a_stranger_can_have() {
        for host in
            ["rebind.example.org", "192.168.1.1.example.org", "lan.example.org:9999", "home.arpa.com", "a.arpa", "1.2"]
        {
            assert!(is_misled(&head(host, BROWSER), &["metrics.example.org".to_owned()]), "{host}");
            assert!(is_misled(&head(host, "Sec-Fetch-Site: same-origin\r\n"), &[]), "{host}");
            // What scrapes is no browser, and cannot be misled.
            assert!(!is_misled(&head(host, "User-Agent: Prometheus/3.0\r\nAccept: */*\r\n"), &[]), "{host}");
        }
    }

    #[test]
    fn what_another_sites_page_asks_for_is_known_by_what_the_browser_says() {
        let host = "router.lan:9999";
        for own in [
            "",
            "Referer: http://router.lan:9999/plain?x\r\n",
            "Origin: http://Router.lan:9999\r\n",
            "Sec-Fetch-Site: none\r\n",
        ] {
            assert!(!is_foreign(&head(host, own)), "{own}");
        }
        for other in [
            "Referer: http://example.org/\r\n",
            "Referer: http://router.lan/\r\n",
            "Origin: null\r\n",
            "Origin: http://router.lan:9999.example.org\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
        ] {
            assert!(is_foreign(&head(host, other)), "{other}");
        }
    }
}
