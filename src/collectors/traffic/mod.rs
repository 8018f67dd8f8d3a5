//! Bytes and packets of every LAN host to and from the internet, counted in the kernel by an eBPF classifier.
//!
//! | file | what |
//! |---|---|
//! | `settings` | the section of the configuration |
//! | `plan` | which interfaces to account on, and by which rules |
//! | `codec` | bytes of the kernel's tables to values and back; shares `bpf/src/layout.rs` with the program |
//! | `loader` | loads the program, attaches it and takes it over from an earlier process |
//! | `hook`, `pins` | TCX and clsact; what outlives the daemon |
//! | `config_map`, `tables` | what the program is told, and what it counted |
//! | `reader` | the tables of a daemon that runs beside us |
//! | `check`, `bpf_error` | what the system lacks, and what to do about it |
//! | `state` | who is idle and makes room |
//! | `metrics` | the families |
//!
//! This file is the task that ties them together: it follows interfaces and addresses as they change and reads the
//! tables once per interval. The counts live in the kernel; the daemon keeps none of its own.

mod bpf_error;
pub mod check;
pub mod codec;
mod config_map;
mod hook;
pub mod loader;
pub mod metrics;
pub mod object;
mod pins;
pub mod plan;
mod programs;
mod reader;
pub mod settings;
pub mod state;
mod tables;

use std::fmt;
use std::time::{Duration, Instant};

use async_io::Timer;

use self::codec::{Counters, HostKey, Rules};
use self::loader::{Accounting, Hook};
use self::plan::{Attachment, Plan, Problem};
use self::settings::Settings;
use self::state::Hosts;
use self::tables::{Tables, Uncounted};
use super::{Collector, Finding, LocalFuture, Reload, Row, interfaces};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::lan::Interfaces;
use crate::metrics::{LabelSet, Page};
use crate::names::{Mac, Names};
use crate::netlink::rtnetlink::RouteSocket;
use crate::sorted::Sorted;
use crate::sys::caps::{self, Capability};
use crate::sys::interfaces::interfaces;
use crate::sys::limits;

/// Changes of the network come in bursts (a link, its addresses, its routes); they are acted on when none has come for
/// this long.
const SETTLE: Duration = Duration::from_millis(100);

/// What it takes to load programs and attach them.
const CAPABILITIES: &[Capability] = &[Capability::Bpf, Capability::NetAdmin, Capability::Perfmon];

/// The row of this collector.
pub const ROW: Row = Row {
    name: "traffic",
    section: &settings::SECTION,
    metrics: metrics::ALL,
    capabilities: |_| CAPABILITIES,
    build: |config| Ok(Box::new(Traffic::new(Settings::read(config)?))),
    check,
    prepare,
    clean: |config| loader::clean(Settings::read(config)?.pin_dir.as_deref()),
};

struct Traffic {
    settings: Settings,
    names: Names,
    hosts: Hosts,
    evicted: u64,
    interfaces: Interfaces,
    /// The network has changed, so `interfaces` is to be listed again. Kept here because listing may be cut short by a
    /// collection.
    outdated: bool,
    /// Something of `interfaces` or the settings changed since the plan was carried out.
    unsettled: bool,
    attached: Sorted<u32, Attached>,
    problems: Vec<Problem>,
    /// Labels of the hosts of one page, kept to spare an allocation per collection.
    rows: Vec<(LabelSet, Counters)>,
    open: Option<Open>,
}

/// What is open once the collector runs.
enum Open {
    /// This process accounts.
    Accounting { accounting: Box<Accounting>, route: RouteSocket },
    /// Another one does, and its tables are read.
    Beside(Box<Tables>),
}

struct Attached {
    ifname: String,
    rules: Rules,
    hook: Hook,
}

impl Traffic {
    fn new(settings: Settings) -> Self {
        Traffic {
            names: Names::new(settings.names.clone()),
            settings,
            hosts: Hosts::default(),
            evicted: 0,
            interfaces: Interfaces::default(),
            outdated: false,
            unsettled: true,
            attached: Sorted::default(),
            problems: Vec::new(),
            rows: Vec::new(),
            open: None,
        }
    }

    async fn open(&mut self) -> Result<()> {
        let pin_dir = check::usable_pin_dir(self.settings.pin_dir.as_deref());
        if let Err(error) = &pin_dir {
            log::warn!(target: ROW.name, "counting all the same, but counts end with the daemon: {error}");
        }
        privileged()?;
        let accounting = Box::new(Accounting::open(&self.settings.loader(pin_dir.unwrap_or(None)))?);
        self.open = Some(Open::Accounting { accounting, route: RouteSocket::open()? });
        self.list_interfaces().await?;
        self.settle();
        if let Some(Open::Accounting { accounting, .. }) = &mut self.open {
            accounting.retain(&self.attached.keys().copied().collect::<Vec<_>>());
        }
        Ok(())
    }

