//! What the tests share: a lab whose router tracks connections, the counts of `conntrack -L`, and waiting until both
//! are of one opinion.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatemeter::collectors::clients::accounting::Direction;
use gatemeter::collectors::clients::flows::{Connections, Options};

use crate::lab::{Lab, Node, process};

/// Active and unreplied connections of each client.
pub type Census = BTreeMap<IpAddr, (u32, u32)>;

/// A router with masquerading, two hosts and a guest. A rule that looks at states makes the kernel track IPv6, too.
pub fn tracking_lab() -> Lab {
    let lab = Lab::builder().hosts(2).guest().nat().build();
    rules(
        &lab.router,
        "table inet lab_track {\nchain forward {\ntype filter hook forward priority 0\nct state new counter\n}\n}\n",
    );
    lab.router.sysctl("netfilter/nf_conntrack_acct", "1");
    // What a test makes stays for as long as a busy machine takes for it.
    for protocol in ["udp", "icmp", "icmpv6"] {
        lab.router.sysctl(&format!("netfilter/nf_conntrack_{protocol}_timeout"), "600");
    }
    forget_all(&lab.router);
    lab
}

/// Adds nftables rules.
pub fn rules(node: &Node, text: &str) {
    let mut nft = node.command("nft");
    nft.args(["-f", "-"]);
    process::must(nft, text).unwrap();
}

/// Empties the kernel's table.
pub fn forget_all(router: &Node) {
    router.must(&["conntrack", "-F"]);
}

/// The lab's LANs without the router's own addresses and broadcasts.
pub fn is_client(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => matches!(addr.octets(), [192, 168, 1 | 2, last] if last > 1 && last < 255),
        IpAddr::V6(addr) => match addr.segments() {
            [0x2001, 0xdb8, 1, 1 | 2, rest @ ..] | [0xfd00, 1, 1, 0, rest @ ..] => rest != [0, 0, 0, 1],
            _ => false,
        },
    }
}

/// What `conntrack -L` lists, counted by hand: once for each end that is a client, closing connections for nobody, and
/// one without an answer for who began it.
pub fn census(router: &Node, is_client: impl Fn(IpAddr) -> bool) -> Census {
    let mut census = Census::new();
    for line in router.must(&["conntrack", "-L", "-o", "extended"]).lines() {
        if ["TIME_WAIT", "CLOSE ", "LAST_ACK"].iter().any(|state| line.contains(state)) {
            continue;
        }
        let waits = ["[UNREPLIED]", "SYN_SENT", "SYN_RECV"].iter().any(|mark| line.contains(mark));
        let mut ends: Vec<IpAddr> =
            line.split(' ').filter_map(|word| word.strip_prefix("src=")).map(|addr| addr.parse().unwrap()).collect();
        assert_eq!(ends.len(), 2, "{line}");
        ends.truncate(if waits { 1 } else { 2 });
        ends.dedup();
        for end in ends.into_iter().filter(|end| is_client(*end)) {
            let (active, unreplied) = census.entry(end).or_default();
            *if waits { unreplied } else { active } += 1;
        }
    }
    census
}

/// Someone who collects, with a clock that a test can put forward.
pub struct Follower {
    pub connections: Connections,
    pub ahead: Duration,
    pub is_client: fn(IpAddr) -> bool,
}

impl Follower {
    /// Opens in the namespace of the calling thread, and collects once.
    pub fn open(options: Options) -> Self {
        let mut follower = Self::waiting(options);
        follower.collect();
        follower
    }

    /// Opens, and does not collect yet.
    pub fn waiting(options: Options) -> Self {
        Follower { connections: Connections::open(options).unwrap(), ahead: Duration::ZERO, is_client }
    }

    pub fn collect(&mut self) {
        let now = Instant::now() + self.ahead;
        smol::block_on(self.connections.collect(now, &self.is_client)).unwrap();
    }

    /// What it counts.
    pub fn census(&self) -> Census {
        self.connections.clients().map(|(addr, counts)| (addr, (counts.active, counts.unreplied))).collect()
    }

    /// Collects until it counts what `conntrack -L` lists, which is returned.
    pub fn agree(&mut self, router: &Node) -> Census {
        self.agree_on(router, |_| true)
    }

    /// Collects until it counts what `conntrack -L` lists, and that is as `expected`: packets that close a connection
    /// are on their way for a while after both ends have let go of it.
    pub fn agree_on(&mut self, router: &Node, expected: impl Fn(&Census) -> bool) -> Census {
        let (mut ours, mut theirs) = (Census::new(), Census::new());
        let agreed = process::poll(process::LIMIT, || {
            self.collect();
            (ours, theirs) = (self.census(), census(router, self.is_client));
            (ours == theirs && expected(&theirs)).then_some(())
        });
        assert!(agreed.is_some(), "ours {ours:?}\ntheirs {theirs:?}\n{:?}", self.connections.totals());
        theirs
    }

    /// Bytes a client has sent and received.
    pub fn bytes(&self, addr: IpAddr) -> [u64; 2] {
        let mut bytes = [0; 2];
        self.connections.bytes(|counter| {
            if counter.addr == addr {
                bytes[usize::from(counter.direction == Direction::Rx)] = counter.bytes;
            }
        });
        bytes
    }
}

/// Counts of a host's IPv4 address.
pub fn of(census: &Census, addr: impl Into<IpAddr>) -> (u32, u32) {
    census.get(&addr.into()).copied().unwrap_or_default()
}
