//! Loads the kernel program, attaches it to interfaces, tells it who is accounted, and reads what it counted.
//!
//! One program pair serves all interfaces; its configuration has a slot for each (see `bpf/src/layout.rs`). With a pin
//! directory the tables and the links outlive the process, so that counting goes on while the daemon is away, and the
//! next one takes over each link without a packet lost or counted twice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};

use super::codec::layout::*;
use super::codec::{self, Amount, Counters, HostKey, Rules};
use super::hook;
use super::pins::Pins;
use crate::error::{Error, Result};
use crate::sys::bpf::{self, Batch, Map};
use crate::sys::{self, tc};

pub use super::hook::Hook;
pub use super::pins::Direction;

/// The kernel program of this machine's byte order; where it comes from is decided by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GATEMETER_BPF_OBJECT"));

/// Hosts read per system call.
const BATCH: usize = 64;
/// Bytes of the verifier's log kept in an error; its end says what was refused.
const LOG: usize = 2000;

/// How to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attach {
    /// TCX, or clsact where the kernel has no TCX.
    #[default]
    Auto,
    /// TCX only (kernel 6.6).
    Tcx,
    /// clsact only.
    Clsact,
}

/// What [`Accounting::open`] needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Hosts in each of the two tables, IPv4 and IPv6; what finds no room is counted in [`Uncounted`].
    pub max_hosts: u32,
    /// Directory on a BPF file system to keep tables and links in; `None` to count only while this process lives.
    pub pin_dir: Option<PathBuf>,
    /// How to attach.
    pub attach: Attach,
}

/// Traffic that belongs to no host, since the tables exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uncounted {
    /// Of hosts that found no room in their table.
    pub table_full: Amount,
    /// IP packets that end inside their IP header.
    pub truncated: Amount,
}

#[derive(Debug)]
struct Attached {
    slot: usize,
    ifname: String,
    hook: Hook,
    /// Both directions' links, for TCX.
    links: Vec<OwnedFd>,
    /// The clsact qdisc was added by us.
    qdisc: bool,
}

/// The programs, the tables and everything attached.
#[derive(Debug)]
pub struct Accounting {
    settings: Settings,
    /// Order matters: the lock goes last.
    ebpf: Ebpf,
    hosts: [Map; 2],
    uncounted: Map,
    config: Map,
    /// What `config` holds.
    image: Vec<u8>,
    attached: BTreeMap<u32, Attached>,
    /// Tables of another size, still counted into by programs that this process has yet to replace.
    former: Vec<(PathBuf, Map)>,
    batches: [Batch; 2],
    value: Vec<u8>,
    /// One daemon per network namespace: ends with the process, whatever happens to it.
    _single: UnixListener,
    pins: Option<Pins>,
}

