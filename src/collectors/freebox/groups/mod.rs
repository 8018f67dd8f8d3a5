//! What there is to ask the box, group by group: which answers, which records they make, and the tables of figures.

pub mod call;
pub mod config;
pub mod connection;
pub mod dhcp;
pub mod disk;
pub mod lan;
pub mod lte;
pub mod switch;
pub mod system;
pub mod vm;
pub mod vpn_client;
pub mod vpn_server;
pub mod wifi;

use super::json::{Doc, Node};
use super::table::{Family, Figure, Form, Kind, Make, Record};
use crate::metrics::{self, Desc};

/// Most answers a group asks for beyond its first ones, such as one for each port of a switch.
pub const MAX_MORE: usize = 32;

/// All groups, in the order of output.
pub static ALL: [&Group; 13] = [
    &config::GROUP,
    &connection::GROUP,
    &lte::GROUP,
    &system::GROUP,
    &switch::GROUP,
    &disk::GROUP,
    &wifi::GROUP,
    &dhcp::GROUP,
    &lan::GROUP,
    &call::GROUP,
    &vm::GROUP,
    &vpn_server::GROUP,
    &vpn_client::GROUP,
];

/// A part of the API.
#[derive(Debug)]
pub struct Group {
    /// Its name in the option `status` and in the label `section`.
    pub name: &'static str,
    /// Whether it is read without being asked for.
    pub always: bool,
    /// It is not read more often than this, in seconds; 0 for every time.
    pub pace: u32,
    /// The right it takes, if any.
    pub right: Option<&'static str>,
    /// Its families.
    pub families: &'static [Family],
    /// Its points.
    pub forms: &'static [Form],
    /// What is asked first, by the version of the API. The group fails with the first of them.
    pub first: fn(u32) -> &'static [&'static str],
    /// What is asked once those are there.
    pub more: fn(&Replies) -> Vec<String>,
    /// The records of the answers.
    pub records: for<'a> fn(&'a Replies, &'a Context, &mut Vec<Record<'a>>),
}

/// What records need to know beside the answers.
#[derive(Debug, Default, Clone)]
pub struct Context {
    /// Version of the API.
    pub version: u32,
    /// The box's model, as it tells without a session.
    pub box_model: String,
    /// Whose figures the WAN's upload is.
    pub upload: Upload,
    /// Seconds since 1970.
    pub now: u64,
}

/// Whose figures are taken for the WAN's upload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// The connection's own.
    #[default]
    Own,
    /// Bytes per second and bytes that came in over all switch ports; none while the switch does not tell, as the connection's
    /// own are of something else.
    Switch(Option<(u64, u64)>),
}

/// The answers to the paths asked for, in that order; nothing where the box refused one.
#[derive(Debug, Default)]
pub struct Replies(pub Vec<Option<Doc>>);

impl Replies {
    /// The result of an answer, if there is one.
    pub fn result(&self, index: usize) -> Option<Node<'_>> {
        self.0.get(index)?.as_ref()?.root().at("result")
    }

    /// The items of an answer that is a list.
    pub fn items(&self, index: usize) -> impl Iterator<Item = Node<'_>> {
        self.result(index).into_iter().flat_map(Node::items)
    }
}

/// The id of something as it stands in a path: nothing that would lead elsewhere.
fn id_in_path(node: Node<'_>, field: &str) -> Option<String> {
    let id = node.at(field)?.text()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(is_plain)).then(|| id.into_owned())
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Desc {
    Desc { name, kind: metrics::Kind::Gauge, labels, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Desc {
    Desc { name, kind: metrics::Kind::Counter, labels, help }
}

const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Desc {
    Desc { name, kind: metrics::Kind::Info, labels, help }
}

const fn family(desc: Desc, figures: &'static [Figure]) -> Family {
    Family { desc, per_host: false, figures }
}

const fn per_host(desc: Desc, figures: &'static [Figure]) -> Family {
    Family { desc, per_host: true, figures }
}

const fn of(of: Kind, value: &'static str, make: Make, labels: &'static [&'static str]) -> Figure {
    Figure { of, value, make, labels }
}

fn nothing_more(_: &Replies) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests;
