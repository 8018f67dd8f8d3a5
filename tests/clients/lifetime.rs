//! Totals outlive the daemon, and what it keeps has a bound.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::figures::{
    Clients, StopOnDrop, UP, by_client, clients, expect, fresh, let_it_flow, mark, setup, static_leases, told,
    while_talking,
};
use crate::harness::{Daemon, exposition};
use crate::lab::Lab;
use crate::lab::traffic::send_udp;

/// Asserts of every page that is seen while `work` is done that no total has fallen, whichever daemon wrote it.
fn while_totals_only_grow<'a, T>(setup: &crate::harness::Setup<'a>, work: impl FnOnce() -> T) -> T {
    let (stop, path) = (AtomicBool::new(false), setup.textfile());
    let last = Mutex::new(Clients::new());
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Between two daemons there is no file.
                if let Ok(page) = std::fs::read_to_string(&path) {
                    let now = clients(&exposition::parse(&page).unwrap());
                    let mut last = last.lock().unwrap();
                    for (client, before) in last.iter() {
                        // A page without any figures yet says nothing of them.
                        if let Some(tally) = now.get(client) {
                            let fell = tally.tx < before.tx || tally.rx < before.rx;
                            assert!(!fell, "{client} had {before:?} and then {tally:?}");
                        }
                    }
                    last.extend(now);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let stopping = StopOnDrop(&stop);
        let done = work();
        drop(stopping);
        watcher.join().unwrap();
        done
    })
}

#[test]
fn a_killed_daemon_loses_no_packet() {
    restarts_lose_no_packet(|daemon| daemon.kill9());
}

#[test]
fn a_stopped_daemon_loses_no_packet_while_it_is_away() {
    restarts_lose_no_packet(|daemon| assert_eq!(daemon.stop().code(), Some(0)));
}

fn restarts_lose_no_packet(end: impl Fn(&mut Daemon)) {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = setup(&lab);
    let mut daemon = setup.start();
    let (sent, daemon) = while_totals_only_grow(&setup, || {
        while_talking(&lab, || {
            for _ in 0..3 {
                let_it_flow(&lab);
                end(&mut daemon);
                let_it_flow(&lab);
                daemon = setup.start();
                daemon.wait_for(UP, 1.0);
            }
            let_it_flow(&lab);
            daemon
        })
    });
    expect(&daemon, sent);
}

#[test]
fn a_second_daemon_says_why_it_does_not_count_and_takes_over_when_the_first_is_gone() {
    let lab = Lab::builder().hosts(2).nat().build();
    let mut first = setup(&lab).start();
    let (sent, second) = while_talking(&lab, || {
        let second = setup(&lab).flags(&["-p", "9998"]).start();
        second.wait_for(UP, 0.0);
        let_it_flow(&lab);
        second
    });
    expect(&first, sent.clone());
    assert_eq!(clients(&second.metrics()), Clients::new());
    told(&second, &["another gatemeter"]);
    let (more, _) = while_talking(&lab, || {
        assert_eq!(first.stop().code(), Some(0));
        second.wait_for(UP, 1.0);
        let_it_flow(&lab);
    });
    expect(&second, crate::figures::sum(sent.into_iter().chain(more)));
}

#[test]
fn a_signal_brings_new_names_subnets_and_intervals_and_keeps_the_counts() {
    let lab = Lab::builder().hosts(2).guest().nat().build();
    let section = |subnets: &[&str], interval: u32| {
        let list: String = subnets.iter().map(|subnet| format!("\tlist subnet '{subnet}'\n")).collect();
        format!("config clients 'clients'\n\toption interval '{interval}'\n{list}")
    };
    let lan = ["192.168.1.0/24", "2001:db8:1:1::/64"];
    let nowhere = format!("clients.leases={}", lab.dir().join("none").display());
    let setup = crate::harness::Setup::new(&lab)
        .uci("dhcp", &static_leases(&lab))
        .uci("gatemeter", &section(&lan, 1))
        .flags(&["-e", "--collectors", "clients", "-o", &nowhere]);
    let daemon = setup.start();
    let guest = &lab.guests[0];
    // Not a LAN that was asked for.
    send_udp(guest.on_v4(), lab.internet.on_v4(), 5, 5);
    let (sent, _) = while_totals_only_grow(&setup, || {
        while_talking(&lab, || {
            let_it_flow(&lab);
            setup.write_uci("gatemeter", &section(&[lan[0], lan[1], "192.168.2.0/24"], 2));
            daemon.signal(libc::SIGHUP);
            daemon.wait_for(&crate::figures::series("client_status", "guest1", guest.v4), 1.0);
            let_it_flow(&lab);
        })
    });
    expect(&daemon, sent.clone().into_iter().chain([mark(&lab, guest)]));

    // The guests are no clients any more; everybody else keeps the bytes, under a new name.
    setup.write_uci("gatemeter", &section(&lan, 1));
    setup.write_uci("dhcp", &static_leases(&lab).replace("'lan2'", "'renamed'"));
    daemon.signal(libc::SIGHUP);
    send_udp(guest.on_v4(), lab.internet.on_v4(), 5, 5);
    let renamed = |(client, tally): (String, _)| (client.replace("lan2 ", "renamed "), tally);
    expect(&daemon, sent.into_iter().map(renamed));
}

