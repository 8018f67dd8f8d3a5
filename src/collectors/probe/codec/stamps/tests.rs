use super::*;

/// Generic and MIPS, both word sizes, both byte orders.
const ABIS: [Abi; 5] = [
    Abi { word: 8, is_big: false, sol_socket: 1 },
    Abi { word: 4, is_big: false, sol_socket: 1 },
    Abi { word: 8, is_big: true, sol_socket: 1 },
    Abi { word: 4, is_big: true, sol_socket: 0xffff },
    Abi { word: 4, is_big: false, sol_socket: 0xffff },
];

const SECONDS: u64 = 1_790_000_000;
const NANOSECONDS: u64 = 123_456_789;
const STAMP: u64 = SECONDS * NANOS + NANOSECONDS;

/// Control messages as the kernel writes them for an ABI.
struct Messages(Abi, Vec<u8>);

impl Messages {
    fn new(abi: Abi) -> Self {
        Messages(abi, Vec::new())
    }

    fn number(&self, value: u64, bytes: usize) -> Vec<u8> {
        match self.0.is_big {
            true => value.to_be_bytes()[8 - bytes..].to_vec(),
            false => value.to_le_bytes()[..bytes].to_vec(),
        }
    }

    fn put(mut self, level: i32, kind: i32, data: &[u8]) -> Self {
        let word = self.0.word;
        let length = self.number((word + 8 + data.len()) as u64, word);
        let level = self.number(level as u64, 4);
        let kind = self.number(kind as u64, 4);
        for part in [&length, &level, &kind, data] {
            self.1.extend(part);
        }
        self.1.resize(self.1.len().next_multiple_of(word), 0);
        self
    }

    /// `SCM_TIMESTAMPING` with a stamp of the kernel and one of the card.
    fn stamps(self, kind: i32, word: usize) -> Self {
        let parts = [SECONDS, NANOSECONDS, 0, 0, 77, 5].map(|value| self.number(value, word)).concat();
        let level = self.0.sol_socket;
        self.put(level, kind, &parts)
    }

