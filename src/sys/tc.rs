//! What aya does not offer of traffic control: listing the filters of an interface, removing a clsact qdisc, and
//! naming the interfaces there are. Netlink messages are in native byte order (linux/rtnetlink.h, linux/pkt_sched.h).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::bytes;

/// Parent of the filters that see packets coming in (TC_H_CLSACT, TC_H_MIN_INGRESS).
pub const INGRESS: u32 = 0xffff_fff2;
/// Parent of the filters that see packets going out (TC_H_CLSACT, TC_H_MIN_EGRESS).
pub const EGRESS: u32 = 0xffff_fff3;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

const HEADER: usize = 16;
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;

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

/// Index and name of each network interface of this network namespace.
pub fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: the call takes nothing and returns a list that we free below, or null.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut at = list;
    loop {
        // SAFETY: the list ends in an entry of index 0, and we have not passed it.
        let entry = unsafe { at.read() };
        if entry.if_index == 0 || entry.if_name.is_null() {
            break;
        }
        // SAFETY: the name is a string that ends in zero and lives until the list is freed.
        let name = unsafe { CStr::from_ptr(entry.if_name) };
        found.push((entry.if_index, name.to_string_lossy().into_owned()));
        // SAFETY: this entry was not the last.
        at = unsafe { at.add(1) };
    }
    // SAFETY: `list` came from if_nameindex and is freed once.
    unsafe { libc::if_freenameindex(list) };
    Ok(found)
}

/// Whether the interface carries Ethernet frames.
pub fn is_ethernet(ifname: &str) -> io::Result<bool> {
    // SAFETY: the record is plain numbers and bytes, for which zero is a value.
    let mut record = unsafe { std::mem::zeroed::<libc::ifreq>() };
    let name = ifname.as_bytes();
    if name.is_empty() || name.len() >= record.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in record.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor to us and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the request reads and writes one `ifreq`, which `record` is.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut record) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just filled this member of the union.
    let kind = unsafe { record.ifr_ifru.ifru_hwaddr.sa_family };
    Ok(kind == libc::ARPHRD_ETHER)
}

/// The filters of `ifindex` below `parent`, or none if it has no clsact qdisc.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut found = Vec::new();
    request(libc::RTM_GETTFILTER, flags, ifindex, 0, parent, &[], |message| {
        // Each priority is listed once by itself before its filters; that entry has no handle.
        if let Some(filter) = filter(message).filter(|filter| filter.handle != 0) {
            found.push(filter);
        }
    })?;
    Ok(found)
}

/// Removes the clsact qdisc of `ifindex` with all filters below it.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    request(libc::RTM_DELQDISC, flags, ifindex, CLSACT_HANDLE, CLSACT, b"clsact\0", |_| ())
}

fn filter(message: &[u8]) -> Option<Filter> {
    let handle = bytes::ne32(message, 8, "filter handle").ok()?;
    let info = bytes::ne32(message, 16, "filter priority").ok()?;
    let mut filter = Filter { priority: (info >> 16) as u16, handle, kind: String::new(), name: String::new() };
    for (kind, value) in attributes(message.get(TCMSG..)?) {
        match kind {
            TCA_KIND => filter.kind = text(value),
            TCA_OPTIONS => {
                for (kind, value) in attributes(value) {
                    if kind == TCA_BPF_NAME {
                        filter.name = text(value);
                    }
                }
            }
            _ => {}
        }
    }
    Some(filter)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// The attributes in `buf`: type without flags, and value.
fn attributes(buf: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const NESTED: u16 = 0x8000;
    let mut rest = buf;
    std::iter::from_fn(move || {
        let len = bytes::ne16(rest, 0, "attribute length").ok()? as usize;
        let kind = bytes::ne16(rest, 2, "attribute type").ok()? & !NESTED;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn request(
    kind: u16,
    flags: u16,
    ifindex: u32,
    handle: u32,
    parent: u32,
    tca_kind: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor to us and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };

    let mut message = Vec::with_capacity(64);
    message.extend([0; 4]);
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(ifindex.to_ne_bytes());
    message.extend(handle.to_ne_bytes());
    message.extend(parent.to_ne_bytes());
    message.extend([0; 4]);
    if !tca_kind.is_empty() {
        message.extend((4 + tca_kind.len() as u16).to_ne_bytes());
        message.extend(TCA_KIND.to_ne_bytes());
        message.extend(tca_kind);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let len = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&len);

    // SAFETY: `message` is a live buffer of the given length and the kernel only reads it.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }

    let mut buf = vec![0; 32 << 10];
    loop {
        // SAFETY: `buf` is a live buffer and the kernel writes at most its length.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        };
        let mut rest = buf.get(..got).unwrap_or_default();
        while let Ok(len) = bytes::ne32(rest, 0, "message length") {
            let Some(body) = rest.get(HEADER..len as usize) else { break };
            match libc::c_int::from(bytes::ne16(rest, 4, "message type").unwrap_or(0)) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    return match bytes::ne32(body, 0, "error number").unwrap_or(0) as i32 {
                        0 => Ok(()),
                        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
                    };
                }
                _ => each(body),
            }
            rest = rest.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_interfaces() {
        assert!(interfaces().unwrap().iter().any(|(_, name)| name == "lo"));
    }

    #[test]
    fn an_interface_without_clsact_has_no_filters() {
        let lo = interfaces().unwrap().into_iter().find(|(_, name)| name == "lo").unwrap().0;
        assert_eq!(filters(lo, INGRESS).unwrap_or_default(), []);
    }

    #[test]
    fn a_cut_attribute_ends_the_list() {
        let mut buf = Vec::new();
        buf.extend(8u16.to_ne_bytes());
        buf.extend(TCA_KIND.to_ne_bytes());
        buf.extend(b"bpf\0");
        buf.extend(200u16.to_ne_bytes());
        buf.extend(TCA_OPTIONS.to_ne_bytes());
        assert_eq!(attributes(&buf).collect::<Vec<_>>(), [(TCA_KIND, &b"bpf\0"[..])]);
    }
}
