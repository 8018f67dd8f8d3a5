//! Reads the pinned tables of a daemon that is accounting, without disturbing it.

use std::path::Path;

use super::codec::layout::{HOSTS4_NAME, HOSTS6_NAME, LAYOUT, UNCOUNTED_NAME};
use super::programs::possible_cpus;
use super::tables::Tables;
use crate::error::{Error, Result};
use crate::sys::bpf::{self, Map};

/// Opens the tables that are pinned below `pin_dir`.
pub fn open(pin_dir: &Path) -> Result<Tables> {
    let cpus = possible_cpus()?;
    let map = |name| {
        let path = pin_dir.join(format!("v{LAYOUT}")).join(name);
        bpf::open_pin(&path).and_then(|fd| Map::new(fd, cpus)).map_err(|source| {
            Error::io(format!("read the counts of the running gatemeter in {}", path.display()), source)
                .remedy("they can be read as root only, and only while it pins them: see traffic.pin_dir")
        })
    };
    Ok(Tables::new([map(HOSTS4_NAME)?, map(HOSTS6_NAME)?], map(UNCOUNTED_NAME)?, Vec::new()))
}
