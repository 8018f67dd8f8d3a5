//! Which DNS servers to ask and which domains are local: the text of resolv.conf(5) enters, both leave.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Most servers that are used, as in the C library.
const MAX_SERVERS: usize = 3;
/// Most local domains.
const MAX_DOMAINS: usize = 8;
/// Longest name of a domain.
const MAX_DOMAIN: usize = 255;

/// The port of DNS servers.
const PORT: u16 = 53;

/// What resolv.conf says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers in their order; without any, the one on this machine.
    pub servers: Vec<SocketAddr>,
    /// Local domains in lower case, `lan` first: it is what home routers call theirs.
    pub domains: Vec<String>,
    /// What is put behind a name that is not complete, in this order: the domains of the last line that gives any.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// Reads the text of the file. `ifindex` finds the number of the interface that a link-local address names.
    pub fn parse(text: &str, ifindex: impl Fn(&str) -> Option<u32>) -> Self {
        let mut servers = Vec::new();
        let mut domains = vec!["lan".to_owned()];
        let mut search = Vec::new();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    servers.extend(words.next().and_then(|word| address(word, &ifindex)));
                }
                Some("domain" | "search") => {
                    let names = words.map(|word| word.trim_matches('.').to_ascii_lowercase());
                    search = names.filter(|domain| (1..=MAX_DOMAIN).contains(&domain.len())).collect();
                    search.truncate(MAX_DOMAINS);
                    domains.extend_from_slice(&search);
                }
                _ => {}
            }
        }
        domains.truncate(MAX_DOMAINS);
        servers.truncate(MAX_SERVERS);
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        ResolvConf { servers, domains, search }
    }
}

fn address(word: &str, ifindex: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => Some((word.parse::<IpAddr>().ok()?, PORT).into()),
        Some((addr, zone)) => {
            let scope = zone.parse().ok().or_else(|| ifindex(zone))?;
            Some(SocketAddrV6::new(addr.parse().ok()?, PORT, 0, scope).into())
        }
    }
}

/// A name server as people write it: its address, and the port unless it is 53.
///
/// # Errors
/// What was expected.
pub fn dns_server(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|addr| SocketAddr::new(addr, PORT)))
        .map_err(|_| format!("'{text}' is not an address, expected one as 192.168.1.1 or [fd00::1]:5353"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let conf = ResolvConf::parse(text, |name| (name == "br-lan").then_some(7));
        (conf.servers.iter().map(SocketAddr::to_string).collect(), conf.domains)
    }

    #[test]
    fn the_file_of_openwrt_names_the_router_itself() {
        let (servers, domains) = read("search lan\nnameserver 127.0.0.1\nnameserver ::1\n");
        assert_eq!(servers, ["127.0.0.1:53", "[::1]:53"]);
        assert_eq!(domains, ["lan", "lan"]);
    }

    #[test]
    fn a_server_of_one_link_names_its_interface() {
        let text = "# made by hand\nnameserver fe80::1%br-lan ; the router\nnameserver fe80::1%3\nnameserver fe80::1%none\n\
                    nameserver what\nnameserver\noptions edns0\nsearch Home.Arpa. fritz.box\ndomain .\n";
        let (servers, domains) = read(text);
        assert_eq!(servers, ["[fe80::1%7]:53", "[fe80::1%3]:53"]);
        assert_eq!(domains, ["lan", "home.arpa", "fritz.box"]);
    }

    #[test]
    fn without_a_server_the_own_machine_is_asked() {
        assert_eq!(read("").0, ["127.0.0.1:53"]);
    }

    #[test]
    fn the_last_line_with_domains_is_searched_and_nothing_is_made_up() {
        let search = |text| ResolvConf::parse(text, |_| None).search;
        assert_eq!(search("search a.example Lan.\nnameserver 10.0.0.1\n"), ["a.example", "lan"]);
        assert_eq!(search("search a.example\ndomain b.example\n"), ["b.example"]);
        assert_eq!(search("search a.example\nsearch .\n"), [""; 0]);
        assert_eq!(search("nameserver 10.0.0.1\n"), [""; 0]);
    }

    #[test]
    fn no_more_is_kept_than_the_limits() {
        let text = format!("{}search {}", "nameserver 10.0.0.1\n".repeat(100), "x.y ".repeat(100));
        let (servers, domains) = read(&text);
        assert_eq!((servers.len(), domains.len()), (MAX_SERVERS, MAX_DOMAINS));
        assert_eq!(ResolvConf::parse(&text, |_| None).search.len(), MAX_DOMAINS);
    }

    #[test]
    fn a_name_server_may_have_a_port() {
        assert_eq!(dns_server("192.168.1.1"), Ok(([192, 168, 1, 1], 53).into()));
        assert_eq!(dns_server("[fd00::1]:5353").map(|server| server.port()), Ok(5353));
        assert!(dns_server("router.lan").is_err());
    }
}
