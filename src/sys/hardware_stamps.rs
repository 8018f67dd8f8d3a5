//! Turning on the time stamps of a network card (linux/net_tstamp.h, linux/ethtool.h).
//!
//! The setting belongs to the card and not to us: a daemon for the precision time protocol may live by it. So it is read
//! first, changed only where it must be, and put back only if it is still what we made it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use libc::{c_int, c_ulong};

use super::interfaces::request;
use super::socket;

const SIOCETHTOOL: c_ulong = 0x8946;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;

/// What a card can do, as its driver says, which is at times wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Stamps it can take, as bits of `SOF_TIMESTAMPING_*`.
    pub stamps: u32,
    /// Whether it can stamp every packet that it sends and receives.
    pub every_packet: bool,
}

/// `struct ethtool_ts_info`.
#[repr(C)]
#[derive(Default)]
struct TsInfo {
    cmd: u32,
    so_timestamping: u32,
    phc_index: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

/// Asks what the card of an interface can do.
///
/// # Errors
/// EOPNOTSUPP where the driver cannot say, ENODEV where there is no such interface.
pub fn abilities(ifname: &str) -> io::Result<Abilities> {
    let mut info = TsInfo { cmd: ETHTOOL_GET_TS_INFO, ..TsInfo::default() };
    ask(&control()?, SIOCETHTOOL, ifname, &mut info)?;
    let every = info.tx_types & 1 << libc::HWTSTAMP_TX_ON != 0 && info.rx_filters & 1 << libc::HWTSTAMP_FILTER_ALL != 0;
    Ok(Abilities { stamps: info.so_timestamping, every_packet: every })
}

/// A card that stamps every packet it sends and receives; dropping it puts back what we changed.
#[derive(Debug)]
pub struct HardwareStamps {
    ifname: String,
    control: OwnedFd,
    restore: Option<Setting>,
}

/// What a card stamps: one of `HWTSTAMP_TX_*` and one of `HWTSTAMP_FILTER_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    sent: c_int,
    received: c_int,
}

const EVERYTHING: Setting =
    Setting { sent: libc::HWTSTAMP_TX_ON.cast_signed(), received: libc::HWTSTAMP_FILTER_ALL.cast_signed() };

impl HardwareStamps {
    /// Makes the card of an interface stamp every packet. Takes CAP_NET_ADMIN unless it does so already, and again to
    /// put the setting back.
    ///
    /// # Errors
    /// EOPNOTSUPP, EINVAL or ERANGE from a card that cannot, ENODEV where there is no such interface.
    pub fn enable(ifname: &str) -> io::Result<Self> {
        let control = control()?;
        let before = get(&control, ifname).ok();
        if before != Some(EVERYTHING) {
            let now = set(&control, ifname, EVERYTHING)?;
            if now != EVERYTHING {
                // The driver settled for less, which may still be more than there was.
                if let Some(before) = before {
                    set(&control, ifname, before)?;
                }
                return Err(io::Error::from_raw_os_error(libc::ERANGE));
            }
        }
        // Where the driver does not say what was set before, it stays on: somebody else may have wanted it.
        Ok(HardwareStamps {
            ifname: ifname.to_owned(),
            control,
            restore: before.filter(|before| *before != EVERYTHING),
        })
    }
}

impl Drop for HardwareStamps {
    fn drop(&mut self) {
        if let Some(before) = self.restore
            && get(&self.control, &self.ifname).is_ok_and(|now| now == EVERYTHING)
        {
            // Without the privilege, or without the interface, there is nothing more to be done.
            let _ = set(&self.control, &self.ifname, before);
        }
    }
}

fn get(control: &OwnedFd, ifname: &str) -> io::Result<Setting> {
    let mut config = libc::hwtstamp_config { flags: 0, tx_type: 0, rx_filter: 0 };
    ask(control, libc::SIOCGHWTSTAMP as c_ulong, ifname, &mut config)?;
    Ok(Setting { sent: config.tx_type, received: config.rx_filter })
}

/// Returns what the driver has made of it.
fn set(control: &OwnedFd, ifname: &str, wanted: Setting) -> io::Result<Setting> {
    let mut config = libc::hwtstamp_config { flags: 0, tx_type: wanted.sent, rx_filter: wanted.received };
    ask(control, libc::SIOCSHWTSTAMP as c_ulong, ifname, &mut config)?;
    Ok(Setting { sent: config.tx_type, received: config.rx_filter })
}

/// Any socket will do for requests about interfaces.
fn control() -> io::Result<OwnedFd> {
    socket::open(libc::AF_UNIX, libc::SOCK_DGRAM, 0)
}

/// Does one request about an interface; `T` is the C structure that the kernel reads and writes for `number`.
fn ask<T>(control: &OwnedFd, number: c_ulong, ifname: &str, argument: &mut T) -> io::Result<()> {
    let mut record = request(ifname)?;
    record.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast();
    // SAFETY: `record` is a live ifreq whose data points to a live `T`, all that the kernel reads and writes for this
    // request; the descriptor is borrowed, so it stays open during the call.
    let done = unsafe { libc::ioctl(control.as_raw_fd(), number as _, &raw mut record) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_stamps_in_software_and_has_no_card() {
        let abilities = abilities("lo").unwrap();
        assert!(!abilities.every_packet);
        assert_ne!(abilities.stamps & libc::SOF_TIMESTAMPING_TX_SOFTWARE, 0);
        let error = HardwareStamps::enable("lo").unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)), "{error}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert_eq!(abilities("gm-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(HardwareStamps::enable("gm-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(abilities("a-name-of-over-16-bytes").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
