//! Kernels and users that lack something: who needs it says so, and everybody else counts on.

use super::{CLIENTS_UP, Daemon, Lab, Setup, UP, figures, process, setup_of};
use crate::harness::{Confine, Documented};

/// What is seen of a lack in `check`, which fails, and then of the daemon: one line of the log for each collector that is
/// down, however often it has been tried.
fn lives_without<'a>(setup: &Setup<'a>, told: &Documented, down: &[&str]) -> Daemon<'a> {
    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let broken = |line: &&str| line.contains("BROKEN");
    for line in check.stdout.lines().filter(broken) {
        assert_eq!(check.stdout.matches(line).count(), 1, "told twice:\n{}", check.stdout);
    }
    told.by_check(&check);
    let daemon = setup.start();
    told.by_daemon(&daemon);
    for collector in down {
        let errors = format!("gatemeter_collector_errors_total{{collector=\"{collector}\"}}");
        daemon.wait_until("two tries", |metrics| metrics.get(&errors).filter(|tries| **tries >= 2.0).map(|_| ()));
    }
    let said = daemon.stderr();
    assert_eq!(said.matches("ERROR").count(), down.len(), "{said}");
    daemon
}

#[test]
fn a_kernel_without_bpf_costs_the_figures_of_traffic_only() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup_of(&lab, "traffic,clients").confined(Confine::without_bpf());
    let daemon = lives_without(&setup, &Documented::of("No bpf()"), &["traffic"]);
    counts_clients(&lab, &daemon);
}

/// The daemon counts what a client sends from now on.
fn counts_clients(lab: &Lab, daemon: &Daemon) {
    let host = lab.host(1);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let sent = crate::lab::traffic::send_udp(host.on_v4(), lab.internet.on_v4(), 10, 100).l3;
    let tx = format!("client_traffic_bytes{{direction=\"tx\",ip=\"{}\",client=\"lan1\"}}", host.v4);
    daemon.wait_for(&tx, sent as f64);
}

#[test]
fn a_kernel_without_nf_tables_costs_the_figures_of_clients_only_and_none_but_bytes_with_accounting_off() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup_of(&lab, "traffic,clients").confined(Confine::without_netfilter());
    let mut daemon = lives_without(&setup, &Documented::of("No nf_tables"), &["clients"]);
    figures::expect(&daemon, [figures::mark(&lab, lab.host(1))]);
    daemon.stop();

    let setup = setup.flags(&["-o", "clients.accounting=off"]);
    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    let daemon = setup.start();
    daemon.wait_for(CLIENTS_UP, 1.0);
    daemon.wait_for(&format!("client_status{{ip=\"{}\",client=\"lan1\"}}", lab.host(1).v4), 1.0);
}

#[test]
fn a_user_without_any_capability_is_told_what_each_collector_lacks() {
    let lab = Lab::builder().hosts(1).nat().build();
    let all = ["traffic", "clients", "probe", "homeplug"];
    let setup = setup_of(&lab, &all.join(",")).confined(Confine::default().capabilities(&[]));
    let daemon = lives_without(&setup, &Documented::of("No capabilities"), &all);
    assert_eq!(daemon.get("/healthz").unwrap().status, 200);
}

#[test]
fn of_two_daemons_the_second_says_why_it_does_not_count_and_takes_over() {
    let lab = Lab::builder().hosts(1).nat().build();
    let mut first = setup_of(&lab, "traffic,clients").start();
    first.wait_for(UP, 1.0);
    first.wait_for(CLIENTS_UP, 1.0);
    // Beside its own daemon `check` has nothing to complain of.
    let beside = first.setup().run(&["check"]);
    assert_eq!(beside.status.code(), Some(0), "{beside:?}");

    let told = Documented::of("Two daemons");
    told.by_check(&beside);
    // With the same port it ends at once, and says so.
    let mut refused = first.setup().start_unready();
    let ended = process::poll(super::PATIENCE, || refused.ended()).unwrap();
    assert_eq!(ended.code(), Some(1));
    let second = setup_of(&lab, "traffic,clients").flags(&["-p", "9998"]).start();
    told.by_metrics(&second);
    told.by_log(|| first.stderr() + &second.stderr());
    first.stop();
    second.wait_for(UP, 1.0);
    second.wait_for(CLIENTS_UP, 1.0);
}
