use super::*;
use crate::collectors::probe::packets::*;

const PORTS: RangeInclusive<u16> = 61_000..=65_500;

/// Runs a program over a packet as the kernel does: how many bytes of it pass. A program that could not be loaded
/// (net/core/filter.c, bpf_check_classic) fails the test.
fn run(program: &[libc::sock_filter], packet: &[u8]) -> u32 {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [None; 16]);
    let mut at = 0;
    loop {
        let libc::sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let code = u32::from(code);
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        let load = |from: u32, bytes: usize| {
            let from = from as usize;
            let bytes = packet.get(from..from + bytes)?;
            Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
        };
        let loaded = match code {
            _ if code == BYTE | ABS => load(k, 1),
            _ if code == HALF | ABS => load(k, 2),
            _ if code == BYTE | IND => load(x + k, 1),
            _ if code == HALF | IND => load(x + k, 2),
            _ if code == KEPT => Some(memory[k as usize].expect("kept before it is brought back")),
            _ if code == AND => Some(a & k),
            _ if code == SHIFT_LEFT => Some(a << k),
            _ if code == ADD_X => Some(a + x),
            _ => Some(a),
        };
        // The kernel ends a program that loads from behind the end.
        let Some(loaded) = loaded else { return 0 };
        match code {
            RETURN => return k,
            HEADER_LENGTH => match load(k, 1) {
                Some(byte) => x = 4 * (byte & 0xf),
                None => return 0,
            },
            NUMBER_TO_X => x = k,
            TO_X => x = a,
            KEEP => memory[k as usize] = Some(a),
            EQUAL => jump(a == k),
            AT_LEAST => jump(a >= k),
            ABOVE => jump(a > k),
            ANY_BIT => jump(a & k != 0),
            _ => {
                let known = [BYTE | ABS, HALF | ABS, BYTE | IND, HALF | IND, KEPT, AND, SHIFT_LEFT, ADD_X];
                assert!(known.contains(&code), "instruction {code:#x}");
                a = loaded;
            }
        }
    }
}

fn passes_v4(packet: &[u8]) -> bool {
    run(&icmp_v4(IDENTIFIER, &PORTS), packet) == u32::MAX
}

fn passes_v6(message: &[u8]) -> bool {
    run(&icmp_v6(IDENTIFIER, &PORTS), message) == u32::MAX
}

#[test]
fn replies_to_us_pass_and_replies_to_others_do_not() {
    assert!(passes_v4(&reply_v4(IDENTIFIER)));
    assert!(passes_v4(&with_options(&reply_v4(IDENTIFIER))));
    assert!(!passes_v4(&reply_v4(IDENTIFIER + 1)));
    assert!(!passes_v4(&request_v4(IDENTIFIER)));
    assert!(passes_v6(&reply_v6(IDENTIFIER)));
    assert!(!passes_v6(&reply_v6(IDENTIFIER + 1)));
    assert!(!passes_v6(&request_v6(IDENTIFIER)[40..]));
}

#[test]
fn errors_about_our_requests_pass() {
    for kind in [3, 11, 12] {
        for quoted in [request_v4(IDENTIFIER), request_v4(IDENTIFIER)[..28].to_vec()] {
            let packet = error_v4(kind, 1, [0; 4], &quoted);
            assert!(passes_v4(&packet) && passes_v4(&with_options(&packet)), "type {kind}");
        }
        let quoted = with_options(&request_v4(IDENTIFIER));
        assert!(passes_v4(&with_options(&error_v4(kind, 1, [0; 4], &quoted))));
    }
    for kind in 1..=4 {
        for quoted in [request_v6(IDENTIFIER), request_v6(IDENTIFIER)[..48].to_vec()] {
            // The quoted identifier stands at byte 4 behind its header.
            let mut quoted = quoted;
            quoted.resize(quoted.len().max(54), 0);
            assert!(passes_v6(&error_v6(kind, 0, [0; 4], &quoted)), "type {kind}");
        }
    }
}

