//! Rules that name a client: read, and kept.

use std::net::IpAddr;

use gatemeter::collectors::clients::accounting::Direction::{Rx, Tx};
use gatemeter::collectors::clients::accounting::rules::{Options, Rules};
use gatemeter::collectors::clients::accounting::{Counter, doctor};

use crate::common::*;
use crate::lab::traffic::{UdpPair, send_udp};
use crate::lab::{Lab, process};

fn rules(table: Option<(&str, &str)>, chain: Option<&str>, manage: bool) -> Options {
    let table = table.map(|(family, name)| (family.to_owned(), name.to_owned()));
    Options { table, chain: chain.map(str::to_owned), manage }
}

fn usual(manage: bool) -> Options {
    rules(Some(("inet", "filter")), Some("CLIENT_TRAFFIC"), manage)
}

fn open(lab: &Lab, options: &Options) -> Rules {
    once_free(|| lab.router.enter(|| Rules::open(options))).unwrap()
}

fn read(rules: &mut Rules) -> Counts {
    let mut counts = Counts::new();
    let each = |counter: Counter| {
        let doubled = counts.insert((counter.addr, counter.direction), (counter.bytes, counter.packets));
        assert_eq!(doubled, None);
    };
    smol::block_on(rules.read(each)).unwrap();
    counts
}

