//! The question for the addresses of a name, and what an answer says (RFC 1035; RFC 3596 for IPv6).
//!
//! Bytes enter and leave, under the same rules as in reverse. A name may be an alias, also of an alias. Of an answer that
//! did not fit into its datagram, what fitted is used.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use super::message::{self, Code, Name, Reply, TYPE_A, TYPE_AAAA};
use crate::bytes::take;
use crate::error::Malformed;
use crate::names::host_name::HostName;

/// Most addresses that are taken from an answer.
pub const MAX_ADDRS: usize = 16;

/// Which addresses are asked for; a question is for one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 addresses, in records of type A.
    V4,
    /// IPv6 addresses, in records of type AAAA.
    V6,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name has addresses: at least one, each one once, in the order of the answer.
    Addrs {
        /// The addresses, [`MAX_ADDRS`] at most.
        addrs: Vec<IpAddr>,
        /// How long all of them hold, in seconds.
        ttl: u32,
    },
    /// The name is there, but has no address of the family.
    NoAddress,
    /// There is no such name, or it is an alias of one that is not there.
    NoSuchName,
    /// The server could not or would not tell; the code is 2 for a failure, 5 for a refusal.
    Failed(u8),
    /// There is an answer, but nothing of it fitted into a datagram.
    Cut,
    /// It is not an answer to what was asked.
    Unasked,
}

/// A question with this number for the addresses of a name.
pub fn query(id: u16, name: &HostName, family: Family) -> Vec<u8> {
    message::question(id, &wire(name), kind(family))
}

