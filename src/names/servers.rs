//! Whom to ask: DNS servers and domains as resolv.conf has them now, or servers of the user's choice.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::resolv_conf::ResolvConf;
use super::watched::State;
use crate::files;
use crate::sys::interfaces::interfaces;

/// Most of resolv.conf that is read, in bytes.
const MAX_CONF: u64 = 64 * 1024;

/// The DNS servers, read again when resolv.conf has changed.
#[derive(Debug)]
pub struct Servers {
    /// Those to ask in any case; with none, those of the file.
    fixed: Vec<SocketAddr>,
    path: PathBuf,
    /// What the file said in this state, with our own servers if there are any.
    conf: ResolvConf,
    state: Option<State>,
}

impl Servers {
    /// Opens nothing before [`Servers::refresh`].
    pub fn new(fixed: Vec<SocketAddr>, path: PathBuf) -> Self {
        Servers { fixed, path, conf: ResolvConf::parse("", |_| None), state: None }
    }

    /// Reads resolv.conf if it has changed; true if it has.
    pub fn refresh(&mut self) -> bool {
        let state = Some(State::of(&self.path));
        if state == self.state {
            return false;
        }
        self.state = state;
        let text = files::read_lines(&self.path, MAX_CONF).unwrap_or_else(|error| {
            log::warn!("names: cannot read {}: {error}", self.path.display());
            None
        });
        let text = text.unwrap_or_default().bytes;
        self.conf = ResolvConf::parse(&String::from_utf8_lossy(&text), ifindex);
        if !self.fixed.is_empty() {
            self.conf.servers.clone_from(&self.fixed);
        }
        true
    }

    /// The servers and domains.
    pub fn conf(&self) -> &ResolvConf {
        &self.conf
    }

    /// The servers' addresses with commas between, for a message.
    pub fn list(&self) -> String {
        let servers: Vec<_> = self.conf.servers.iter().map(SocketAddr::to_string).collect();
        servers.join(", ")
    }
}

fn ifindex(name: &str) -> Option<u32> {
    interfaces().ok()?.into_iter().find(|(_, known)| known == name).map(|(index, _)| index)
}
