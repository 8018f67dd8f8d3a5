//! A real Prometheus on a home: every query of every board has data, and every alert fires while its cause is there and
//! only then.
//!
//! Rules run sixty times as fast as at home and figures are collected once a second, so what takes hours there takes minutes
//! here. On a machine that is busy an alert may flicker meanwhile; what must come and what must go is waited for.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::board::{self, Board};
use crate::home::{self, FAR, FARTHER, FILES, Newcomer, OTHER, ROUTER};
use crate::lab::firewall::Firewall;
use crate::lab::freebox::{self, Freebox, Model};
use crate::lab::powerline;
use crate::lab::responder::{Responder, Rule};
use crate::lab::traffic::StopOnDrop;
use crate::lab::{GATEWAY4, Lab};
use crate::rules;
use crate::server::{Alert, Server};

/// An alert that is expected: its name, where, and what its summary says.
type Expected = (&'static str, &'static str, &'static str);

#[test]
fn every_query_has_data_and_every_alert_comes_with_its_cause_and_goes_with_it() {
    let lab = Lab::builder().hosts(4).build();
    let _firewall = Firewall::start(&lab);
    let responder = Responder::start(&lab.router);
    responder.rule(FAR, home::distance(2));
    let powerline = lab.powerline(powerline::Model::home());
    freebox::grow(true);
    let fibre = Freebox::start(&lab.internet, Model::Fibre);
    home::slow_line(&fibre);
    let dsl = Freebox::start_at(&lab.internet, Model::Dsl, GATEWAY4, 80);
    let _daemon = home::router(&lab, &fibre).start();
    let other = home::other(&lab, &dsl).start();
    let _node_exporter = home::node_exporter(&lab, &other);
    let server = Server::start(&lab, &[("gatemeter", &[ROUTER, OTHER]), ("node", &[FILES])]);

    let (surge, calm, stop) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for (n, host) in lab.lan.iter().enumerate() {
            let surge = if n == 0 { &surge } else { &calm };
            let (lab, stop) = (&lab, &stop);
            scope.spawn(move || home::live(lab, host, surge, stop));
        }
        learn(&server);
        variables_have_values(&server);

        let newcomer = Newcomer::plug_in(&lab, lab.host(4));
        surge.store(true, Ordering::Relaxed);
        home::lose_one_in_four(&lab, true);
        responder.rule(FAR, home::distance(40));
        responder.rule(FARTHER, Rule::silent());
        powerline.model().rate(1, 2, 40);
        powerline.model().adapter(3).silent = true;
        home::low_light(&fibre);
        home::resynchronised(&dsl);
        let causes: [Expected; 10] = [
            ("NewDevice", ROUTER, "02:1A:00:00:77:77"),
            ("HostSaturatesLine", ROUTER, "laptop takes "),
            ("TrafficUncounted", ROUTER, "no room"),
            ("PathDown", ROUTER, "198.18.0.2 (farther)"),
            ("PathLossStep", ROUTER, "198.51.100.10 ("),
            ("PathLatencyStep", ROUTER, "198.18.0.1 (far) take "),
            ("PowerlineLinkDegraded", ROUTER, "02:00:5e:aa:00:01"),
            ("PowerlineAdapterDown", ROUTER, "02:00:5e:aa:00:03"),
            ("FibreLightLow", ROUTER, "Only -27.1 dBm"),
            ("DslResynchronised", OTHER, "1 times"),
        ];
        fire(&server, &causes, &mut seen);
        queries_have_data(&server);

        drop(newcomer);
        surge.store(false, Ordering::Relaxed);
        home::lose_one_in_four(&lab, false);
        responder.rule(FAR, home::distance(2));
        responder.rule(FARTHER, Rule::new());
        powerline.model().rate(1, 2, 142);
        powerline.model().adapter(3).silent = false;
        fibre.heal();
        dsl.heal();
        home::slow_line(&fibre);
        all_is_well(&server);

        home::no_connection(&dsl);
        fire(&server, &[("InternetDown", OTHER, "no connection")], &mut seen);
        dsl.heal();
        all_is_well(&server);

        dsl.power(false);
        fire(&server, &[("CollectorDown", OTHER, "collector freebox")], &mut seen);
        dsl.power(true);
        all_is_well(&server);

        // It hangs: over HTTP there is nothing, its text files stay as they are.
        other.signal(libc::SIGSTOP);
        let hung: [Expected; 2] = [("GatemeterMissing", OTHER, OTHER), ("GatemeterFiguresStale", FILES, "freebox")];
        fire(&server, &hung, &mut seen);
        other.signal(libc::SIGCONT);
        all_is_well(&server);
    });

    let mut alerts: Vec<String> = rules::all().into_iter().filter(|rule| rule.is_alert).map(|rule| rule.name).collect();
    alerts.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, alerts, "an alert without a cause here");
}