#[test]
fn errors_about_our_segments_pass() {
    for port in [61_000, 63_000, 65_500] {
        assert!(passes_v4(&error_v4(3, 13, [0; 4], &syn_v4(port)[..28])));
        assert!(passes_v4(&error_v4(3, 13, [0; 4], &with_options(&syn_v4(port)))));
        assert!(passes_v6(&error_v6(1, 1, [0; 4], &syn_v6(port))));
    }
}

#[test]
fn errors_about_what_others_sent_do_not_pass() {
    for kind in [3, 11, 12] {
        assert!(!passes_v4(&error_v4(kind, 0, [0; 4], &request_v4(IDENTIFIER + 1))));
        assert!(!passes_v4(&error_v4(kind, 0, [0; 4], &reply_v4(IDENTIFIER))));
        let mut fragment = request_v4(IDENTIFIER);
        fragment[7] = 1;
        assert!(!passes_v4(&error_v4(kind, 0, [0; 4], &fragment)));
        let mut datagram = request_v4(IDENTIFIER);
        datagram[9] = 17;
        assert!(!passes_v4(&error_v4(kind, 0, [0; 4], &datagram)));
    }
    for kind in 1..=4 {
        assert!(!passes_v6(&error_v6(kind, 0, [0; 4], &request_v6(IDENTIFIER + 1))));
        let mut datagram = request_v6(IDENTIFIER);
        datagram[6] = 17;
        assert!(!passes_v6(&error_v6(kind, 0, [0; 4], &datagram)));
    }
    for port in [60_999, 65_501, 443] {
        assert!(!passes_v4(&error_v4(3, 1, [0; 4], &syn_v4(port))));
        assert!(!passes_v6(&error_v6(1, 0, [0; 4], &syn_v6(port))));
    }
}

#[test]
fn other_messages_do_not_pass() {
    for kind in (0..=255).filter(|kind| ![0, 3, 11, 12].contains(kind)) {
        assert!(!passes_v4(&error_v4(kind, 0, [0; 4], &request_v4(IDENTIFIER))), "type {kind}");
    }
    for kind in (0..=255).filter(|kind| ![1, 2, 3, 4, 129].contains(kind)) {
        assert!(!passes_v6(&error_v6(kind, 0, [0; 4], &request_v6(IDENTIFIER))), "type {kind}");
    }
}

#[test]
fn a_quote_with_extension_headers_passes_to_be_read() {
    for next in [0, 43, 44, 60] {
        let mut quoted = request_v6(IDENTIFIER);
        quoted[6] = next;
        assert!(passes_v6(&error_v6(3, 0, [0; 4], &quoted)));
    }
}

#[test]
fn what_opens_or_refuses_passes_for_our_ports_only() {
    let (v4, v6) = (tcp_v4(&PORTS), tcp_v6(&PORTS));
    for (port, flags, expected) in [
        (61_000, Flags::SynAck, u32::MAX),
        (65_500, Flags::SynAck, u32::MAX),
        (63_000, Flags::RstAck, u32::MAX),
        (63_000, Flags::Ack, 0),
        (60_999, Flags::SynAck, 0),
        (65_501, Flags::RstAck, 0),
        (443, Flags::SynAck, 0),
    ] {
        assert_eq!(run(&v4, &answer_v4(flags, port, 1)), expected, "{port}");
        assert_eq!(run(&v4, &with_options(&answer_v4(flags, port, 1))), expected);
        assert_eq!(run(&v6, &answer_v6(flags, port, 1)), expected, "{port}");
    }
    assert_eq!(run(&v4, &syn_v4(63_000)), 0);
}

#[test]
fn a_packet_that_is_cut_off_is_dropped_and_nothing_else_happens() {
    let reply = reply_v4(IDENTIFIER);
    let error = error_v4(11, 0, [0; 4], &request_v4(IDENTIFIER));
    for end in 0..26 {
        assert!(!passes_v4(&reply[..end]), "{end}");
    }
    for end in 0..54 {
        assert!(!passes_v4(&error[..end]), "{end}");
    }
    let answer = answer_v4(Flags::SynAck, 61_000, 1);
    for end in 0..34 {
        assert_eq!(run(&tcp_v4(&PORTS), &answer[..end]), 0, "{end}");
    }
}
