use std::net::IpAddr;

use etherparse::{IcmpEchoHeader, Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type};

use super::*;
use crate::collectors::probe::packets::*;

const ECHO: Echo = Echo { identifier: IDENTIFIER, sequence: SEQUENCE, cookie: COOKIE };
const HEADER_OF_ECHO: IcmpEchoHeader = IcmpEchoHeader { id: IDENTIFIER, seq: SEQUENCE };

fn v4(packet: &[u8]) -> Received {
    read_v4(packet).unwrap().1
}

/// What a report about one of our echo requests says, with the cookie where the quote is long enough.
fn report_of_echo(problem: Problem, destination: IpAddr, cookie: Option<u64>) -> Received {
    let probe = Quoted::Echo { identifier: IDENTIFIER, sequence: SEQUENCE, cookie };
    Received::Error(Report { problem, destination, probe })
}

#[test]
fn a_request_is_on_the_wire_as_the_rfc_says() {
    let mut buf = vec![0xa5; 100];
    write_v4(&mut buf, &ECHO, 10);
    assert_eq!(buf, [8, 0, 0xcd, 0xaf, 0x12, 0x34, 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9]);
}

#[test]
fn a_witness_reads_what_is_written() {
    let mut buf = Vec::new();
    for size in [8, 9, DEFAULT_SIZE, 1472] {
        write_v4(&mut buf, &ECHO, size);
        let slice = Icmpv4Slice::from_slice(&buf).unwrap();
        assert_eq!(slice.icmp_type(), Icmpv4Type::EchoRequest(HEADER_OF_ECHO));
        assert_eq!(slice.payload().len(), size);
        assert_eq!(slice.payload()[..8], COOKIE.to_be_bytes());
        assert_eq!(slice.checksum(), Icmpv4Type::EchoRequest(HEADER_OF_ECHO).calc_checksum(slice.payload()));

        write_v6(&mut buf, &ECHO, size);
        let slice = Icmpv6Slice::from_slice(&buf).unwrap();
        assert_eq!(slice.icmp_type(), Icmpv6Type::EchoRequest(HEADER_OF_ECHO));
        assert_eq!(slice.payload().len(), size);
        assert_eq!(slice.checksum(), 0, "left to the kernel");
    }
}

#[test]
fn a_payload_always_holds_the_cookie_and_fits_into_a_packet() {
    let mut buf = Vec::new();
    write_v4(&mut buf, &ECHO, 0);
    assert_eq!(buf.len(), 16);
    write_v4(&mut buf, &ECHO, usize::MAX);
    assert_eq!(buf.len(), 65_535 - 20);
}

#[test]
fn the_buffer_is_used_again() {
    let mut buf = Vec::new();
    write_v4(&mut buf, &ECHO, DEFAULT_SIZE);
    let (room, place) = (buf.capacity(), buf.as_ptr());
    for sequence in 0..100 {
        write_v4(&mut buf, &Echo { sequence, ..ECHO }, DEFAULT_SIZE);
    }
    assert_eq!((buf.capacity(), buf.as_ptr()), (room, place));
}

#[test]
fn a_reply_is_read_with_its_sender_and_its_ttl() {
    let packet = reply_v4(IDENTIFIER);
    let (outer, received) = read_v4(&packet).unwrap();
    assert_eq!((outer.source, outer.destination, outer.ttl), (THERE, HERE, 57));
    assert_eq!(received, Received::Reply(ECHO));
    assert_eq!(read_v6(&reply_v6(IDENTIFIER)), Ok(Received::Reply(ECHO)));
    assert_eq!(read_v4_message(&packet[20..]), Ok(Received::Reply(ECHO)));
}

#[test]
fn options_in_the_ip_header_are_passed_over() {
    assert_eq!(v4(&with_options(&reply_v4(IDENTIFIER))), Received::Reply(ECHO));
    let mut longest = reply_v4(IDENTIFIER);
    for _ in 0..5 {
        let total = longest.len() + 8;
        let at = usize::from(longest[0] & 0xf) * 4;
        longest.splice(at..at, [1; 8]);
        longest[0] += 2;
        longest[2..4].copy_from_slice(&u16::try_from(total).unwrap().to_be_bytes());
    }
    assert_eq!(longest[0], 0x4f);
    assert_eq!(v4(&longest), Received::Reply(ECHO));
}

#[test]
fn a_corrupt_packet_is_no_reply() {
    let good = reply_v4(IDENTIFIER);
    for at in 20..good.len() {
        let mut packet = good.clone();
        packet[at] ^= 0x10;
        assert_eq!(read_v4(&packet), Err(Malformed::Value { what: "ICMP checksum", offset: 2 }), "byte {at}");
    }
}

