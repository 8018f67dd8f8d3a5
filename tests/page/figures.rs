//! What the page shows is what /metrics says, it follows, and it does no more work than there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use crate::browser::{Browser, Tab};
use crate::harness::{Daemon, PATIENCE, Samples, Setup, exposition};
use crate::home::{self, URL, lease};
use crate::lab::firewall::Firewall;
use crate::lab::traffic::StopOnDrop;
use crate::lab::{self, Lab, process};

/// Figures by what they are about.
type Figures = BTreeMap<String, Vec<f64>>;

/// Everything the page shows of these two devices and of paths, as it has it for programs.
const SHOWN: &str = r#"(() => {
  const values = (row) => [...row.querySelectorAll("data")].map((data) => Number(data.value));
  const rows = (part) => [...document.querySelectorAll(`#${part}-rows > *`)].map((row) => [part + " " + row.querySelector(".name").textContent, values(row)]);
  const named = rows("clients").filter(([name]) => ["clients laptop", "clients phone"].includes(name));
  return Object.fromEntries([...named, ...rows("paths").map(([name, all]) => [name, all.slice(0, 1)])]);
})()"#;

/// Bytes of today that the page shows for each device, down and up.
const TODAY: &str = r##"Object.fromEntries([...document.querySelectorAll("#today-rows tr")].map((row) =>
  ["today " + row.querySelector(".name").textContent, [...row.querySelectorAll("data")].map((data) => Number(data.value))]))"##;

fn figures(value: &Value) -> Figures {
    let numbers = |list: &Value| list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    value.as_object().unwrap().iter().map(|(name, list)| (name.clone(), numbers(list))).collect()
}

/// The sum of a family over all series of this name that are about this direction, if it has directions.
fn sum(metrics: &Samples, family: &str, (label, name): (&str, &str), direction: &str) -> f64 {
    let of = |series: &str| {
        let has = |key, value: &str| exposition::label(series, key).is_none_or(|found| found == value);
        series.starts_with(&format!("{family}{{")) && has(label, name) && has("direction", direction)
    };
    metrics.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
}

/// Bytes of a host to and from the internet; its IPv6 addresses have its name with an ending.
fn internet(metrics: &Samples, way: &str, name: &str) -> f64 {
    let family = format!("node_nat_traffic_{way}");
    sum(metrics, &family, ("hostname", name), "") + sum(metrics, &family, ("hostname", &format!("{name}-v6")), "")
}

/// The same as [`SHOWN`], by /metrics.
fn expected(metrics: &Samples, hosts: &[&str]) -> Figures {
    let client = |name: &&str| {
        let of = |family, direction| sum(metrics, family, ("client", name), direction);
        let values = vec![
            of("client_traffic_rate_bps", "rx"),
            of("client_traffic_rate_bps", "tx"),
            of("client_active_connections", ""),
        ];
        (format!("clients {name}"), values)
    };
    let path = ("paths provider".to_owned(), vec![metrics["icmp_probe_latency_seconds{ip=\"203.0.113.1\"}"]]);
    hosts.iter().map(client).chain([path]).collect()
}

/// Equal but for the order in which floats were added.
fn alike(a: &Figures, b: &Figures) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= a.abs() * 1e-9;
    a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(near))
}

/// Waits until the page shows what /metrics has said since before it was looked at; returns what it says of today.
fn agree(tab: &Tab<'_>, daemon: &Daemon<'_>, hosts: &[&str]) -> (Figures, Figures) {
    let mut last = None;
    let found = process::poll(PATIENCE, || {
        let before = daemon.metrics();
        let (shown, today) = (figures(&tab.eval(SHOWN)), figures(&tab.eval(TODAY)));
        let seen = tab.eval("sum(latest.model.counts, (count) => count.down + count.up)");
        let after = daemon.metrics();
        let (wanted, later) = (expected(&before, hosts), expected(&after, hosts));
        let traffic = |metrics: &Samples| {
            let bytes = |name: &&str| ["download", "upload"].map(|way| internet(metrics, way, name));
            hosts.iter().map(|name| (format!("today {name}"), bytes(name).to_vec())).collect::<Figures>()
        };
        let is_still = alike(&wanted, &later) && alike(&traffic(&before), &traffic(&after));
        // Today's bytes are those of the same collection.
        let all = ["download", "upload"].map(|way| sum(&before, &format!("node_nat_traffic_{way}"), ("", ""), ""));
        let is_still = is_still && seen.as_f64() == Some(all[0] + all[1]);
        // At the first look nothing is today's yet.
        let is_begun = hosts.iter().all(|name| today.contains_key(&format!("today {name}")));
        let is_busy = shown.values().take(hosts.len()).all(|values| values.iter().all(|value| *value > 0.0));
        let agreed = (is_still && is_begun && is_busy && alike(&shown, &wanted)).then(|| (today, traffic(&after)));
        last = Some((shown, wanted));
        agreed
    });
    found.unwrap_or_else(|| panic!("the page and /metrics never agree: {last:#?}"))
}

