//! What the engine shares with those who ask: the targets, the names they came by, and the figures. Everything is on one
//! thread, so it is a cell; nobody keeps it borrowed while waiting.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use smol::future::FutureExt as _;

use super::ROW;
use super::gateway::{self, Gateways};
use super::ledger::Ledger;
use super::request::{Asked, Refusal};
use super::settings::{Host, Settings, Via, Wanted};
use super::signal::Signal;
use super::table::{By, Key, Table};
use crate::metrics::Page;
use crate::names::host_name::HostName;
use crate::names::lookup::{Families, Lookup, MAX_NAMES, Sources};

/// How long somebody who asks waits for name servers and for the engine.
const PATIENCE: Duration = Duration::from_secs(9);

/// See the module.
pub struct Desk {
    state: RefCell<State>,
    /// Raised when the engine has something to do.
    work: Signal,
}

/// All that is shared.
pub struct State {
    /// What the user asked for.
    pub settings: Settings,
    /// Who is probed.
    pub table: Table,
    /// What is counted of all together.
    pub ledger: Ledger,
    /// All that was received until then has been taken in.
    pub received_until: Instant,
    lookup: Lookup,
    /// Where the default routes lead, once that is known.
    gateways: Option<Gateways>,
    /// Names whose trouble was told.
    troubled: Vec<HostName>,
    /// Those who wait for the engine's next step.
    waiting: Vec<Rc<Signal>>,
    /// Those who wait for news of names.
    curious: Vec<Rc<Signal>>,
}

/// An answer to a request: figures of the targets it names.
#[derive(Debug)]
pub struct Answer {
    /// The figures.
    pub page: Page,
    /// How many addresses they are about.
    pub addresses: usize,
}

