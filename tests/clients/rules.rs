//! `accounting=rules`: rules that name a client in their comment, made by hand or by us.

use std::net::IpAddr;

use crate::figures::{Tally, UP, client, clients, exchange, expect, fresh, let_it_flow, named, setup, while_talking};
use crate::harness::{Daemon, PATIENCE, Setup};
use crate::lab::traffic::UdpPair;
use crate::lab::{Lab, process};

/// The table of somebody who follows the peer's manual: a chain for clients that the forward chain jumps to.
const BY_HAND: &str = "add table inet filter\n\
    add chain inet filter forward { type filter hook forward priority filter; policy accept; }\n\
    add chain inet filter CLIENT_TRAFFIC\n\
    add rule inet filter forward jump CLIENT_TRAFFIC\n";
/// The same as a firewall has it before anybody counts: answers are let through by the first rule.
const FIREWALL: &str = "add table inet filter\n\
    flush table inet filter\n\
    add chain inet filter forward { type filter hook forward priority filter; policy accept; }\n\
    add rule inet filter forward ct state established,related accept\n";

fn nft(lab: &Lab, script: &str) {
    let mut nft = lab.router.command("nft");
    nft.args(["-f", "-"]);
    process::must(nft, script).unwrap();
}

/// The manual's two commands for one client, word for word but for the address.
fn manual(ip: impl Into<IpAddr>) -> String {
    let ip = ip.into();
    let family = if ip.is_ipv4() { "ip" } else { "ip6" };
    format!(
        "add rule inet filter CLIENT_TRAFFIC {family} saddr {ip} counter comment \"tx_{ip}\"\n\
         add rule inet filter CLIENT_TRAFFIC {family} daddr {ip} counter comment \"rx_{ip}\"\n"
    )
}

fn by_rules<'a>(lab: &'a Lab, manage: bool) -> Setup<'a> {
    let manage = format!("clients.manage_rules={}", u8::from(manage));
    setup(lab).flags(&["-o", "clients.accounting=rules", "-o", &manage])
}

/// Waits until the chain has both rules for each of these addresses.
fn wait_for_rules(lab: &Lab, daemon: &Daemon, ips: &[IpAddr]) {
    let chain = || lab.router.run(&["nft", "list", "chain", "inet", "filter", "CLIENT_TRAFFIC"]).stdout;
    let complete = || {
        let chain = chain();
        let has = |ip: &IpAddr| ["tx", "rx"].iter().all(|way| chain.contains(&format!("\"{way}_{ip}\"")));
        ips.iter().all(has).then_some(())
    };
    let seen = process::poll(PATIENCE, complete);
    assert!(seen.is_some(), "rules are missing in\n{}\n{}", chain(), daemon.stderr());
}

#[test]
fn rules_made_by_hand_after_the_manual_are_read_as_they_are() {
    let lab = Lab::builder().hosts(3).nat().build();
    let (one, two) = (lab.host(1), lab.host(2));
    nft(&lab, &(BY_HAND.to_owned() + &manual(one.v4) + &manual(one.v6) + &manual(two.v4)));
    // A rule of somebody's that only looks like one of them.
    nft(&lab, "add rule inet filter CLIENT_TRAFFIC counter comment \"tx_everything\"\n");
    let mut before = exchange(one.on_v4(), lab.internet.on_v4(), (3, 30), (3, 30));
    let rules = lab.router.must(&["nft", "list", "chain", "inet", "filter", "CLIENT_TRAFFIC"]);
    let daemon = by_rules(&lab, false).start();
    before += exchange(one.on_v4(), lab.internet.on_v4(), (10, 100), (5, 500));
    let want = [
        (client(one.on_v4()), before),
        (client(one.on_v6()), exchange(one.on_v6(), lab.internet.on_v6(), (10, 100), (5, 500))),
        (client(two.on_v4()), exchange(two.on_v4(), lab.internet.on_v4(), (7, 70), (9, 90))),
    ];
    // No rule names the third.
    exchange(lab.host(3).on_v4(), lab.internet.on_v4(), (10, 100), (5, 500));
    expect(&daemon, want);
    let handles = |text: &str| text.lines().filter(|line| line.contains("comment")).count();
    let now = lab.router.must(&["nft", "list", "chain", "inet", "filter", "CLIENT_TRAFFIC"]);
    assert_eq!(handles(&now), handles(&rules), "no rule is added where nobody asked for it");
}

