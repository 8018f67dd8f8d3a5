//! What other programs say of the same network at the same time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::lab::Node;

/// The table that the daemon makes.
pub const TABLE: [&str; 2] = ["inet", "gatemeter"];

/// Bytes by address in one of the sets of the table, as `nft -j list set` tells; none if there is no such set.
pub fn set(router: &Node, name: &str) -> BTreeMap<IpAddr, u64> {
    let output = router.run(&["nft", "-j", "list", "set", TABLE[0], TABLE[1], name]);
    if !output.status.success() {
        return BTreeMap::new();
    }
    // Each element is {"elem": {"val": "192.168.1.11", "counter": {"packets": 2, "bytes": 76}}}.
    let elements = output.stdout.split("\"val\": \"").skip(1);
    let element = |text: &str| {
        let (ip, rest) = text.split_once('"').unwrap();
        (ip.parse().unwrap(), number_after(rest, "\"bytes\": "))
    };
    elements.map(element).collect()
}

/// Whether the table is there with all of its sets.
pub fn table_is_whole(router: &Node) -> bool {
    let listing = router.run(&["nft", "list", "table", TABLE[0], TABLE[1]]);
    listing.status.success() && ["tx4", "rx4", "tx6", "rx6"].iter().all(|set| listing.stdout.contains(set))
}

/// All tables, as `nft list tables` writes them, one a line.
pub fn tables(router: &Node) -> String {
    router.must(&["nft", "list", "tables"])
}

/// An entry of the neighbour table as `ip -j neigh` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub ip: IpAddr,
    pub interface: String,
    pub mac: Option<String>,
    pub state: String,
}

/// All neighbours but those of link-local addresses.
pub fn neighbours(router: &Node) -> Vec<Neighbour> {
    // [{"dst":"192.168.1.11","dev":"br-lan","lladdr":"02:1a:00:00:01:01","state":["REACHABLE"]},...]
    let json = router.must(&["ip", "-j", "neigh", "show"]);
    let entry = |text: &str| {
        let (ip, rest) = text.split_once('"').unwrap();
        let member = |name: &str| Some(rest.split_once(&format!("\"{name}\":"))?.1.split('"').nth(1)?.to_owned());
        Neighbour {
            ip: ip.parse().unwrap(),
            interface: member("dev").unwrap_or_default(),
            mac: member("lladdr").map(|mac| mac.to_uppercase()),
            state: member("state").unwrap_or_default(),
        }
    };
    let all = json.split("\"dst\":\"").skip(1).map(entry);
    all.filter(|neighbour| !neighbour.ip.to_string().starts_with("fe80:")).collect()
}

/// Connections by address that `conntrack -L` shows, of the addresses that `is_client` accepts: answered, and not on
/// their way out.
pub fn connections(router: &Node, is_client: impl Fn(IpAddr) -> bool) -> BTreeMap<IpAddr, u64> {
    let mut found = BTreeMap::new();
    for family in ["ipv4", "ipv6"] {
        let listing = router.must(&["conntrack", "-L", "-f", family, "-o", "extended"]);
        for line in listing.lines() {
            let closing = [" TIME_WAIT ", " CLOSE ", "[UNREPLIED]"].iter().any(|word| line.contains(word));
            if closing {
                continue;
            }
            // src= and dst= of the direction it began in, then of the answers: behind NAT the latter's source is the
            // host that really answers.
            let value = |name: &str| -> Vec<IpAddr> {
                line.split(' ').filter_map(|word| word.strip_prefix(name)?.parse().ok()).collect()
            };
            for end in [value("src=")[0], value("src=")[1]] {
                if is_client(end) {
                    *found.entry(end).or_insert(0) += 1;
                }
            }
        }
    }
    found
}

fn number_after(text: &str, name: &str) -> u64 {
    let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}
