//! Targets by name, through a real dnsmasq.

use super::figures::{Figures, Who, asked, asked_until, debug, lab, on_record, reload, section, setup, target};
use crate::harness::Samples;
use crate::lab::process::Background;
use crate::lab::responder::Responder;
use crate::lab::{Lab, dns};

const SERVER: &str = "127.0.0.1:5353";

/// dnsmasq on the router's loopback, which knows these records and asks nobody else. They hold for a second.
fn dnsmasq(lab: &Lab, records: &[&str]) -> Background {
    dns::start(lab, SERVER.parse().unwrap(), &[&["--local=/example.org/", "--local-ttl=1"][..], records].concat())
}

fn addresses(page: &Samples) -> Vec<String> {
    let sent = page.keys().filter(|series| series.contains("_probe_packets_sent_total{"));
    sent.map(|series| crate::harness::exposition::label(series, "ip").unwrap()).collect()
}

#[test]
fn a_name_is_probed_at_all_of_its_addresses_or_those_of_one_family() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let _dnsmasq = dnsmasq(
        &lab,
        &["--host-record=www.example.org,198.18.0.1,fd00:18::1", "--host-record=www.example.org,198.18.0.2"],
    );
    let daemon = setup(&lab, &section(&[("dns_server", SERVER)])).start();
    let all = ["198.18.0.1", "198.18.0.2", "fd00:18::1"];
    for (query, expected) in
        [("", &all[..]), ("&ip_version=all", &all), ("&ip_version=4", &all[..2]), ("&ip_version=6", &all[2..])]
    {
        let page = asked(&daemon, &format!("target=www.example.org{query}"));
        assert_eq!(addresses(&page), expected, "{query}");
        for ip in expected {
            let info =
                format!("icmp_probe_target_info{{ip=\"{ip}\",target=\"www.example.org\",name=\"www.example.org\"}}");
            assert_eq!(page.get(&info), Some(&1.0), "{page:#?}");
        }
    }
    // An address ignores it, as it says already what it is.
    assert_eq!(addresses(&asked(&daemon, "target=198.18.0.1&ip_version=6")), ["198.18.0.1"]);
    all.iter().for_each(|ip| on_record(&far, Who::icmp(ip), 5));
    // Three addresses of three names are still three targets.
    assert_eq!(debug(&lab, &daemon, ".total_probes").trim(), "3");
    let page = asked(&daemon, "target=WWW.example.org&target=www.example.org&tcp_port=80");
    assert_eq!(addresses(&page), all);
    assert_eq!(debug(&lab, &daemon, "[.probes[].hosts] | add | unique").trim(), r#"["www.example.org"]"#);
}

#[test]
fn a_name_that_moves_to_another_address_keeps_its_counters() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let first =
        dnsmasq(&lab, &["--host-record=www.example.org,198.18.0.1", "--host-record=asked.example.org,198.18.0.2"]);
    let config = section(&[("dns_server", SERVER)]) + &target("www.example.org", &[("name", "Web")]);
    let daemon = setup(&lab, &config).start();
    let old = [Who::icmp("198.18.0.1"), Who::icmp("198.18.0.2")];
    asked(&daemon, "target=asked.example.org");
    let answered = |page: &Samples, who: &Who| page.get(&who.series("packets_recv_total", "")).copied();
    let queries = ["target=www.example.org", "target=asked.example.org"];
    let before: Vec<f64> = queries
        .iter()
        .zip(&old)
        .map(|(query, who)| {
            let page = asked_until(&daemon, query, "answers", |page| answered(page, who) >= Some(10.0));
            answered(&page, who).unwrap()
        })
        .collect();
    drop(first);
    let _second =
        dnsmasq(&lab, &["--host-record=www.example.org,198.18.0.11", "--host-record=asked.example.org,198.18.0.12"]);
    // The addresses hold for half a minute at least; new settings for names have them looked up at once.
    reload(&daemon, &config.replace(SERVER, "127.0.0.1:5353'\n\tlist dns_server '127.0.0.1:5354"));
    let new = [Who::icmp("198.18.0.11"), Who::icmp("198.18.0.12")];
    for ((query, who), before) in queries.iter().zip(&new).zip(&before) {
        let page = asked_until(&daemon, query, "the new address", |page| answered(page, who).is_some());
        assert!(answered(&page, who).unwrap() >= *before, "{before} before, then {page:#?}");
        assert_eq!(addresses(&page).len(), 1);
        asked_until(&daemon, query, "answers", |page| answered(page, who) >= Some(before + 5.0));
        on_record(&far, *who, 5);
    }
    // Nothing is left of the old ones.
    assert_eq!(debug(&lab, &daemon, "[.probes[].ip_address]").trim(), r#"["198.18.0.11","198.18.0.12"]"#);
    let metrics = daemon.wait_until("the page of the configuration", |metrics| {
        let name = "icmp_probe_target_info{ip=\"198.18.0.11\",target=\"www.example.org\",name=\"Web\"}";
        metrics.contains_key(name).then(|| metrics.clone())
    });
    assert!(!metrics.keys().any(|series| series.contains("ip=\"198.18.0.1\"")), "{metrics:#?}");
}

#[test]
fn a_server_that_is_dead_stops_no_probe_and_a_bad_name_costs_the_others_nothing() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let server = dnsmasq(&lab, &["--host-record=www.example.org,198.18.0.1"]);
    let config =
        section(&[("dns_server", SERVER)]) + &target("www.example.org", &[]) + &target("none.example.org", &[]);
    let daemon = setup(&lab, &config).start();
    daemon.wait_for("gatemeter_probe_unresolved_targets", 1.0);
    super::figures::told(&daemon, &["target none.example.org: there is no such name"]);
    // Both kinds of targets beside one that is not to be found.
    let page = asked(&daemon, "target=www.example.org&target=none.example.org&target=198.18.0.7");
    assert_eq!(addresses(&page), ["198.18.0.1", "198.18.0.7"]);
    let refused = super::figures::ask(&daemon, "target=none.example.org", &[]);
    let why = "# 400 - target none.example.org does not resolve: there is no such name\n";
    assert_eq!((refused.status, refused.text().as_str()), (400, why));

    drop(server);
    let who = Who::icmp("198.18.0.1");
    let count = who.seen(&far.log()).count();
    on_record(&far, who, count + 20);
    let page = asked(&daemon, "target=www.example.org");
    assert_eq!(Figures::of(who, &page).causes(), []);
    // Somebody who is not known yet cannot be: that is told after the server was asked.
    let refused = super::figures::ask(&daemon, "target=new.example.org", &[]);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("no DNS server answers (asked: 127.0.0.1:5353)"), "{}", refused.text());
}

#[test]
fn addresses_that_lead_nowhere_else_are_not_probed_by_name() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let records = [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
        "::1",
        "fe80::1",
        "ff02::1",
        "198.18.0.1",
    ];
    let records = records.map(|ip| format!("--host-record=odd.example.org,{ip}"));
    let _dnsmasq = dnsmasq(&lab, &records.each_ref().map(String::as_str));
    let daemon = setup(&lab, &section(&[("dns_server", SERVER)])).start();
    assert_eq!(addresses(&asked(&daemon, "target=odd.example.org")), ["198.18.0.1"]);
    // By their addresses they are.
    assert_eq!(addresses(&asked(&daemon, "target=127.0.0.1&target=::1")), ["127.0.0.1", "::1"]);
    for who in ["127.0.0.1", "::1"].map(Who::icmp) {
        let name = who.series("packets_recv_total", "");
        asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
    }
}