impl Accounting {
    /// Loads the program and opens or creates the tables. Nothing is attached yet.
    pub fn open(settings: &Settings) -> Result<Accounting> {
        let tried = "load the traffic accounting program";
        if settings.max_hosts == 0 {
            return Err(Error::failed(tried, "max_hosts is 0"));
        }
        bpf::available().map_err(|error| with_remedy(Error::io(tried, error)))?;
        let single = single()?;
        let pins = settings.pin_dir.as_deref().map(Pins::lock).transpose()?;
        if let Some(pins) = &pins {
            for removed in pins.prepare(settings.max_hosts)? {
                log::warn!("traffic: removed {removed}, which another version of gatemeter left");
            }
        }
        let cpus =
            aya::util::nr_cpus().map_err(|(file, error)| Error::io(format!("read the CPUs from {file}"), error))?;

        let mut loader = EbpfLoader::new();
        loader.btf(None);
        for name in [HOSTS4_NAME, HOSTS6_NAME] {
            loader.map_max_entries(name, settings.max_hosts);
        }
        if let Some(pins) = &pins {
            for name in [HOSTS4_NAME, HOSTS6_NAME, UNCOUNTED_NAME] {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| load_error(tried, &error))?;
        for name in [PROGRAM_IN, PROGRAM_OUT] {
            program(&mut ebpf, name)?.load().map_err(|error| program_error(tried, &error))?;
        }
        let map = |name| open_map(&ebpf, name, cpus);
        let (hosts4, hosts6) = (map(HOSTS4_NAME)?, map(HOSTS6_NAME)?);
        let (uncounted, config) = (map(UNCOUNTED_NAME)?, map(CONFIG_NAME)?);
        if config.value_len() < CONFIG {
            return Err(Error::failed(tried, "its configuration has another size than this program knows"));
        }
        let mut former = Vec::new();
        if let Some(pins) = &pins {
            for path in [HOSTS4_NAME, HOSTS6_NAME].iter().flat_map(|name| pins.set_aside(name)) {
                let map = bpf::open_pin(&path).and_then(|fd| Map::new(fd, cpus));
                match map {
                    Ok(map) => former.push((path, map)),
                    Err(error) => return Err(Error::io(format!("open {}", path.display()), error)),
                }
            }
        }
        Ok(Accounting {
            settings: settings.clone(),
            image: vec![0; config.value_len()],
            batches: [Batch::new(&hosts4, BATCH), Batch::new(&hosts6, BATCH)],
            value: vec![0; hosts4.value_len()],
            hosts: [hosts4, hosts6],
            ebpf,
            uncounted,
            config,
            attached: BTreeMap::new(),
            former,
            _single: single,
            pins,
        })
    }

    /// Starts accounting on an interface, both directions, or changes its rules if it is accounted already.
    ///
    /// A link or filter of an earlier process is taken over: each packet is counted once, by it or by us. Only when the
    /// way of attaching changes, a few packets in between are not counted.
    pub fn attach(&mut self, ifindex: u32, ifname: &str, rules: &Rules) -> Result<Hook> {
        let tried = format!("account {ifname}");
        if let Some(attached) = self.attached.get(&ifindex) {
            let hook = attached.hook;
            return self.set_rules(ifindex, rules).map(|()| hook);
        }
        check_interface(ifindex, ifname, &tried)?;
        let set = codec::rules(rules).map_err(|bad| Error::failed(&tried, bad.to_string()))?;
        let taken: Vec<usize> = self.attached.values().map(|attached| attached.slot).collect();
        let Some(slot) = (0..SLOTS).find(|slot| !taken.contains(slot)) else {
            return Err(Error::failed(tried, format!("{SLOTS} interfaces are accounted already")));
        };
        self.write_rules(slot, &set, &tried)?;

        let mut refused = None;
        if self.settings.attach != Attach::Clsact {
            match self.attach_tcx(ifindex, ifname, slot, &tried) {
                Ok(attached) => {
                    self.attached.insert(ifindex, attached);
                    return Ok(Hook::Tcx);
                }
                Err(error) if self.settings.attach == Attach::Tcx => return Err(with_remedy(error)),
                Err(error) => refused = Some(error),
            }
        }
        match self.attach_clsact(ifindex, ifname, slot, &tried) {
            Ok(attached) => {
                self.attached.insert(ifindex, attached);
                Ok(Hook::Clsact)
            }
            Err(error) => Err(match refused {
                None => with_remedy(error),
                Some(tcx) => Error::failed(tried, format!("neither by TCX ({tcx}) nor by clsact ({error})")).remedy(
                    "TCX needs Linux 6.6; clsact needs the packages kmod-sched-core and kmod-sched-bpf on OpenWrt",
                ),
            }),
        }
    }

    /// Replaces the rules of an accounted interface; each packet is judged by the old rules or by the new ones.
    pub fn set_rules(&mut self, ifindex: u32, rules: &Rules) -> Result<()> {
        let Some(attached) = self.attached.get(&ifindex) else {
            return Err(Error::failed(format!("change the rules of interface {ifindex}"), "it is not accounted"));
        };
        let tried = format!("change the rules of {}", attached.ifname);
        let set = codec::rules(rules).map_err(|bad| Error::failed(&tried, bad.to_string()))?;
        let slot = attached.slot;
        self.write_rules(slot, &set, &tried)
    }

    /// Stops accounting on an interface. Not an error if the interface is gone, or was never accounted.
    pub fn detach(&mut self, ifindex: u32) -> Result<()> {
        let Some(attached) = self.attached.remove(&ifindex) else { return Ok(()) };
        let tried = format!("stop accounting {}", attached.ifname);
        self.drop_pins(ifindex);
        drop(attached.links);
        let mut result = Ok(());
        if attached.hook == Hook::Clsact && names(ifindex).is_some() {
            let marked = self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex));
            result = remove_clsact(ifindex, marked || attached.qdisc).map(drop);
        }
        self.put(slot_word(attached.slot, SLOT_IFINDEX), 0);
        self.write(&tried)?;
        result.map_err(|error| Error::io(tried, error))
    }

    /// Removes what an earlier process left on interfaces other than these, and merges its tables if they had another
    /// size. To be called once all wanted interfaces are attached.
    pub fn retain(&mut self, wanted: &[u32]) {
        let ours: Vec<u32> = self.attached.keys().copied().filter(|ifindex| !wanted.contains(ifindex)).collect();
        for ifindex in ours {
            if let Err(error) = self.detach(ifindex) {
                log::warn!("traffic: {error}");
            }
        }
        let pinned = self.pins.as_ref().map(Pins::interfaces).unwrap_or_default();
        for ifindex in pinned.into_iter().filter(|ifindex| !wanted.contains(ifindex)) {
            self.drop_pins(ifindex);
            if self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex))
                && names(ifindex).is_some()
                && let Err(error) = remove_clsact(ifindex, true)
            {
                log::warn!("traffic: cannot remove the filters of interface {ifindex}: {error}");
            }
        }
        for (ifindex, ifname) in tc::interfaces().unwrap_or_default() {
            if !wanted.contains(&ifindex)
                && let Err(error) = hook::detach_clsact(ifindex, &ifname)
            {
                log::warn!("traffic: cannot remove the filters of {ifname}: {error}");
            }
        }
        if let Err(error) = self.merge() {
            log::warn!("traffic: {error}");
        }
    }

    /// Calls `each` with every host and what it exchanged since its entry exists, in no order.
    pub fn read(&mut self, mut each: impl FnMut(&HostKey, &Counters)) -> Result<()> {
        let tried = "read the host tables";
        if self.former.is_empty() {
            for (map, batch) in self.hosts.iter().zip(&mut self.batches) {
                walk(map, batch, &mut self.value, |key, counters| each(&key, &counters))?;
            }
            return Ok(());
        }
        // Between a changed size and the merge, a host may be in an old and in the new table.
        let mut sums = BTreeMap::<HostKey, Counters>::new();
        for map in self.hosts.iter().chain(self.former.iter().map(|(_, map)| map)) {
            let mut batch = Batch::new(map, BATCH);
            walk(map, &mut batch, &mut self.value, |key, counters| sums.entry(key).or_default().add(&counters))
                .map_err(|error| Error::failed(tried, error.to_string()))?;
        }
        for (key, counters) in &sums {
            each(key, counters);
        }
        Ok(())
    }

    /// Forgets a host; it starts from 0 if it is seen again.
    pub fn remove(&mut self, key: &HostKey) -> Result<()> {
        let raw = codec::key_bytes(key);
        for map in self.hosts.iter().chain(self.former.iter().map(|(_, map)| map)) {
            if map.info().key_size as usize == raw.len() {
                map.delete(&raw).map_err(|error| Error::io(format!("forget host {}", key.addr), error))?;
            }
        }
        Ok(())
    }

    /// What could not be counted for any host.
    pub fn uncounted(&mut self) -> Result<Uncounted> {
        let entry = |index: u32| {
            let tried = "read what was not counted";
            let mut value = vec![0; self.uncounted.value_len()];
            read_whole(&self.uncounted, &index.to_ne_bytes(), &mut value).map_err(|error| Error::io(tried, error))?;
            codec::amount(&value).map_err(|error| Error::codec(tried, error))
        };
        Ok(Uncounted { table_full: entry(TABLE_FULL)?, truncated: entry(TRUNCATED)? })
    }

    /// Whether tables and links outlive this process.
    pub fn pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Hosts that fit in each of the two tables.
    pub fn capacity(&self) -> u32 {
        self.hosts.iter().map(|map| map.info().max_entries).min().unwrap_or(0)
    }

    /// How an interface is accounted, if it is.
    pub fn hook(&self, ifindex: u32) -> Option<Hook> {
        self.attached.get(&ifindex).map(|attached| attached.hook)
    }

    /// Kernel numbers of both programs, as `bpftool prog` lists them.
    pub fn program_ids(&self) -> Result<[u32; 2]> {
        let mut ids = [0; 2];
        for (id, direction) in ids.iter_mut().zip(Direction::BOTH) {
            let fd = self.program(direction)?;
            *id = bpf::program_id(fd).map_err(|error| Error::io("ask for the number of a program", error))?;
        }
        Ok(ids)
    }

    /// The program of one direction, to be run on made-up frames by tests and benchmarks.
    pub fn program(&self, direction: Direction) -> Result<BorrowedFd<'_>> {
        let name = program_name(direction);
        self.ebpf
            .program(name)
            .and_then(|program| program.fd().ok())
            .map(aya::programs::ProgramFd::as_fd)
            .ok_or_else(|| Error::failed(format!("find the program {name}"), "it is not loaded"))
    }

    /// Fills the configuration slot of an interface without attaching anything; for tests that run the program
    /// themselves.
    #[doc(hidden)]
    pub fn account_unattached(&mut self, ifindex: u32, rules: &Rules) -> Result<()> {
        let tried = format!("account interface {ifindex}");
        let set = codec::rules(rules).map_err(|bad| Error::failed(&tried, bad.to_string()))?;
        let attached = Attached { slot: 0, ifname: String::new(), hook: Hook::Tcx, links: Vec::new(), qdisc: false };
        self.attached.insert(ifindex, attached);
        self.write_rules(0, &set, &tried)?;
        self.activate(0, ifindex, &tried)
    }

    fn attach_tcx(&mut self, ifindex: u32, ifname: &str, slot: usize, tried: &str) -> Result<Attached> {
        // A filter of an earlier process would count along: until it is gone, the slot stays without interface.
        let filter = hook::has_clsact(ifindex);
        if !filter {
            self.activate(slot, ifindex, tried)?;
        }
        let mut links = Vec::new();
        for direction in Direction::BOTH {
            let link = self
                .program(direction)
                .map(|program| hook::attach_tcx(program, ifindex, direction, self.pins.as_ref()))?;
            match link {
                Ok(link) => links.push(link),
                Err(error) => {
                    self.drop_pins(ifindex);
                    self.activate(slot, 0, tried)?;
                    return Err(Error::io(format!("attach a TCX link to {ifname}"), error));
                }
            }
        }
        if filter {
            let marked = self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex));
            remove_clsact(ifindex, marked).map_err(|error| Error::io(tried, error))?;
            self.activate(slot, ifindex, tried)?;
        }
        Ok(Attached { slot, ifname: ifname.to_owned(), hook: Hook::Tcx, links, qdisc: false })
    }

    fn attach_clsact(&mut self, ifindex: u32, ifname: &str, slot: usize, tried: &str) -> Result<Attached> {
        let link = self
            .pins
            .as_ref()
            .is_some_and(|pins| Direction::BOTH.iter().any(|direction| pins.link(ifindex, *direction).exists()));
        if !link {
            self.activate(slot, ifindex, tried)?;
        }
        let mut qdisc = false;
        for direction in Direction::BOTH {
            let attached = program(&mut self.ebpf, program_name(direction))
                .map(|program| hook::attach_clsact(program, ifindex, ifname, direction))?;
            match attached {
                Ok(added) => qdisc |= added,
                Err(error) => {
                    let _ = remove_clsact(ifindex, qdisc);
                    self.activate(slot, 0, tried)?;
                    return Err(Error::io(format!("attach a clsact filter to {ifname}"), error));
                }
            }
        }
        if link {
            self.drop_pins(ifindex);
            self.activate(slot, ifindex, tried)?;
        }
        if let Some(pins) = self.pins.as_ref().filter(|_| qdisc) {
            pins.mark_clsact(ifindex, self.uncounted.fd()).map_err(|error| Error::io(tried, error))?;
        }
        Ok(Attached { slot, ifname: ifname.to_owned(), hook: Hook::Clsact, links: Vec::new(), qdisc })
    }

    fn drop_pins(&self, ifindex: u32) {
        if let Some(pins) = &self.pins {
            for direction in Direction::BOTH {
                let _ = fs::remove_file(pins.link(ifindex, direction));
            }
        }
    }

    /// Fills the rule set that is not in force, then puts it in force.
    fn write_rules(&mut self, slot: usize, set: &[u8], tried: &str) -> Result<()> {
        let active = slot_word(slot, SLOT_ACTIVE);
        let next = 1 - (self.get(active) & 1);
        let at = slot_word(slot, SLOT_RULES + next as usize * RULES_WORDS) * 4;
        if let Some(room) = self.image.get_mut(at..at + set.len()) {
            room.copy_from_slice(set);
        }
        self.write(tried)?;
        self.put(active, next);
        self.write(tried)?;
        // The set that was in force is the next to be written: nobody may be reading it any more by then.
        sys::fs::grace_period();
        Ok(())
    }

    fn activate(&mut self, slot: usize, ifindex: u32, tried: &str) -> Result<()> {
        self.put(slot_word(slot, SLOT_IFINDEX), ifindex);
        self.write(tried)
    }

    fn put(&mut self, word: usize, value: u32) {
        if let Some(room) = self.image.get_mut(word * 4..word * 4 + 4) {
            room.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn get(&self, word: usize) -> u32 {
        crate::bytes::ne32(&self.image, word * 4, "configuration").unwrap_or(0)
    }

    /// Copies the image into the kernel. Bytes that did not change are overwritten by themselves.
    fn write(&self, tried: &str) -> Result<()> {
        self.config.update(&0u32.to_ne_bytes(), &self.image, bpf::ANY).map_err(|error| Error::io(tried, error))?;
        // A CPU that sees what is written next must also see this.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }

    /// Adds the tables of another size to those in use and removes them.
    fn merge(&mut self) -> Result<()> {
        if self.former.is_empty() {
            return Ok(());
        }
        let tried = "keep the counters of a table of another size";
        let adder = program(&mut self.ebpf, PROGRAM_ADD)?;
        if adder.fd().is_err() {
            adder.load().map_err(|error| program_error(tried, &error))?;
        }
        let adder = adder.fd().map_err(|error| program_error(tried, &error))?.as_fd();
        let mut lost = 0u32;
        for (path, map) in self.former.drain(..) {
            let mut key = vec![0; map.info().key_size as usize];
            while map.next_key(None, &mut key).map_err(|error| Error::io(tried, error))? {
                let mut value = vec![0; map.value_len()];
                read_whole(&map, &key, &mut value).map_err(|error| Error::io(tried, error))?;
                let counters = codec::counters(&value).map_err(|error| Error::codec(tried, error))?;
                let frame = codec::add_frame(&key, &counters);
                let run = bpf::test_run(adder, &frame, &[], 1).map_err(|error| Error::io(tried, error))?;
                lost += (run.retval != 0) as u32;
                map.delete(&key).map_err(|error| Error::io(tried, error))?;
            }
            fs::remove_file(&path).map_err(|error| Error::io(format!("unpin {}", path.display()), error))?;
        }
        if lost > 0 {
            log::warn!("traffic: {lost} hosts do not fit into the smaller table and start from 0");
        }
        Ok(())
    }
}

impl Drop for Accounting {
    /// With pins, all stays as it is and goes on counting. Without, TCX links end with their descriptors, but filters
    /// must be removed.
    fn drop(&mut self) {
        if self.pins.is_some() {
            return;
        }
        for (ifindex, attached) in &self.attached {
            if attached.hook == Hook::Clsact && names(*ifindex).is_some() {
                let _ = remove_clsact(*ifindex, attached.qdisc);
            }
        }
    }
}

/// Removes every trace: links, filters, a clsact qdisc that we added and nobody else uses, pins, directories. Answers
/// what was removed, in words. Refused while a daemon is accounting.
pub fn clean(pin_dir: Option<&Path>) -> Result<Vec<String>> {
    let _single = single()?;
    let mut removed = Vec::new();
    let pins = pin_dir.filter(|dir| dir.exists()).map(Pins::lock).transpose()?;
    for (ifindex, ifname) in tc::interfaces().map_err(|error| Error::io("list the interfaces", error))? {
        let tried = || format!("remove the filters of {ifname}");
        let filters = hook::detach_clsact(ifindex, &ifname).map_err(|error| Error::io(tried(), error))?;
        if filters > 0 {
            removed.push(format!("{filters} filters of {ifname}"));
        }
        let marked = pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex));
        if marked && hook::remove_empty_clsact(ifindex).map_err(|error| Error::io(tried(), error))? {
            removed.push(format!("clsact qdisc of {ifname}"));
        }
    }
    if let Some(pins) = pins {
        removed.extend(pins.remove()?);
    }
    Ok(removed)
}

