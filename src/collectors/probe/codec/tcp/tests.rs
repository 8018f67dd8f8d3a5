use etherparse::{TcpOptionElement, TcpSlice};

use super::*;
use crate::collectors::probe::packets::*;

const PORT: u16 = 61_234;
const NUMBER: u32 = 0xffff_ffff;

fn ends_v4() -> Ends {
    Ends::V4(SocketAddrV4::new(HERE, PORT), SocketAddrV4::new(THERE, 443))
}

fn ends_v6() -> Ends {
    Ends::V6(SocketAddrV6::new(HERE6, PORT, 0, 0), SocketAddrV6::new(THERE6, 443, 0, 0))
}

fn answer(is_refusal: bool) -> Answer {
    Answer { source_port: 443, destination_port: PORT, sequence: NUMBER, is_refusal }
}

#[test]
fn a_witness_reads_the_syn_and_agrees_with_its_checksum() {
    let mut buf = vec![0xa5; 99];
    for (ends, mss) in [(ends_v4(), 1460), (ends_v6(), 1440)] {
        write_syn(&mut buf, &ends, 0xcafe_f00d);
        let slice = TcpSlice::from_slice(&buf).unwrap();
        assert_eq!((slice.source_port(), slice.destination_port()), (PORT, 443));
        assert_eq!((slice.sequence_number(), slice.acknowledgment_number()), (0xcafe_f00d, 0));
        assert!(slice.syn() && !slice.ack() && !slice.rst() && !slice.fin() && !slice.ece() && !slice.cwr());
        assert_eq!((slice.window_size(), slice.urgent_pointer(), slice.payload().len()), (65_535, 0, 0));
        let options: Vec<_> = slice.options_iterator().map(Result::unwrap).collect();
        assert_eq!(options, [TcpOptionElement::MaximumSegmentSize(mss)]);
        let checksum = match ends {
            Ends::V4(..) => slice.calc_checksum_ipv4(HERE.octets(), THERE.octets()).unwrap(),
            Ends::V6(..) => slice.calc_checksum_ipv6(HERE6.octets(), THERE6.octets()).unwrap(),
        };
        assert_eq!(slice.checksum(), checksum);
    }
}

#[test]
fn an_open_port_acknowledges_and_a_closed_one_refuses() {
    // The number after the largest is 0.
    let packet = answer_v4(Flags::SynAck, PORT, 0);
    let (outer, found) = read_v4(&packet).unwrap();
    assert_eq!((outer.source, outer.ttl), (THERE, 57));
    assert_eq!(found, Some(answer(false)));
    assert_eq!(read_v4(&answer_v4(Flags::RstAck, PORT, 0)).unwrap().1, Some(answer(true)));
    assert_eq!(read_v6(&answer_v6(Flags::SynAck, PORT, 0)), Ok(Some(answer(false))));
    assert_eq!(read_v6(&answer_v6(Flags::RstAck, PORT, 0)), Ok(Some(answer(true))));
}

#[test]
fn what_does_not_answer_a_syn_is_no_answer() {
    for flags in [Flags::Ack, Flags::Rst] {
        assert_eq!(read_v4(&answer_v4(flags, PORT, 0)).unwrap().1, None);
        assert_eq!(read_v6(&answer_v6(flags, PORT, 0)), Ok(None));
    }
    let mut syn = Vec::new();
    write_syn(&mut syn, &ends_v6(), 1);
    assert_eq!(read_v6(&syn), Ok(None));
    assert_eq!(read_v4(&reply_v4(IDENTIFIER)).unwrap().1, None);
}

#[test]
fn options_of_ip_and_tcp_are_passed_over() {
    let packet = with_options(&answer_v4(Flags::SynAck, PORT, 0));
    assert_eq!(read_v4(&packet).unwrap().1, Some(answer(false)));
}

#[test]
fn a_corrupt_answer_is_an_error() {
    let good = answer_v4(Flags::SynAck, PORT, 0);
    for at in 20..good.len() {
        let mut packet = good.clone();
        packet[at] ^= 0x10;
        assert_eq!(read_v4(&packet), Err(Malformed::Value { what: "TCP checksum", offset: 36 }), "byte {at}");
    }
}

#[test]
fn a_checksum_that_was_left_to_the_card_is_accepted() {
    // As a veth pair delivers it, where no card does it.
    let mut packet = answer_v4(Flags::SynAck, PORT, 0);
    let length = packet.len() - 20;
    let pseudo = Checksum::pseudo(&THERE.into(), &HERE.into(), ip::TCP, length);
    packet[36..38].copy_from_slice(&pseudo.unfinished().to_be_bytes());
    assert_eq!(read_v4(&packet).unwrap().1, Some(answer(false)));
    packet[20] ^= 1;
    assert_eq!(read_v4(&packet).unwrap().1.map(|answer| answer.source_port), Some(443 ^ 0x100));
}

#[test]
fn a_segment_that_is_cut_off_is_an_error_at_every_length() {
    let packet = answer_v4(Flags::SynAck, PORT, 0);
    for end in 0..packet.len() {
        assert!(read_v4(&packet[..end]).is_err(), "{end} bytes");
    }
    let segment = answer_v6(Flags::SynAck, PORT, 0);
    for end in 0..segment.len() {
        assert!(read_v6(&segment[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_header_that_says_it_is_shorter_than_it_can_be_is_refused() {
    let mut segment = answer_v6(Flags::SynAck, PORT, 0);
    segment[12] = 0x40;
    assert_eq!(read_v6(&segment), Err(Malformed::Value { what: "TCP data offset", offset: 12 }));
}