    async fn list_interfaces(&mut self) -> Result<()> {
        if matches!(self.open, Some(Open::Accounting { .. })) {
            self.interfaces = interfaces::now().await?;
            self.outdated = false;
            self.unsettled = true;
        }
        Ok(())
    }

    /// Attaches, detaches and re-rules until the kernel has what the plan says. What the kernel refuses is a problem
    /// that is told and tried again at the next collection.
    fn settle(&mut self) {
        let Some(Open::Accounting { accounting, .. }) = &mut self.open else { return };
        let mut plan = Plan::make(&self.settings, &self.interfaces);
        self.unsettled = false;
        let gone: Vec<u32> = self
            .attached
            .keys()
            .copied()
            .filter(|ifindex| !plan.attachments.iter().any(|wanted| wanted.ifindex == *ifindex))
            .collect();
        for ifindex in gone {
            if let Some(attached) = self.attached.remove(&ifindex) {
                log::info!(target: ROW.name, "{}: no longer counted", attached.ifname);
            }
            // An interface that is gone took its hooks with it; anything else is said.
            if let Err(error) = accounting.detach(ifindex) {
                log::warn!(target: ROW.name, "{error}");
            }
        }
        for wanted in std::mem::take(&mut plan.attachments) {
            let Attachment { ifindex, ifname, rules } = wanted;
            if let Some(attached) = self.attached.get_mut(&ifindex) {
                attached.ifname = ifname;
                if attached.rules == rules {
                    continue;
                }
                match accounting.set_rules(ifindex, &rules) {
                    Ok(()) => attached.rules = rules,
                    Err(error) => {
                        plan.problems.push(Problem { ifname: attached.ifname.clone(), text: error.to_string() });
                        self.unsettled = true;
                    }
                }
                continue;
            }
            match accounting.attach(ifindex, &ifname, &rules) {
                Ok(hook) => {
                    log::info!(target: ROW.name, "{ifname}: counting {} by {hook}", subnets(&rules));
                    self.attached.insert(ifindex, Attached { ifname, rules, hook });
                }
                Err(error) => {
                    plan.problems.push(Problem { ifname, text: error.to_string() });
                    self.unsettled = true;
                }
            }
        }
        // Where nothing is counted, the first problem is told as the reason of that.
        let told = usize::from(self.attached.is_empty());
        for problem in plan.problems.iter().skip(told).filter(|problem| !self.problems.contains(problem)) {
            log::warn!(target: ROW.name, "{}", problem.text);
        }
        self.problems = plan.problems;
    }