#[test]
fn another_table_and_chain_may_hold_the_rules() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    nft(
        &lab,
        &format!(
            "add table ip acct\n\
             add chain ip acct everything {{ type filter hook forward priority -10; }}\n\
             add rule ip acct everything ip saddr {0} counter comment \"tx_{0}\"\n\
             add rule ip acct everything ip daddr {0} counter comment \"rx_{0}\"\n",
            host.v4
        ),
    );
    let daemon =
        by_rules(&lab, false).flags(&["-o", "clients.table=ip acct", "-o", "clients.chain=everything"]).start();
    expect(&daemon, [(client(host.on_v4()), exchange(host.on_v4(), lab.internet.on_v4(), (4, 40), (5, 50)))]);
}

#[test]
fn without_the_chain_the_daemon_says_what_to_do_and_takes_it_up_when_it_is_there() {
    let lab = Lab::builder().hosts(1).build();
    let setup = by_rules(&lab, false);
    let daemon = setup.start();
    crate::figures::told(&daemon, &["no bytes are counted", "inet filter", "clients.manage_rules=1"]);
    let check = setup.run(&["check"]);
    assert!(check.stdout.lines().any(|line| line.contains("inet filter")), "{check:?}");
    nft(&lab, &(BY_HAND.to_owned() + &manual(lab.host(1).v4)));
    daemon.wait_for(UP, 1.0);
    let host = lab.host(1).on_v4();
    expect(&daemon, [(client(host), exchange(host, lab.internet.on_v4(), (4, 40), (5, 50)))]);
}

#[test]
fn rules_that_are_made_for_us_see_every_packet_also_of_established_flows() {
    let lab = Lab::builder().hosts(2).nat().build();
    nft(&lab, FIREWALL);
    let (one, two) = (lab.host(1), lab.host(2));
    // Established before anybody counts.
    let mut old = UdpPair::open(one.on_v4(), lab.internet.on_v4());
    old.up(1, 1);
    old.down(1, 1);
    let daemon = by_rules(&lab, true).start();
    wait_for_rules(&lab, &daemon, &[one.v4.into(), two.v4.into()]);
    let up = old.up(50, 500);
    let mut tally = Tally::of(up, old.down(40, 400));
    tally += exchange(one.on_v4(), lab.internet.on_v4(), (30, 300), (20, 200));
    let want = [
        (client(one.on_v4()), tally),
        (client(two.on_v4()), exchange(two.on_v4(), lab.internet.on_v4(), (10, 100), (20, 200))),
    ];
    expect(&daemon, want);
}

#[test]
fn a_client_whose_address_is_the_beginning_of_anothers_gets_its_rules() {
    let lab = Lab::builder().hosts(1).nat().build();
    nft(&lab, FIREWALL);
    let host = lab.host(1);
    // 192.168.1.110 is known first; 192.168.1.11 is contained in it.
    assert_eq!(host.v4.to_string(), "192.168.1.11");
    let neighbour = |ip: &str| {
        let mac = host.mac_text();
        lab.router.must(&["ip", "neigh", "replace", ip, "lladdr", &mac, "dev", "br-lan", "nud", "reachable"]);
    };
    lab.router.must(&["ip", "neigh", "flush", "dev", "br-lan"]);
    host.must(&["ip", "addr", "add", "192.168.1.110/24", "dev", "eth0"]);
    neighbour("192.168.1.110");
    let daemon = by_rules(&lab, true).start();
    wait_for_rules(&lab, &daemon, &["192.168.1.110".parse().unwrap()]);
    neighbour("192.168.1.11");
    wait_for_rules(&lab, &daemon, &[host.v4.into()]);
    let longer = host.on([192, 168, 1, 110]);
    let want = [
        (named("lan1", host.v4), exchange(host.on_v4(), lab.internet.on_v4(), (10, 100), (5, 500))),
        (named("lan1", longer.ip), exchange(longer, lab.internet.on_v4(), (3, 30), (4, 40))),
    ];
    expect(&daemon, want);
}

