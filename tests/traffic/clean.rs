//! `gatemeter clean` and what an older version left: no trace stays, and nobody else's work is touched.

use std::fs;
use std::path::Path;

use crate::figures::{UP, expect, let_it_flow, mark, setup, while_talking};
use crate::harness::Documented;
use crate::kernel::{self, Objects};
use crate::lab::{Lab, process};

#[test]
fn clean_leaves_no_trace_and_says_what_it_removed_with_tcx() {
    clean_leaves_no_trace("tcx", &["pin "]);
}

#[test]
fn clean_leaves_no_trace_and_says_what_it_removed_with_clsact() {
    clean_leaves_no_trace(
        "clsact",
        &["2 filters of br-lan", "2 filters of br-guest", "clsact qdisc of br-lan", "clsact qdisc of br-guest", "pin "],
    );
}

fn clean_leaves_no_trace(attach: &str, words: &[&str]) {
    let lab = Lab::builder().hosts(1).guest().build();
    let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={attach}")]);
    let pins = lab.bpffs().join("gatemeter");
    let mut daemon = setup.start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
    let objects = Objects::of(&daemon);

    let refused = setup.run(&["clean"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("another gatemeter is accounting in this network namespace"), "{refused:?}");
    let more = mark(&lab, lab.host(1));
    expect(&daemon, [more.clone(), more.clone()]);

    daemon.kill9();
    assert!(fs::read_dir(pins.join("v1")).unwrap().count() > 2, "a killed daemon leaves its pins");
    assert_eq!(kernel::has_clsact(&lab.router, "br-lan"), attach == "clsact");
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    for word in words.iter().copied().chain([pins.to_str().unwrap(), "prom_c"]) {
        assert!(cleaned.stdout.contains(word), "{word} is not said: {cleaned:?}");
    }
    objects.wait_until_gone();
    for bridge in ["br-lan", "br-guest"] {
        kernel::nothing_on(&lab.router, bridge);
    }
    assert!(!pins.exists() && !setup.textfile().exists());

    let again = setup.run(&["clean"]);
    assert_eq!((again.status.code(), again.stdout.as_str()), (Some(0), "nothing to remove\n"), "{again:?}");
    // The next daemon begins from nothing.
    mark(&lab, lab.host(1));
    let daemon = setup.start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn what_a_version_of_another_layout_left_is_replaced_and_nothing_counts_twice() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab);
    let root = lab.bpffs().join("gatemeter");
    let mut old = setup.start();
    let objects = Objects::of(&old);
    old.kill9();
    // The same links and tables under the directory of a layout that never was, and a map of somebody's.
    fs::rename(root.join("v1"), root.join("v0")).unwrap();
    let map = root.join("v0/hosts");
    let mut bpftool = std::process::Command::new("bpftool");
    bpftool.args(["map", "create", map.to_str().unwrap()]);
    bpftool.args(["type", "hash", "key", "4", "value", "8", "entries", "4", "name", "old"]);
    process::must(bpftool, "").unwrap();
    mark(&lab, lab.host(1));

    let daemon = setup.start();
    assert!(!root.join("v0").exists());
    objects.wait_until_gone();
    Documented::of("An upgrade from another layout").by_daemon(&daemon);
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent);
}

#[test]
fn a_pinned_table_of_another_shape_is_replaced() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab);
    let dir = lab.bpffs().join("gatemeter/v1");
    fs::create_dir_all(&dir).unwrap();
    let mut bpftool = std::process::Command::new("bpftool");
    bpftool.args(["map", "create", dir.join("gm_hosts4").to_str().unwrap()]);
    bpftool.args(["type", "hash", "key", "4", "value", "8", "entries", "4", "name", "gm_hosts4"]);
    process::must(bpftool, "").unwrap();
    let daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn clean_where_nothing_ever_ran_has_nothing_to_do() {
    let lab = Lab::builder().hosts(0).build();
    let cleaned = setup(&lab).run(&["clean"]);
    assert_eq!((cleaned.status.code(), cleaned.stdout.as_str()), (Some(0), "nothing to remove\n"), "{cleaned:?}");
    assert!(!Path::new(&lab.bpffs().join("gatemeter")).exists());
}
