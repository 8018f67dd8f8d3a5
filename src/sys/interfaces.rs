//! Interfaces as the C library and ioctls name them, for callers that have no netlink socket open.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd as _;

use super::socket;

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
    let mut record = request(ifname)?;
    let socket = socket::open(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    // SAFETY: the request reads and writes one `ifreq`, which `record` is.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut record) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just filled this member of the union.
    let kind = unsafe { record.ifr_ifru.ifru_hwaddr.sa_family };
    Ok(kind == libc::ARPHRD_ETHER)
}

/// A record for a request about an interface, with its name filled in.
pub(super) fn request(ifname: &str) -> io::Result<libc::ifreq> {
    // SAFETY: the record is numbers, bytes and a pointer, for which zero is a value.
    let mut record = unsafe { std::mem::zeroed::<libc::ifreq>() };
    let name = ifname.as_bytes();
    if name.is_empty() || name.len() >= record.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in record.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_interfaces_and_no_ethernet() {
        assert!(interfaces().unwrap().iter().any(|(_, name)| name == "lo"));
        assert!(!is_ethernet("lo").unwrap());
    }
}