#[test]
fn rules_that_a_firewall_reload_swept_away_are_made_again_and_no_total_falls() {
    let lab = Lab::builder().hosts(2).nat().build();
    nft(&lab, FIREWALL);
    let ips: Vec<IpAddr> = lab.lan.iter().map(|host| host.v4.into()).collect();
    let daemon = by_rules(&lab, true).start();
    wait_for_rules(&lab, &daemon, &ips);
    while_talking(&lab, || {
        let_it_flow(&lab);
        let mut before = clients(&fresh(&daemon));
        for _ in 0..3 {
            // A reload empties the table; what stands in it afterwards is the firewall's own.
            nft(&lab, FIREWALL);
            wait_for_rules(&lab, &daemon, &ips);
            let_it_flow(&lab);
            let after = clients(&fresh(&daemon));
            for host in &lab.lan {
                let (old, new) = (before[&client(host.on_v4())], after[&client(host.on_v4())]);
                assert!(new.tx > old.tx && new.rx > old.rx, "{} had {old:?} and then {new:?}", host.name);
            }
            before = after;
        }
    });
    let listing = lab.router.must(&["nft", "list", "table", "inet", "filter"]);
    assert_eq!(listing.matches("jump CLIENT_TRAFFIC").count(), 1, "{listing}");
    for ip in ips {
        assert_eq!(listing.matches(&format!("\"tx_{ip}\"")).count(), 1, "{listing}");
    }
}

#[test]
fn rules_keep_their_counts_over_a_restart() {
    let lab = Lab::builder().hosts(1).nat().build();
    nft(&lab, FIREWALL);
    let host = lab.host(1).on_v4();
    let setup = by_rules(&lab, true);
    let mut daemon = setup.start();
    wait_for_rules(&lab, &daemon, &[host.ip]);
    let mut sent = exchange(host, lab.internet.on_v4(), (10, 100), (5, 500));
    expect(&daemon, [(client(host), sent)]);
    daemon.kill9();
    sent += exchange(host, lab.internet.on_v4(), (10, 100), (5, 500));
    let daemon = setup.start();
    sent += exchange(host, lab.internet.on_v4(), (10, 100), (5, 500));
    expect(&daemon, [(client(host), sent)]);
}

#[test]
fn clean_removes_the_rules_we_made_and_leaves_those_made_by_hand() {
    let lab = Lab::builder().hosts(1).nat().build();
    nft(&lab, FIREWALL);
    let setup = by_rules(&lab, true);
    let mut daemon = setup.start();
    wait_for_rules(&lab, &daemon, &[lab.host(1).v4.into()]);
    daemon.kill9();
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    let listing = lab.router.must(&["nft", "list", "table", "inet", "filter"]);
    assert!(!listing.contains("CLIENT_TRAFFIC"), "{listing}");
    assert!(listing.contains("ct state established,related accept"), "{listing}");

    let by_hand = BY_HAND.to_owned() + &manual(lab.host(1).v4);
    nft(&lab, &format!("delete table inet filter\n{by_hand}"));
    assert_eq!(by_rules(&lab, false).run(&["clean"]).status.code(), Some(0));
    let listing = lab.router.must(&["nft", "list", "table", "inet", "filter"]);
    assert!(listing.contains("\"tx_192.168.1.11\""), "{listing}");
}
