//! Any bytes as the files of the resolver, hosts(5) and resolv.conf(5), and their words as names of hosts: no panic, bounded,
//! and every name is one that DNS can be asked for.

#![no_main]

use gatemeter::names::HostName;
use gatemeter::names::hosts::{Hosts, MAX_NAMES};
use gatemeter::names::resolv_conf::{ResolvConf, dns_server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (hosts, unread) = Hosts::parse(&text);
    assert!(unread.lines <= text.lines().count() && unread.first <= text.lines().count());
    let conf = ResolvConf::parse(&text, |name| (name.len() < 3).then_some(7));
    assert!((1..=3).contains(&conf.servers.len()) && conf.domains.len() <= 8 && conf.search.len() <= 8);
    assert_eq!(conf.domains.first().map(String::as_str), Some("lan"));
    for word in text.split_ascii_whitespace() {
        let _ = dns_server(word);
        let Ok(name) = HostName::parse(word) else { continue };
        assert!(name.labels().all(|label| (1..=63).contains(&label.len())) && name.bare().len() <= 253);
        assert_eq!(HostName::parse(name.as_str()).as_ref(), Ok(&name));
        assert!(hosts.addrs(&name).count() <= MAX_NAMES);
        for candidate in name.candidates(&conf.search) {
            assert!(candidate.bare().starts_with(name.bare()) && candidate.bare().len() <= 253, "{candidate}");
        }
    }
});