/// Refuses a second accounting process in this network namespace: it would count everything again, or take the
/// filters away.
fn single() -> Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let tried = "start accounting";
    SocketAddr::from_abstract_name("gatemeter/traffic").and_then(|name| UnixListener::bind_addr(&name)).map_err(
        |error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                Error::failed(tried, "another gatemeter is accounting in this network namespace")
                    .remedy("stop it first, or run this one without traffic")
            } else {
                Error::io(tried, error)
            }
        },
    )
}

fn slot_word(slot: usize, word: usize) -> usize {
    slot * SLOT_WORDS + word
}

fn program_name(direction: Direction) -> &'static str {
    match direction {
        Direction::In => PROGRAM_IN,
        Direction::Out => PROGRAM_OUT,
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let found = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    found.ok_or_else(|| Error::failed(format!("find the program {name}"), "the object does not hold it"))
}

fn open_map(ebpf: &Ebpf, name: &str, cpus: usize) -> Result<Map> {
    use aya::maps::Map as Kind;
    let tried = || format!("open the map {name}");
    let data = match ebpf.map(name) {
        Some(Kind::PerCpuHashMap(data) | Kind::PerCpuArray(data) | Kind::Array(data)) => data,
        _ => return Err(Error::failed(tried(), "the object does not hold it")),
    };
    let fd = data.fd().as_fd().try_clone_to_owned().map_err(|error| Error::io(tried(), error))?;
    Map::new(fd, cpus).map_err(|error| Error::io(tried(), error))
}

