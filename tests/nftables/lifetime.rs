//! Counts outlive the process, whatever its end, and whatever others do to the ruleset.

use std::fs;
use std::process::Command;
use std::time::Duration;

use gatemeter::collectors::clients::accounting::Direction::{Rx, Tx};
use gatemeter::collectors::clients::accounting::sets::{Options, Sets};

use crate::common::*;
use crate::lab::traffic::{StopOnDrop, UdpPair, send_udp};
use crate::lab::{Lab, process};

/// What one client sends and receives over both families.
fn talk(lab: &Lab) -> Counts {
    let mut counts = Counts::new();
    for (near, far) in [(lab.host(1).on_v4(), lab.internet.on_v4()), (lab.host(1).on_v6(), lab.internet.on_v6())] {
        let mut pair = UdpPair::open(near, far);
        counts.extend([count(near.ip, Tx, pair.up(7, 300)), count(near.ip, Rx, pair.down(5, 900))]);
    }
    counts
}

fn twice(counts: &Counts) -> Counts {
    counts.iter().map(|(key, (bytes, packets))| (*key, (2 * bytes, 2 * packets))).collect()
}

#[test]
fn counting_goes_on_without_the_daemon_and_the_next_one_takes_the_counts_over() {
    for protect in [true, false] {
        let lab = Lab::builder().hosts(1).build();
        let sets = open(&lab, options(protect));
        let once = talk(&lab);
        drop(sets);
        assert_eq!(talk(&lab), once);
        let mut sets = open(&lab, options(protect));
        assert_eq!(sets.is_protected(), protect);
        assert_eq!(read(&mut sets), twice(&once));
        assert_eq!(listing(&lab.router).contains("flags owner"), protect);
    }
}

/// Set in the process that is to be killed.
const ROLE: &str = "GATEMETER_TEST_KEEPS_A_TABLE";

#[test]
fn a_killed_process_leaves_its_protected_table_to_the_next() {
    if let Some(ready) = std::env::var_os(ROLE) {
        // The process that is killed: this test once more, inside the router.
        let mut sets = smol::block_on(Sets::open(options(true))).unwrap();
        smol::block_on(sets.apply(&lans())).unwrap();
        fs::write(ready, "").unwrap();
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let lab = Lab::builder().hosts(1).build();
    let ready = lab.dir().join("ready");
    let mut command: Command = lab.router.command(std::env::current_exe().unwrap());
    command.args(["--exact", "lifetime::a_killed_process_leaves_its_protected_table_to_the_next"]).env(ROLE, &ready);
    let child = process::Background::start(command, &lab.dir().join("child.log")).unwrap();
    assert!(process::poll(process::LIMIT, || ready.exists().then_some(())).is_some());
    let once = talk(&lab);

    let error = try_open(&lab, options(true)).unwrap_err().to_string();
    assert!(
        error.contains("another gatemeter counts LAN clients in this network namespace; stop that one first"),
        "{error}"
    );
    assert!(clean_beside(&lab).unwrap_err().to_string().contains("another gatemeter"));
    // Beside it, the table can be read.
    let mut beside = lab.router.enter(|| smol::block_on(Sets::open_beside())).unwrap();
    assert_eq!(read(&mut beside), once);
    smol::block_on(beside.apply(&[])).unwrap();
    beside.forget(&[lab.host(1).v4.into()]).unwrap();

    child.signal(libc::SIGKILL);
    drop(child);
    assert_eq!(talk(&lab), once);
    let mut sets = open(&lab, options(true));
    assert!(sets.is_protected());
    assert_eq!(read(&mut sets), twice(&once));
    assert!(!lab.router.run(&["nft", "delete", "table", "inet", "gatemeter"]).status.success());
}

#[test]
fn nobody_else_can_remove_or_change_a_protected_table() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(true));
    let once = talk(&lab);
    lab.router.must(&["nft", "flush", "ruleset"]);
    for words in [
        "nft delete table inet gatemeter",
        "nft flush table inet gatemeter",
        "nft flush chain inet gatemeter acct",
        "nft flush set inet gatemeter tx4",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert!(!lab.router.run(&words).status.success(), "{words:?}");
    }
    assert_eq!(talk(&lab), once);
    assert_eq!(read(&mut sets), twice(&once));
}