    fn extended(self, is_v6: bool, origin: u8, kind: u8, code: u8, info: u32, data: u32) -> Self {
        let mut bytes = self.number(42, 4);
        bytes.extend([origin, kind, code, 0]);
        bytes.extend(self.number(info.into(), 4));
        bytes.extend(self.number(data.into(), 4));
        if is_v6 {
            bytes.extend(self.number(libc::AF_INET6 as u64, 2));
            bytes.extend([0; 6]);
            bytes.extend(Ipv6Addr::LOCALHOST.octets());
            bytes.extend([0; 4]);
        } else {
            bytes.extend(self.number(libc::AF_INET as u64, 2));
            bytes.extend([0, 0, 203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        let (level, kind) = if is_v6 { (libc::SOL_IPV6, libc::IPV6_RECVERR) } else { (libc::SOL_IP, libc::IP_RECVERR) };
        self.put(level, kind, &bytes)
    }

    fn read(&self) -> Result<Control, Malformed> {
        Control::read(&self.1, &self.0)
    }
}

const BOTH: Stamps = Stamps { software: NonZeroU64::new(STAMP), hardware: NonZeroU64::new(77 * NANOS + 5) };

#[test]
fn nothing_is_told_by_no_message() {
    assert_eq!(Control::read(&[], &Abi::NATIVE), Ok(Control::default()));
}

#[test]
fn stamps_of_the_old_kind_have_the_words_of_the_machine() {
    for abi in ABIS {
        let messages = Messages::new(abi).stamps(37, abi.word);
        assert_eq!(messages.1.len(), abi.word + 8 + 6 * abi.word);
        assert_eq!(messages.read().unwrap().stamps, BOTH, "{abi:?}");
    }
}

#[test]
fn stamps_of_the_new_kind_are_the_same_everywhere() {
    for abi in ABIS {
        let messages = Messages::new(abi).stamps(65, 8);
        assert_eq!(messages.1.len(), abi.word + 8 + 48);
        assert_eq!(messages.read().unwrap().stamps, BOTH, "{abi:?}");
    }
}

#[test]
fn a_stamp_of_zero_is_none() {
    let abi = ABIS[0];
    let messages = Messages::new(abi).put(1, 65, &[0; 48]);
    assert_eq!(messages.read().unwrap().stamps, Stamps::default());
}

#[test]
fn a_stamp_that_is_no_time_is_refused() {
    let abi = ABIS[0];
    for (seconds, nanos) in [(u64::MAX, 0), (1, NANOS), (1, u64::MAX), (u64::MAX / NANOS + 1, 0)] {
        let data = [seconds, nanos, 0, 0, 0, 0].map(u64::to_le_bytes).concat();
        let result = Messages::new(abi).put(1, 65, &data).read();
        assert_eq!(result, Err(Malformed::Value { what: "stamp", offset: 0 }), "{seconds} {nanos}");
    }
}

#[test]
fn stamps_and_their_packet_are_read_in_either_order() {
    for abi in ABIS {
        for is_v6 in [false, true] {
            let first = Messages::new(abi).stamps(65, 8).extended(is_v6, 4, 0, 0, 0, 0xffff_fffe);
            let last = Messages::new(abi).extended(is_v6, 4, 0, 0, 0, 0xffff_fffe).stamps(65, 8);
            for messages in [first, last] {
                let control = messages.read().unwrap();
                assert_eq!(control.stamps, BOTH);
                assert_eq!(control.notice, Some(Notice::Sent(0xffff_fffe)));
            }
        }
    }
}

#[test]
fn a_packet_that_is_queued_is_told_from_one_that_left() {
    let notice = |info| Messages::new(ABIS[0]).extended(false, 4, 0, 0, info, 9).read().unwrap().notice;
    assert_eq!(notice(0), Some(Notice::Sent(9)));
    assert_eq!(notice(1), Some(Notice::Queued(9)));
    assert_eq!(notice(2), None, "acknowledged: of TCP connections only");
}

#[test]
fn a_failure_tells_who_says_so_and_what_would_fit() {
    for abi in ABIS {
        let control = Messages::new(abi).extended(false, 2, 3, 4, 1400, 0).read().unwrap();
        let icmp = Icmp { kind: 3, code: 4, reporter: Some(Ipv4Addr::new(203, 0, 113, 1).into()) };
        assert_eq!(control.notice, Some(Notice::Failed { number: 42, icmp: Some(icmp), mtu: 1400 }));
        let control = Messages::new(abi).extended(true, 3, 2, 0, 1280, 0).read().unwrap();
        let icmp = Icmp { kind: 2, code: 0, reporter: Some(Ipv6Addr::LOCALHOST.into()) };
        assert_eq!(control.notice, Some(Notice::Failed { number: 42, icmp: Some(icmp), mtu: 1280 }));
        let control = Messages::new(abi).extended(false, 1, 0, 0, 0, 0).read().unwrap();
        assert_eq!(control.notice, Some(Notice::Failed { number: 42, icmp: None, mtu: 0 }));
    }
}

#[test]
fn hops_interface_destination_and_overflows_are_read_for_both_families() {
    for abi in ABIS {
        let messages = Messages::new(abi);
        let (ttl, ifindex, dropped) = (messages.number(57, 4), messages.number(3, 4), messages.number(12, 4));
        let mut pktinfo = ifindex.clone();
        pktinfo.extend([192, 0, 2, 9, 192, 0, 2, 1]);
        let v4 = messages
            .put(libc::SOL_IP, libc::IP_PKTINFO, &pktinfo)
            .put(libc::SOL_IP, libc::IP_TTL, &ttl)
            .put(abi.sol_socket, libc::SO_RXQ_OVFL, &dropped)
            .read()
            .unwrap();
        assert_eq!((v4.ifindex, v4.hop_limit, v4.overflows), (Some(3), Some(57), Some(12)));
        assert_eq!(v4.destination, Some(Ipv4Addr::new(192, 0, 2, 1).into()));

        let mut pktinfo = Ipv6Addr::LOCALHOST.octets().to_vec();
        pktinfo.extend(&ifindex);
        let v6 = Messages::new(abi)
            .put(libc::SOL_IPV6, libc::IPV6_HOPLIMIT, &ttl)
            .put(libc::SOL_IPV6, libc::IPV6_PKTINFO, &pktinfo)
            .read()
            .unwrap();
        assert_eq!((v6.ifindex, v6.hop_limit, v6.overflows), (Some(3), Some(57), None));
        assert_eq!(v6.destination, Some(Ipv6Addr::LOCALHOST.into()));
    }
}

#[test]
fn unknown_messages_are_passed_over() {
    for abi in ABIS {
        let control = Messages::new(abi).put(1234, 5, &[1]).put(libc::SOL_IP, 99, &[]).stamps(65, 8).read().unwrap();
        assert_eq!(control, Control { stamps: BOTH, ..Control::default() });
    }
}

#[test]
fn the_level_of_another_machine_is_unknown() {
    let mips = Messages::new(ABIS[3]).stamps(65, 8);
    let generic = Abi { sol_socket: 1, ..ABIS[3] };
    assert_eq!(Control::read(&mips.1, &generic), Ok(Control::default()));
}

#[test]
fn control_that_is_cut_off_is_an_error_unless_a_message_ends_there() {
    for abi in ABIS {
        let first = Messages::new(abi).stamps(65, 8).1.len();
        let messages = Messages::new(abi).stamps(65, 8).extended(false, 4, 0, 0, 0, 7);
        for end in 1..messages.1.len() {
            let result = Control::read(&messages.1[..end], &abi);
            assert_eq!(result.is_ok(), end == first, "{abi:?} {end}: {result:?}");
        }
    }
}

#[test]
fn a_message_that_the_kernel_cut_short_is_an_error() {
    // It writes the shorter length into the header (put_cmsg).
    for abi in ABIS {
        for (level, kind) in [(abi.sol_socket, 37), (abi.sol_socket, 65), (abi.sol_socket, libc::SO_RXQ_OVFL)] {
            assert!(Messages::new(abi).put(level, kind, &[1; 3]).read().is_err());
        }
        for level in [libc::SOL_IP, libc::SOL_IPV6] {
            for kind in [libc::IP_TTL, libc::IP_PKTINFO, libc::IP_RECVERR] {
                let kind = match (level == libc::SOL_IPV6, kind) {
                    (false, kind) => kind,
                    (true, libc::IP_TTL) => libc::IPV6_HOPLIMIT,
                    (true, libc::IP_PKTINFO) => libc::IPV6_PKTINFO,
                    (true, _) => libc::IPV6_RECVERR,
                };
                assert!(Messages::new(abi).put(level, kind, &[1; 3]).read().is_err());
            }
        }
    }
}

#[test]
fn lengths_that_would_lead_out_of_the_buffer_or_nowhere_are_refused() {
    for abi in ABIS {
        for length in [0, 1, abi.word as u64 + 7, 1 << 30, u64::MAX] {
            let mut messages = Messages::new(abi).stamps(65, 8);
            let length = messages.number(length, abi.word);
            messages.1.splice(0..abi.word, length);
            assert!(messages.read().is_err(), "{abi:?}");
        }
    }
}

#[test]
fn an_error_without_an_address_behind_it_has_no_reporter() {
    let messages =
        Messages::new(ABIS[0]).put(libc::SOL_IP, libc::IP_RECVERR, &[0, 0, 0, 0, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let icmp = Icmp { kind: 11, code: 0, reporter: None };
    assert_eq!(messages.read().unwrap().notice, Some(Notice::Failed { number: 0, icmp: Some(icmp), mtu: 0 }));
}