/// Reads what came back for the question with this number for the addresses of this name.
///
/// # Errors
/// It is cut off or has a field that cannot be.
pub fn answer(message: &[u8], id: u16, name: &HostName, family: Family) -> Result<Answer, Malformed> {
    let wanted = wire(name);
    let Some(reply) = Reply::read(message, id, &wanted, kind(family))? else { return Ok(Answer::Unasked) };
    match reply.code {
        Code::Fine => {}
        Code::NoSuchName => return Ok(Answer::NoSuchName),
        Code::Failed(code) => return Ok(Answer::Failed(code)),
    }
    let (mut addrs, mut least) = (Vec::new(), u32::MAX);
    reply.follow(wanted, |record| {
        let (addr, len) = match family {
            Family::V4 => (Ipv4Addr::from(take::<4>(message, record.data, "IPv4 address")?).into(), 4),
            Family::V6 => (Ipv6Addr::from(take::<16>(message, record.data, "IPv6 address")?).into(), 16),
        };
        if record.len != len {
            return Err(Malformed::Value { what: "record length", offset: record.data });
        }
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
        least = least.min(record.ttl);
        Ok(if addrs.len() < MAX_ADDRS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(match addrs.is_empty() {
        false => Answer::Addrs { addrs, ttl: least },
        true if reply.is_cut => Answer::Cut,
        true => Answer::NoAddress,
    })
}

fn kind(family: Family) -> u16 {
    match family {
        Family::V4 => TYPE_A,
        Family::V6 => TYPE_AAAA,
    }
}

fn wire(name: &HostName) -> Name {
    let mut wire = Name::default();
    name.labels().for_each(|label| wire.push(label.as_bytes()));
    wire
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    // What dnsmasq 2.90 answers for `--host-record=www.example.org,192.0.2.10,2001:db8::10` (and .11, ::11) with
    // `--cname=alias.example.org,middle.example.org --cname=middle.example.org,www.example.org --local-ttl=120`.
    const WWW_A: &[u8] = b"\x124\x85\x80\x00\x01\x00\x02\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x01\x00\x01\
        \xc0\x0c\x00\x01\x00\x01\x00\x00\x00x\x00\x04\xc0\x00\x02\n\xc0\x0c\x00\x01\x00\x01\x00\x00\x00x\x00\x04\xc0\x00\
        \x02\x0b";
    const WWW_AAAA: &[u8] = b"\x124\x85\x80\x00\x01\x00\x02\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x1c\x00\x01\
        \xc0\x0c\x00\x1c\x00\x01\x00\x00\x00x\x00\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\xc0\x0c\
        \x00\x1c\x00\x01\x00\x00\x00x\x00\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x11";
    const ALIAS_A: &[u8] = b"\x124\x85\x80\x00\x01\x00\x04\x00\x00\x00\x00\x05alias\x07example\x03org\x00\x00\x01\x00\x01\
        \xc0\x0c\x00\x05\x00\x01\x00\x00\x00x\x00\x14\x06middle\x07example\x03org\x00\xc0/\x00\x05\x00\x01\x00\x00\x00x\
        \x00\x11\x03www\x07example\x03org\x00\xc0O\x00\x01\x00\x01\x00\x00\x00x\x00\x04\xc0\x00\x02\x0b\xc0O\x00\x01\x00\
        \x01\x00\x00\x00x\x00\x04\xc0\x00\x02\n";
    const NO_NAME: &[u8] =
        b"\x124\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x04none\x07example\x03org\x00\x00\x01\x00\x01";
    const NO_AAAA: &[u8] =
        b"\x124\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x04four\x07example\x03org\x00\x00\x1c\x00\x01";
    const REFUSED: &[u8] = b"\x124\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x05other\x04test\x00\x00\x01\x00\x01";

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn read(message: &[u8], name: &str, family: Family) -> Result<Answer, Malformed> {
        answer(message, ID, &host(name), family)
    }

    fn addrs(all: &[&str], ttl: u32) -> Result<Answer, Malformed> {
        Ok(Answer::Addrs { addrs: all.iter().map(|addr| addr.parse().unwrap()).collect(), ttl })
    }

    #[test]
    fn the_question_is_the_name_without_its_final_dot() {
        let asked = query(0xbeef, &host("www.example.org."), Family::V6);
        assert_eq!(asked, b"\xbe\xef\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x1c\0\x01");
        assert_eq!(query(ID, &host("four.example.org"), Family::V6)[12..], NO_AAAA[12..]);
        assert_eq!(query(ID, &host("none.example.org"), Family::V4)[12..], NO_NAME[12..]);
    }

    #[test]
    fn real_answers_of_dnsmasq_give_their_addresses_in_order() {
        assert_eq!(read(WWW_A, "www.example.org", Family::V4), addrs(&["192.0.2.10", "192.0.2.11"], 120));
        assert_eq!(read(WWW_A, "WWW.Example.org.", Family::V4), addrs(&["192.0.2.10", "192.0.2.11"], 120));
        assert_eq!(read(WWW_AAAA, "www.example.org", Family::V6), addrs(&["2001:db8::10", "2001:db8::11"], 120));
        assert_eq!(read(ALIAS_A, "alias.example.org", Family::V4), addrs(&["192.0.2.11", "192.0.2.10"], 120));
        assert_eq!(read(NO_NAME, "none.example.org", Family::V4), Ok(Answer::NoSuchName));
        assert_eq!(read(NO_AAAA, "four.example.org", Family::V6), Ok(Answer::NoAddress));
        assert_eq!(read(REFUSED, "x.other.test", Family::V4), Ok(Answer::Failed(5)));
        let mut failed = REFUSED.to_vec();
        failed[3] = 0x82;
        assert_eq!(read(&failed, "x.other.test", Family::V4), Ok(Answer::Failed(2)));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        assert_eq!(read(WWW_A, "www.example.org", Family::V6), Ok(Answer::Unasked));
        assert_eq!(read(WWW_A, "www.example.net", Family::V4), Ok(Answer::Unasked));
        assert_eq!(answer(WWW_A, !ID, &host("www.example.org"), Family::V4), Ok(Answer::Unasked));
        let question = query(ID, &host("www.example.org"), Family::V4);
        assert_eq!(read(&question, "www.example.org", Family::V4), Ok(Answer::Unasked));
    }

    #[test]
    fn the_shortest_time_on_the_way_to_the_addresses_counts() {
        let with_ttl = |at: usize, ttl: [u8; 4]| {
            let mut message = ALIAS_A.to_vec();
            message[at..at + 4].copy_from_slice(&ttl);
            read(&message, "alias.example.org", Family::V4)
        };
        // The first record begins at 35, the second at 67, the last one at 112.
        assert_eq!(ALIAS_A[35..39], [0xc0, 12, 0, 5]);
        assert_eq!(with_ttl(41, [0, 0, 0, 7]), addrs(&["192.0.2.11", "192.0.2.10"], 7));
        assert_eq!(with_ttl(41, [0, 0, 1, 0]), addrs(&["192.0.2.11", "192.0.2.10"], 120));
        assert_eq!(with_ttl(73, [0, 0, 0, 8]), addrs(&["192.0.2.11", "192.0.2.10"], 8));
        assert_eq!(with_ttl(118, [0, 0, 0, 9]), addrs(&["192.0.2.11", "192.0.2.10"], 9));
        assert_eq!(with_ttl(118, [0xff; 4]), addrs(&["192.0.2.11", "192.0.2.10"], 0));
    }

    #[test]
    fn of_an_answer_that_was_cut_what_fits_is_used() {
        let mut message = WWW_A.to_vec();
        message.truncate(WWW_A.len() - 1);
        assert!(read(&message, "www.example.org", Family::V4).is_err());
        message[2] |= 2;
        assert_eq!(read(&message, "www.example.org", Family::V4), addrs(&["192.0.2.10"], 120));
        message.truncate(WWW_A.len() - 17);
        assert_eq!(read(&message, "www.example.org", Family::V4), Ok(Answer::Cut));
    }

    #[test]
    fn an_address_of_a_wrong_length_is_refused() {
        let mut message = WWW_A.to_vec();
        // The length of the first record: its data now ends within the next one.
        message[44] = 5;
        assert_eq!(message[43..45], [0, 5]);
        let error = read(&message, "www.example.org", Family::V4).unwrap_err();
        assert_eq!(error, Malformed::Value { what: "record length", offset: 45 });
    }

    #[test]
    fn a_circle_of_aliases_ends_and_a_flood_of_addresses_is_bounded() {
        let mut circle = query(ID, &host("a.b"), Family::V4);
        (circle[2], circle[3], circle[7]) = (0x81, 0x80, 1);
        circle.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x0c");
        assert_eq!(read(&circle, "a.b", Family::V4), Ok(Answer::NoAddress));
        let mut flood = query(ID, &host("a.b"), Family::V4);
        (flood[2], flood[3], flood[7]) = (0x81, 0x80, 60);
        for n in 0..60 {
            flood.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, n / 2]);
        }
        let Ok(Answer::Addrs { addrs, .. }) = read(&flood, "a.b", Family::V4) else { panic!("no addresses") };
        assert_eq!(addrs.len(), MAX_ADDRS);
        assert_eq!(addrs[15], IpAddr::from([10, 0, 0, 15]));
    }

    #[test]
    fn a_message_cut_off_anywhere_is_refused_or_not_ours() {
        for end in 0..ALIAS_A.len() {
            let answer = read(&ALIAS_A[..end], "alias.example.org", Family::V4);
            assert!(matches!(answer, Err(_) | Ok(Answer::Unasked)), "{end}");
        }
    }
}