/// Name of an interface that still exists.
fn names(ifindex: u32) -> Option<String> {
    tc::interfaces().ok()?.into_iter().find(|(index, _)| *index == ifindex).map(|(_, name)| name)
}

fn check_interface(ifindex: u32, ifname: &str, tried: &str) -> Result<()> {
    match names(ifindex) {
        Some(name) if name == ifname => {}
        Some(name) => return Err(Error::failed(tried, format!("interface {ifindex} is now called {name}"))),
        None => return Err(Error::failed(tried, format!("there is no interface {ifindex}"))),
    }
    if !tc::is_ethernet(ifname).map_err(|error| Error::io(tried, error))? {
        return Err(Error::failed(tried, "it is not an Ethernet interface: its hosts have no MAC to be told apart by"));
    }
    Ok(())
}

fn remove_clsact(ifindex: u32, qdisc: bool) -> io::Result<()> {
    if let Some(ifname) = names(ifindex) {
        hook::detach_clsact(ifindex, &ifname)?;
        if qdisc {
            hook::remove_empty_clsact(ifindex)?;
        }
    }
    Ok(())
}

/// Reads one value; on 32-bit machines again until two copies agree, if it may have been torn.
fn read_whole(map: &Map, key: &[u8], value: &mut Vec<u8>) -> io::Result<bool> {
    value.resize(map.value_len(), 0);
    let mut there = map.lookup(key, value)?;
    if cfg!(target_pointer_width = "32") && there && codec::may_be_torn(value) {
        let mut again = vec![0; value.len()];
        for _ in 0..8 {
            there = map.lookup(key, &mut again)?;
            let agree = codec::agree(value, &again);
            std::mem::swap(value, &mut again);
            if agree || !there {
                break;
            }
        }
    }
    Ok(there)
}

