use super::*;

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found(name: &str, belief: Belief) -> Option<Found<'_>> {
    Some(Found { name, belief })
}

fn leased(name: &str) -> Option<Found<'_>> {
    found(name, Belief::LeaseMac)
}

/// A table in which `saw` is at one moment.
struct Table(Cache, Instant);

impl Table {
    fn new() -> Self {
        Table(Cache::default(), Instant::now())
    }

    fn saw(&mut self, client: u8, at: &str, name: Option<Found<'_>>) {
        self.0.begin();
        self.0.saw(Some(&mac(client)), &addr(at), name, self.1);
        self.check();
    }

    fn name(&self, client: u8, at: &str) -> Option<&str> {
        self.0.find(Some(&mac(client)), &addr(at)).map(|found| found.name)
    }

    fn name_at(&self, at: &str) -> Option<&str> {
        self.0.find(None, &addr(at)).map(|found| found.name)
    }

    fn written(&mut self) -> String {
        self.0.changed = false;
        codec::encode(self.0.records())
    }

    /// Addresses and owners say the same, within the bounds.
    fn check(&self) {
        let of_entries: usize = self.0.entries.values().map(|entry| entry.addrs.len()).sum();
        assert_eq!(of_entries, self.0.owners.len());
        for (addr, key) in self.0.owners.iter() {
            assert!(self.0.entries.get(key).unwrap().addrs.iter().any(|seen| seen.addr == *addr), "{addr}");
        }
        assert!(self.0.entries.len() <= MAX_ENTRIES);
        assert!(self.0.entries.values().all(|entry| entry.addrs.len() <= MAX_ADDRS));
    }
}

#[test]
fn a_name_outlives_its_lease_and_serves_all_addresses_of_its_owner() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", leased("phone"));
    table.saw(1, "fd00::1", None);
    assert_eq!(table.name(1, "fd00::1"), Some("phone"));
    assert_eq!(table.name(1, "fd00::99"), Some("phone"));
    assert_eq!(table.name_at("10.0.0.1"), Some("phone"));
    assert_eq!(table.0.mac_of(&addr("fd00::1")), Some(mac(1)));
    assert_eq!(table.name(2, "10.0.0.2"), None);
    assert_eq!(table.name_at("10.0.0.2"), None);
}

#[test]
fn a_reused_address_does_not_show_the_name_of_its_former_owner() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", leased("phone"));
    assert_eq!(table.name(2, "10.0.0.1"), None, "even before the other one was seen there");
    table.saw(2, "10.0.0.1", None);
    assert_eq!(table.name_at("10.0.0.1"), None);
    assert_eq!(table.0.mac_of(&addr("10.0.0.1")), None);
    assert_eq!(table.name(1, "10.0.0.7"), Some("phone"));
    table.saw(2, "10.0.0.1", leased("tablet"));
    assert_eq!(table.name_at("10.0.0.1"), Some("tablet"));
    assert_eq!(table.written(), "# gatemeter names 1\n02:00:00:00:00:02 tablet 10.0.0.1\n02:00:00:00:00:01 phone\n");
}

#[test]
fn a_host_without_a_mac_address_is_kept_by_its_address_until_one_is_seen_there() {
    let mut table = Table::new();
    table.0.saw(None, &addr("10.9.0.1"), found("nas", Belief::WrittenAddr), table.1);
    assert_eq!((table.name_at("10.9.0.1"), table.0.mac_of(&addr("10.9.0.1"))), (Some("nas"), None));
    table.0.saw(None, &addr("10.9.0.1"), found("backup", Belief::WrittenMac), table.1);
    assert_eq!(table.name(1, "10.9.0.1"), Some("backup"));
    table.saw(1, "10.9.0.1", None);
    assert_eq!(table.name(1, "10.9.0.2"), Some("backup"));
    table.saw(2, "10.9.0.1", None);
    assert_eq!(table.name(2, "10.9.0.1"), None);
    assert_eq!(table.written(), "# gatemeter names 1\n02:00:00:00:00:01 backup\n");
}