#[test]
fn a_removed_table_is_made_again_at_once_with_its_counts() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(false));
    let once = talk(&lab);
    assert_eq!(read(&mut sets), once);
    lab.router.must(&["nft", "flush", "ruleset"]);
    mended(&mut sets);
    assert_eq!(talk(&lab), once);
    assert_eq!(read(&mut sets), twice(&once));
    // The kernel itself has the totals, so a restart does not lose them either.
    drop(sets);
    let mut sets = open(&lab, options(false));
    assert_eq!(read(&mut sets), twice(&once));
}

#[test]
fn a_reading_finds_out_by_itself_that_the_table_is_gone() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(false));
    let once = talk(&lab);
    assert_eq!(read(&mut sets), once);
    lab.router.must(&["nft", "delete", "table", "inet", "gatemeter"]);
    assert_eq!(read(&mut sets), once);
    assert_eq!(talk(&lab), once);
    assert_eq!(read(&mut sets), twice(&once));
}

#[test]
fn a_removed_chain_or_rule_or_set_is_made_again() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(false));
    let whole = without_elements(&listing(&lab.router));
    let mut expected = Counts::new();
    for damage in [
        "flush chain inet gatemeter acct\ndelete chain inet gatemeter acct\n",
        "flush chain inet gatemeter acct\n",
        "add rule inet gatemeter acct iifname \"br-lan\" drop\n",
        "flush chain inet gatemeter acct\ndelete set inet gatemeter rx6\n",
        "flush chain inet gatemeter acct\ndelete set inet gatemeter tx4\n\
         add set inet gatemeter tx4 { type ipv4_addr; flags dynamic; }\n",
        "flush chain inet gatemeter acct\ndelete chain inet gatemeter acct\n\
         add chain inet gatemeter acct { type filter hook input priority 0; policy drop; }\n",
        "delete table inet gatemeter\nadd table inet gatemeter { comment \"gatemeter: bytes of LAN clients\"; }\n",
    ] {
        nft(&lab.router, damage);
        mended(&mut sets);
        assert_eq!(without_elements(&listing(&lab.router)), whole, "{damage}");
        for (key, (bytes, packets)) in talk(&lab) {
            let entry = expected.entry(key).or_insert((0, 0));
            *entry = (entry.0 + bytes, entry.1 + packets);
        }
        assert_eq!(read(&mut sets), expected, "{damage}");
    }
}

#[test]
fn elements_that_others_remove_come_back_and_no_count_goes_back() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(false));
    let once = talk(&lab);
    assert_eq!(read(&mut sets), once);
    // Counted anew from the next packet on: the next reading adds up.
    nft(&lab.router, "flush set inet gatemeter tx4\nflush set inet gatemeter rx6\n");
    assert_eq!(talk(&lab), once);
    assert_eq!(read(&mut sets), twice(&once));
    drop(sets);
    let mut sets = open(&lab, options(false));
    assert_eq!(read(&mut sets), twice(&once));
    // No packet comes and nothing is read: the event alone brings them back.
    nft(&lab.router, "flush set inet gatemeter tx4\n");
    let back = || lab.router.must(&["nft", "list", "set", "inet", "gatemeter", "tx4"]).contains("packets 14");
    follow_until(&lab, &mut sets, back);
    assert_eq!(read(&mut sets), twice(&once));
}

#[test]
fn another_size_or_protection_keeps_the_counts() {
    let lab = Lab::builder().hosts(1).build();
    let mut last = open(&lab, options(false));
    let once = talk(&lab);
    for (max_clients, protect) in [(500, false), (500, true), (2000, true), (2000, false), (64, false)] {
        drop(last);
        last = open(&lab, Options { max_clients, protect });
        assert_eq!(read(&mut last), once, "{max_clients} {protect}");
        assert!(listing(&lab.router).contains(&format!("size {max_clients}\n")));
    }
}

