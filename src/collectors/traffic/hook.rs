//! Where the programs sit: a TCX link (kernel 6.6), or a filter of a clsact qdisc on older ones.
//!
//! Neither disturbs others: the link goes after those that are there, the filter has a priority and handle of its
//! own, both programs always pass the packet on, and only what is ours is ever removed.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use super::codec::layout::{PROGRAM_IN, PROGRAM_OUT};
use crate::netlink::tc;
use crate::sys::bpf;

/// Which of the two ways is in use on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// A TCX link, kernel 6.6.
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Hook::Tcx => "tcx",
            Hook::Clsact => "clsact",
        })
    }
}

/// Priority of our filters: a small number, which runs early, so that a filter that ends the chain does not hide packets
/// from us.
const PRIORITY: u16 = 7;
/// Handle of our filters among those of the same priority.
const HANDLE: u32 = 0x676d;
/// Start of our programs' names.
const NAME: &str = "gatemeter_";

/// Which way packets go through the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the LAN: uploads.
    In,
    /// To the LAN: downloads.
    Out,
}

impl Direction {
    /// Both, in the order they are attached.
    pub const BOTH: [Direction; 2] = [Direction::In, Direction::Out];

    fn tcx(self) -> u32 {
        match self {
            Direction::In => bpf::TCX_INGRESS,
            Direction::Out => bpf::TCX_EGRESS,
        }
    }

    fn parent(self) -> u32 {
        match self {
            Direction::In => tc::INGRESS,
            Direction::Out => tc::EGRESS,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Direction::In => PROGRAM_IN,
            Direction::Out => PROGRAM_OUT,
        }
    }
}

/// Attaches by TCX, in the place of an earlier process's link if one is pinned at `pin`; pins a new link there.
pub fn attach_tcx(
    program: BorrowedFd<'_>,
    ifindex: u32,
    direction: Direction,
    pin: Option<&Path>,
) -> io::Result<OwnedFd> {
    if let Some(pin) = pin
        && let Ok(link) = bpf::open_pin(pin)
    {
        // The interface of a pinned link may be gone, and its number be another interface's.
        if bpf::tcx_link_ifindex(link.as_fd())? == Some(ifindex) {
            match bpf::link_update(link.as_fd(), program) {
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                result => return result.map(|()| link),
            }
        }
        std::fs::remove_file(pin)?;
    }
    let link = bpf::tcx_attach(program, ifindex, direction.tcx())?;
    if let Some(pin) = pin {
        bpf::pin(link.as_fd(), pin)?;
    }
    Ok(link)
}

/// Attaches by a clsact filter, in the place of an earlier process's. Adds the qdisc; answers whether it was missing.
/// The filter stays when this process ends.
pub fn attach_clsact(program: BorrowedFd<'_>, ifindex: u32, direction: Direction) -> io::Result<bool> {
    let added = match tc::add_clsact(ifindex) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    let replace = tc::filters(ifindex, direction.parent())?.iter().any(is_ours);
    tc::set_filter(place(ifindex, direction), program, direction.program(), replace).map(|()| added)
}

/// Removes our filters from an interface; answers how many there were.
pub fn detach_clsact(ifindex: u32) -> io::Result<usize> {
    let mut removed = 0;
    for direction in Direction::BOTH {
        if tc::filters(ifindex, direction.parent())?.iter().any(is_ours) {
            tc::remove_filter(place(ifindex, direction))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether this kernel has what [`attach_clsact`] takes: the qdisc, and filters that are programs. Tried on an interface that
/// has no clsact qdisc, and leaves one there.
///
/// # Errors
/// Whatever else stands in the way, such as a missing privilege.
pub fn has_clsact_filters(ifindex: u32) -> io::Result<bool> {
    let tried = tc::add_clsact(ifindex).and_then(|()| {
        // The kind of a filter is looked up before what it is made of, which is no program here.
        let nothing = std::fs::File::open("/dev/null")?;
        tc::set_filter(place(ifindex, Direction::In), nothing.as_fd(), NAME, false)
    });
    match tried.map_err(|error| error.raw_os_error().ok_or(error)) {
        Ok(()) | Err(Ok(libc::EINVAL)) => Ok(true),
        Err(Ok(libc::ENOENT)) => Ok(false),
        Err(Ok(code)) => Err(io::Error::from_raw_os_error(code)),
        Err(Err(error)) => Err(error),
    }
}

fn place(ifindex: u32, direction: Direction) -> tc::Place {
    tc::Place { ifindex, parent: direction.parent(), priority: PRIORITY, handle: HANDLE }
}

/// Whether one of our filters is on the interface, in whichever direction.
pub fn has_clsact(ifindex: u32) -> bool {
    Direction::BOTH.into_iter().any(|direction| has_filter(ifindex, direction))
}

/// Whether our filters are on the interface in both directions, so that nothing goes by uncounted.
pub fn counts_by_clsact(ifindex: u32) -> bool {
    Direction::BOTH.into_iter().all(|direction| has_filter(ifindex, direction))
}

fn has_filter(ifindex: u32, direction: Direction) -> bool {
    tc::filters(ifindex, direction.parent()).is_ok_and(|filters| filters.iter().any(is_ours))
}

/// Removes the clsact qdisc unless somebody's filter is still there; answers whether it did.
pub fn remove_empty_clsact(ifindex: u32) -> io::Result<bool> {
    for direction in Direction::BOTH {
        if !tc::filters(ifindex, direction.parent())?.is_empty() {
            return Ok(false);
        }
    }
    tc::remove_clsact(ifindex).map(|()| true)
}

fn is_ours(filter: &tc::Filter) -> bool {
    filter.kind == "bpf" && filter.priority == PRIORITY && filter.handle == HANDLE && filter.name.starts_with(NAME)
}
