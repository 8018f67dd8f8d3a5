//! Times at which the kernel or the hardware sent and received a packet (Documentation/networking/timestamping.rst).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{c_int, c_uint};

use super::socket::set_int;

/// The option whose messages hold three pairs of 64-bit seconds and nanoseconds on every machine (Linux 5.1). Not from
/// libc, which names the older option on 32-bit machines: a `long` there is too short for the time after 2038. The
/// number is the same wherever Linux runs but for PA-RISC and SPARC.
const SO_TIMESTAMPING_NEW: c_int = 65;
/// The older option, whose messages hold pairs of the kernel's `long`.
const SO_TIMESTAMPING_OLD: c_int = 37;

const SOFTWARE: c_uint = libc::SOF_TIMESTAMPING_TX_SOFTWARE
    | libc::SOF_TIMESTAMPING_RX_SOFTWARE
    | libc::SOF_TIMESTAMPING_SOFTWARE
    | libc::SOF_TIMESTAMPING_OPT_ID
    // The stamp without the packet: smaller, and not refused where net.core.tstamp_allow_data is 0.
    | libc::SOF_TIMESTAMPING_OPT_TSONLY;
const HARDWARE: c_uint = libc::SOF_TIMESTAMPING_TX_HARDWARE
    | libc::SOF_TIMESTAMPING_RX_HARDWARE
    | libc::SOF_TIMESTAMPING_RAW_HARDWARE
    // Otherwise a packet that the hardware stamps has no software stamp.
    | libc::SOF_TIMESTAMPING_OPT_TX_SWHW;

/// Which stamps to take besides those of the software at the driver, for each packet sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// When a packet was handed to the queue of the interface. One more message for each packet sent.
    pub queue: bool,
    /// The network card's own; it must have been told to take them, see [`super::hardware_stamps`].
    pub hardware: bool,
}

/// The stamps a socket takes, as they were turned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    option: c_int,
    flags: c_uint,
}

impl Timestamps {
    /// Turns stamps on. They come as control messages of the type [`Timestamps::message_type`]: with what is received,
    /// and for what was sent on the error queue, with the number of the packet among those the socket has sent.
    ///
    /// # Errors
    /// The refused system call.
    pub fn enable(socket: &impl AsFd, wanted: Wanted) -> io::Result<Self> {
        let queue = if wanted.queue { libc::SOF_TIMESTAMPING_TX_SCHED } else { 0 };
        let flags = SOFTWARE | queue | if wanted.hardware { HARDWARE } else { 0 };
        let new = Timestamps { option: SO_TIMESTAMPING_NEW, flags };
        match new.set(socket.as_fd(), flags) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                let old = Timestamps { option: SO_TIMESTAMPING_OLD, flags };
                old.set(socket.as_fd(), flags).map(|()| old)
            }
            done => done.map(|()| new),
        }
    }

    /// The type of the control messages, at the level `SOL_SOCKET`; they hold three times of seconds and nanoseconds in
    /// native order, each number of 8 bytes or, if they are 24 bytes long, of 4.
    pub fn message_type(&self) -> c_int {
        self.option
    }

    /// Makes the next packet number 0 again.
    ///
    /// Some packets that the kernel refuses use up a number and some do not, so nobody knows what number the next one
    /// has after a refusal. Stamps that are on their way keep their old numbers: read the error queue first, and do
    /// without the stamps of packets that have none by then.
    ///
    /// # Errors
    /// The refused system call.
    pub fn restart_numbers(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd();
        self.set(socket, self.flags & !libc::SOF_TIMESTAMPING_OPT_ID)?;
        self.set(socket, self.flags)
    }

    fn set(&self, socket: BorrowedFd<'_>, flags: c_uint) -> io::Result<()> {
        set_int(socket, libc::SOL_SOCKET, self.option, flags.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_those_of_the_kernel() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let flags = |wanted| Timestamps::enable(&socket, wanted).unwrap().flags;
        assert_eq!(flags(Wanted::default()), 0x89a);
        assert_eq!(flags(Wanted { queue: true, hardware: true }), 0x89a | 0x100 | 0x45 | 0x4000);
    }
}