#[test]
fn a_better_believed_name_replaces_a_worse_one_and_not_the_other_way_round() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", found("dns", Belief::Resolved));
    table.saw(1, "10.0.0.1", leased("android-12"));
    table.saw(1, "10.0.0.2", found("desk", Belief::WrittenAddr));
    table.saw(1, "10.0.0.1", leased("android-12"));
    assert_eq!(table.name(1, "10.0.0.1"), Some("desk"));
    table.0.changed = false;
    table.saw(1, "10.0.0.2", found("desk", Belief::WrittenAddr));
    table.saw(1, "10.0.0.1", found("other desk", Belief::WrittenAddr));
    assert_eq!(table.name(1, "10.0.0.1"), Some("desk"), "names of two addresses do not take turns");
    assert!(!table.0.changed);
}

#[test]
fn seeing_the_same_again_changes_nothing_that_would_be_written() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", leased("phone"));
    table.saw(2, "10.0.0.2", leased("tablet"));
    assert!(table.0.changed);
    let before = table.written();
    table.saw(1, "10.0.0.1", leased("phone"));
    table.saw(1, "fe80::1", leased("phone"));
    table.saw(3, "10.0.0.3", None);
    table.0.saw(None, &addr("10.0.0.4"), None, table.1);
    assert!(!table.0.changed);
    assert_ne!(table.written(), before, "who was seen last comes first");
}

#[test]
fn changed_files_rename_clients_that_are_away_and_lost_names_stay() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", leased("phone"));
    table.saw(1, "fd00::1", leased("phone"));
    table.saw(2, "10.0.0.2", leased("tablet"));
    table.0.changed = false;
    let find = |client: Option<&Mac>, at: &IpAddr| match (client, at) {
        (Some(Mac([.., 1])), IpAddr::V4(_)) => found("desk", Belief::WrittenAddr),
        (Some(Mac([.., 1])), IpAddr::V6(_)) => leased("phone"),
        _ => found("somebody else's", Belief::OtherMac),
    };
    table.0.renew(find);
    assert!(table.0.changed);
    assert_eq!((table.name(1, "fd00::1"), table.name(2, "10.0.0.2")), (Some("desk"), Some("tablet")));
    table.0.changed = false;
    table.0.renew(find);
    assert!(!table.0.changed);
    table.0.renew(|_, _| None);
    assert_eq!(table.0.find(Some(&mac(1)), &addr("10.0.0.1")), found("desk", Belief::Remembered));
    assert!(!table.0.changed);
}

#[test]
fn of_names_believed_alike_the_present_one_stays_when_files_change() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.9", found("nine", Belief::LeaseAddr));
    table.saw(1, "10.0.0.1", found("one", Belief::LeaseAddr));
    let one =
        |_: Option<&Mac>, at: &IpAddr| found(if *at == addr("10.0.0.1") { "one" } else { "nine" }, Belief::LeaseAddr);
    table.0.renew(one);
    assert_eq!(table.name(1, "10.0.0.1"), Some("nine"));
    table.0.renew(|_, at| one(None, at).filter(|_| *at == addr("10.0.0.1")));
    assert_eq!(table.name(1, "10.0.0.1"), Some("one"));
}

