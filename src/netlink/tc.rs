//! Traffic control over rtnetlink: the clsact qdisc of an interface, and filters that are classifiers
//! (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::build::Datagram;
use super::transport::Requests;
use super::{known, request, tail, text};
use crate::bytes::ne32;
use crate::error::Malformed;

/// Parent of the filters that see packets coming in (TC_H_CLSACT, TC_H_MIN_INGRESS).
pub const INGRESS: u32 = 0xffff_fff2;
/// Parent of the filters that see packets going out (TC_H_CLSACT, TC_H_MIN_EGRESS).
pub const EGRESS: u32 = 0xffff_fff3;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

/// `struct tcmsg`: family 1, pad 3, ifindex 4, handle 4, parent 4, info 4.
const TCMSG_BYTES: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// The program's own verdict counts (TCA_BPF_FLAG_ACT_DIRECT).
const DIRECT_ACTION: u32 = 1;

/// One filter of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its priority; filters run in rising order.
    pub priority: u16,
    /// Its handle among those of the same priority.
    pub handle: u32,
    /// Its kind: `bpf`, `matchall`, `u32`...
    pub kind: String,
    /// Name of the program, for kind `bpf`.
    pub name: String,
}

/// Where a filter sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The interface.
    pub ifindex: u32,
    /// [`INGRESS`] or [`EGRESS`].
    pub parent: u32,
    /// Its priority.
    pub priority: u16,
    /// Its handle among those of the same priority.
    pub handle: u32,
}

impl Place {
    fn tcmsg(self) -> [u8; TCMSG_BYTES] {
        // Filters of all protocols, in network order.
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        tcmsg(self.ifindex, self.handle, self.parent, u32::from(self.priority) << 16 | u32::from(protocol))
    }
}

/// The filters of `ifindex` below `parent`, or none if it has no clsact qdisc.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut found = Vec::new();
    let request = request(libc::RTM_GETTFILTER, flags, 1, &tcmsg(ifindex, 0, parent, 0));
    Requests::open(libc::NETLINK_ROUTE)?.get(&request, |message| {
        if message.kind == libc::RTM_NEWTFILTER {
            found.push(filter(message.body)?);
        }
        Ok(())
    })?;
    // Each priority is listed once by itself before its filters; that entry has no handle.
    found.retain(|filter| filter.handle != 0);
    Ok(found)
}

/// Puts a classifier at `place`. It takes over from the filter that is there without a packet missed if it is to
/// `replace` it, and is refused if not.
pub fn set_filter(place: Place, program: BorrowedFd<'_>, name: &str, replace: bool) -> io::Result<()> {
    let flags = if replace { 0 } else { libc::NLM_F_CREATE | libc::NLM_F_EXCL };
    change(libc::RTM_NEWTFILTER, flags, &place.tcmsg(), |message| {
        message.text(TCA_KIND, "bpf").nested(TCA_OPTIONS, |options| {
            options.ne32(TCA_BPF_FD, program.as_raw_fd() as u32);
            options.text(TCA_BPF_NAME, name).ne32(TCA_BPF_FLAGS, DIRECT_ACTION);
        });
    })
}

/// Removes the filter at `place`.
pub fn remove_filter(place: Place) -> io::Result<()> {
    change(libc::RTM_DELTFILTER, 0, &place.tcmsg(), |_| {})
}

/// Adds the clsact qdisc to `ifindex`; `AlreadyExists` if it has one.
pub fn add_clsact(ifindex: u32) -> io::Result<()> {
    clsact(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, ifindex)
}

/// Removes the clsact qdisc of `ifindex` with all filters below it.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    clsact(libc::RTM_DELQDISC, 0, ifindex)
}

fn clsact(kind: u16, flags: libc::c_int, ifindex: u32) -> io::Result<()> {
    change(kind, flags, &tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0), |message| {
        message.text(TCA_KIND, "clsact");
    })
}

fn change(kind: u16, flags: libc::c_int, fixed: &[u8], attributes: impl FnOnce(&mut Datagram)) -> io::Result<()> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut request = Datagram::new();
    attributes(request.message(kind, flags, 1, fixed));
    Requests::open(libc::NETLINK_ROUTE)?.get(&request.finish(), |_| Ok(()))
}

fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG_BYTES] {
    let mut fixed = [0; TCMSG_BYTES];
    for (field, word) in fixed.chunks_exact_mut(4).zip([0, ifindex, handle, parent, info]) {
        field.copy_from_slice(&word.to_ne_bytes());
    }
    fixed
}

/// Reads the body of a message about a filter.
///
/// # Errors
/// It is shorter than its fixed part.
pub fn filter(body: &[u8]) -> Result<Filter, Malformed> {
    let handle = ne32(body, 8, "filter handle")?;
    let info = ne32(body, 16, "filter priority")?;
    let mut filter = Filter { priority: (info >> 16) as u16, handle, kind: String::new(), name: String::new() };
    for attribute in known(tail(body, TCMSG_BYTES, "filter attributes")?) {
        match attribute.kind {
            TCA_KIND => filter.kind = text(attribute.value),
            TCA_OPTIONS => {
                if let Some(name) = known(attribute.value).find(|option| option.kind == TCA_BPF_NAME) {
                    filter.name = text(name.value);
                }
            }
            _ => {}
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::super::messages;
    use super::*;
    use crate::sys::interfaces::interfaces;

    #[test]
    fn an_interface_without_clsact_has_no_filters() {
        let lo = interfaces().unwrap().into_iter().find(|(_, name)| name == "lo").unwrap().0;
        assert_eq!(filters(lo, INGRESS).unwrap_or_default(), []);
    }

    #[test]
    fn removing_what_is_not_there_is_the_kernels_error() {
        assert!(remove_clsact(0x7fff_ffff).unwrap_err().raw_os_error().is_some());
    }

    #[test]
    fn a_filter_is_told_by_priority_handle_kind_and_name() {
        let place = Place { ifindex: 7, parent: INGRESS, priority: 7, handle: 0x676d };
        let mut message = Datagram::new();
        message.message(libc::RTM_NEWTFILTER, 0, 1, &place.tcmsg());
        message.text(TCA_KIND, "bpf").nested(TCA_OPTIONS, |options| {
            options.text(TCA_BPF_NAME, "gate");
        });
        let bytes = message.finish();
        let body = messages(&bytes).next().unwrap().unwrap().body;
        let want = Filter { priority: 7, handle: 0x676d, kind: "bpf".into(), name: "gate".into() };
        assert_eq!(filter(body), Ok(want));
        for end in 0..body.len() {
            let _ = filter(&body[..end]);
        }
    }
}