fn clean(lab: &Lab, options: &Options) -> Vec<String> {
    once_free(|| lab.router.enter(|| doctor::clean_rules(options))).unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn keep(rules: &mut Rules, clients: &[IpAddr]) {
    let mut clients = clients.to_vec();
    clients.sort_unstable();
    smol::block_on(rules.keep(clients)).unwrap();
}

fn mended(rules: &mut Rules) {
    let late = async {
        smol::Timer::after(process::LIMIT).await;
        panic!("nothing is mended");
    };
    smol::block_on(smol::future::or(rules.changed(), late)).unwrap();
}

/// Two tables with rules of one client each, and a good deal that is none of ours.
const TRICKY: &str = r#"
table inet filter {
    counter named { packets 4 bytes 400 }
    chain CLIENT_TRAFFIC {
        ip saddr 192.168.1.1 counter packets 1 bytes 100 comment "tx_192.168.1.1"
        ip saddr 192.168.1.10 counter packets 2 bytes 200 comment "tx_192.168.1.10"
        ip daddr 192.168.1.10 counter packets 5 bytes 500 counter packets 9 bytes 9 comment "rx_192.168.1.10"
        ip saddr 192.168.1.10 tcp dport 80 counter packets 3 bytes 300 comment "tx_192.168.1.10"
        ip6 daddr 2001:db8::1 counter packets 6 bytes 600 comment "rx_2001:db8::1"
        ip6 daddr 2001:db8::2 counter name "named" comment "rx_2001:db8::2"
        ip6 daddr 2001:db8::2 counter packets 1 bytes 1 comment "rx_2001:db8::2"
        ip saddr 192.168.1.2 comment "tx_192.168.1.2"
        ip saddr 192.168.1.3 counter packets 1 bytes 1 comment "tx_192.168.1.3 "
        ip saddr 192.168.1.3 counter packets 1 bytes 1 comment "tx_192.168.1.300"
        ip saddr 192.168.1.3 counter packets 1 bytes 1 comment "TX_192.168.1.3"
        ip saddr 192.168.1.3 counter packets 1 bytes 1 comment "tx_"
        counter packets 1 bytes 1
    }
    chain other {
        ip saddr 192.168.1.4 counter packets 7 bytes 700 comment "tx_192.168.1.4"
    }
}
table ip second {
    chain CLIENT_TRAFFIC {
        ip saddr 192.168.1.1 counter packets 10 bytes 1000 comment "tx_192.168.1.1"
    }
}
"#;

#[test]
fn rules_are_read_by_exact_comment_and_added_up() {
    let lab = Lab::builder().hosts(0).build();
    nft(&lab.router, TRICKY);
    let one = Counts::from([
        ((addr("192.168.1.1"), Tx), (100, 1)),
        ((addr("192.168.1.10"), Tx), (500, 5)),
        ((addr("192.168.1.10"), Rx), (500, 5)),
        ((addr("2001:db8::1"), Rx), (600, 6)),
        ((addr("2001:db8::2"), Rx), (401, 5)),
    ]);
    let mut chain = open(&lab, &usual(false));
    assert_eq!(read(&mut chain), one);
    assert_eq!(read(&mut chain), one);
    assert_eq!(chain.nothing(), None);
    let mut table = one.clone();
    table.insert((addr("192.168.1.4"), Tx), (700, 7));
    assert_eq!(read(&mut open(&lab, &rules(Some(("inet", "filter")), None, false))), table);
    let mut chains = one.clone();
    chains.insert((addr("192.168.1.1"), Tx), (1100, 11));
    assert_eq!(read(&mut open(&lab, &rules(None, Some("CLIENT_TRAFFIC"), false))), chains);
    table.insert((addr("192.168.1.1"), Tx), (1100, 11));
    assert_eq!(read(&mut open(&lab, &rules(None, None, false))), table);
}

#[test]
fn what_is_missing_is_told_and_found_once_it_is_there() {
    let lab = Lab::builder().hosts(0).build();
    let mut rules = open(&lab, &usual(false));
    let says = |rules: &mut Rules, words: &str| {
        assert_eq!(read(rules), Counts::new());
        assert_eq!(rules.nothing(), Some(words));
    };
    says(&mut rules, "there is no nftables table inet filter; clients.manage_rules=1 makes it");
    nft(&lab.router, "table inet filter { }\n");
    let missing = "there is no chain CLIENT_TRAFFIC in the nftables table inet filter; clients.manage_rules=1 makes it";
    says(&mut rules, missing);
    nft(&lab.router, "table inet filter { chain CLIENT_TRAFFIC { }\n}\n");
    says(
        &mut rules,
        "no rule has a comment such as tx_192.168.1.2 and a counter in the chain CLIENT_TRAFFIC of the nftables table \
         inet filter",
    );
    nft(&lab.router, "add rule inet filter CLIENT_TRAFFIC counter packets 1 bytes 2 comment \"rx_10.0.0.1\"\n");
    assert_eq!(read(&mut rules), Counts::from([((addr("10.0.0.1"), Rx), (2, 1))]));
    lab.router.must(&["nft", "flush", "ruleset"]);
    says(&mut rules, "there is no nftables table inet filter; clients.manage_rules=1 makes it");
}

#[test]
fn kept_rules_count_packets_and_come_back_with_their_counts_after_a_reload() {
    let lab = Lab::builder().hosts(2).build();
    // As firewalls have it: a rule that accepts established connections, before which the jump must be.
    let firewall = "table inet filter\ndelete table inet filter\ntable inet filter {\n\
                    chain forward { type filter hook forward priority filter; policy accept;\n\
                    ct state established,related accept\n}\n}\n";
    nft(&lab.router, firewall);
    let mut rules = open(&lab, &usual(true));
    let (near, far) = (lab.host(1).on_v4(), lab.internet.on_v4());
    let (near6, far6) = (lab.host(1).on_v6(), lab.internet.on_v6());
    keep(&mut rules, &[near.ip, near6.ip]);
    let mut pairs = [UdpPair::open(near, far), UdpPair::open(near6, far6)];
    let mut sent = pairs.each_mut().map(|pair| [pair.up(5, 100), pair.down(4, 200)]);
    let expected = |sent: &[[crate::lab::traffic::Sent; 2]; 2]| {
        let [[up, down], [up6, down6]] = *sent;
        Counts::from([
            count(near.ip, Tx, up),
            count(near.ip, Rx, down),
            count(near6.ip, Tx, up6),
            count(near6.ip, Rx, down6),
        ])
    };
    assert_eq!(read(&mut rules), expected(&sent));
    let listing = lab.router.must(&["nft", "list", "table", "inet", "filter"]);
    let jump = listing.find("jump CLIENT_TRAFFIC").unwrap();
    assert!(jump < listing.find("ct state").unwrap(), "{listing}");
    assert_eq!(listing.matches("comment \"tx_192.168.1.11\"").count(), 1, "{listing}");

    nft(&lab.router, firewall);
    mended(&mut rules);
    for (pair, sent) in pairs.iter_mut().zip(&mut sent) {
        sent[0] += pair.up(3, 100);
        sent[1] += pair.down(2, 50);
    }
    assert_eq!(read(&mut rules), expected(&sent));
    // A client that is forgotten loses its rules, and a new one gets its own.
    let other = lab.host(2).on_v4();
    keep(&mut rules, &[near6.ip, other.ip]);
    let more = send_udp(other, far, 3, 10);
    let mut counts = expected(&sent);
    counts.retain(|(addr, _), _| *addr == near6.ip);
    counts.extend([count(other.ip, Tx, more), ((other.ip, Rx), (0, 0))]);
    assert_eq!(read(&mut rules), counts);

    assert_eq!(
        lab.router.enter(|| doctor::clean_rules(&usual(true))).unwrap_err().to_string(),
        "cannot remove nftables rules: another gatemeter counts LAN clients in this network namespace; stop that one first"
    );
    drop(rules);
    // Taken over, not made twice.
    let mut rules = open(&lab, &usual(true));
    keep(&mut rules, &[near6.ip, other.ip]);
    assert_eq!(read(&mut rules), counts);
    drop(rules);
    let removed = clean(&lab, &usual(true));
    let said = [
        "4 nftables rules of the chain CLIENT_TRAFFIC in the table inet filter",
        "nftables chain CLIENT_TRAFFIC in the table inet filter",
    ];
    assert_eq!(removed, said);
    let left = lab.router.must(&["nft", "list", "table", "inet", "filter"]);
    assert!(!left.contains("CLIENT_TRAFFIC") && left.contains("ct state"), "{left}");
}

#[test]
fn without_a_firewall_the_chain_gets_a_hook_and_clean_removes_all_of_it() {
    let lab = Lab::builder().hosts(1).build();
    let options = rules(Some(("ip", "mine")), Some("clients"), true);
    let mut rules = open(&lab, &options);
    let near = lab.host(1).on_v4();
    // A table of one family takes clients of that family only.
    keep(&mut rules, &[near.ip, lab.host(1).v6.into()]);
    let sent = send_udp(near, lab.internet.on_v4(), 3, 10);
    let expected = Counts::from([count(near.ip, Tx, sent), ((near.ip, Rx), (0, 0))]);
    assert_eq!(read(&mut rules), expected);
    lab.router.must(&["nft", "flush", "ruleset"]);
    mended(&mut rules);
    assert_eq!(read(&mut rules), expected);
    drop(rules);
    let removed = clean(&lab, &options);
    assert_eq!(removed.last().map(String::as_str), Some("nftables table ip mine"));
    assert_eq!(lab.router.must(&["nft", "list", "ruleset"]), "");
}

#[test]
fn what_was_made_by_hand_is_used_and_never_removed() {
    let lab = Lab::builder().hosts(2).build();
    let by_hand = "table inet filter {\n\
                   chain forward { type filter hook forward priority filter; policy accept;\n\
                   iifname \"br-lan\" jump CLIENT_TRAFFIC\noifname \"br-lan\" jump CLIENT_TRAFFIC\n}\n\
                   chain CLIENT_TRAFFIC {\n\
                   ip saddr 192.168.1.11 counter comment \"tx_192.168.1.11\"\n\
                   ip daddr 192.168.1.11 counter comment \"rx_192.168.1.11\"\n}\n}\n";
    nft(&lab.router, by_hand);
    let before = lab.router.must(&["nft", "list", "ruleset"]);
    let mut rules = open(&lab, &usual(true));
    let clients = [lab.host(1).v4.into(), lab.host(2).v4.into()];
    keep(&mut rules, &clients);
    let listing = lab.router.must(&["nft", "list", "ruleset"]);
    assert_eq!(listing.matches("jump").count(), 2, "{listing}");
    assert_eq!(listing.matches("comment").count(), 4, "{listing}");
    keep(&mut rules, &[]);
    assert_eq!(lab.router.must(&["nft", "list", "ruleset"]), before);
    keep(&mut rules, &clients);
    drop(rules);
    let removed = clean(&lab, &usual(true));
    assert_eq!(removed, ["2 nftables rules of the chain CLIENT_TRAFFIC in the table inet filter"]);
    assert_eq!(lab.router.must(&["nft", "list", "ruleset"]), before);
    assert_eq!(clean(&lab, &usual(true)), [""; 0]);
}

#[test]
fn options_that_cannot_be_are_refused_by_name() {
    let lab = Lab::builder().hosts(0).build();
    for (options, words) in [
        (
            rules(Some(("inet4", "filter")), None, false),
            "clients.table: there is no nftables family inet4, expected ip,",
        ),
        (rules(None, Some("c"), true), "clients.table: manage_rules takes one table"),
        (rules(Some(("inet", "filter")), None, true), "clients.chain: manage_rules takes one chain"),
        (rules(Some(("bridge", "filter")), Some("c"), true), "clients.table: manage_rules takes a table of the family"),
    ] {
        let error = lab.router.enter(|| Rules::open(&options)).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn rules_of_a_listing_saved_and_loaded_again_are_read_alike() {
    let lab = Lab::builder().hosts(1).build();
    let mut rules = open(&lab, &usual(true));
    keep(&mut rules, &[lab.host(1).v4.into(), lab.host(1).v6.into()]);
    send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 3, 10);
    let counts = read(&mut rules);
    drop(rules);
    let saved = lab.router.must(&["nft", "list", "ruleset"]);
    nft(&lab.router, &format!("flush ruleset\n{saved}"));
    assert_eq!(lab.router.must(&["nft", "list", "ruleset"]), saved);
    assert_eq!(read(&mut open(&lab, &usual(false))), counts);
}
