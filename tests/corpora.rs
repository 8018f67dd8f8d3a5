//! The fuzzers' kept inputs, whole, and those that have a name cut off at every length and with every byte changed, through
//! every decoder: a smoke test for where no fuzzer runs, such as other byte orders. `make fuzz` looks further.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption must stop the test")]

use std::fs;
use std::path::Path;

use gatemeter::cli;
use gatemeter::collectors::clients::flows::key::Keys;
use gatemeter::collectors::clients::flows::proc;
use gatemeter::collectors::clients::flows::table::{Source, Table};
use gatemeter::collectors::freebox::credentials;
use gatemeter::collectors::freebox::groups::{self, Context, Replies};
use gatemeter::collectors::freebox::http::Reader;
use gatemeter::collectors::freebox::json::Doc;
use gatemeter::collectors::freebox::table::{write_families, write_points};
use gatemeter::collectors::homeplug::answer;
use gatemeter::collectors::homeplug::codec::{self as powerline, BROADCAST, LOCAL, Question};
use gatemeter::collectors::homeplug::walk::{Rules, Walk};
use gatemeter::collectors::probe::codec::stamps::{Abi, Control};
use gatemeter::collectors::probe::codec::{icmp, tcp};
use gatemeter::collectors::traffic::codec;
use gatemeter::collectors::traffic::object::Object;
use gatemeter::config::networks::Networks;
use gatemeter::config::uci;
use gatemeter::lan::Interfaces;
use gatemeter::metrics::{Desc, Kind, Page};
use gatemeter::names::cache::{self, Cache};
use gatemeter::names::dns::forward::{self, Family};
use gatemeter::names::hosts::Hosts;
use gatemeter::names::resolv_conf::ResolvConf;
use gatemeter::names::{HostName, dns, leases};
use gatemeter::netlink::nftables::read;
use gatemeter::netlink::{conntrack, messages, neighbour, route, tc};
use gatemeter::outputs::http::{Query, head_end, parse_head};
use gatemeter::outputs::prometheus::{Dialect, encode};

/// Inputs longer than this are not changed byte by byte.
const LONGEST: usize = 1024;
/// What fuzzers have found, which is changed enough; the rest was written or recorded by people.
const FOUND: &str = "found-";

/// Calls `decode` with every kept input of a fuzz target and its mutations; returns how many inputs there were.
fn replay(target: &str, decode: impl Fn(&[u8])) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let inputs: Vec<(bool, Vec<u8>)> = files
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            (name.starts_with(FOUND), fs::read(&path).unwrap())
        })
        .collect();
    for (is_found, input) in &inputs {
        decode(input);
        if *is_found {
            continue;
        }
        for at in 0..input.len().min(LONGEST) {
            decode(&input[..at]);
            for value in [0, 0x7f, 0xff, input[at] ^ 1] {
                let mut changed = input.clone();
                changed[at] = value;
                decode(&changed);
            }
        }
    }
    inputs.len()
}

#[test]
fn uci_files_are_read_or_refused() {
    assert!(replay("uci", |bytes| drop(uci::parse("fuzz", bytes))) > 10);
}

#[test]
fn lists_of_networks_are_read_as_far_as_they_go() {
    let read = |bytes: &[u8]| Networks::default().read(&String::from_utf8_lossy(bytes), |_, _| {});
    assert!(replay("networks", read) > 3);
}

#[test]
fn lease_files_are_read_as_far_as_they_go() {
    assert!(replay("leases", |bytes| _ = leases::parse(&String::from_utf8_lossy(bytes), |_| {})) > 4);
}

#[test]
fn name_caches_are_read_as_far_as_they_go() {
    let decode = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let mut records = Vec::new();
        cache::codec::parse(&text, |record| records.push(record));
        let mut cache = Cache::default();
        cache.restore(records.into_iter());
        let _ = cache::codec::encode(cache.records());
    };
    assert!(replay("cache", decode) > 3);
}

#[test]
fn dns_answers_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        for addr in ["192.168.1.20", "fd00::20"] {
            let _ = dns::answer(bytes, 0x1234, &addr.parse().unwrap());
        }
        for name in ["www.example.org", "alias.example.org"] {
            for family in [Family::V4, Family::V6] {
                let _ = forward::answer(bytes, 0x1234, &HostName::parse(name).unwrap(), family);
            }
        }
    };
    assert!(replay("dns", decode) > 15);
}

#[test]
fn request_heads_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        let end = head_end(bytes, 0).unwrap_or(bytes.len());
        let _ = parse_head(&bytes[..end]);
        let _ = Query::parse(&String::from_utf8_lossy(bytes)).map(|query| query.pairs().count());
    };
    assert!(replay("http", decode) > 2);
}

#[test]
fn netlink_datagrams_are_decoded_or_refused() {
    let decode = |bytes: &[u8]| {
        let mut interfaces = Interfaces::default();
        for message in messages(bytes).flatten() {
            if let Ok(Some(event)) = route::decode(&message) {
                interfaces.apply(event);
            }
            let _ = (neighbour::decode(&message), route::path(&message), tc::filter(message.body));
        }
        let _ = interfaces.find_lan();
    };
    assert!(replay("netlink", decode) > 2);
}

#[test]
fn nftables_answers_are_decoded_or_refused() {
    let decode = |bytes: &[u8]| {
        for message in messages(bytes).flatten() {
            let _ = (read::table(&message), read::chain(&message), read::set(&message), read::change(&message));
            let _ = (read::flowtable(&message), read::named_counter(&message));
            let _ = read::elements(&message, |_, _| {});
            let _ = read::removed_elements(&message, |_, _| {}).map(drop);
            if let Ok(Some(rule)) = read::rule(&message) {
                let _ = (rule.comment(), rule.counting(), rule.jumps_to());
            }
        }
    };
    assert!(replay("nftables", decode) > 10);
}