#[test]
fn a_packet_that_is_cut_off_is_an_error_at_every_length() {
    for packet in [reply_v4(IDENTIFIER), error_v4(11, 0, [0; 4], &request_v4(IDENTIFIER))] {
        for end in 0..packet.len() {
            assert!(read_v4(&packet[..end]).is_err(), "{end} bytes");
        }
    }
    for end in 0..16 {
        assert!(read_v6(&reply_v6(IDENTIFIER)[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn what_stands_behind_the_packet_is_not_part_of_it() {
    let mut packet = reply_v4(IDENTIFIER);
    packet.extend([0xee; 7]);
    assert_eq!(v4(&packet), Received::Reply(ECHO));
}

#[test]
fn an_ip_header_that_cannot_be_is_refused() {
    for (at, value, what) in
        [(0, 0x65, "IPv4 version"), (0, 0x44, "IPv4 header length"), (7, 1, "IPv4 fragment offset")]
    {
        let mut packet = reply_v4(IDENTIFIER);
        packet[at] = value;
        let Err(Malformed::Value { what: found, .. }) = read_v4(&packet) else { panic!("{what} is read") };
        assert_eq!(found, what);
    }
}

#[test]
fn errors_of_routers_tell_what_went_wrong_with_which_probe() {
    let quoted = request_v4(IDENTIFIER);
    for (kind, code, rest, problem) in [
        (3, 0, [0; 4], Problem::NetworkUnreachable),
        (3, 1, [0; 4], Problem::HostUnreachable),
        (3, 2, [0; 4], Problem::Unreachable(2)),
        (3, 3, [0; 4], Problem::PortUnreachable),
        (3, 4, [0, 0, 0x05, 0x78], Problem::TooBig(1400)),
        (3, 4, [0; 4], Problem::TooBig(0)),
        (3, 9, [0; 4], Problem::Prohibited),
        (3, 10, [0; 4], Problem::Prohibited),
        (3, 13, [0; 4], Problem::Prohibited),
        (11, 0, [0; 4], Problem::TimeExceeded),
        (12, 0, [20, 0, 0, 0], Problem::Parameter),
    ] {
        let packet = error_v4(kind, code, rest, &quoted);
        let (outer, received) = read_v4(&packet).unwrap();
        assert_eq!(outer.source, ROUTER);
        assert_eq!(received, report_of_echo(problem, THERE.into(), Some(COOKIE)), "type {kind} code {code}");
    }
    let quoted = request_v6(IDENTIFIER);
    for (kind, code, rest, problem) in [
        (1, 0, [0; 4], Problem::NetworkUnreachable),
        (1, 1, [0; 4], Problem::Prohibited),
        (1, 2, [0; 4], Problem::Unreachable(2)),
        (1, 3, [0; 4], Problem::HostUnreachable),
        (1, 4, [0; 4], Problem::PortUnreachable),
        (1, 5, [0; 4], Problem::Prohibited),
        (1, 6, [0; 4], Problem::Prohibited),
        (2, 0, [0, 0, 0x05, 0], Problem::TooBig(1280)),
        (3, 0, [0; 4], Problem::TimeExceeded),
        (4, 1, [0, 0, 0, 6], Problem::Parameter),
    ] {
        let received = read_v6(&error_v6(kind, code, rest, &quoted)).unwrap();
        assert_eq!(received, report_of_echo(problem, THERE6.into(), Some(COOKIE)), "type {kind} code {code}");
    }
}

#[test]
fn a_quote_of_eight_bytes_behind_its_ip_header_is_enough() {
    let quoted = &request_v4(IDENTIFIER)[..28];
    assert_eq!(v4(&error_v4(11, 0, [0; 4], quoted)), report_of_echo(Problem::TimeExceeded, THERE.into(), None));
    let quoted = &with_options(&request_v4(IDENTIFIER))[..36];
    assert_eq!(v4(&error_v4(11, 0, [0; 4], quoted)), report_of_echo(Problem::TimeExceeded, THERE.into(), None));
    let quoted = &request_v6(IDENTIFIER)[..48];
    let received = read_v6(&error_v6(3, 0, [0; 4], quoted)).unwrap();
    assert_eq!(received, report_of_echo(Problem::TimeExceeded, THERE6.into(), None));
    let short = &request_v4(IDENTIFIER)[..27];
    assert!(read_v4(&error_v4(11, 0, [0; 4], short)).is_err());
}

#[test]
fn a_quoted_syn_is_known_by_its_ports_and_its_number() {
    let probe = Quoted::Tcp { source_port: 61_001, destination_port: 443, sequence: 0xcafe_f00d };
    let problem = Problem::Prohibited;
    let quoted = &syn_v4(61_001)[..28];
    let expected = Received::Error(Report { problem, destination: THERE.into(), probe });
    assert_eq!(v4(&error_v4(3, 13, [0; 4], quoted)), expected);
    let expected = Received::Error(Report { problem, destination: THERE6.into(), probe });
    assert_eq!(read_v6(&error_v6(1, 1, [0; 4], &syn_v6(61_001))), Ok(expected));
}

#[test]
fn padding_and_extensions_behind_a_quote_are_no_cookie() {
    // The quote says of itself that it is 28 bytes long.
    let mut quoted = request_v4(IDENTIFIER)[..28].to_vec();
    quoted[2..4].copy_from_slice(&28_u16.to_be_bytes());
    quoted.resize(128, 0xee);
    assert_eq!(v4(&error_v4(11, 0, [0; 4], &quoted)), report_of_echo(Problem::TimeExceeded, THERE.into(), None));
    // The error says how much is quoted, in words.
    let mut quoted = request_v4(IDENTIFIER)[..28].to_vec();
    quoted.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 0]);
    assert_eq!(v4(&error_v4(11, 0, [0, 7, 0, 0], &quoted)), report_of_echo(Problem::TimeExceeded, THERE.into(), None));
    let mut quoted = request_v6(IDENTIFIER)[..48].to_vec();
    quoted.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 0]);
    let received = read_v6(&error_v6(3, 0, [6, 0, 0, 0], &quoted)).unwrap();
    assert_eq!(received, report_of_echo(Problem::TimeExceeded, THERE6.into(), None));
}

#[test]
fn extension_headers_of_a_quoted_packet_are_passed_over_up_to_a_limit() {
    let plain = request_v6(IDENTIFIER);
    let chain = |count: usize| {
        let mut packet = plain[..40].to_vec();
        packet[6] = 60;
        for at in 0..count {
            packet.extend([if at + 1 == count { 58 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend(&plain[40..]);
        let length = u16::try_from(packet.len() - 40).unwrap();
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet
    };
    let expected = report_of_echo(Problem::TimeExceeded, THERE6.into(), Some(COOKIE));
    assert_eq!(read_v6(&error_v6(3, 0, [0; 4], &chain(1))), Ok(expected));
    assert_eq!(read_v6(&error_v6(3, 0, [0; 4], &chain(7))), Ok(expected));
    assert!(read_v6(&error_v6(3, 0, [0; 4], &chain(8))).is_err());
}

#[test]
fn only_the_first_fragment_of_a_probe_can_be_told() {
    let plain = request_v6(IDENTIFIER);
    let fragment = |offset: u8| {
        let mut packet = plain[..40].to_vec();
        packet[6] = 44;
        packet.extend([58, 0, offset, 1, 0, 0, 0, 9]);
        packet.extend(&plain[40..]);
        error_v6(3, 1, [0; 4], &packet)
    };
    // The length is that of the packet without the fragment header: the last 8 bytes go, not the cookie.
    assert_eq!(read_v6(&fragment(0)), Ok(report_of_echo(Problem::TimeExceeded, THERE6.into(), Some(COOKIE))));
    assert!(read_v6(&fragment(1)).is_err());
}

#[test]
fn what_is_neither_a_reply_nor_about_a_probe_is_something_else() {
    assert_eq!(v4(&request_v4(IDENTIFIER)), Received::Other);
    assert_eq!(v4(&error_v4(5, 1, [0; 4], &request_v4(IDENTIFIER))), Received::Other);
    // An error about a reply of ours, and one about a datagram.
    assert_eq!(v4(&error_v4(3, 1, [0; 4], &reply_v4(IDENTIFIER))), Received::Other);
    let mut datagram = request_v4(IDENTIFIER);
    datagram[9] = 17;
    assert_eq!(v4(&error_v4(3, 3, [0; 4], &datagram)), Received::Other);
    assert_eq!(v4(&answer_v4(Flags::SynAck, 61_000, 1)), Received::Other);
    assert_eq!(read_v6(&request_v6(IDENTIFIER)[40..]), Ok(Received::Other));
}

#[test]
fn a_reply_without_room_for_the_cookie_is_an_error() {
    let mut buf = vec![0, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3];
    let mut sum = Checksum::default();
    sum.add(&buf);
    buf[2..4].copy_from_slice(&sum.field().to_be_bytes());
    let expected = Malformed::Truncated { what: "cookie", offset: 8, needed: 8, got: 11 };
    assert_eq!(read_v4_message(&buf), Err(expected));
}

#[test]
fn the_checksum_is_right_where_its_sum_overflows_and_for_odd_lengths() {
    for (bytes, field) in [
        (&[0xff, 0xff, 0xff, 0xff][..], 0_u16),
        (&[0xff, 0xff, 0, 1], 0xfffe),
        (&[0x12], 0xedff),
        (&[0x80, 0x00, 0x80, 0x00, 0x00, 0x05], 0xfff9),
        (&[], 0xffff),
    ] {
        let mut sum = Checksum::default();
        sum.add(bytes);
        assert_eq!(sum.field(), field, "{bytes:02x?}");
    }
    let mut sum = Checksum::default();
    sum.add(&vec![0xff; 65_535]);
    assert_eq!(sum.field(), 0x00ff);
}
