//! Lines of /proc/net/nf_conntrack, where the kernel lists flows for kernels without conntrack over netlink
//! (net/netfilter/nf_conntrack_standalone.c of Linux): pure.
//!
//! A line is family, its number, protocol, its number, seconds left, for TCP the state, then `name=value` for the
//! original direction and once more for answers, with marks in brackets and what belongs to both between them:
//! `ipv4 2 tcp 6 118 ESTABLISHED src=.. dst=.. sport=.. dport=.. packets=.. bytes=.. src=.. ... [ASSURED] mark=0 use=1`.

use std::net::IpAddr;

use crate::netlink::conntrack::{Entry, Moved, TcpState, Tuple};

/// One direction as far as it has been read.
#[derive(Default, Clone, Copy)]
struct Side {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    ports: [u16; 2],
    packets: Option<u64>,
    bytes: Option<u64>,
}

impl Side {
    fn tuple(&self, protocol: u8) -> Option<Tuple> {
        Some(Tuple { source: self.source?, destination: self.destination?, protocol, ports: self.ports })
    }

    fn moved(&self) -> Option<Moved> {
        Some(Moved { packets: self.packets?, bytes: self.bytes? })
    }
}

/// Reads one line; none if it is about no flow of IPv4 or IPv6.
pub fn line(text: &str) -> Option<Entry> {
    let mut words = text.split_ascii_whitespace();
    if !matches!(words.next()?, "ipv4" | "ipv6") {
        return None;
    }
    let protocol = words.nth(2)?.parse().ok()?;
    let (mut sides, mut replying) = ([Side::default(); 2], false);
    let (mut replied, mut offloaded, mut tcp, mut zone) = (true, false, None, 0);
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            match word {
                "[UNREPLIED]" => replied = false,
                "[OFFLOAD]" | "[HW_OFFLOAD]" => offloaded = true,
                _ => tcp = tcp.or(TcpState::from_name(word)),
            }
            continue;
        };
        let [original, reply] = &mut sides;
        replying |= name == "src" && original.source.is_some();
        let side = if replying { reply } else { original };
        match name {
            "src" => side.source = Some(value.parse().ok()?),
            "dst" => side.destination = Some(value.parse().ok()?),
            "sport" | "id" => side.ports[0] = value.parse().ok()?,
            "dport" => side.ports[1] = value.parse().ok()?,
            "type" => side.ports[1] |= u16::from(value.parse::<u8>().ok()?) << 8,
            "code" => side.ports[1] |= u16::from(value.parse::<u8>().ok()?),
            "packets" => side.packets = value.parse().ok(),
            "bytes" => side.bytes = value.parse().ok(),
            "zone" | "zone-orig" => zone = value.parse().ok()?,
            _ => {}
        }
    }
    let [original, reply] = sides;
    let moved = original.moved().zip(reply.moved()).map(|(sent, answered)| [sent, answered]);
    Some(Entry {
        id: 0,
        zone,
        original: original.tuple(protocol)?,
        reply: reply.tuple(protocol)?,
        replied,
        dying: false,
        offloaded,
        tcp,
        moved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "ipv6     10 tcp      6 119 TIME_WAIT src=2001:0db8:0001:0001:0000:0000:0000:0011 \
        dst=2001:0db8:ffff:0000:0000:0000:0000:0001 sport=52484 dport=80 packets=5 bytes=369 \
        src=2001:0db8:ffff:0000:0000:0000:0000:0001 dst=2001:0db8:0001:0001:0000:0000:0000:0011 sport=80 dport=52484 \
        packets=5 bytes=370 [ASSURED] mark=0 zone=0 use=2";
    const UDP: &str = "ipv4     2 udp      17 29 src=192.168.1.11 dst=203.0.113.1 sport=39793 dport=5353 packets=1 \
        bytes=29 [UNREPLIED] src=203.0.113.1 dst=203.0.113.2 sport=5353 dport=39793 packets=0 bytes=0 mark=0 zone=3 use=2";
    const ICMP: &str = "ipv4     2 icmp     1 29 src=192.168.1.11 dst=203.0.113.1 type=8 code=0 id=15163 \
        src=203.0.113.1 dst=203.0.113.2 type=0 code=0 id=15163 mark=0 zone=0 use=2";

    #[test]
    fn a_tcp_line_tells_both_directions_state_and_counters() {
        let entry = line(TCP).unwrap();
        assert_eq!(entry.original.source, "2001:db8:1:1::11".parse::<IpAddr>().unwrap());
        assert_eq!((entry.original.protocol, entry.original.ports), (6, [52484, 80]));
        assert_eq!(entry.reply.source, "2001:db8:ffff::1".parse::<IpAddr>().unwrap());
        assert_eq!((entry.tcp, entry.replied, entry.zone), (Some(TcpState::TimeWait), true, 0));
        assert_eq!(entry.moved, Some([Moved { packets: 5, bytes: 369 }, Moved { packets: 5, bytes: 370 }]));
    }

    #[test]
    fn marks_may_stand_between_the_directions() {
        let entry = line(UDP).unwrap();
        assert_eq!((entry.replied, entry.tcp, entry.zone), (false, None, 3));
        assert_eq!(entry.reply.destination, "203.0.113.2".parse::<IpAddr>().unwrap());
        assert!(line(&format!("{UDP} [OFFLOAD]")).unwrap().offloaded);
        assert!(line(&TCP.replace("[ASSURED]", "[HW_OFFLOAD]")).unwrap().offloaded);
    }

    #[test]
    fn a_line_without_counters_has_none() {
        let entry = line(ICMP).unwrap();
        assert_eq!((entry.original.ports, entry.reply.ports), ([15163, 0x0800], [15163, 0]));
        assert_eq!(entry.moved, None);
    }

    #[test]
    fn what_is_no_flow_is_passed_over() {
        for text in ["", "ipv4", "unknown 2 tcp 6 1 src=1.2.3.4", "ipv4 2 udp 17 29 src=1.2.3.4 dst=", "ipv4 2 udp x"] {
            assert_eq!(line(text), None, "{text}");
        }
        for text in [TCP, UDP, ICMP] {
            for end in 0..text.len() {
                if let Some(entry) = line(&text[..end]) {
                    assert_eq!(entry.original, line(text).unwrap().original);
                }
            }
        }
    }
}