    fn collect(&mut self, page: &mut Page) -> Result<()> {
        if self.unsettled {
            self.settle();
        }
        self.names.refresh();
        let uncounted = self.read_tables()?;
        let (pinned, capacity) = match &self.open {
            Some(Open::Accounting { .. }) if self.attached.is_empty() => return Err(self.nothing_to_count()),
            Some(Open::Accounting { accounting, .. }) => (accounting.pinned(), accounting.capacity()),
            Some(Open::Beside(tables)) => (true, tables.capacity()),
            None => return Err(not_open()),
        };
        let unknown = self.write_hosts(page);
        page.family(&metrics::HOSTS);
        for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
            let labels = page.labels(&[&family]);
            page.sample(labels, self.hosts.count(ipv6) as u64);
        }
        page.single(&metrics::HOSTS_LIMIT, u64::from(capacity));
        page.single(&metrics::UNKNOWN_HOSTS, unknown);
        write_uncounted(page, &uncounted);
        // The rest is known to the process that accounts only.
        if let Some(Open::Accounting { route, .. }) = &self.open {
            page.single(&metrics::EVICTED, self.evicted);
            self.write_interfaces(page);
            page.single(&metrics::OVERRUNS, route.overruns());
        }
        page.single(&metrics::PINNED, pinned);
        Ok(())
    }

    /// Reads the kernel's tables and lets idle hosts make room.
    fn read_tables(&mut self) -> Result<Uncounted> {
        let now = Instant::now();
        self.hosts.begin();
        let hosts = &mut self.hosts;
        let each = |key: &HostKey, counters: &Counters| hosts.observe(key, counters, now);
        let uncounted = match &mut self.open {
            Some(Open::Accounting { accounting, .. }) => {
                accounting.read(each)?;
                accounting.uncounted()?
            }
            Some(Open::Beside(tables)) => {
                tables.read(each)?;
                tables.uncounted()?
            }
            None => return Err(not_open()),
        };
        self.hosts.end();
        if let Some(Open::Accounting { accounting, .. }) = &mut self.open {
            for key in self.hosts.to_evict(now, self.settings.evict_idle, accounting.capacity() as usize) {
                accounting.remove(&key)?;
                self.hosts.forget(&key);
                self.evicted += 1;
            }
        }
        Ok(uncounted)
    }

    /// One sample for each interface that is counted, or was asked for and is not.
    fn write_interfaces(&self, page: &mut Page) {
        page.family(&metrics::ATTACHED);
        for attached in self.attached.values() {
            let labels = page.labels(&[&attached.ifname, &attached.hook]);
            page.sample(labels, 1u64);
        }
        let counted = |ifname: &str| self.attached.values().any(|attached| attached.ifname == ifname);
        let mut missing: Vec<&str> =
            self.problems.iter().map(|problem| problem.ifname.as_str()).filter(|ifname| !counted(ifname)).collect();
        missing.sort_unstable();
        missing.dedup();
        for ifname in missing {
            let labels = page.labels(&[&ifname, &"none"]);
            page.sample(labels, 0u64);
        }
    }

    /// Writes the four host families and returns how many hosts have no known name.
    fn write_hosts(&mut self, page: &mut Page) -> u64 {
        let mut unknown = 0;
        self.rows.clear();
        for (key, counters) in self.hosts.iter() {
            let mac = Mac(key.mac);
            let name = self.names.of(Some(&mac), &key.addr);
            unknown += u64::from(name.is_none());
            if name.is_none() && !self.settings.unknown_hosts {
                continue;
            }
            let labels = page.labels(&[&mac, &Hostname { name, ipv6: key.addr.is_ipv6() }, &key.addr]);
            self.rows.push((labels, *counters));
        }
        let families = [
            (&metrics::DOWNLOAD, (|c| c.download_bytes) as fn(&Counters) -> u64),
            (&metrics::DOWNLOAD_PKTS, |c| c.download_packets),
            (&metrics::UPLOAD, |c| c.upload_bytes),
            (&metrics::UPLOAD_PKTS, |c| c.upload_packets),
        ];
        for (family, value) in families {
            page.family(family);
            for (labels, counters) in &self.rows {
                page.sample(*labels, value(counters));
            }
        }
        unknown
    }

    /// An interface that lost a filter of ours though it is still there: whoever deletes its clsact or ingress qdisc or
    /// all filters of a direction, as traffic shapers do when they restart, deletes ours with them. Nobody can do that to
    /// TCX links.
    fn robbed(&self) -> Option<&str> {
        let gone = |ifindex: &u32| {
            let there = |all: Vec<(u32, String)>| all.iter().any(|(index, _)| index == ifindex);
            !hook::counts_by_clsact(*ifindex) && interfaces().is_ok_and(there)
        };
        let robbed = |(ifindex, attached): &(&u32, &Attached)| attached.hook == Hook::Clsact && gone(ifindex);
        self.attached.iter().find(robbed).map(|(_, attached)| attached.ifname.as_str())
    }

    fn nothing_to_count(&self) -> Error {
        match self.problems.first() {
            Some(problem) => Error::failed("count traffic", problem.text.clone()),
            None => Error::failed("count traffic", "no LAN interface was found")
                .remedy("name it with -4 ADDR/LEN/IFACE, as in -4 192.168.1.1/24/br-lan"),
        }
    }
}

impl Collector for Traffic {
    fn interval(&self) -> Duration {
        self.settings.interval
    }

    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(Traffic::open(self))
    }

    fn open_once(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async {
            match &self.settings.pin_dir {
                Some(dir) if loader::is_running() => {
                    self.open = Some(Open::Beside(Box::new(reader::open(dir)?)));
                    Ok(())
                }
                _ => Traffic::open(self).await,
            }
        })
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(async { Traffic::collect(self, page) })
    }

    fn between(&mut self) -> LocalFuture<'_, Error> {
        Box::pin(async {
            if let Some(ifname) = self.robbed() {
                // Built anew, the collector puts its filters back; the counts are in the tables.
                return Error::failed(format!("go on counting on {ifname}"), "another program has removed our filters");
            }
            // What the kernel refused waits for the next collection; only changes are acted on here.
            loop {
                let Some(Open::Accounting { route, .. }) = &mut self.open else { return std::future::pending().await };
                if !self.outdated {
                    let (interfaces, outdated) = (&mut self.interfaces, &mut self.outdated);
                    let lost = route.wait(|event| *outdated |= interfaces.apply(event)).await.is_err();
                    if lost {
                        log::debug!(target: ROW.name, "events about the network were lost: all is listed again");
                    }
                    *outdated |= lost;
                }
                if self.outdated {
                    // Changes come in company, each a moment after the other. What they amount to is listed: the kernel
                    // does not tell of the end of every route.
                    Timer::after(SETTLE).await;
                    route.discard();
                    if let Err(error) = self.list_interfaces().await {
                        return error;
                    }
                }
                if self.unsettled {
                    self.settle();
                }
            }
        })
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        let new = Settings::read(config)?;
        let old = &self.settings;
        if (new.max_hosts, new.attach, &new.pin_dir) != (old.max_hosts, old.attach, &old.pin_dir) {
            return Ok(Reload::Rebuild);
        }
        self.names = Names::new(new.names.clone());
        self.settings = new;
        self.settle();
        Ok(Reload::Done)
    }
}

