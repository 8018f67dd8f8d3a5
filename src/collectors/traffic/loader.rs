//! Loads the kernel program, attaches it to interfaces and keeps it there.
//!
//! One program pair serves all interfaces and is told the rules of each. With a pin directory the tables and the links
//! outlive the process, so that counting goes on while the daemon is away, and the next one takes over each link
//! without a packet lost or counted twice.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::ROW;
use super::bpf_error;
use super::codec::layout::*;
use super::codec::{self, Counters, EncodedRules, HostKey, Rules};
use super::config_map::ConfigMap;
use super::hook;
use super::pins::Pins;
use super::programs::{Programs, possible_cpus};
use super::tables::Tables;
use crate::collectors::single::Single;
use crate::error::{Error, Result};
use crate::sorted::Sorted;
use crate::sys::bpf::{self, Map};
use crate::sys::interfaces::{interfaces, is_ethernet};

pub use super::hook::{Direction, Hook};
pub use super::tables::Uncounted;

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

#[derive(Debug)]
struct Attached {
    rules: EncodedRules,
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
    attach: Attach,
    programs: Programs,
    /// The loaded programs of [`Direction::BOTH`].
    loaded: [OwnedFd; 2],
    tables: Tables,
    config_map: ConfigMap,
    attached: Sorted<u32, Attached>,
    /// One daemon per network namespace: ends with the process, whatever happens to it.
    _single: Single,
    /// Last, because it holds the lock.
    pins: Option<Pins>,
}

impl Accounting {
    /// Loads the program and opens or creates the tables. Nothing is attached yet.
    ///
    /// Pinned tables are used if they fit. Those of another size are merged by [`Accounting::retain`]; those of another
    /// layout are removed, which is logged. Refused while another process is accounting.
    pub fn open(settings: &Settings) -> Result<Accounting> {
        let tried = "load the traffic accounting program";
        if settings.max_hosts == 0 {
            return Err(Error::failed(tried, "traffic.max_hosts is 0"));
        }
        bpf::available().map_err(|error| bpf_error::with_remedy(Error::io(tried, error)))?;
        let single = single("start accounting")?;
        let pins = settings.pin_dir.as_deref().map(Pins::lock).transpose()?;
        if let Some(pins) = &pins {
            for removed in pins.prepare(settings.max_hosts)? {
                log::warn!(target: "traffic", "removed {removed}, left by another version of gatemeter");
            }
        }
        let cpus = possible_cpus()?;
        let programs = Programs::new(settings.max_hosts, pins.as_ref())?;
        let loaded = [programs.load(PROGRAM_IN, tried)?, programs.load(PROGRAM_OUT, tried)?];
        let config_map = ConfigMap::new(programs.map(CONFIG_NAME, cpus)?)?;
        let hosts = [programs.map(HOSTS4_NAME, cpus)?, programs.map(HOSTS6_NAME, cpus)?];
        let mut former = Vec::new();
        if let Some(pins) = &pins {
            for path in [HOSTS4_NAME, HOSTS6_NAME].iter().flat_map(|name| pins.set_aside(name)) {
                let map = bpf::open_pin(&path).and_then(|fd| Map::new(fd, cpus));
                let map = map.map_err(|error| Error::io(format!("open {}", path.display()), error))?;
                former.push((path, map));
            }
        }
        Ok(Accounting {
            attach: settings.attach,
            tables: Tables::new(hosts, programs.map(UNCOUNTED_NAME, cpus)?, former),
            programs,
            loaded,
            config_map,
            attached: Sorted::default(),
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
        let rules = encode(ifindex, rules, &tried)?;
        if self.attached.len() >= SLOTS {
            return Err(Error::failed(tried, format!("{SLOTS} interfaces are accounted already, and no more fit")));
        }
        let mut refused = None;
        if self.attach != Attach::Clsact {
            match self.attach_tcx(ifindex, ifname, &rules, &tried) {
                Ok(links) => {
                    let ifname = ifname.to_owned();
                    self.attached.insert(ifindex, Attached { rules, ifname, hook: Hook::Tcx, links, qdisc: false });
                    return Ok(Hook::Tcx);
                }
                Err(error) if self.attach == Attach::Tcx => {
                    return Err(match error.io_kind() {
                        Some(io::ErrorKind::InvalidInput) => {
                            error.remedy("TCX needs Linux 6.6: set traffic.attach to auto or clsact")
                        }
                        _ => bpf_error::with_remedy(error),
                    });
                }
                Err(error) => refused = Some(error),
            }
        }
        match self.attach_clsact(ifindex, ifname, &rules, &tried) {
            Ok(qdisc) => {
                let (ifname, links) = (ifname.to_owned(), Vec::new());
                self.attached.insert(ifindex, Attached { rules, ifname, hook: Hook::Clsact, links, qdisc });
                Ok(Hook::Clsact)
            }
            Err(error) => Err(match refused {
                None => bpf_error::with_remedy(error),
                Some(tcx) => Error::failed(tried, format!("{tcx}, and {error}")).remedy(
                    "TCX needs Linux 6.6; clsact needs the packages kmod-sched-core and kmod-sched-bpf on OpenWrt",
                ),
            }),
        }
    }

    /// Replaces the rules of an accounted interface; each packet is judged by the old rules or by the new ones.
    pub fn set_rules(&mut self, ifindex: u32, rules: &Rules) -> Result<()> {
        let Some(attached) = self.attached.get_mut(&ifindex) else {
            return Err(Error::failed(format!("change the rules of interface {ifindex}"), "it is not accounted"));
        };
        let tried = format!("change the rules of {}", attached.ifname);
        let rules = encode(ifindex, rules, &tried)?;
        if attached.rules == rules {
            return Ok(());
        }
        let before = std::mem::replace(&mut attached.rules, rules);
        let applied = self.apply(None, &tried);
        if applied.is_err()
            && let Some(attached) = self.attached.get_mut(&ifindex)
        {
            // The next try is not to find them in force.
            attached.rules = before;
        }
        applied
    }

    /// Stops accounting on an interface. Not an error if the interface is gone, or was never accounted.
    pub fn detach(&mut self, ifindex: u32) -> Result<()> {
        let Some(attached) = self.attached.remove(&ifindex) else { return Ok(()) };
        let tried = format!("stop accounting {}", attached.ifname);
        self.drop_links(ifindex);
        drop(attached.links);
        let mut removed = Ok(());
        if attached.hook == Hook::Clsact {
            let marked = self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex));
            removed = remove_filters(ifindex, marked || attached.qdisc);
        }
        self.apply(None, &tried)?;
        removed.map_err(|error| Error::io(tried, error))
    }