fn walk(map: &Map, batch: &mut Batch, value: &mut Vec<u8>, mut each: impl FnMut(HostKey, Counters)) -> Result<()> {
    let tried = "read the host tables";
    batch.rewind();
    let mut emit = |key: &[u8], value: &[u8]| -> Result<()> {
        let counters = codec::counters(value).map_err(|error| Error::codec(tried, error))?;
        each(codec::key(key).map_err(|error| Error::codec(tried, error))?, counters);
        Ok(())
    };
    let mut first = true;
    while !batch.finished() {
        match map.lookup_batch(batch) {
            Ok(()) => {}
            // Before Linux 5.6 there are no batches; nothing was read yet.
            Err(error) if first && error.raw_os_error() == Some(libc::EINVAL) => return one_by_one(map, value, emit),
            Err(error) => return Err(Error::io(tried, error)),
        }
        first = false;
        for (key, raw) in batch.entries(map) {
            if cfg!(target_pointer_width = "32") && codec::may_be_torn(raw) {
                if read_whole(map, key, value).map_err(|error| Error::io(tried, error))? {
                    emit(key, value)?;
                }
            } else {
                emit(key, raw)?;
            }
        }
    }
    Ok(())
}

fn one_by_one(map: &Map, value: &mut Vec<u8>, mut emit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let tried = "read the host tables";
    let size = map.info().key_size as usize;
    let (mut key, mut next) = (vec![0; size], vec![0; size]);
    let mut more = map.next_key(None, &mut key).map_err(|error| Error::io(tried, error))?;
    while more {
        if read_whole(map, &key, value).map_err(|error| Error::io(tried, error))? {
            emit(&key, value)?;
        }
        more = map.next_key(Some(&key), &mut next).map_err(|error| Error::io(tried, error))?;
        std::mem::swap(&mut key, &mut next);
    }
    Ok(())
}

