//! What this system offers for connections: findings of `gatemeter check`.

use std::fs;
use std::io;

use super::reader::{answers, remedy};
use crate::collectors::Finding;

/// Where the settings of conntrack are; they belong to the network namespace of the thread that reads.
const SETTINGS: &str = "/proc/sys/net/netfilter";
/// Whether the kernel lets us read its flows as a file, of which this is the name for people.
const PROC_FILE: &str = "/proc/net/nf_conntrack";

/// Of which flows the kernel makes events (`nf_conntrack_events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Of none.
    None,
    /// Of all.
    All,
    /// Of those that have begun since somebody subscribed; of older ones it does not even tell the end.
    SinceSubscription,
}

/// Reads which flows the kernel makes events of.
pub fn announced() -> Announced {
    match setting("nf_conntrack_events") {
        None | Some(0) => Announced::None,
        Some(1) => Announced::All,
        Some(_) => Announced::SinceSubscription,
    }
}

/// Whether the kernel counts bytes of flows that begin now; none if it cannot be read.
pub fn counts_bytes() -> Option<bool> {
    setting("nf_conntrack_acct").map(|number| number != 0)
}

/// Tells whether connections can be read, and with `bytes` whether their bytes are counted.
pub fn check(bytes: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    match answers() {
        Ok((_, stats)) => {
            let max = if stats.max > 0 { u64::from(stats.max) } else { setting("nf_conntrack_max").unwrap_or(0) };
            let full = max > 0 && u64::from(stats.entries) >= max / 10 * 9;
            let text = format!("connections by netlink: {} of at most {max}", stats.entries);
            found.push(match full {
                true => Finding::note(format!(
                    "{text}, so new ones may fail; raise it with sysctl -w net.netfilter.nf_conntrack_max={}",
                    max * 2
                )),
                false => Finding::ok(text),
            });
            if announced() == Announced::None {
                found.push(Finding::note(
                    "nf_conntrack_events is 0, so all connections are read each time; \
                     sysctl -w net.netfilter.nf_conntrack_events=1 makes that cheaper",
                ));
            }
        }
        Err(error) => found.push(unanswered(&error)),
    }
    if bytes {
        found.push(match counts_bytes() {
            Some(true) => Finding::ok("the kernel counts bytes of connections"),
            Some(false) => Finding::broken(
                "the kernel counts no bytes of connections; sysctl -w net.netfilter.nf_conntrack_acct=1 turns that on \
                 for connections that begin after it",
            ),
            None => Finding::broken(format!("cannot read {SETTINGS}/nf_conntrack_acct; {}", remedy())),
        });
    }
    found
}

fn unanswered(error: &io::Error) -> Finding {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => "connections cannot be read by netlink without CAP_NET_ADMIN".to_owned(),
        // What nfnetlink says of a part it does not have, and socket() without nfnetlink.
        Some(libc::EINVAL | libc::EPROTONOSUPPORT) => {
            "this kernel offers no connections by netlink (opkg install kmod-nf-conntrack-netlink)".to_owned()
        }
        _ => format!("connections cannot be read by netlink: {error}"),
    };
    match fs::File::open(PROC_FILE) {
        Ok(_) => Finding::note(format!("{why}; {PROC_FILE} is read instead, every 10 s")),
        Err(_) => Finding::broken(format!("{why}, and there is no {PROC_FILE}; {}", remedy())),
    }
}

/// A number among the settings of conntrack.
fn setting(name: &str) -> Option<u64> {
    fs::read_to_string(format!("{SETTINGS}/{name}")).ok()?.trim().parse().ok()
}
