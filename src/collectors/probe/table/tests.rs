use super::*;
use crate::cli::Args;
use crate::collectors::probe::settings::{SECTION, TARGET_SECTION};
use crate::collectors::probe::target::{Arrival, Heard};
use crate::config::Config;
use crate::config::schema::{MAIN, SectionSpec};

static SPECS: [&SectionSpec; 3] = [&MAIN, &SECTION, &TARGET_SECTION];

fn settings(options: &[&str]) -> Settings {
    let args = Args { option: options.iter().map(|text| (*text).to_owned()).collect(), ..Args::default() };
    Settings::read(&Config::load(&args, &SPECS).unwrap()).unwrap()
}

fn table(options: &[&str]) -> (Table, Settings, Instant) {
    let (settings, now) = (settings(options), Instant::now());
    let mut table = Table::new(&settings, now);
    settings.targets.iter().for_each(|wanted| table.configure(wanted, &[], now));
    (table, settings, now)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn icmp(text: &str) -> Key {
    Key { ip: ip(text), port: None }
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// Sends a probe to a target and has it answered, so that something is known of it.
fn answer(table: &mut Table, key: &Key, now: Instant) {
    let target = &mut table.get_mut(table.find(key).unwrap()).unwrap().target;
    let probe = target.begin(now, None, 7);
    let arrival = Arrival { at: now, stamps: Default::default(), hop_limit: None, is_refusal: false };
    assert_eq!(target.answer(probe, &arrival), Heard::Answer);
    target.expire(now + Duration::from_secs(5));
}

fn sent(table: &Table, key: &Key) -> Option<u64> {
    Some(table.get(table.find(key)?)?.target.totals().sent)
}

#[test]
fn an_address_is_probed_once_whoever_wants_it() {
    let (mut table, settings, now) = table(&["target.host=192.0.2.1", "target.host=192.0.2.1", "target.tcp_port=80"]);
    assert_eq!(table.len(), 2);
    let first = table.ask(icmp("192.0.2.1"), settings.manner, true, now);
    assert_eq!(table.ask(icmp("192.0.2.1"), settings.manner, true, now), first);
    assert_eq!(table.len(), 2);
}

#[test]
fn what_somebody_asked_for_goes_when_nobody_has_for_ten_minutes_and_the_configuration_stays() {
    let (mut table, settings, now) = table(&["target.host=192.0.2.1"]);
    table.ask(icmp("192.0.2.2"), settings.manner, true, now).unwrap();
    table.ask(icmp("192.0.2.1"), settings.manner, true, now).unwrap();
    let later = now + Duration::from_secs(599);
    table.sweep(later);
    assert_eq!(table.len(), 2);
    table.ask(icmp("192.0.2.2"), settings.manner, true, later).unwrap();
    table.sweep(now + KEPT);
    assert_eq!(table.len(), 2);
    table.sweep(later + KEPT);
    assert_eq!(table.iter().map(|(_, entry)| entry.key).collect::<Vec<_>>(), [icmp("192.0.2.1")]);
}

#[test]
fn nobody_more_is_taken_than_there_is_room_for() {
    let (mut table, settings, now) = table(&["probe.max_targets=2", "target.host=192.0.2.1"]);
    assert!(table.has_room_for(1) && !table.has_room_for(2));
    table.ask(icmp("192.0.2.2"), settings.manner, true, now).unwrap();
    assert_eq!(table.ask(icmp("192.0.2.3"), settings.manner, true, now), Err(Full));
    assert!(table.ask(icmp("192.0.2.1"), settings.manner, true, now).is_ok());
}

#[test]
fn a_name_that_moves_takes_what_is_known_along_family_by_family() {
    let (mut table, settings, now) = table(&["target.host=a.example"]);
    let wanted = &settings.targets[0];
    table.configure(wanted, &[ip("192.0.2.1"), ip("2001:db8::1")], now);
    answer(&mut table, &icmp("192.0.2.1"), now);
    answer(&mut table, &icmp("2001:db8::1"), now);
    answer(&mut table, &icmp("2001:db8::1"), now);
    table.configure(wanted, &[ip("2001:db8::9"), ip("192.0.2.9")], now);
    assert_eq!(table.len(), 2);
    assert_eq!((sent(&table, &icmp("192.0.2.9")), sent(&table, &icmp("2001:db8::9"))), (Some(1), Some(2)));
    assert_eq!(sent(&table, &icmp("192.0.2.1")), None);
}

#[test]
fn an_address_that_goes_without_another_is_not_probed_any_more() {
    let (mut table, settings, now) = table(&["target.host=a.example"]);
    table.configure(&settings.targets[0], &[ip("192.0.2.1"), ip("192.0.2.2")], now);
    table.configure(&settings.targets[0], &[ip("192.0.2.2")], now);
    assert_eq!(table.iter().map(|(_, entry)| entry.key).collect::<Vec<_>>(), [icmp("192.0.2.2")]);
}

#[test]
fn an_address_that_somebody_else_wants_stays_where_it_is() {
    let (mut table, settings, now) =
        table(&["target.host=a.example", "target.host=192.0.2.1", "target.host=b.example"]);
    let [a, _, b] = &settings.targets[..] else { panic!("{:?}", settings.targets) };
    table.configure(a, &[ip("192.0.2.1"), ip("192.0.2.2")], now);
    table.configure(b, &[ip("192.0.2.2")], now);
    answer(&mut table, &icmp("192.0.2.1"), now);
    answer(&mut table, &icmp("192.0.2.2"), now);
    table.configure(a, &[ip("192.0.2.8"), ip("192.0.2.9")], now);
    let counts = ["192.0.2.1", "192.0.2.2", "192.0.2.8", "192.0.2.9"].map(|text| sent(&table, &icmp(text)));
    assert_eq!(counts, [Some(1), Some(1), Some(0), Some(0)]);
}

#[test]
fn a_name_that_was_asked_for_moves_too_and_a_lookup_does_not_keep_it_alive() {
    let (mut table, settings, now) = table(&[]);
    let host = name("a.example");
    table.bind(&host, Families::Both, &[ip("192.0.2.1")], By::Request, now);
    table.ask(icmp("192.0.2.1"), settings.manner, false, now).unwrap();
    answer(&mut table, &icmp("192.0.2.1"), now);
    let later = now + Duration::from_secs(300);
    table.bind(&host, Families::Both, &[ip("192.0.2.2")], By::Lookup, later);
    assert_eq!(sent(&table, &icmp("192.0.2.2")), Some(1));
    table.sweep(now + KEPT);
    assert!(table.is_empty() && table.names().is_empty());
}

#[test]
fn a_new_configuration_keeps_who_is_still_wanted_and_drops_who_is_not() {
    let (mut table, old, now) = table(&["target.host=192.0.2.1", "target.host=192.0.2.2", "target.host=a.example"]);
    table.configure(&old.targets[2], &[ip("192.0.2.3")], now);
    table.ask(icmp("192.0.2.2"), old.manner, true, now).unwrap();
    for text in ["192.0.2.1", "192.0.2.3"] {
        answer(&mut table, &icmp(text), now);
    }
    let new = settings(&["target.host=192.0.2.1", "target.interval=5000", "target.dscp=8", "target.host=a.example"]);
    table.reconfigure(&new, now);
    let found: Vec<_> = table.iter().map(|(_, entry)| (entry.key, entry.is_configured)).collect();
    let want = [("192.0.2.1", true), ("192.0.2.2", false), ("192.0.2.3", true)];
    assert_eq!(found, want.map(|(text, is_configured)| (icmp(text), is_configured)));
    assert_eq!((sent(&table, &icmp("192.0.2.1")), sent(&table, &icmp("192.0.2.3"))), (Some(1), Some(1)));
    let manner = table.get(table.find(&icmp("192.0.2.1")).unwrap()).unwrap().manner;
    assert_eq!((manner.interval, manner.tos), (Duration::from_secs(5), 32));
    table.reconfigure(&settings(&[]), now);
    assert_eq!(table.iter().map(|(_, entry)| entry.key).collect::<Vec<_>>(), [icmp("192.0.2.2")]);
}

#[test]
fn everybody_has_turns_and_those_who_left_have_none() {
    let (mut table, settings, now) = table(&["target.host=192.0.2.1"]);
    let id = table.ask(icmp("192.0.2.2"), settings.manner, true, now).unwrap();
    table.sweep(now + KEPT);
    assert!(table.get(id).is_none());
    let mut turns = Vec::new();
    let end = now + KEPT + Duration::from_secs(10);
    while let Some(due) = table.schedule().next_due().filter(|due| *due < end) {
        turns.extend(table.schedule().pop(due.max(now + KEPT)));
    }
    assert!(turns.len() >= 3 && turns.iter().all(|turn| *turn != id), "{turns:?}");
}
