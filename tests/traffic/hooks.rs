//! TCX and clsact, from one to the other, and beside what others have attached.

use std::os::fd::AsFd;

use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use gatemeter::sys::bpf;

use crate::figures::{Hosts, exchange, expect, host, let_it_flow, setup, sum, while_talking};
use crate::harness::PATIENCE;
use crate::kernel::{filters, has_clsact, nothing_on};
use crate::lab::{Lab, process, sys};

fn attached(ifname: &str, hook: &str) -> String {
    format!("gatemeter_traffic_interface_attached{{interface=\"{ifname}\",hook=\"{hook}\"}}")
}

#[test]
fn clsact_counts_both_directions_and_families_on_every_lan() {
    let lab = Lab::builder().hosts(2).guest().nat().build();
    let daemon = setup(&lab).flags(&["-o", "traffic.attach=clsact"]).start();
    for bridge in ["br-lan", "br-guest"] {
        daemon.wait_for(&attached(bridge, "clsact"), 1.0);
        for direction in ["ingress", "egress"] {
            assert!(filters(&lab.router, bridge, direction).contains("gatemeter_"), "{bridge} {direction}");
        }
    }
    let mut want = Hosts::new();
    for (n, node) in lab.lan.iter().chain(&lab.guests).enumerate() {
        for (near, far) in [(node.on_v4(), lab.internet.on_v4()), (node.on_v6(), lab.internet.on_v6())] {
            want.insert(host(near), exchange(near, far, (50 + n, 111), (70 + n, 999)));
        }
    }
    expect(&daemon, want);
}

#[test]
fn the_kernel_of_today_is_counted_on_by_tcx_without_a_qdisc() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    daemon.wait_for(&attached("br-lan", "tcx"), 1.0);
    nothing_on(&lab.router, "br-lan");
}

#[test]
fn changing_the_hook_between_runs_counts_nothing_twice() {
    let lab = Lab::builder().hosts(1).build();
    let mut total = Hosts::new();
    for (n, hook) in ["tcx", "clsact", "tcx", "clsact"].into_iter().enumerate() {
        let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={hook}")]);
        let mut daemon = setup.start();
        daemon.wait_for(&attached("br-lan", hook), 1.0);
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        total = sum(total.into_iter().chain(sent));
        expect(&daemon, total.clone());
        match n % 2 {
            0 => daemon.kill9(),
            _ => assert_eq!(daemon.stop().code(), Some(0)),
        }
        // What the earlier hook left counts on while nobody is there, and the next daemon finds it.
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        total = sum(total.into_iter().chain(sent));
        assert_eq!(has_clsact(&lab.router, "br-lan"), hook == "clsact");
    }
    let daemon = setup(&lab).start();
    expect(&daemon, total);
    nothing_on(&lab.router, "br-lan");
}

#[test]
fn changing_the_hook_by_signal_counts_nothing_twice() {
    let lab = Lab::builder().hosts(1).build();
    let config = |hook: &str| format!("config traffic 'traffic'\n\toption attach '{hook}'\n");
    let setup = setup(&lab).uci("gatemeter", &config("tcx"));
    let daemon = setup.start();
    let mut total = Hosts::new();
    for hook in ["clsact", "tcx"] {
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        total = sum(total.into_iter().chain(sent));
        setup.write_uci("gatemeter", &config(hook));
        daemon.signal(libc::SIGHUP);
        daemon.wait_for(&attached("br-lan", hook), 1.0);
    }
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, total.into_iter().chain(sent));
}

#[test]
fn filters_of_others_survive_start_stop_and_clean() {
    for hook in ["tcx", "clsact"] {
        let lab = Lab::builder().hosts(1).build();
        let router = &lab.router;
        router.must(&["tc", "qdisc", "add", "dev", "br-lan", "clsact"]);
        for direction in ["ingress", "egress"] {
            // One runs before ours, one after. Both look at every IPv4 packet and match none.
            for priority in ["3", "20"] {
                let place = ["tc", "filter", "add", "dev", "br-lan", direction, "prio", priority, "protocol", "ip"];
                let filter = ["u32", "match", "ip", "dst", "192.0.2.99/32", "classid", "1:1"];
                router.must(&[&place[..], &filter[..]].concat());
            }
        }
        let list = || ["ingress", "egress"].map(|direction| filters(router, "br-lan", direction));
        let theirs = list();
        assert!(theirs[0].contains("u32"), "{theirs:?}");
        let still_theirs = || {
            for (now, before) in list().iter().zip(&theirs) {
                let kept = now.lines().filter(|line| before.lines().any(|old| old == *line)).count();
                assert!(kept >= before.lines().count(), "{before}\nis not all in\n{now}");
            }
        };

        let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={hook}")]);
        let mut daemon = setup.start();
        daemon.wait_for(&attached("br-lan", hook), 1.0);
        still_theirs();
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        expect(&daemon, sent);
        assert_eq!(daemon.stop().code(), Some(0));
        still_theirs();
        let cleaned = setup.run(&["clean"]);
        assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
        assert_eq!(list(), theirs, "exactly what was there before");
        assert!(has_clsact(router, "br-lan"));
    }
}

