//! The TCP ports that SYNs come from. They are held by sockets that do nothing else, so that no connection of this machine
//! can come from one of them; the kernel, which knows of no connection there, resets what answers.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use super::random::Random;
use crate::error::{Error, Result};
use crate::sys::tcp;

/// How many there are. Probes of a target take them in turn: a peer that has not seen the end of one connection takes the
/// SYN of the next for a part of it, and a router keeps each in mind for a while.
const COUNT: u16 = 16;
/// Above what systems give to connections of their own (ip_local_port_range), and what Linux gives by default.
const LOWEST: u16 = 61_000;
const HIGHEST: u16 = 65_500;
/// How many places are tried.
const TRIES: u32 = 64;

/// See the module.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _held: Vec<OwnedFd>,
}

impl Ports {
    /// Holds ports side by side, somewhere random.
    ///
    /// # Errors
    /// Everywhere something is in the way.
    pub fn hold(random: &mut Random) -> Result<Ports> {
        let mut last = None;
        for _ in 0..TRIES {
            let first = LOWEST + (random.next() % u64::from(HIGHEST - LOWEST - COUNT)) as u16;
            match hold(first) {
                Ok(held) => return Ok(Ports { first, _held: held }),
                Err(error) => last = Some(error),
            }
        }
        let why = last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
        Err(Error::io(format!("hold {COUNT} TCP ports between {LOWEST} and {HIGHEST}"), why)
            .remedy("other programs must leave some of these ports free"))
    }

    /// All of them.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.first..=self.first + (COUNT - 1)
    }

    /// The one for the probe of this sequence.
    pub fn of(&self, sequence: u16) -> u16 {
        self.first + sequence % COUNT
    }
}

fn hold(first: u16) -> io::Result<Vec<OwnedFd>> {
    (first..first + COUNT).map(tcp::reserve).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn nobody_else_gets_a_port_that_is_held_and_probes_take_them_in_turn() {
        let ports = Ports::hold(&mut Random::new()).unwrap();
        assert_eq!(ports.range().count(), usize::from(COUNT));
        assert!(*ports.range().start() >= LOWEST && *ports.range().end() <= HIGHEST);
        for sequence in [0, 15, 16, u16::MAX] {
            let port = ports.of(sequence);
            assert!(ports.range().contains(&port));
            let error = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{port}");
        }
        assert_ne!(ports.of(0), ports.of(15));
        assert_eq!(ports.of(0), ports.of(16));
    }
}
