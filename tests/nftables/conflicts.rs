//! What stands in the way is told with its remedy, and nothing of others is touched; what is ours can be removed.

use gatemeter::collectors::Verdict;
use gatemeter::collectors::clients::accounting::check;
use gatemeter::collectors::clients::accounting::sets::Sets;
use gatemeter::sys::caps;

use crate::common::*;
use crate::lab::{Lab, process};

fn texts(lab: &Lab) -> Vec<String> {
    lab.router
        .enter(check::check_sets)
        .into_iter()
        .map(|finding| format!("{:?} {}", finding.verdict, finding.text))
        .collect()
}

#[test]
fn a_table_of_our_name_that_others_made_is_left_alone() {
    let lab = Lab::builder().hosts(0).build();
    for table in [
        "table inet gatemeter { }\n",
        "table inet gatemeter { comment \"mine\"; set tx4 { type ipv4_addr; flags dynamic; size 1024; counter; }\n}\n",
    ] {
        nft(&lab.router, table);
        let before = listing(&lab.router);
        for protect in [true, false] {
            let error = once_free(|| try_open(&lab, options(protect))).unwrap_err().to_string();
            assert_eq!(
                error,
                "cannot count LAN clients with nftables: there is a table inet gatemeter that gatemeter did not make; \
                 rename it, or remove it with: nft delete table inet gatemeter"
            );
        }
        let error = lab.router.enter(|| smol::block_on(Sets::open_beside())).unwrap_err().to_string();
        assert!(error.contains("nft delete table inet gatemeter"), "{error}");
        assert!(texts(&lab)[1].starts_with("Broken cannot count LAN clients with nftables: there is a table"));
        assert_eq!(clean(&lab).unwrap(), None);
        assert_eq!(listing(&lab.router), before);
        lab.router.must(&["nft", "delete", "table", "inet", "gatemeter"]);
    }
    assert!(once_free(|| try_open(&lab, options(true))).is_ok());
}

#[test]
fn a_table_without_comment_is_known_by_its_sets_and_chain() {
    let lab = Lab::builder().hosts(0).build();
    let set = |name: &str, kind: &str| format!("set {name} {{ type {kind}; size 1024; flags dynamic; counter; }}\n");
    nft(
        &lab.router,
        &format!(
            "table inet gatemeter {{\n{}{}{}{}chain acct {{ type filter hook forward priority 10; }}\n}}\n\
             add element inet gatemeter tx4 {{ 10.0.0.1 counter packets 3 bytes 300 }}\n",
            set("tx4", "ipv4_addr"),
            set("rx4", "ipv4_addr"),
            set("tx6", "ipv6_addr"),
            set("rx6", "ipv6_addr"),
        ),
    );
    let mut sets = try_open(&lab, options(false)).unwrap();
    assert_eq!(read(&mut sets).into_values().collect::<Vec<_>>(), [(300, 3)]);
}

#[test]
fn without_the_privilege_the_error_names_it() {
    let lab = Lab::builder().hosts(0).build();
    let (open, beside, check) = lab.router.enter(|| {
        caps::reduce(&[]).unwrap();
        let open = smol::block_on(Sets::open(options(true))).unwrap_err().to_string();
        (open, smol::block_on(Sets::open_beside()).unwrap_err().to_string(), check::check_sets())
    });
    for error in [open, beside] {
        assert!(error.ends_with("run as root or grant CAP_NET_ADMIN"), "{error}");
    }
    assert_eq!(check.len(), 1);
    assert_eq!(check[0].verdict, Verdict::Broken);
    assert!(check[0].text.contains("CAP_NET_ADMIN"));
}

#[test]
fn beside_no_daemon_there_is_nothing_to_read() {
    let lab = Lab::builder().hosts(0).build();
    let error = lab.router.enter(|| smol::block_on(Sets::open_beside())).unwrap_err().to_string();
    assert!(error.contains("there is no table inet gatemeter; start the daemon"), "{error}");
    assert_eq!(texts(&lab), ["Ok the kernel has nf_tables"]);
}

#[test]
fn clean_removes_the_table_once_nobody_keeps_it() {
    let lab = Lab::builder().hosts(0).build();
    for protect in [true, false] {
        let sets = open(&lab, options(protect));
        let error = clean_beside(&lab).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove the nftables table inet gatemeter: "), "{error}");
        assert!(error.ends_with("stop that one first"), "{error}");
        assert_eq!(texts(&lab).len(), 2);
        drop(sets);
        let free = || texts(&lab)[1].ends_with("the daemon takes it over").then_some(());
        assert_eq!(process::poll(process::LIMIT, free), Some(()));
        assert_eq!(clean(&lab).unwrap(), Some("nftables table inet gatemeter".to_owned()));
        assert_eq!(lab.router.must(&["nft", "list", "tables"]), "");
        assert_eq!(clean(&lab).unwrap(), None);
    }
}

#[test]
fn somebody_else_owning_our_table_is_told() {
    let lab = Lab::builder().hosts(0).build();
    // Another network namespace file of the same network, as a container has it, does not see our lock; the owner of
    // the table stands in the way all the same.
    let mut requests =
        lab.router.enter(|| gatemeter::netlink::transport::Requests::open(libc::NETLINK_NETFILTER)).unwrap();
    let mut batch = gatemeter::netlink::nftables::Batch::new();
    let family = gatemeter::netlink::nftables::Family::Inet;
    batch.table(family, "gatemeter", 6, Some("gatemeter: bytes of LAN clients"));
    assert_eq!(requests.change(&batch.finish()).unwrap(), []);
    let error = try_open(&lab, options(true)).unwrap_err().to_string();
    assert!(error.contains("another process owns the nftables table inet gatemeter; stop the gatemeter"), "{error}");
    let error = clean(&lab).unwrap_err().to_string();
    assert!(error.contains("stop the gatemeter that runs first"), "{error}");
}