#[test]
fn flows_are_decoded_or_refused() {
    let decode = |bytes: &[u8]| {
        let (keys, mut table) = (Keys::default(), Table::new(4));
        for message in messages(bytes).flatten() {
            let _ = conntrack::decode_stats(&message);
            match conntrack::decode(&message) {
                Ok(Some(conntrack::Event::Known(entry))) => {
                    table.know(keys.of(&entry), &entry, Source::Event, &|addr| addr.is_ipv4());
                }
                Ok(Some(conntrack::Event::Gone(entry))) => table.forget(keys.of(&entry)),
                _ => {}
            }
            assert!(table.clients().count() <= 4);
        }
        for line in bytes.split(|byte| *byte == b'\n') {
            let _ = std::str::from_utf8(line).ok().and_then(proc::line);
        }
    };
    assert!(replay("conntrack", decode) > 8);
}

#[test]
fn table_entries_are_decoded_or_refused() {
    let decode = |bytes: &[u8]| {
        let _ = codec::key(bytes);
        let _ = codec::counters(bytes);
        let _ = codec::amount(bytes);
        let _ = codec::may_be_torn(bytes);
    };
    assert!(replay("tables", decode) > 2);
}

#[test]
fn answers_to_probes_and_control_messages_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        let _ = (icmp::read_v4(bytes), icmp::read_v4_message(bytes), icmp::read_v6(bytes));
        let _ = (tcp::read_v4(bytes), tcp::read_v6(bytes));
        for (word, sol_socket) in [(4, 1), (4, 0xffff), (8, 1)] {
            for is_big in [false, true] {
                let _ = Control::read(bytes, &Abi { word, is_big, sol_socket });
            }
        }
    };
    assert!(replay("probe", decode) > 12);
}

#[test]
fn powerline_frames_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        if let Ok(mme) = powerline::read(bytes) {
            let _ = Question::KINDS.map(|question| answer::read(&mme, question));
        }
        for destination in [LOCAL, BROADCAST] {
            let now = std::time::Instant::now();
            let mut walk = Walk::new(Rules { destination, extended: true, max_devices: 8 }, 1, now);
            for _ in 0..3 {
                while walk.due(now, &|_| None).is_some() {}
                walk.take(bytes, 0, now);
            }
            assert!(walk.devices.len() <= 8);
        }
    };
    assert!(replay("homeplug", decode) > 12);
}

#[test]
fn json_is_read_or_refused() {
    let decode = |bytes: &[u8]| {
        if let Ok(doc) = Doc::parse(bytes.to_vec()) {
            let root = doc.root();
            let _ = (root.number(), root.truth(), root.at("a.b.1"));
            root.items()
                .chain(root.members().map(|(_, node)| node))
                .for_each(|node| drop((node.text(), node.number())));
        }
    };
    assert!(replay("json", decode) > 7);
}

#[test]
fn answers_of_a_box_become_figures_or_are_left_out() {
    let decode = |bytes: &[u8]| {
        let mut reader = Reader::default();
        let _ = reader.push(bytes);
        let _ = reader.finish();
        let Some((first, rest)) = bytes.split_first() else { return };
        let Some(group) = groups::ALL.get(usize::from(*first)) else { return };
        let replies = Replies(rest.split(|byte| *byte == 0).map(|text| Doc::parse(text.to_vec()).ok()).collect());
        let (context, mut records, mut page) = (Context::default(), Vec::new(), Page::with_points());
        (group.records)(&replies, &context, &mut records);
        write_families(&mut page, group.families, &records, true);
        write_points(&mut page, group.forms, &records);
    };
    assert!(replay("freebox", decode) > groups::ALL.len());
}

#[test]
fn files_of_the_resolver_are_read_as_far_as_they_go() {
    let decode = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (hosts, _) = Hosts::parse(&text);
        let conf = ResolvConf::parse(&text, |_| None);
        for name in text.split_ascii_whitespace().filter_map(|word| HostName::parse(word).ok()) {
            let _ = (hosts.addrs(&name).count(), name.candidates(&conf.search));
        }
    };
    assert!(replay("hosts", decode) > 3);
}

#[test]
fn credentials_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        if let Some(read) = credentials::parse(bytes.to_vec()) {
            assert_eq!(credentials::parse(credentials::encode(&read).into_bytes()), Some(read));
        }
    };
    assert!(replay("credentials", decode) > 3);
}

#[test]
fn kernel_programs_are_read_or_refused() {
    let decode = |bytes: &[u8]| {
        if let Ok(object) = Object::parse(bytes) {
            let _ = object.instructions("gatemeter_in", &[3, 4]);
        }
    };
    assert!(replay("object", decode) > 2);
}

#[test]
fn command_lines_are_taken_or_refused() {
    let decode = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = cli::parse(&text.split('\n').collect::<Vec<_>>());
    };
    assert!(replay("cli", decode) > 1);
}

#[test]
fn label_values_are_written_within_their_quotes() {
    static FAMILY: Desc = Desc { name: "family", kind: Kind::Gauge, labels: &["name"], help: "Help." };
    let decode = |bytes: &[u8]| {
        let mut page = Page::new();
        let labels = page.labels(&[&String::from_utf8_lossy(bytes)]);
        page.family(&FAMILY);
        page.sample(labels, 1u64);
        let mut out = String::new();
        encode(&page, Dialect::OpenMetrics, &mut out);
        assert_eq!(out.lines().count(), 3, "{out}");
    };
    assert!(replay("labels", decode) > 0);
}