impl Desk {
    /// A desk with the targets of the configuration that are addresses; the names are looked up once the engine runs.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let lookup = Lookup::new(Sources { servers: settings.dns_servers.clone(), ..Sources::default() });
        let mut table = Table::new(&settings, now);
        settings.targets.iter().for_each(|wanted| table.configure(wanted, &[], now));
        let state = State {
            settings,
            table,
            ledger: Ledger::default(),
            received_until: now,
            lookup,
            gateways: None,
            troubled: Vec::new(),
            waiting: Vec::new(),
            curious: Vec::new(),
        };
        Desk { state: RefCell::new(state), work: Signal::default() }
    }

    /// What is shared; not to be kept over a wait.
    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Works on names, for the engine: ready when somebody wants something of it, or when names are known.
    pub fn poll(&self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut state = self.state();
        let named = state.lookup.poll_work(cx, now);
        if named.is_ready() {
            state.bind(now);
            state.curious.drain(..).for_each(|signal| signal.raise());
        }
        match (named, self.work.poll(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Has the targets of a request probed from now on, and tells how they are doing.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub async fn answer(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let too_late = async {
            Timer::after(PATIENCE).await;
            Err(Refusal::unavailable(
                "the prober does not answer in time; gatemeter_collector_up{collector=\"probe\"} tells more",
            ))
        };
        let answer = async {
            // All that was received by now is taken in when the engine has stepped.
            self.turn().await;
            loop {
                let signal = Rc::new(Signal::default());
                {
                    let mut state = self.state();
                    if let Some(done) = state.answer(asked, Instant::now()) {
                        return done;
                    }
                    state.curious.push(signal.clone());
                }
                poll_fn(|cx| signal.poll(cx)).await;
            }
        };
        answer.or(too_late).await
    }

    /// Has the engine step, and waits for it.
    async fn turn(&self) {
        let signal = Rc::new(Signal::default());
        self.state().waiting.push(signal.clone());
        self.work.raise();
        poll_fn(|cx| signal.poll(cx)).await;
    }

    /// Takes new settings over; the engine follows with its next step.
    pub fn reconfigure(&self, settings: Settings, now: Instant) {
        let mut state = self.state();
        state.table.reconfigure(&settings, now);
        if settings.dns_servers != state.settings.dns_servers {
            state.lookup = Lookup::new(Sources { servers: settings.dns_servers.clone(), ..Sources::default() });
        }
        state.settings = settings;
        state.troubled.clear();
        state.table.forget_paths();
        drop(state);
        self.work.raise();
    }
}

impl State {
    /// Tells all who wait for a step that there was one.
    pub fn tell(&mut self) {
        self.waiting.drain(..).for_each(|signal| signal.raise());
    }

    /// Has the names that are in use looked up again if what is known of them has become old, and drops what nobody has
    /// asked for lately. To be called now and then.
    pub fn refresh(&mut self, now: Instant) {
        self.table.sweep(now);
        let State { table, lookup, settings, .. } = self;
        for name in table.names().iter().filter(|name| !gateway::is_meant(&name.host)) {
            lookup.want(&name.host, name.families, now);
        }
        for wanted in &settings.targets {
            if let Host::Name(host) = &wanted.host
                && !gateway::is_meant(host)
            {
                lookup.want(host, settings.families(wanted.families), now);
            }
        }
        self.bind(now);
    }

    /// Takes over where the default routes lead now.
    pub fn follow(&mut self, gateways: Gateways, now: Instant) {
        if self.gateways.replace(gateways) == Some(gateways) {
            return;
        }
        let is_it = |host: &HostName| gateway::is_meant(host);
        let of_configuration = |wanted: &Wanted| matches!(&wanted.host, Host::Name(host) if is_it(host));
        if self.settings.targets.iter().any(of_configuration) {
            log::info!(target: ROW.name, "{gateways}");
        }
        self.bind(now);
        self.curious.drain(..).for_each(|signal| signal.raise());
    }

    /// Where the default routes lead, as far as that is known.
    pub fn gateways(&self) -> Gateways {
        self.gateways.unwrap_or_default()
    }

    /// Takes over the addresses of the names that are in use.
    fn bind(&mut self, now: Instant) {
        let State { table, lookup, gateways, settings, troubled, .. } = self;
        for wanted in &settings.targets {
            let Host::Name(host) = &wanted.host else { continue };
            let families = settings.families(wanted.families);
            if gateway::is_meant(host) {
                if let Some(gateways) = gateways {
                    table.configure(wanted, &gateways.addresses(families), now);
                }
                continue;
            }
            let Some(known) = lookup.get(host, families) else { continue };
            let was_told = troubled.iter().position(|name| name == host);
            match (&known.trouble, was_told) {
                (Some(trouble), None) => {
                    log::warn!(target: ROW.name, "target {host}: {trouble}");
                    troubled.push(host.clone());
                }
                (None, Some(at)) => {
                    log::info!(target: ROW.name, "target {host} has an address again");
                    troubled.swap_remove(at);
                }
                _ => {}
            }
            if !known.addrs.is_empty() {
                let addresses: Vec<IpAddr> = usable(&known.addrs, settings).collect();
                table.configure(wanted, &addresses, now);
            }
        }
        let asked: Vec<(HostName, Families)> =
            table.names().iter().map(|name| (name.host.clone(), name.families)).collect();
        for (host, families) in asked {
            if gateway::is_meant(&host) {
                if let Some(gateways) = gateways {
                    table.bind(&host, families, &gateways.addresses(families), By::Lookup, now);
                }
            } else if let Some(known) = lookup.get(&host, families).filter(|known| !known.addrs.is_empty()) {
                let addresses: Vec<IpAddr> = usable(&known.addrs, settings).collect();
                table.bind(&host, families, &addresses, By::Lookup, now);
            }
        }
    }

    /// Whether there is a result of every target of the configuration, or an address is waited for in vain.
    pub fn has_results(&mut self) -> bool {
        let is_known = |wanted: &Wanted| match &wanted.host {
            Host::Address(_) => true,
            Host::Name(host) if gateway::is_meant(host) => self.gateways.is_some(),
            Host::Name(host) => self.lookup.get(host, self.settings.families(wanted.families)).is_some(),
        };
        if !self.settings.targets.iter().all(is_known) {
            return false;
        }
        let until = self.received_until;
        self.table.entries_mut().for_each(|entry| entry.target.expire(until));
        self.table.iter().all(|(_, entry)| entry.target.totals().sent > 0)
    }

    /// What the configuration calls a host.
    pub fn name_of(&self, host: &str) -> Option<&str> {
        let is_it = |wanted: &&Wanted| wanted.host.to_string() == host;
        self.settings.targets.iter().find(is_it).map(|wanted| wanted.name.as_str())
    }

    /// How many targets of the configuration have no address so far.
    pub fn unresolved(&self) -> usize {
        let is_unresolved = |host: &Host, families| match host {
            Host::Address(_) => false,
            // Without a default route there is nobody to probe, and nothing wrong with that.
            Host::Name(host) if gateway::is_meant(host) => false,
            Host::Name(host) => {
                let known = self.lookup.get(host, self.settings.families(families));
                known.is_none_or(|known| usable(&known.addrs, &self.settings).next().is_none())
            }
        };
        self.settings.targets.iter().filter(|wanted| is_unresolved(&wanted.host, wanted.families)).count()
    }

    /// The addresses of a target of the configuration.
    pub fn addresses_of(&self, host: &Host, families: Families) -> Vec<IpAddr> {
        match host {
            Host::Address(ip) => vec![*ip],
            Host::Name(name) if gateway::is_meant(name) => self.gateways().addresses(self.settings.families(families)),
            Host::Name(name) => {
                let known = self.lookup.get(name, self.settings.families(families));
                known.map(|known| usable(&known.addrs, &self.settings).collect()).unwrap_or_default()
            }
        }
    }

    /// The answer to a request; none as long as names are being looked up.
    fn answer(&mut self, asked: &Asked, now: Instant) -> Option<Result<Answer, Refusal>> {
        let families = self.settings.families(asked.families);
        let mut addresses: Vec<(IpAddr, Option<&HostName>)> = Vec::new();
        let (mut is_waiting, mut trouble) = (false, None);
        for host in &asked.hosts {
            match host {
                Host::Address(ip) => addresses.push((*ip, None)),
                Host::Name(name) => {
                    let is_new = !self.table.names().iter().any(|known| known.host == *name);
                    if is_new && !self.settings.targets_from_http {
                        let why =
                            format!("target {name} is not in the configuration, and probe.targets_from_http is 0");
                        return Some(Err(Refusal::forbidden(why)));
                    }
                    if gateway::is_meant(name) {
                        match self.gateways {
                            None => is_waiting = true,
                            Some(gateways) if gateways.of(families).next().is_none() => {
                                trouble = Some(format!("target {name}: {}", Gateways::default()));
                            }
                            Some(gateways) => {
                                addresses.extend(gateways.of(families).map(|gateway| (gateway.ip, Some(name))));
                            }
                        }
                        continue;
                    }
                    if !self.lookup.want(name, families, now) {
                        let why = format!("more than {MAX_NAMES} host names are asked for");
                        return Some(Err(Refusal::bad(why)));
                    }
                    match self.lookup.get(name, families) {
                        None => is_waiting = true,
                        Some(known) if known.addrs.is_empty() => {
                            let why = known.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
                            trouble = Some(format!("target {name} does not resolve: {why}"));
                        }
                        Some(known) => {
                            let before = addresses.len();
                            addresses.extend(usable(&known.addrs, &self.settings).map(|ip| (ip, Some(name))));
                            if addresses.len() == before {
                                let addrs: Vec<String> = known.addrs.iter().map(ToString::to_string).collect();
                                let addrs = addrs.join(", ");
                                trouble = Some(format!("target {name} has no address that is probed: {addrs}"));
                            }
                        }
                    }
                }
            }
        }
        if is_waiting {
            return None;
        }
        // One name that has no address at present does not cost the others their figures.
        if let (true, Some(trouble)) = (addresses.is_empty(), trouble) {
            return Some(Err(Refusal::bad(trouble)));
        }
        Some(self.admit(asked, families, addresses, now))
    }

    fn admit(
        &mut self,
        asked: &Asked,
        families: Families,
        addresses: Vec<(IpAddr, Option<&HostName>)>,
        now: Instant,
    ) -> Result<Answer, Refusal> {
        let State { settings, table, received_until, .. } = &mut *self;
        let mut distinct: Vec<IpAddr> = addresses.iter().map(|(ip, _)| *ip).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let ports = asked.ports();
        let wanted = distinct.len() * ports.len();
        let limit = asked.limit.min(settings.max_targets);
        if wanted > limit {
            let why = format!("too many targets: {wanted} addresses and ports, the limit is {limit}");
            return Err(Refusal::bad(why));
        }
        for ip in &distinct {
            if *settings.via(ip) == Via::Nowhere {
                let family = if ip.is_ipv4() { 4 } else { 6 };
                return Err(Refusal::bad(format!("target {ip}: probe.interface{family} is none")));
            }
        }
        let keys = distinct.iter().flat_map(|ip| ports.iter().map(|port| Key { ip: *ip, port: *port }));
        let keys: Vec<Key> = keys.collect();
        let new: Vec<&Key> = keys.iter().filter(|key| table.find(key).is_none()).collect();
        if let Some(key) = new.first() {
            if !settings.targets_from_http {
                let why = format!("target {} is not in the configuration, and probe.targets_from_http is 0", key.ip);
                return Err(Refusal::forbidden(why));
            }
            let is_allowed =
                |ip: &IpAddr| settings.allow.is_empty() || settings.allow.iter().any(|net| net.contains(*ip));
            if let Some(key) = new.iter().find(|key| !is_allowed(&key.ip)) {
                return Err(Refusal::forbidden(format!("target {} is not in probe.allow_target", key.ip)));
            }
            if !table.has_room_for(new.len()) {
                let (now, more, limit) = (table.len(), new.len(), settings.max_targets);
                let why = format!(
                    "too many targets: {more} more than the {now} that are probed, probe.max_targets is {limit}"
                );
                return Err(Refusal::bad(why));
            }
        }
        for host in &asked.hosts {
            if let Host::Name(name) = host {
                let own = addresses.iter().filter(|(_, by)| *by == Some(name)).map(|(ip, _)| *ip);
                table.bind(name, families, &own.collect::<Vec<_>>(), By::Request, now);
            }
        }
        let mut ids = Vec::with_capacity(keys.len());
        for key in keys {
            let is_literal = addresses.iter().any(|(ip, by)| *ip == key.ip && by.is_none());
            let id = table.ask(key, settings.manner, is_literal, now);
            ids.push(id.map_err(|_| Refusal::bad("too many targets"))?);
        }
        for id in &ids {
            if let Some(entry) = table.get_mut(*id) {
                entry.target.expire(*received_until);
            }
        }
        let page = super::report::of_request(self, &ids, &addresses);
        Ok(Answer { page, addresses: distinct.len() })
    }
}

/// The addresses of a name that are probed: those of hosts elsewhere, of families that are.
fn usable(addrs: &[IpAddr], settings: &Settings) -> impl Iterator<Item = IpAddr> {
    let is_elsewhere = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_broadcast() || ip.is_multicast() || ip.is_link_local())
        }
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local()),
    };
    addrs.iter().copied().filter(is_elsewhere).filter(|ip| *settings.via(ip) != Via::Nowhere)
}