fn load_error(tried: &str, error: &aya::EbpfError) -> Error {
    described(tried, error)
}

fn program_error(tried: &str, error: &ProgramError) -> Error {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let log = log.trim();
        let from = (log.len().saturating_sub(LOG)..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
        let code = io_error.raw_os_error();
        let why = format!("{io_error}; the verifier says: {}", log.get(from..).unwrap_or_default());
        let error = Error::failed(tried, if log.is_empty() { io_error.to_string() } else { why });
        return remedied(error, code);
    }
    described(tried, error)
}

/// An error of aya with all its causes, and what can be done about the system's answer below it.
fn described(tried: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut why = error.to_string();
    let mut code = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        code = code.or(error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error));
        next = error.source();
    }
    remedied(Error::failed(tried, why), code)
}

fn with_remedy(error: Error) -> Error {
    let code = match &error {
        Error::Failed { cause: crate::error::Cause::Io(source), .. } => source.raw_os_error(),
        _ => None,
    };
    remedied(error, code)
}

fn remedied(error: Error, code: Option<i32>) -> Error {
    match code {
        Some(libc::ENOSYS) => error.remedy("this kernel has no bpf(): it must be built with CONFIG_BPF_SYSCALL"),
        Some(libc::EPERM | libc::EACCES) => error.remedy(
            "run as root or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8); before Linux 5.11 \
             the limit of locked memory counts too: ulimit -l unlimited",
        ),
        Some(libc::ENOMEM) => error.remedy("lower max_hosts, or raise the limit of locked memory: ulimit -l unlimited"),
        _ => error,
    }
}