#[test]
fn tcx_programs_of_others_survive_start_stop_and_clean() {
    let lab = Lab::builder().hosts(1).build();
    // Any program that lets packets pass will do. Ours does, and counts nothing without a configuration; that it has
    // the same name makes it harder to tell apart.
    let (_object, theirs) = lab.router.enter(|| {
        let mut object = EbpfLoader::new().btf(None).load_file(kernel_object()).unwrap();
        let ifindex = u32::try_from(sys::if_index("br-lan").unwrap()).unwrap();
        let theirs = [
            attach(&mut object, "gatemeter_in", ifindex, bpf::TCX_INGRESS),
            attach(&mut object, "gatemeter_out", ifindex, bpf::TCX_EGRESS),
        ];
        (object, theirs)
    });
    let programs = || lab.router.enter(|| [TcAttachType::Ingress, TcAttachType::Egress].map(attached_programs));
    let before = programs();
    assert_eq!(before.each_ref().map(Vec::len), [1, 1]);

    for hook in ["tcx", "clsact"] {
        let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={hook}")]);
        let mut daemon = setup.start();
        daemon.wait_for(&attached("br-lan", hook), 1.0);
        let ours = usize::from(hook == "tcx");
        assert_eq!(programs().each_ref().map(Vec::len), [1 + ours, 1 + ours]);
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        expect(&daemon, sent);
        assert_eq!(daemon.stop().code(), Some(0));
        let cleaned = setup.run(&["clean"]);
        assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
        assert_eq!(programs(), before);
    }
    drop(theirs);
}

fn attach(object: &mut Ebpf, name: &str, ifindex: u32, hook: u32) -> std::os::fd::OwnedFd {
    let program: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
    program.load().unwrap();
    bpf::tcx_attach(program.fd().unwrap().as_fd(), ifindex, hook).unwrap()
}

/// The programs attached to the LAN's bridge by TCX, by number, in the order they run.
fn attached_programs(hook: TcAttachType) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx("br-lan", hook).unwrap();
    programs.iter().map(|program| program.id()).collect()
}

fn kernel_object() -> &'static str {
    if cfg!(target_endian = "big") { "bpf/gatemeter.bpfeb.o" } else { "bpf/gatemeter.bpfel.o" }
}

#[test]
fn a_filter_that_somebody_put_beside_ours_keeps_the_qdisc_we_added() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab).flags(&["-o", "traffic.attach=clsact"]);
    let mut daemon = setup.start();
    let place = ["tc", "filter", "add", "dev", "br-lan", "egress", "prio", "20", "protocol", "ip"];
    let filter = ["u32", "match", "ip", "dst", "192.0.2.99/32", "classid", "1:1"];
    lab.router.must(&[&place[..], &filter[..]].concat());
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent);
    daemon.kill9();
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert_eq!(filters(&lab.router, "br-lan", "ingress"), "");
    let left = filters(&lab.router, "br-lan", "egress");
    assert!(left.contains("u32") && !left.contains("gatemeter"), "{left}");
}

#[test]
fn filters_that_somebody_removed_with_their_qdisc_are_put_back() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).flags(&["-o", "traffic.attach=clsact"]).start();
    daemon.wait_for(&attached("br-lan", "clsact"), 1.0);
    lab.router.must(&["tc", "qdisc", "del", "dev", "br-lan", "clsact"]);
    let back = || {
        let there = |direction| filters(&lab.router, "br-lan", direction).contains("gatemeter_");
        (there("ingress") && there("egress")).then_some(())
    };
    assert!(process::poll(PATIENCE, back).is_some(), "nobody counts, and the metrics say otherwise");
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent);
    let said = daemon.stderr();
    assert!(said.contains("br-lan: another program has removed our filters"), "{said}");
}

#[test]
fn a_filter_that_somebody_removed_in_one_direction_only_is_put_back() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).flags(&["-o", "traffic.attach=clsact"]).start();
    daemon.wait_for(&attached("br-lan", "clsact"), 1.0);
    lab.router.must(&["tc", "filter", "del", "dev", "br-lan", "ingress"]);
    let back = || filters(&lab.router, "br-lan", "ingress").contains("gatemeter_").then_some(());
    assert!(process::poll(PATIENCE, back).is_some(), "uploads are no longer counted, and nobody says so");
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent);
}