    /// Removes what an earlier process left on interfaces other than these, and merges its tables if they had another
    /// size. To be called once all wanted interfaces are attached; what fails is logged.
    pub fn retain(&mut self, wanted: &[u32]) {
        let unwanted = |ifindex: &u32| !wanted.contains(ifindex);
        let warn = |result: Result<()>| {
            if let Err(error) = result {
                log::warn!(target: "traffic", "{error}");
            }
        };
        let ours: Vec<u32> = self.attached.keys().copied().filter(unwanted).collect();
        for ifindex in ours {
            warn(self.detach(ifindex));
        }
        let failed = |error| Error::io("remove the filters of an earlier process", error);
        for ifindex in self.pins.as_ref().map(Pins::interfaces).unwrap_or_default().into_iter().filter(unwanted) {
            self.drop_links(ifindex);
            if self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex)) {
                warn(remove_filters(ifindex, true).map_err(failed));
            }
        }
        for (ifindex, _) in interfaces().unwrap_or_default() {
            if unwanted(&ifindex) {
                warn(hook::detach_clsact(ifindex).map(drop).map_err(failed));
            }
        }
        warn(self.merge());
    }

    /// Calls `each` with every host and what it exchanged since its entry exists, in no order.
    pub fn read(&mut self, each: impl FnMut(&HostKey, &Counters)) -> Result<()> {
        self.tables.read(each)
    }

    /// Forgets a host; it starts from 0 if it is seen again.
    pub fn remove(&mut self, key: &HostKey) -> Result<()> {
        self.tables.remove(key)
    }

    /// What could not be counted for any host.
    pub fn uncounted(&mut self) -> Result<Uncounted> {
        self.tables.uncounted()
    }

    /// Whether tables and links outlive this process.
    pub fn pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Hosts that fit in each of the two tables.
    pub fn capacity(&self) -> u32 {
        self.tables.capacity()
    }

    /// How an interface is accounted, if it is.
    pub fn hook(&self, ifindex: u32) -> Option<Hook> {
        self.attached.get(&ifindex).map(|attached| attached.hook)
    }

    /// The program of one direction: its descriptor leads to the kernel's statistics, and lets tests run it.
    pub fn program(&self, direction: Direction) -> BorrowedFd<'_> {
        let [on_ingress, on_egress] = &self.loaded;
        match direction {
            Direction::In => on_ingress.as_fd(),
            Direction::Out => on_egress.as_fd(),
        }
    }

    /// Tells the program the rules of an interface without attaching it; for tests that run it themselves.
    #[doc(hidden)]
    pub fn account_unattached(&mut self, ifindex: u32, rules: &Rules) -> Result<()> {
        let tried = "account made-up frames";
        let rules = encode(ifindex, rules, tried)?;
        self.apply(Some(&rules), tried)
    }

    fn attach_tcx(&mut self, ifindex: u32, ifname: &str, rules: &EncodedRules, tried: &str) -> Result<Vec<OwnedFd>> {
        // A filter of an earlier process would count along: until it is gone, the program knows no rules.
        let filter = hook::has_clsact(ifindex);
        if !filter {
            self.apply(Some(rules), tried)?;
        }
        let mut links = Vec::new();
        for direction in Direction::BOTH {
            let pin = self.pins.as_ref().map(|pins| pins.link(ifindex, direction));
            match hook::attach_tcx(self.program(direction), ifindex, direction, pin.as_deref()) {
                Ok(link) => links.push(link),
                Err(error) => {
                    if !links.is_empty() {
                        self.drop_links(ifindex);
                    }
                    self.apply(None, tried)?;
                    return Err(Error::io(format!("attach a TCX link to {ifname}"), error));
                }
            }
        }
        if filter {
            let marked = self.pins.as_ref().is_some_and(|pins| pins.unmark_clsact(ifindex));
            remove_filters(ifindex, marked).map_err(|error| Error::io(tried, error))?;
            self.apply(Some(rules), tried)?;
        }
        Ok(links)
    }

    /// Answers whether the clsact qdisc was added by us.
    fn attach_clsact(&mut self, ifindex: u32, ifname: &str, rules: &EncodedRules, tried: &str) -> Result<bool> {
        let link = self
            .pins
            .as_ref()
            .is_some_and(|pins| Direction::BOTH.iter().any(|direction| pins.link(ifindex, *direction).exists()));
        if !link {
            self.apply(Some(rules), tried)?;
        }
        let mut qdisc = false;
        for direction in Direction::BOTH {
            match hook::attach_clsact(self.program(direction), ifindex, direction) {
                Ok(added) => qdisc |= added,
                Err(error) => {
                    let _ = remove_filters(ifindex, qdisc);
                    self.apply(None, tried)?;
                    return Err(Error::io(format!("attach a clsact filter to {ifname}"), error));
                }
            }
        }
        if link {
            self.drop_links(ifindex);
            self.apply(Some(rules), tried)?;
        }
        if let Some(pins) = self.pins.as_ref().filter(|_| qdisc) {
            pins.mark_clsact(ifindex, self.tables.mark()).map_err(|error| Error::io(tried, error))?;
        }
        Ok(qdisc)
    }

    /// Puts the rules of all accounted interfaces in force, and of one more.
    fn apply(&mut self, more: Option<&EncodedRules>, tried: &str) -> Result<()> {
        let all: Vec<&EncodedRules> = self.attached.values().map(|attached| &attached.rules).chain(more).collect();
        self.config_map.apply(&all, tried)
    }

    fn drop_links(&self, ifindex: u32) {
        if let Some(pins) = &self.pins {
            pins.drop_links(ifindex);
        }
    }

    fn merge(&mut self) -> Result<()> {
        if !self.tables.has_former() {
            return Ok(());
        }
        let adder = self.programs.load(PROGRAM_ADD, "load the program that merges tables")?;
        let lost = self.tables.merge(adder.as_fd())?;
        if lost > 0 {
            log::warn!(target: "traffic", "{lost} hosts do not fit into the smaller table and start from 0");
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
        for (ifindex, attached) in self.attached.iter() {
            if attached.hook == Hook::Clsact {
                let _ = remove_filters(*ifindex, attached.qdisc);
            }
        }
    }
}