/// Mounts the BPF file system, which takes CAP_SYS_ADMIN, unless it is there, and lifts the limit of locked memory,
/// which takes CAP_SYS_RESOURCE.
fn prepare(config: &Config) {
    // Where it matters, before Linux 5.11, the kernel's refusal of a map is told with the limit as a likely reason.
    let _ = limits::lift_locked_memory();
    if let Ok(settings) = Settings::read(config) {
        // What fails is found again, and told, when the collector is opened.
        let _ = check::usable_pin_dir(settings.pin_dir.as_deref());
    }
}

/// Fails if a capability is missing without which the kernel takes no program at all. Which of many system calls it would
/// refuse first is chance, and each would be told as another reason.
fn privileged() -> Result<()> {
    let missing = |capability: &Capability| !caps::has(*capability) && !caps::has(Capability::SysAdmin);
    match [Capability::Bpf, Capability::NetAdmin].into_iter().find(missing) {
        None => Ok(()),
        Some(capability) => {
            let why = format!("{} is missing", capability.name());
            let names = CAPABILITIES.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ");
            Err(Error::failed("load the traffic accounting program", why)
                .remedy(format!("run as root or grant {names} (before Linux 5.8 CAP_SYS_ADMIN and CAP_NET_ADMIN)")))
        }
    }
}

fn not_open() -> Error {
    Error::failed("count traffic", "the collector is not open")
}

fn write_uncounted(page: &mut Page, uncounted: &Uncounted) {
    let reasons = [("table_full", uncounted.table_full), ("truncated", uncounted.truncated)];
    let labels = reasons.map(|(reason, _)| page.labels(&[&reason]));
    page.family(&metrics::UNCOUNTED_PACKETS);
    for (labels, (_, amount)) in labels.iter().zip(&reasons) {
        page.sample(*labels, amount.packets);
    }
    page.family(&metrics::UNCOUNTED_BYTES);
    for (labels, (_, amount)) in labels.iter().zip(&reasons) {
        page.sample(*labels, amount.bytes);
    }
}

/// The LAN prefixes of an interface, for people.
fn subnets(rules: &Rules) -> String {
    let v4 = rules.lan4.iter().map(|(addr, len)| format!("{addr}/{len}"));
    let v6 = rules.lan6.iter().map(|(addr, len)| format!("{addr}/{len}"));
    v4.chain(v6).collect::<Vec<_>>().join(" ")
}

/// The `hostname` label: the name, with `-v6` behind it for an IPv6 address, as mezoura has it.
struct Hostname<'a> {
    name: Option<&'a str>,
    ipv6: bool,
}

impl fmt::Display for Hostname<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.ipv6) {
            (Some(name), false) => f.write_str(name),
            (Some(name), true) => write!(f, "{name}-v6"),
            (None, _) => f.write_str("unknown"),
        }
    }
}

fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let mut findings = check::findings(settings.pin_dir.as_deref(), settings.attach);
    let mut traffic = Traffic::new(settings);
    match smol::block_on(interfaces::now()) {
        Ok(interfaces) => traffic.interfaces = interfaces,
        Err(error) => {
            findings.push(Finding::broken(error.to_string()));
            return findings;
        }
    }
    let plan = Plan::make(&traffic.settings, &traffic.interfaces);
    findings.extend(plan.problems.iter().map(|problem| Finding::broken(problem.text.clone())));
    for attachment in &plan.attachments {
        findings.push(Finding::ok(format!("{}: will count {}", attachment.ifname, subnets(&attachment.rules))));
    }
    findings.extend(plan::doubts(&traffic.settings, &traffic.interfaces).into_iter().map(Finding::note));
    if plan.attachments.is_empty() && plan.problems.is_empty() {
        findings.push(Finding::broken(traffic.nothing_to_count().to_string()));
    }
    traffic.names.refresh();
    let known = traffic.names.len();
    findings.push(match known {
        0 if !traffic.settings.unknown_hosts => Finding::note(
            "no host names are known, so no host is exported; name hosts in UCI dhcp or set -o traffic.unknown_hosts=1",
        ),
        _ => Finding::ok(format!("{known} host names are known")),
    });
    findings
}
