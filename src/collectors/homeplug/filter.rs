//! The classic BPF program that keeps from our packet sockets what is no answer of an adapter to us (linux/filter.h).
//!
//! The kernel runs it on each frame of the interface, from the Ethernet header on; a load behind the end drops the frame.

#![deny(clippy::indexing_slicing)]

use super::codec::{ERROR, HOMEPLUG, MEDIAXTREAM};
use crate::classic_bpf::{jump, step};

const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// What the kernel tells of a frame besides its bytes, at offsets of its own.
const fn aside(offset: libc::c_int) -> u32 {
    (libc::SKF_AD_OFF + offset).cast_unsigned()
}

/// Where the program ends.
const PASS: u8 = 12;
const DROP: u8 = 13;

/// Lets confirmations and CM_MME_ERROR pass that are sent to the address of the interface, and do not come by a VLAN on it.
pub static ANSWERS: [libc::sock_filter; 14] = [
    step(HALF, 12),
    jump(1, EQUAL, HOMEPLUG as u32, 3, 2),
    jump(2, EQUAL, MEDIAXTREAM as u32, 3, DROP),
    step(WORD, aside(libc::SKF_AD_PKTTYPE)),
    jump(4, EQUAL, libc::PACKET_HOST as u32, 5, DROP),
    step(WORD, aside(libc::SKF_AD_VLAN_TAG_PRESENT)),
    jump(6, EQUAL, 0, 7, DROP),
    // The type is little-endian; its two lowest bits tell requests (0) from confirmations (1).
    step(HALF, 15),
    jump(8, EQUAL, ERROR.swap_bytes() as u32, PASS, 9),
    step(BYTE, 15),
    step(AND, 3),
    jump(11, EQUAL, 1, PASS, DROP),
    step(RETURN, u32::MAX),
    step(RETURN, 0),
];

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests {
    use super::*;

    /// What the kernel tells of a frame besides its bytes.
    struct Aside {
        kind: u32,
        tagged: u32,
    }

    const TO_US: Aside = Aside { kind: 0, tagged: 0 };

    /// Runs the program as the kernel does.
    fn passes(frame: &[u8], aside: &Aside) -> bool {
        let (mut at, mut a) = (0, 0u32);
        loop {
            let libc::sock_filter { code, jt, jf, k } = ANSWERS[at];
            at += 1;
            let load = |length: usize| -> Option<u32> {
                let bytes = frame.get(k as usize..k as usize + length)?;
                Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
            };
            match u32::from(code) {
                WORD if k == super::aside(libc::SKF_AD_PKTTYPE) => a = aside.kind,
                WORD if k == super::aside(libc::SKF_AD_VLAN_TAG_PRESENT) => a = aside.tagged,
                HALF | BYTE => match load(if u32::from(code) == HALF { 2 } else { 1 }) {
                    Some(value) => a = value,
                    None => return false,
                },
                AND => a &= k,
                EQUAL => at += usize::from(if a == k { jt } else { jf }),
                RETURN => return k != 0,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn frame(ethertype: u16, message: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &ethertype.to_be_bytes(), message].concat()
    }

    #[test]
    fn answers_pass_whoever_s_they_are() {
        for (ethertype, message) in [
            (HOMEPLUG, &[0, 0x39, 0xa0, 0, 0xb0, 0x52][..]),
            (HOMEPLUG, &[1, 0x39, 0xa0]),
            (HOMEPLUG, &[1, 0x15, 0x00]),
            (HOMEPLUG, &[1, 0x46, 0x60]),
            (MEDIAXTREAM, &[2, 0x2d, 0xa0]),
        ] {
            assert!(passes(&frame(ethertype, message), &TO_US), "{message:02x?}");
        }
    }

    #[test]
    fn all_else_is_dropped_before_it_takes_room() {
        let answer = frame(HOMEPLUG, &[0, 0x39, 0xa0]);
        for kind in 1..5 {
            assert!(!passes(&answer, &Aside { kind, tagged: 0 }), "broadcast, multicast, another's, our own");
        }
        assert!(!passes(&answer, &Aside { kind: 0, tagged: 1 }));
        for (ethertype, message) in [
            (HOMEPLUG, &[0, 0x38, 0xa0][..]),
            (HOMEPLUG, &[0, 0x3a, 0xa0]),
            (HOMEPLUG, &[0, 0x39]),
            (HOMEPLUG, &[]),
            (MEDIAXTREAM, &[2, 0x46, 0x61]),
            (0x0800, &[0, 0x39, 0xa0]),
            (0x887b, &[0, 0x39, 0xa0]),
        ] {
            assert!(!passes(&frame(ethertype, message), &TO_US), "{message:02x?}");
        }
        assert!(!passes(&[], &TO_US));
    }
}
