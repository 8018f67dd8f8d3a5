//! The kernel programs: makes the maps of the embedded object, or finds them where they are pinned, and loads the
//! programs that use them.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::OnceLock;

use super::bpf_error;
use super::codec::layout::*;
use super::object::Object;
use super::pins::Pins;
use crate::error::{Error, Result};
use crate::packed;
use crate::sys::bpf::{self, Map};

/// The kernel program of this machine's byte order, compressed to a fifth; where it comes from is decided by build.rs.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gatemeter.o.deflate"));

/// The kernel program, which stays in memory once somebody needs it.
fn object() -> &'static [u8] {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    OBJECT.get_or_init(|| packed::unpack(PACKED, env!("GATEMETER_BPF_LENGTH")))
}

/// The object, and its maps in the kernel.
#[derive(Debug)]
pub struct Programs {
    object: Object<'static>,
    /// In the order of the object's.
    maps: Vec<OwnedFd>,
}

impl Programs {
    /// Makes the maps, with room for `max_hosts` in the host tables; those that outlive the process are taken from
    /// their pins if they are there, and pinned if not.
    pub fn new(max_hosts: u32, pins: Option<&Pins>) -> Result<Programs> {
        let object = Object::parse(object()).map_err(|error| Error::codec("read the kernel program", error))?;
        let mut maps = Vec::with_capacity(object.maps.len());
        for map in &object.maps {
            let entries = if matches!(map.name, HOSTS4_NAME | HOSTS6_NAME) { max_hosts } else { map.max_entries };
            let pin = pins.filter(|_| map.name != CONFIG_NAME).map(|pins| pins.map(map.name));
            if let Some(pin) = &pin {
                match bpf::open_pin(pin) {
                    Ok(fd) => {
                        maps.push(fd);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io(format!("open {}", pin.display()), error)),
                }
            }
            let fd = bpf::create_map(map.name, map.kind, [map.key_size, map.value_size, entries], map.flags)
                .map_err(|error| bpf_error::with_remedy(Error::io(format!("make the table {}", map.name), error)))?;
            if let Some(pin) = &pin {
                bpf::pin(fd.as_fd(), pin).map_err(|error| Error::io(format!("pin {}", pin.display()), error))?;
            }
            maps.push(fd);
        }
        Ok(Programs { object, maps })
    }

    /// One of the maps, on a machine with so many possible CPUs.
    pub fn map(&self, name: &str, cpus: usize) -> Result<Map> {
        let tried = || format!("open the map {name}");
        let found = self.object.maps.iter().zip(&self.maps).find(|(map, _)| map.name == name);
        let (_, fd) = found.ok_or_else(|| Error::failed(tried(), "the kernel program does not have it"))?;
        fd.try_clone().and_then(|fd| Map::new(fd, cpus)).map_err(|error| Error::io(tried(), error))
    }

    /// Loads a program.
    pub fn load(&self, name: &str, tried: &str) -> Result<OwnedFd> {
        let fds: Vec<i32> = self.maps.iter().map(|fd| fd.as_raw_fd()).collect();
        let code = self.object.instructions(name, &fds);
        let code = code.ok_or_else(|| Error::failed(tried, format!("the object does not hold {name}")))?;
        let load = |log: &mut [u8]| bpf::load_classifier(name, self.object.license, &code, log);
        load_or_explain(load).map_err(|(error, log)| bpf_error::verifier(tried, &error, &log))
    }
}

/// How many values a per-CPU map has for a key.
pub fn possible_cpus() -> Result<usize> {
    bpf::possible_cpus().map_err(|error| Error::io("count the CPUs in /sys/devices/system/cpu/possible", error))
}

/// Loads without a log, which the verifier would take its time to write, and only for a program that is refused once
/// more with one.
fn load_or_explain(load: impl Fn(&mut [u8]) -> io::Result<OwnedFd>) -> Result<OwnedFd, (io::Error, String)> {
    let refused = match patiently(|| load(&mut [])) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Before Linux 6.4 a log that is too short holds the beginning, and what was refused stands at the end.
    const ROOM: [usize; 3] = [16 << 10, 256 << 10, 4 << 20];
    let mut log = Vec::new();
    for room in ROOM {
        log = vec![0; room];
        match patiently(|| load(&mut log)) {
            Ok(fd) => return Ok(fd),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
            Err(_) => break,
        }
    }
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    log.truncate(end);
    Err((refused, String::from_utf8_lossy(&log).into_owned()))
}

/// Tries again when the verifier gives up because a signal came in, which any reload may send.
fn patiently(mut load: impl FnMut() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    const TRIES: usize = 20;
    for _ in 1..TRIES {
        match load() {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            result => return result,
        }
    }
    load()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn error(number: i32) -> io::Result<OwnedFd> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn a_refused_program_is_told_with_the_whole_log_and_the_first_reason() {
        let said = "x".repeat(100_000) + "R1 is no pointer";
        let verifier = |log: &mut [u8]| {
            let length = log.len().min(said.len());
            log[..length].copy_from_slice(&said.as_bytes()[..length]);
            if log.is_empty() || log.len() > said.len() { error(libc::EINVAL) } else { error(libc::ENOSPC) }
        };
        let (why, log) = load_or_explain(verifier).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(log, said);
    }

    #[test]
    fn a_refusal_without_a_log_stays_what_it_is() {
        let (why, log) = load_or_explain(|_| error(libc::EPERM)).unwrap_err();
        assert_eq!((why.raw_os_error(), log.as_str()), (Some(libc::EPERM), ""));
    }

    #[test]
    fn a_verifier_that_a_signal_interrupts_is_asked_again() {
        let tries = Cell::new(0);
        let interrupted = |_: &mut [u8]| {
            tries.set(tries.get() + 1);
            if tries.get() < 4 { error(libc::EAGAIN) } else { Ok(std::fs::File::open("/dev/null")?.into()) }
        };
        load_or_explain(interrupted).unwrap();
        assert_eq!(tries.get(), 4);
    }
}