#[test]
fn thousands_of_counts_are_carried_over() {
    let lab = Lab::builder().hosts(0).build();
    let sets = open(&lab, Options { max_clients: 4096, protect: false });
    drop(sets);
    let addr = |n: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
    let elements: Vec<String> =
        (0..4000).map(|n| format!("{} counter packets {n} bytes {}", addr(n), u64::from(n) << 33)).collect();
    nft(&lab.router, &format!("add element inet gatemeter rx4 {{ {} }}\n", elements.join(", ")));
    let expected: Counts = (0..4000).map(|n| ((addr(n).into(), Rx), (u64::from(n) << 33, u64::from(n)))).collect();
    for (max_clients, protect) in [(8192, false), (5000, true)] {
        let mut sets = open(&lab, Options { max_clients, protect });
        assert_eq!(read(&mut sets), expected);
        assert_eq!(sets.fill().map(|fill| (fill.set, fill.used))[1], ("rx4", 4000));
    }
    // Into a smaller set, as many go as fit.
    let mut sets = open(&lab, Options { max_clients: 1000, protect: false });
    assert_eq!(read(&mut sets).len(), 1000);
}

#[test]
fn reloads_of_another_table_lose_no_packet() {
    for protect in [true, false] {
        let lab = Lab::builder().hosts(1).build();
        let mut sets = open(&lab, options(protect));
        let (router, rules) = (lab.router.clone(), lab.dir().join("firewall.nft"));
        let chains: String =
            (0..40).map(|n| format!("chain c{n} {{ ip saddr 10.0.0.{n} counter accept; }}\n")).collect();
        let reload = format!(
            "table inet fw4\nflush table inet fw4\ndelete table inet fw4\ntable inet fw4 {{\n\
             chain forward {{ type filter hook forward priority filter; policy accept; }}\n{chains}}}\n"
        );
        fs::write(&rules, reload).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (sent, reloads) = std::thread::scope(|scope| {
            let reloading = scope.spawn(|| {
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    router.must(&["nft", "-f", rules.to_str().unwrap()]);
                    count += 1;
                }
                count
            });
            let stopping = StopOnDrop(&stop);
            let mut pair = UdpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
            let mut sent = crate::lab::traffic::Sent::default();
            for round in 0..60 {
                sent += pair.up(200, 100);
                // In between, all that a daemon does: it reads, follows changes, and changes its rules.
                let counts = read(&mut sets);
                assert_eq!(counts, Counts::from([count(lab.host(1).v4, Tx, sent)]), "round {round}");
                smol::block_on(sets.apply(&if round % 2 == 0 { lans() } else { lans()[..1].to_vec() })).unwrap();
                // In the router: what is dropped half-way may open its sockets anew.
                lab.router.enter(|| smol::block_on(smol::future::or(sets.changed(), async { Ok(()) }))).unwrap();
            }
            drop(stopping);
            (sent, reloading.join().unwrap())
        });
        assert!(reloads > 3, "{reloads} reloads");
        assert_eq!(read(&mut sets), Counts::from([count(lab.host(1).v4, Tx, sent)]));
    }
}

#[test]
fn removing_the_table_over_and_over_never_takes_a_count_back() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(false));
    let (near, far) = (lab.host(1).on_v4(), lab.internet.on_v4());
    let mut last = (0, 0);
    for _ in 0..20 {
        send_udp(near, far, 3, 100);
        let counts = read(&mut sets);
        let now = counts[&(near.ip, Tx)];
        assert!(now.1 >= last.1 + 3 && now.0 > last.0, "{now:?} after {last:?}");
        last = now;
        lab.router.must(&["nft", "flush", "ruleset"]);
        mended(&mut sets);
    }
    assert_eq!(last.1, 60);
}