/// Removes every trace: links, filters, a clsact qdisc that we added and nobody else uses, pins, directories. Answers
/// what was removed, in words. Refused while a daemon is accounting.
pub fn clean(pin_dir: Option<&Path>) -> Result<Vec<String>> {
    let _single = single("clean up")?;
    let mut removed = Vec::new();
    let pins = pin_dir.filter(|dir| dir.exists()).map(Pins::lock).transpose()?;
    for (ifindex, ifname) in interfaces().map_err(|error| Error::io("list the interfaces", error))? {
        let tried = || format!("remove the filters of {ifname}");
        let filters = hook::detach_clsact(ifindex).map_err(|error| Error::io(tried(), error))?;
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

/// Whether a process is accounting in this network namespace.
pub fn is_running() -> bool {
    single("").is_err()
}

/// Refuses a second accounting process in this network namespace.
fn single(tried: &str) -> Result<Single> {
    Single::claim(ROW.name, tried, "is accounting")
}

fn encode(ifindex: u32, rules: &Rules, tried: &str) -> Result<EncodedRules> {
    codec::rules(ifindex, rules).map_err(|bad| Error::failed(tried, bad.to_string()))
}

/// Name of an interface, if it exists.
fn name(ifindex: u32) -> Option<String> {
    interfaces().ok()?.into_iter().find(|(index, _)| *index == ifindex).map(|(_, name)| name)
}

fn check_interface(ifindex: u32, ifname: &str, tried: &str) -> Result<()> {
    match name(ifindex) {
        Some(now) if now == ifname => {}
        Some(now) => return Err(Error::failed(tried, format!("interface {ifindex} is called {now}"))),
        None => return Err(Error::failed(tried, format!("there is no interface {ifindex}"))),
    }
    if !is_ethernet(ifname).map_err(|error| Error::io(tried, error))? {
        return Err(Error::failed(tried, "it is not an Ethernet interface: its hosts have no MAC to be told apart by"));
    }
    Ok(())
}

/// Removes our filters, and the qdisc if it is ours and empty. Nothing if the interface is gone.
fn remove_filters(ifindex: u32, qdisc: bool) -> io::Result<()> {
    if name(ifindex).is_some() {
        hook::detach_clsact(ifindex)?;
        if qdisc {
            hook::remove_empty_clsact(ifindex)?;
        }
    }
    Ok(())
}