#[test]
fn reverse_dns_renames_what_it_named_and_nothing_else() {
    let mut table = Table::new();
    let now = table.1;
    let resolve = |table: &mut Table, client: u8, at: &str, names: &[(&str, &'static str)]| {
        let name_of = |at: &IpAddr| names.iter().find(|(of, _)| addr(of) == *at).map(|(_, name)| *name);
        table.0.resolve(Some(&mac(client)), &addr(at), name_of, now);
        table.check();
    };
    resolve(&mut table, 1, "10.0.0.1", &[]);
    assert_eq!(table.name(1, "10.0.0.1"), None);
    resolve(&mut table, 1, "fd00::1", &[("fd00::1", "host-v6")]);
    table.saw(1, "10.0.0.1", None);
    resolve(&mut table, 1, "10.0.0.1", &[("fd00::1", "host-v6"), ("10.0.0.1", "host")]);
    assert_eq!(table.name(1, "10.0.0.1"), Some("host-v6"), "two names do not take turns");
    resolve(&mut table, 1, "fd00::1", &[("fd00::1", "renamed-v6"), ("10.0.0.1", "renamed")]);
    assert_eq!(table.name(1, "10.0.0.1"), Some("renamed"));
    resolve(&mut table, 1, "fd00::1", &[]);
    assert_eq!(table.name(1, "10.0.0.1"), Some("renamed"));
    assert!(table.written().contains(" renamed dns "));
    table.saw(1, "10.0.0.1", leased("phone"));
    assert!(table.0.changed);
    resolve(&mut table, 1, "10.0.0.1", &[("10.0.0.1", "host")]);
    assert_eq!(table.name(1, "10.0.0.1"), Some("phone"));
}

#[test]
fn who_was_seen_longest_ago_makes_room() {
    let mut table = Table::new();
    for n in 0..MAX_ENTRIES as u32 + 10 {
        let client = Mac([2, 0, 0, 0, (n >> 8) as u8, n as u8]);
        table.0.begin();
        table.0.saw(Some(&client), &IpAddr::V4((0x0a00_0000 + n).into()), leased("x"), table.1);
        table.0.saw(Some(&mac(0)), &addr("10.0.0.0"), leased("x"), table.1);
    }
    table.check();
    assert_eq!(table.0.entries.len(), MAX_ENTRIES);
    assert_eq!(table.name(0, "10.0.0.0"), Some("x"));
    assert_eq!(table.name_at("10.0.0.10"), None);
    assert_eq!(table.name_at("10.0.0.11"), Some("x"));
}

#[test]
fn a_client_keeps_its_newest_addresses_and_always_its_ipv4_address() {
    let mut table = Table::new();
    for n in 0..20 {
        table.saw(1, &format!("fd00::{n}"), leased("phone"));
    }
    table.0.changed = false;
    table.saw(1, "fd00::19", leased("phone"));
    assert_eq!(table.name_at("fd00::7"), Some("phone"));
    assert_eq!(table.name_at("fd00::8"), None);
    assert!(!table.0.changed, "addresses that are all in use do not drive each other out");
    table.saw(1, "10.0.0.1", leased("phone"));
    assert_eq!(table.name_at("10.0.0.1"), Some("phone"));
    assert_eq!(table.name_at("fd00::0"), None);
    table.1 += FRESH;
    table.saw(1, "fd00::19", leased("phone"));
    assert_eq!((table.name_at("fd00::19"), table.0.owners.len()), (Some("phone"), MAX_ADDRS));
    assert_eq!(table.name_at("10.0.0.1"), Some("phone"));
}

#[test]
fn a_table_survives_its_file() {
    let mut table = Table::new();
    table.saw(1, "10.0.0.1", leased("living room"));
    table.saw(1, "fd00::1", leased("living room"));
    table.saw(2, "10.0.0.2", found("tablet", Belief::Resolved));
    table.0.saw(None, &addr("10.9.0.1"), found("nas", Belief::WrittenAddr), table.1);
    let text = table.written();
    let mut again = Table::new();
    let mut records = Vec::new();
    codec::parse(&text, |record| records.push(record));
    again.0.restore(records.into_iter());
    again.check();
    assert!(!again.0.changed);
    assert_eq!(again.written(), text);
    assert_eq!(again.0.find(None, &addr("fd00::1")), found("living room", Belief::Remembered));
    assert_eq!(again.0.find(None, &addr("10.0.0.2")), found("tablet", Belief::Resolved));
    assert_eq!(again.0.mac_of(&addr("10.0.0.1")), Some(mac(1)));
}

#[test]
fn a_file_that_contradicts_itself_is_put_in_order() {
    let text = "# gatemeter names 1\n02:00:00:00:00:01 new 10.0.0.1 10.0.0.1 10.0.0.2\n02:00:00:00:00:02 two 10.0.0.1\n\
                - nas 10.0.0.2\n02:00:00:00:00:01 old 10.0.0.3\n- a 10.0.0.4\n- b 10.0.0.4\n";
    let mut table = Table::new();
    let mut records = Vec::new();
    codec::parse(text, |record| records.push(record));
    table.0.restore(records.into_iter());
    table.check();
    assert_eq!(table.name_at("10.0.0.1"), Some("new"));
    assert_eq!((table.name_at("10.0.0.2"), table.name_at("10.0.0.3")), (Some("new"), None));
    assert_eq!((table.name_at("10.0.0.4"), table.name(2, "10.0.0.9")), (Some("a"), Some("two")));
}