#[test]
fn a_configuration_that_breaks_is_told_by_line_and_the_old_one_goes_on() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup(&lab);
    let daemon = setup.start();
    let mut sent = vec![mark(&lab, lab.host(1))];
    for (text, line) in [
        ("config clients 'clients'\n\toption accounting 'magic'\n", 2),
        ("config clients 'clients'\n\n\tlist subnet '0.0.0.0/0'\n", 3),
        ("config clients 'clients'\n\toption max_clients '0'\n", 2),
    ] {
        setup.write_uci("gatemeter", text);
        daemon.signal(libc::SIGHUP);
        let place = format!("{}:{line}: ", setup.dir().join("config/gatemeter").display());
        told(&daemon, &[&place, "keeping the settings from before"]);
        sent.push(mark(&lab, lab.host(1)));
        expect(&daemon, sent.clone());
    }
}

#[test]
fn more_clients_than_may_be_kept_leave_those_that_are_there() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).flags(&["-o", "clients.max_clients=16"]).start();
    let crowd = lab.crowd(lab.host(1), 40);
    crowd.flows(1);
    daemon.wait_until("clients that were forgotten", |metrics| {
        (*metrics.get("gatemeter_clients_forgotten_total")? > 0.0).then_some(())
    });
    let flows = crowd.flows(1);
    for n in 0..crowd.members.len() {
        flows.exchange(n, 0..1, 10, 10);
        if n % 10 == 0 {
            let metrics = fresh(&daemon);
            let kept = by_client(&metrics, "client_status").len();
            assert!(kept <= 16, "{kept} clients of 16");
            let told: f64 =
                metrics.iter().filter(|(name, _)| name.starts_with("gatemeter_clients{")).map(|(_, value)| value).sum();
            assert_eq!(told, kept as f64);
            for family in ["client_traffic_bytes", "client_active_connections", "client_info"] {
                let known = metrics.keys().filter(|series| series.starts_with(&format!("{family}{{"))).count();
                assert!(known <= 2 * 16, "{known} series of {family}");
            }
        }
    }
}

#[test]
fn a_client_that_is_forgotten_leaves_no_series_behind() {
    let lab = Lab::builder().hosts(3).living_neighbours().build();
    let daemon = setup(&lab).flags(&["-o", "clients.max_clients=2", "-o", "clients.stale=1"]).start();
    for host in &lab.lan {
        mark(&lab, host);
        let ip = format!("ip=\"{}\"", host.v4);
        let shown = |name: &String| name.contains(&ip);
        daemon.wait_until(&host.name, |metrics| metrics.keys().any(shown).then_some(()));
        fresh(&daemon);
    }
    // The last one has pushed out the first.
    let first = format!("ip=\"{}\"", lab.host(1).v4);
    daemon.wait_until("no trace of the first", |metrics| {
        (!metrics.keys().any(|series| series.contains(&first))).then_some(())
    });
    assert!(fresh(&daemon)["gatemeter_clients_forgotten_total"] >= 1.0);
}

#[test]
fn a_daemon_starts_no_other_program() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).flags(&["-o", "clients.reverse_dns=1", "-o", "clients.dns_server=127.0.0.1"]).start();
    let (_, _) = while_talking(&lab, || {
        for _ in 0..2 {
            let_it_flow(&lab);
            fresh(&daemon);
        }
    });
    // proc(5): page faults and ticks of children that were waited for, behind the name in parentheses.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!([fields[8], fields[10], fields[13], fields[14]], ["0"; 4], "{stat}");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid())).unwrap();
    assert_eq!(children, "");
}