#[test]
fn the_page_shows_what_metrics_say_at_the_same_moment_and_follows() {
    let lab = Lab::builder().hosts(3).build();
    // It has connections followed.
    let _firewall = Firewall::start(&lab);
    let names = lease("laptop", lab.host(1)) + &lease("phone", lab.host(2));
    // Seldom enough for the page to look twice between two collections.
    let setup =
        Setup::new(&lab).uci("dhcp", &names).flags(&["-e", "-4", "192.168.1.1/24/br-lan", "-6", lab::LAN6, "-t", "6"]);
    let flags = ["-o", "clients.interval=6", "-o", "target.host=203.0.113.1", "-o", "target.name=provider"];
    let daemon = setup.flags(&flags).start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| home::live(&lab, &stop));
        let browser = Browser::start(&lab, lab.host(3));
        let tab = browser.tab(1100, 800);
        tab.open(URL);
        // The browser's own host talks to the router alone, and has no name.
        tab.until("document.querySelectorAll('#clients-rows tr').length >= 3 && document.querySelectorAll('#paths-rows li').length === 1");
        let hosts = ["laptop", "phone"];
        let (shown, counted) = agree(&tab, &daemon, &hosts);
        // Until the next collection has come.
        daemon.wait_until("more traffic", |metrics| {
            let more = |name: &&str| internet(metrics, "download", name) > counted[&format!("today {name}")][0];
            hosts.iter().all(more).then_some(())
        });
        let (shown_later, counted_later) = agree(&tab, &daemon, &hosts);
        for name in hosts.map(|name| format!("today {name}")) {
            for way in [0, 1] {
                let (page, metrics) =
                    (shown_later[&name][way] - shown[&name][way], counted_later[&name][way] - counted[&name][way]);
                assert!(page > 0.0 && page == metrics, "{name}: the page has {page} bytes more, /metrics {metrics}");
            }
        }
        assert_eq!(tab.requests(), BTreeSet::from([URL.to_owned(), format!("{URL}api/v1/state")]));
        tab.is_innocent();
    });
}

#[test]
fn three_hundred_clients_cost_the_changes_of_those_that_do_something() {
    let lab = Lab::new();
    let crowd = lab.crowd(lab.host(1), 300);
    let setup = home::basic(&lab).flags(&["-4", "10.77.0.1/16/br-lan", "-o", "traffic.unknown_hosts=1"]);
    let daemon = setup.start();
    let flows = crowd.flows(1);
    daemon.wait_until("300 clients", |metrics| {
        let online = metrics.iter().filter(|(series, value)| series.starts_with("client_status{") && **value == 1.0);
        (online.count() >= 300).then_some(())
    });
    let browser = Browser::start(&lab, lab.host(2));
    let tab = browser.tab(1100, 800);
    tab.open(URL);
    tab.until(
        "document.querySelectorAll('#clients-rows tr').length === 12 && /^Show all 30\\d$/.test($('more').textContent)",
    );
    tab.eval("$('more').click()");
    tab.until("document.querySelectorAll('#clients-rows tr').length >= 300");
    // What was sent for there to be clients is over, and forgotten by the charts, which would move on with it for minutes:
    // as often as it takes, since the browser's own host may say something in between.
    tab.until(
        "(sum([...document.querySelectorAll('#clients-rows .rate data')], (data) => Number(data.value)) === 0 && traces.clear(),
          document.querySelectorAll('#clients-rows .area:not([d=\"\"])').length === 0)",
    );
    // The order is by what the charts have, looked at every ten seconds: without them nearly every row changes its place, once.
    tab.eval("ranked = 0");
    tab.until("ranked > 0");
    tab.eval(
        "(() => { window.work = { updates: 0, changes: 0, longest: 0 }; window.rows = [...document.querySelectorAll('#clients-rows tr')];
          const old = show;
          show = (...all) => { const begun = performance.now(); old(...all); work.updates++; work.longest = Math.max(work.longest, performance.now() - begun); };
          new MutationObserver((list) => (work.changes += list.length)).observe(document.body,
            { subtree: true, childList: true, attributes: true, characterData: true }); return true; })()",
    );
    flows.exchange(7, 0..1, 1000, 1000);
    let moving = "[...traces.values()].filter((trace) => trace.some(([rx, tx]) => rx + tx > 0)).length";
    tab.until(&format!("{moving} > 0 && work.updates >= 5"));
    let moving = tab.eval(moving).as_u64().unwrap();
    let work = tab.eval("work");
    println!("300 clients, {moving} charts moving: {work}");
    let (updates, changes) = (work["updates"].as_u64().unwrap(), work["changes"].as_u64().unwrap());
    // Each moving chart is two shapes, each busy row a few texts; then there are totals, ages and the paths.
    assert!(changes / updates <= 3 * (moving + 2) + 60, "{changes} changes in {updates} updates, {moving} charts move");
    assert_eq!(tab.eval("window.rows.every((row) => row.isConnected)"), true, "rows were made anew");
    tab.is_innocent();
    drop(browser);
    let cpu = |metrics: Samples| metrics["process_cpu_seconds_total"];
    let (before, mut length) = (cpu(daemon.metrics()), 0);
    for _ in 0..100 {
        // As browsers ask.
        length = daemon.get_with("/api/v1/state", &[("Accept-Encoding", "gzip")]).unwrap().body.len();
    }
    // What the daemon does besides is in it.
    let each = (cpu(daemon.metrics()) - before) * 10.0;
    println!("the state of 300 clients has {length} bytes, packed, and takes {each:.1} ms of CPU at most");
}
