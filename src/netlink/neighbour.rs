//! rtnetlink's neighbour table: which hardware address an IP address has, and how sure the kernel is of it (rtnetlink(7),
//! linux/neighbour.h).

use std::net::IpAddr;
use std::time::Duration;

use super::build::Datagram;
use super::route::ip;
use super::{Message, known, tail};
use crate::bytes::{ne16, ne32, take};
use crate::error::Malformed;

/// Multicast group that tells of changes in the neighbour table.
pub const GROUPS: u32 = libc::RTMGRP_NEIGH as u32;

/// `struct ndmsg`: family 1, pad 3, ifindex 4, state 2, flags 1, type 1.
const NDMSG_BYTES: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
/// `ndm_cacheinfo` counts in USER_HZ, which is 100 on every architecture Linux has users on.
const TICK: Duration = Duration::from_millis(10);

/// How sure the kernel is that a neighbour is there (`NUD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No state: the entry is new or only holds a place.
    None,
    /// It is being asked for and has never answered.
    Incomplete,
    /// It was confirmed a moment ago.
    Reachable,
    /// It was confirmed once; nothing was sent to it since.
    Stale,
    /// Something was sent to it; if nothing confirms it soon, it will be asked for.
    Delay,
    /// It is being asked for again.
    Probe,
    /// It did not answer.
    Failed,
    /// It needs no asking, as on a point-to-point link.
    NoArp,
    /// It was set by hand and never expires.
    Permanent,
}

impl State {
    /// From `ndm_state`. The kernel sets one bit; of several, the most telling counts.
    fn of(bits: u16) -> State {
        const BITS: [(u16, State); 8] = [
            (0x02, State::Reachable),
            (0x08, State::Delay),
            (0x10, State::Probe),
            (0x04, State::Stale),
            (0x80, State::Permanent),
            (0x40, State::NoArp),
            (0x20, State::Failed),
            (0x01, State::Incomplete),
        ];
        BITS.iter().find(|(bit, _)| bits & bit != 0).map_or(State::None, |(_, state)| *state)
    }
}

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface it is behind.
    pub ifindex: u32,
    /// Its address.
    pub addr: IpAddr,
    /// Its hardware address, once it is known and if it is Ethernet's.
    pub mac: Option<[u8; 6]>,
    /// How sure the kernel is of it.
    pub state: State,
    /// How long ago it was confirmed for the last time.
    pub confirmed: Option<Duration>,
}

/// Something the neighbour table has, gained or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An entry that is new, changed or listed.
    Neighbour(Neighbour),
    /// An entry that is gone.
    Gone {
        /// The interface it was behind.
        ifindex: u32,
        /// Its address.
        addr: IpAddr,
    },
}

/// A request for the whole table, of all families and interfaces.
pub fn list(sequence: u32) -> Vec<u8> {
    let mut datagram = Datagram::new();
    datagram.message(libc::RTM_GETNEIGH, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, sequence, &[0; NDMSG_BYTES]);
    datagram.finish()
}

/// Decodes one message; nothing for a message of another subject or of a family that has no IP addresses.
pub fn decode(message: &Message<'_>) -> Result<Option<Event>, Malformed> {
    if !matches!(message.kind, libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH) {
        return Ok(None);
    }
    let body = message.body;
    let [family] = take(body, 0, "neighbour family")?;
    let ifindex = ne32(body, 4, "neighbour interface")?;
    let state = State::of(ne16(body, 8, "neighbour state")?);
    let (mut addr, mut mac, mut confirmed) = (None, None, None);
    for attribute in known(tail(body, NDMSG_BYTES, "neighbour attributes")?) {
        match attribute.kind {
            NDA_DST => addr = ip(family, attribute.value)?,
            NDA_LLADDR => mac = attribute.value.try_into().ok(),
            NDA_CACHEINFO => confirmed = Some(TICK.saturating_mul(ne32(attribute.value, 0, "NDA_CACHEINFO")?)),
            _ => {}
        }
    }
    let Some(addr) = addr else { return Ok(None) };
    Ok(Some(match message.kind {
        libc::RTM_NEWNEIGH => Event::Neighbour(Neighbour { ifindex, addr, mac, state, confirmed }),
        _ => Event::Gone { ifindex, addr },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry as `ip neigh` showed it: `192.168.1.11 dev br-lan lladdr 02:1a:00:00:01:01 STALE`, 12.34 s after its
    /// last confirmation.
    fn message(state: u16) -> Datagram {
        let mut fixed = vec![libc::AF_INET as u8, 0, 0, 0];
        fixed.extend(3u32.to_ne_bytes());
        fixed.extend(state.to_ne_bytes());
        fixed.extend([0, 1]);
        let mut ages = 1234u32.to_ne_bytes().to_vec();
        ages.extend([0; 12]);
        let mut datagram = Datagram::new();
        datagram
            .message(libc::RTM_NEWNEIGH, 2, 1, &fixed)
            .attribute(NDA_DST, &[192, 168, 1, 11])
            .attribute(NDA_LLADDR, &[2, 0x1a, 0, 0, 1, 1])
            .attribute(4, &[0; 4])
            .attribute(NDA_CACHEINFO, &ages);
        datagram
    }

    fn decoded(bytes: &[u8]) -> Result<Option<Event>, Malformed> {
        decode(&super::super::messages(bytes).next().unwrap().unwrap())
    }

    #[test]
    fn an_entry_tells_address_hardware_state_and_age() {
        let want = Neighbour {
            ifindex: 3,
            addr: [192, 168, 1, 11].into(),
            mac: Some([2, 0x1a, 0, 0, 1, 1]),
            state: State::Stale,
            confirmed: Some(Duration::from_millis(12340)),
        };
        assert_eq!(decoded(&message(4).finish()), Ok(Some(Event::Neighbour(want))));
    }

    #[test]
    fn each_state_has_its_name() {
        let states: Vec<_> = [0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80]
            .iter()
            .map(|bits| match decoded(&message(*bits).finish()) {
                Ok(Some(Event::Neighbour(neighbour))) => neighbour.state,
                other => panic!("{other:?}"),
            })
            .collect();
        let want = [
            State::None,
            State::Incomplete,
            State::Reachable,
            State::Stale,
            State::Delay,
            State::Probe,
            State::Failed,
            State::NoArp,
            State::Permanent,
        ];
        assert_eq!(states, want);
    }

    #[test]
    fn an_entry_of_a_bridge_or_without_an_address_is_none_of_ours() {
        let mut bytes = message(4).finish();
        bytes[16] = libc::AF_BRIDGE as u8;
        assert_eq!(decoded(&bytes), Ok(None));
        let mut datagram = Datagram::new();
        datagram.message(libc::RTM_NEWNEIGH, 2, 1, &[libc::AF_INET as u8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1]);
        assert_eq!(decoded(&datagram.finish()), Ok(None));
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_or_a_value_never_a_panic() {
        let bytes = message(2).finish();
        for end in 16..bytes.len() {
            let message = Message { kind: libc::RTM_NEWNEIGH, flags: 0, sequence: 1, body: &bytes[16..end] };
            let _ = decode(&message);
        }
    }
}
