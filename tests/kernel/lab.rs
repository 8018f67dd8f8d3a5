//! Shared by the other files: the hosts and routers of the frames, and the frames themselves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use etherparse::PacketBuilder;
use gatemeter::collectors::traffic::codec::{Counters, HostKey, Rules};
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Hook, Settings, clean};

use crate::net;
use crate::wait::{LIMIT, once_free, poll};

pub const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
pub const LAN4: [u8; 4] = [192, 168, 1, 10];
pub const INTERNET4: [u8; 4] = [203, 0, 113, 5];
pub const LAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
pub const INTERNET6: Ipv6Addr = Ipv6Addr::new(0x2a00, 0x1450, 0, 0, 0, 0, 0, 5);

/// 192.168.1.0/24 and 2001:db8:1::/64; the router is 198.51.100.7, and 2001:db8:1::/56 is all LAN.
pub fn rules() -> Rules {
    Rules {
        lan4: vec![(Ipv4Addr::new(192, 168, 1, 0), 24)],
        lan6: vec![("2001:db8:1::".parse().unwrap(), 64)],
        local4: vec![(Ipv4Addr::new(198, 51, 100, 7), 32)],
        local6: vec![("2001:db8:1::".parse().unwrap(), 56)],
        ..Rules::default()
    }
}

pub fn open(max_hosts: u32, pin_dir: Option<&Path>, attach: Attach) -> Accounting {
    once_free(|| try_open(max_hosts, pin_dir, attach)).unwrap_or_else(|error| panic!("{error}"))
}

/// Removes what is pinned, once whoever kept it is gone; returns what was removed.
pub fn cleaned(pin_dir: &Path) -> Vec<String> {
    once_free(|| clean(Some(pin_dir))).unwrap_or_else(|error| panic!("{error}"))
}

pub fn try_open(max_hosts: u32, pin_dir: Option<&Path>, attach: Attach) -> Result<Accounting, gatemeter::error::Error> {
    Accounting::open(&Settings { max_hosts, pin_dir: pin_dir.map(Path::to_owned), attach })
}

/// Whether this kernel has TCX, which came with Linux 6.6.
pub fn has_tcx() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 6)
}

/// The ways of attaching that this kernel has.
pub fn ways() -> &'static [Attach] {
    if has_tcx() { &[Attach::Tcx, Attach::Clsact] } else { &[Attach::Clsact] }
}

/// What a test of TCX comes down to on a kernel that has none: being told so, and clsact being taken if one may choose.
pub fn assert_tcx_is_refused() {
    net::enter_namespaces();
    let (lan, _) = net::veth("lan0", "host0");
    let mut accounting = open(16, None, Attach::Tcx);
    let error = accounting.attach(lan, "lan0", &rules()).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot attach a TCX link to lan0: Invalid argument (os error 22); TCX needs Linux 6.6: set traffic.attach to \
         auto or clsact"
    );
    drop(accounting);
    assert!(!net::run("tc qdisc show dev lan0").contains("clsact"), "a refusal leaves something behind");
    assert_eq!(open(16, None, Attach::Auto).attach(lan, "lan0", &rules()).unwrap(), Hook::Clsact);
}

/// Every host in the tables.
pub fn hosts(accounting: &mut Accounting) -> BTreeMap<HostKey, Counters> {
    let mut hosts = BTreeMap::new();
    accounting.read(|key, counters| assert!(hosts.insert(*key, *counters).is_none(), "{key:?} twice")).unwrap();
    hosts
}

/// Waits until the tables hold exactly these hosts: what an interface receives is looked at by the kernel in its own
/// time, on a busy machine after the call that sent it.
#[track_caller]
pub fn expect(accounting: &mut Accounting, wanted: impl IntoIterator<Item = (HostKey, Counters)>) {
    let wanted: BTreeMap<HostKey, Counters> = wanted.into_iter().collect();
    let mut last = BTreeMap::new();
    let seen = poll(LIMIT, || {
        last = hosts(accounting);
        (last == wanted).then_some(())
    });
    assert!(seen.is_some(), "the tables hold {last:?}\nand not {wanted:?}");
}

pub fn host(addr: impl Into<IpAddr>) -> HostKey {
    HostKey { mac: HOST, addr: addr.into() }
}

pub fn up(packets: u64, bytes: u64) -> Counters {
    Counters { upload_packets: packets, upload_bytes: bytes, ..Counters::default() }
}

pub fn down(packets: u64, bytes: u64) -> Counters {
    Counters { download_packets: packets, download_bytes: bytes, ..Counters::default() }
}

/// A UDP datagram from the host, with `payload` bytes.
pub fn from_host(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, payload: usize) -> Vec<u8> {
    udp(HOST, ROUTER, source.into(), destination.into(), payload)
}

/// A UDP datagram to the host, with `payload` bytes.
pub fn to_host(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, payload: usize) -> Vec<u8> {
    udp(ROUTER, HOST, source.into(), destination.into(), payload)
}

pub fn udp(from: [u8; 6], to: [u8; 6], source: IpAddr, destination: IpAddr, payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(from, to);
    let payload = vec![0x5a; payload];
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            builder.ipv4(source.octets(), destination.octets(), 64).udp(1000, 53).write(&mut frame, &payload).unwrap();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            builder.ipv6(source.octets(), destination.octets(), 64).udp(1000, 53).write(&mut frame, &payload).unwrap();
        }
        _ => panic!("two families in one packet"),
    }
    frame
}

/// The same frame with VLAN tags in its payload: EtherType and id of each.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for (kind, id) in tags {
        tagged.extend(kind.to_be_bytes());
        tagged.extend(id.to_be_bytes());
    }
    tagged.extend(&frame[12..]);
    tagged
}
