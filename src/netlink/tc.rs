//! Traffic control over rtnetlink, as far as aya does not offer it: listing the filters of an interface, and removing a
//! clsact qdisc (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h).

use std::io;

use super::{Message, attributes, error_number, messages, text};
use crate::bytes::{ne32, slice};
use crate::error::Malformed;
use crate::sys::netlink as sys;

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
const TCA_BPF_NAME: u16 = 7;

/// Room for one datagram; the kernel sends dumps in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 32 * 1024;

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

/// The filters of `ifindex` below `parent`, or none if it has no clsact qdisc.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut found = Vec::new();
    ask(&super::request(libc::RTM_GETTFILTER, flags, 1, &tcmsg(ifindex, 0, parent)), |message| {
        found.push(filter(message.body)?);
        Ok(())
    })?;
    // Each priority is listed once by itself before its filters; that entry has no handle.
    found.retain(|filter| filter.handle != 0);
    Ok(found)
}

/// Removes the clsact qdisc of `ifindex` with all filters below it.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut fixed = tcmsg(ifindex, CLSACT_HANDLE, CLSACT);
    let kind = b"clsact\0";
    fixed.extend((4 + kind.len() as u16).to_ne_bytes());
    fixed.extend(TCA_KIND.to_ne_bytes());
    fixed.extend(kind);
    ask(&super::request(libc::RTM_DELQDISC, flags, 1, &fixed), |_| Ok(()))
}

fn tcmsg(ifindex: u32, handle: u32, parent: u32) -> Vec<u8> {
    [0, ifindex, handle, parent, 0].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Sends a request and calls `each` for every message of the answer. The kernel answers rtnetlink while the request is
/// being sent, so there is nothing to wait for.
fn ask(request: &[u8], mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>) -> io::Result<()> {
    let socket = sys::open(libc::NETLINK_ROUTE, 0)?;
    sys::send(&socket, request)?;
    let mut buf = vec![0; DATAGRAM_BYTES];
    loop {
        let got = match sys::receive(&socket, &mut buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        for message in messages(buf.get(..got).unwrap_or_default()) {
            let message = message.map_err(io::Error::other)?;
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    return match error_number(message.body).map_err(io::Error::other)? {
                        0 => Ok(()),
                        number => Err(io::Error::from_raw_os_error(number)),
                    };
                }
                _ => each(&message).map_err(io::Error::other)?,
            }
        }
    }
}

fn filter(body: &[u8]) -> Result<Filter, Malformed> {
    let handle = ne32(body, 8, "filter handle")?;
    let info = ne32(body, 16, "filter priority")?;
    let mut filter = Filter { priority: (info >> 16) as u16, handle, kind: String::new(), name: String::new() };
    let tail = slice(body, TCMSG_BYTES, body.len().saturating_sub(TCMSG_BYTES), "filter attributes")?;
    for attribute in attributes(tail).map_while(Result::ok) {
        match attribute.kind {
            TCA_KIND => filter.kind = text(attribute.value),
            TCA_OPTIONS => {
                let mut options = attributes(attribute.value).map_while(Result::ok);
                if let Some(name) = options.find(|option| option.kind == TCA_BPF_NAME) {
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
        let mut body = tcmsg(7, 0x676d, INGRESS);
        body[16..20].copy_from_slice(&(7u32 << 16 | 3).to_ne_bytes());
        body.extend(8u16.to_ne_bytes());
        body.extend(TCA_KIND.to_ne_bytes());
        body.extend(b"bpf\0");
        body.extend(14u16.to_ne_bytes());
        body.extend(TCA_OPTIONS.to_ne_bytes());
        body.extend(10u16.to_ne_bytes());
        body.extend(TCA_BPF_NAME.to_ne_bytes());
        body.extend(b"gate\0\0");
        let want = Filter { priority: 7, handle: 0x676d, kind: "bpf".into(), name: "gate".into() };
        assert_eq!(filter(&body), Ok(want));
        for end in 0..body.len() {
            let _ = filter(&body[..end]);
        }
    }
}