/// Waits until the rules know what is usual, and find that all is well.
fn learn(server: &Server) {
    // A minute and more of each; the median stays usual for as long again when something changes.
    for usual in ["path:gatemeter_probe_latency_seconds:median1d", "link:homeplug_link_phy_rate:median1d"] {
        let history = format!("count_over_time({usual}[1h])");
        server.wait_for(&history, |series| series.len() >= 5 && series.iter().all(|(_, count)| *count >= 75.0));
    }
    // The four hosts, and nobody else.
    server.wait_for("count(instance_mac:client_info:known7d)", |answer| answer.first().is_some_and(|(_, n)| *n == 4.0));
    all_is_well(server);
}

/// Waits until no alert fires and no rule has failed.
#[track_caller]
fn all_is_well(server: &Server) {
    let firing = || Ok(server.alerts()?.into_iter().filter(|alert| alert.is_firing).collect::<Vec<_>>());
    server.wait_until("the end of all alerts", firing, Vec::is_empty);
    server.wait_until("rules without trouble", || server.troubled_rules(), Vec::is_empty);
}

/// Waits until each of these has fired, all causes being there, and reads what they say. Some end by themselves.
#[track_caller]
fn fire(server: &Server, expected: &[Expected], seen: &mut Vec<String>) {
    let left = RefCell::new(expected.to_vec());
    let look = || {
        let alerts = server.alerts()?;
        left.borrow_mut().retain(|expected| !alerts.iter().any(|alert| is_it(alert, expected)));
        Ok((left.borrow().clone(), alerts))
    };
    let (_, alerts) = server.wait_until("alerts", look, |(left, _)| left.is_empty());
    for alert in alerts {
        for text in alert.annotations.values() {
            let is_whole = !text.contains("<no value>") && !text.contains("error expanding") && !text.contains("{{");
            assert!(is_whole, "{alert:#?}");
        }
    }
    seen.extend(expected.iter().map(|(name, ..)| (*name).to_owned()));
    server.wait_until("rules without trouble", || server.troubled_rules(), Vec::is_empty);
}

fn is_it(alert: &Alert, (name, instance, summary): &Expected) -> bool {
    let is = |label: &str, value: &str| alert.labels.get(label).is_some_and(|found| found == value);
    let says = alert.annotations.get("summary").is_some_and(|text| text.contains(summary));
    alert.is_firing && is("alertname", name) && is("instance", instance) && says
}

/// Every query of every board is answered with at least one series, and every recording rule has recorded some.
fn queries_have_data(server: &Server) {
    let rules = rules::all();
    for rule in rules.iter().filter(|rule| !rule.is_alert) {
        // What one rule of several with the same name adds is what it is told by.
        let labels: Vec<String> = rule.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let recorded = format!("{{__name__=\"{}\",{}}}", rule.name, labels.join(","));
        server.wait_for(&recorded, |series| !series.is_empty());
    }
    for query in board::all().iter().flat_map(Board::queries) {
        let expression = board::filled_in(&query.expression, "10s", "2m");
        server.wait_until(
            &format!("{}: {expression}", query.whence),
            || server.ask(&expression),
            |data| !data.is_empty(),
        );
    }
}

/// Every variable of every board has something to choose from.
fn variables_have_values(server: &Server) {
    for board in board::all() {
        for (name, selector, label) in board.variables() {
            let selector = board::filled_in(&selector, "10s", "2m");
            let look = || server.values_of(&selector, &label);
            server.wait_until(&format!("{}: {name}", board.name), look, |values| !values.is_empty());
        }
    }
}
