//! What the tests of accounting share: tables in the lab's router, and what nft says of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatemeter::collectors::clients::accounting::sets::{Options, Sets};
use gatemeter::collectors::clients::accounting::{Counter, Direction, check};
use gatemeter::collectors::clients::subnets::Lan;
use gatemeter::error::Result;

pub use crate::lab::process::once_free;
use crate::lab::traffic::Sent;
use crate::lab::{GUEST4, GUEST6, LAN_ULA, LAN4, LAN6, Lab, Node, process};

/// Bytes and packets by address and direction.
pub type Counts = BTreeMap<(IpAddr, Direction), (u64, u64)>;

/// Options with room enough.
pub fn options(protect: bool) -> Options {
    Options { max_clients: 1024, protect }
}

/// A LAN of these prefixes.
pub fn lan(ifname: &str, prefixes: &[&str]) -> Lan {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Lan { ifindex: 1, ifname: ifname.to_owned(), prefixes }
}

/// The lab's LANs.
pub fn lans() -> Vec<Lan> {
    vec![lan("br-lan", &[LAN4, LAN6, LAN_ULA]), lan("br-guest", &[GUEST4, GUEST6])]
}

/// Opens the table in the router and counts the lab's LANs.
pub fn open(lab: &Lab, options: Options) -> Sets {
    let mut sets = once_free(|| try_open(lab, options)).unwrap();
    smol::block_on(sets.apply(&lans())).unwrap();
    sets
}

/// Opens the table in the router.
pub fn try_open(lab: &Lab, options: Options) -> Result<Sets> {
    lab.router.enter(|| smol::block_on(Sets::open(options)))
}

/// What the table says now.
pub fn read(sets: &mut Sets) -> Counts {
    let mut counts = Counts::new();
    let each = |counter: Counter| {
        counts.insert((counter.addr, counter.direction), (counter.bytes, counter.packets));
    };
    smol::block_on(sets.read(each)).unwrap();
    counts
}

/// What was sent, as a count of one direction.
pub fn count(addr: impl Into<IpAddr>, direction: Direction, sent: Sent) -> ((IpAddr, Direction), (u64, u64)) {
    ((addr.into(), direction), (sent.l3, sent.packets))
}

/// Runs nft in the router with a file of commands.
pub fn nft(node: &Node, commands: &str) {
    let mut nft = node.command("nft");
    nft.args(["-f", "-"]);
    process::must(nft, commands).unwrap();
}

/// Our table as nft lists it.
pub fn listing(node: &Node) -> String {
    node.must(&["nft", "list", "table", "inet", "gatemeter"])
}

/// Follows changes until one was mended.
pub fn mended(sets: &mut Sets) {
    let late = async {
        smol::Timer::after(process::LIMIT).await;
        panic!("nothing is mended");
    };
    smol::block_on(smol::future::or(sets.changed(), late)).unwrap();
}

/// A listing without the addresses and their counts.
pub fn without_elements(listing: &str) -> String {
    let mut inside = false;
    let keep = |line: &&str| {
        let starts = line.trim_start().starts_with("elements = {");
        let keep = !inside && !starts;
        inside = (inside || starts) && !line.trim_end().ends_with('}');
        keep
    };
    listing.lines().filter(keep).map(|line| format!("{line}\n")).collect()
}

/// `gatemeter clean` in the router, as far as sets go, while somebody keeps the table.
pub fn clean_beside(lab: &Lab) -> Result<Option<String>> {
    lab.router.enter(check::clean_sets)
}

/// `gatemeter clean` in the router, as far as sets go, once nobody keeps the table any more.
pub fn clean(lab: &Lab) -> Result<Option<String>> {
    once_free(|| clean_beside(lab))
}

/// Follows changes until `ready`, however long that takes within reason. In the router, and with a reading at the end:
/// after a reading that is dropped half-way the next one opens its socket anew.
pub fn follow_until(lab: &Lab, sets: &mut Sets, ready: impl Fn() -> bool + Sync) {
    let looking = async {
        let deadline = std::time::Instant::now() + process::LIMIT;
        while !ready() {
            assert!(std::time::Instant::now() < deadline, "it does not come to that");
            smol::Timer::after(std::time::Duration::from_millis(50)).await;
        }
    };
    lab.router.enter(|| {
        let following = async {
            loop {
                sets.changed().await.unwrap();
            }
        };
        smol::block_on(smol::future::or(looking, following));
        smol::block_on(sets.read(|_| {})).unwrap();
    });
}
