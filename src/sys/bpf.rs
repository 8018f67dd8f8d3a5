//! bpf(2): making maps and loading classifiers, reading whole tables, TCX links, pins by path.
//!
//! The argument union of the system call is filled field by field at the offsets of linux/bpf.h, so it is right in
//! both byte orders and word sizes: pointers are 64 bits wide there on every machine.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// Attach type of a TCX link where packets come in (linux/bpf.h, kernel 6.6).
pub const TCX_INGRESS: u32 = 46;
/// Attach type of a TCX link where packets go out (linux/bpf.h, kernel 6.6).
pub const TCX_EGRESS: u32 = 47;
/// Type of a classifier (BPF_PROG_TYPE_SCHED_CLS).
const SCHED_CLS: u32 = 3;
/// Most bytes of an object's name that the kernel takes, without the NUL behind them (BPF_OBJ_NAME_LEN).
const NAME_BYTES: usize = 15;
/// Type of a TCX link in its information record.
const LINK_TYPE_TCX: u32 = 11;

/// Flag of [`Map::update`]: whether or not the key exists.
pub const ANY: u64 = 0;
/// The argument of bpf(2), as bytes; longer than any kernel's, and zero where no field was set.
#[repr(align(8))]
struct Attr([u8; 160]);

impl Attr {
    const fn new() -> Self {
        Attr([0; 160])
    }

    fn put<const N: usize>(mut self, offset: usize, bytes: [u8; N]) -> Self {
        self.0[offset..offset + N].copy_from_slice(&bytes);
        self
    }

    fn u32(self, offset: usize, value: u32) -> Self {
        self.put(offset, value.to_ne_bytes())
    }

    fn u64(self, offset: usize, value: u64) -> Self {
        self.put(offset, value.to_ne_bytes())
    }

    fn fd(self, offset: usize, fd: BorrowedFd<'_>) -> Self {
        self.u32(offset, fd.as_raw_fd() as u32)
    }

    /// A name, cut to the length that the kernel takes; kernels show it to people.
    fn name(mut self, offset: usize, name: &str) -> Self {
        let name = name.as_bytes();
        let length = name.len().min(NAME_BYTES);
        self.0[offset..offset + length].copy_from_slice(&name[..length]);
        self
    }

    /// A buffer the kernel reads from or, if the caller holds it mutably for the call, writes to.
    fn pointer<T>(self, offset: usize, to: *const T) -> Self {
        self.u64(offset, to.expose_provenance() as u64)
    }

    fn get_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[offset..offset + 4]);
        u32::from_ne_bytes(bytes)
    }

    /// Calls bpf(2).
    ///
    /// # Safety
    /// Every pointer in the argument must stay valid for the call, for as many bytes as the command reads or writes.
    unsafe fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_long> {
        let size = self.0.len() as libc::c_uint;
        // SAFETY: the argument is a live buffer of `size` bytes; what it points to is the caller's promise.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

fn owned(result: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor to us and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(result as libc::c_int) }
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Whether this kernel has bpf(2) and lets us call it; the error is ENOSYS or EPERM if not.
///
/// Asks for an object at an empty path, which never exists.
pub fn available() -> io::Result<()> {
    let mut attr = Attr::new().pointer(0, c"".as_ptr());
    // SAFETY: the path is a static string that ends in zero.
    match unsafe { attr.call(OBJ_GET) } {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Err(error),
        _ => Ok(()),
    }
}

/// How many CPUs this machine can have: a per-CPU map has a value for each, whether it is there or not.
pub fn possible_cpus() -> io::Result<usize> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    cpus(&list).ok_or_else(|| io::Error::other(format!("{} is no list of CPUs", list.trim())))
}

/// Counts the CPUs of a list like `0-3,8`.
fn cpus(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0usize, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Makes a map. EPERM if the limit of locked memory is too low for it, on kernels before 5.11.
pub fn create_map(name: &str, kind: u32, sizes: [u32; 3], flags: u32) -> io::Result<OwnedFd> {
    let [key, value, entries] = sizes;
    let mut attr = Attr::new().u32(0, kind).u32(4, key).u32(8, value).u32(12, entries).u32(16, flags).name(28, name);
    // SAFETY: the command takes no pointer.
    unsafe { attr.call(MAP_CREATE) }.map(owned)
}

/// Loads a classifier from its instructions. If `log` has room, the verifier writes into it what it thinks, as text
/// that ends at the first NUL; ENOSPC if it has more to say.
pub fn load_classifier(name: &str, license: &CStr, instructions: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    const INSTRUCTION_BYTES: usize = 8;
    let mut attr = Attr::new()
        .u32(0, SCHED_CLS)
        .u32(4, (instructions.len() / INSTRUCTION_BYTES) as u32)
        .pointer(8, instructions.as_ptr())
        .pointer(16, license.as_ptr())
        .name(48, name);
    if !log.is_empty() {
        attr = attr.u32(24, 1).u32(28, log.len() as u32).pointer(32, log.as_mut_ptr());
    }
    // SAFETY: the numbers beside the pointers to instructions and log are the sizes of live slices, and the kernel
    // writes to the log only, which is borrowed mutably; the licence ends in NUL.
    unsafe { attr.call(PROG_LOAD) }.map(owned)
}

/// A map's type and sizes, as the kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapInfo {
    /// Map type (linux/bpf.h).
    pub kind: u32,
    /// Unique number of the map since boot.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value, per CPU where the map is per CPU.
    pub value_size: u32,
    /// Most entries it takes.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: u32,
}

/// Opens what is pinned at `at`: a map, a program or a link.
pub fn open_pin(at: &Path) -> io::Result<OwnedFd> {
    let name = path(at)?;
    let mut attr = Attr::new().pointer(0, name.as_ptr());
    // SAFETY: `name` is a string that ends in zero and outlives the call.
    unsafe { attr.call(OBJ_GET) }.map(owned)
}

/// Pins a map, program or link at `at`, which must lie on a bpffs and not exist yet.
pub fn pin(object: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    let name = path(at)?;
    let mut attr = Attr::new().pointer(0, name.as_ptr()).fd(8, object);
    // SAFETY: `name` is a string that ends in zero and outlives the call.
    unsafe { attr.call(OBJ_PIN) }.map(drop)
}

fn info<const N: usize>(object: BorrowedFd<'_>) -> io::Result<[u8; N]> {
    #[repr(align(8))]
    struct Aligned<const N: usize>([u8; N]);
    let mut record = Aligned([0; N]);
    let mut attr = Attr::new().fd(0, object).u32(4, N as u32).pointer(8, record.0.as_mut_ptr());
    // SAFETY: the kernel writes at most the `N` bytes that the argument says `record` has.
    unsafe { attr.call(OBJ_GET_INFO_BY_FD) }?;
    Ok(record.0)
}

fn word<const N: usize>(record: &[u8; N], offset: usize) -> u32 {
    crate::bytes::ne32(record, offset, "bpf information").unwrap_or(0)
}

/// Type and sizes of a map. Fails with EINVAL if the descriptor is something else.
pub fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let record = info::<80>(map)?;
    Ok(MapInfo {
        kind: word(&record, 0),
        id: word(&record, 4),
        key_size: word(&record, 8),
        value_size: word(&record, 12),
        max_entries: word(&record, 16),
        flags: word(&record, 20),
    })
}

/// The interface a TCX link is attached to; `None` once the interface is gone, or if it is another kind of link.
pub fn tcx_link_ifindex(link: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let record = info::<64>(link)?;
    let (kind, ifindex) = (word(&record, 0), word(&record, 16));
    Ok((kind == LINK_TYPE_TCX && ifindex != 0).then_some(ifindex))
}

/// Whether this kernel has TCX, asked of an interface without changing it.
///
/// # Errors
/// ENODEV if there is no such interface, EPERM without CAP_NET_ADMIN.
pub fn has_tcx(ifindex: u32) -> io::Result<bool> {
    let mut attr = Attr::new().u32(0, ifindex).u32(4, TCX_INGRESS);
    // SAFETY: without room for programs the command takes no pointer.
    match unsafe { attr.call(PROG_QUERY) } {
        Ok(_) => Ok(true),
        // Older kernels do not know the type of attachment.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Attaches a classifier to an interface by a TCX link, after the programs that are there.
///
/// EINVAL on kernels before 6.6. The link lives until its last descriptor and pin are gone.
pub fn tcx_attach(program: BorrowedFd<'_>, ifindex: u32, attach_type: u32) -> io::Result<OwnedFd> {
    let mut attr = Attr::new().fd(0, program).u32(4, ifindex).u32(8, attach_type);
    // SAFETY: the command takes no pointer.
    unsafe { attr.call(LINK_CREATE) }.map(owned)
}

/// Puts another program into a link; no packet sees both or neither. ENOLINK if the interface is gone.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attr::new().fd(0, link).fd(4, program);
    // SAFETY: the command takes no pointer.
    unsafe { attr.call(LINK_UPDATE) }.map(drop)
}

/// Takes a link's program off its interface at once, whoever else holds the link; kernel 5.9. Closing or unpinning does
/// the same a little later.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attr::new().fd(0, link);
    // SAFETY: the command takes no pointer.
    unsafe { attr.call(LINK_DETACH) }.map(drop)
}

/// A map with the sizes of its keys and values, so that no call can make the kernel read or write past a buffer.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key: usize,
    /// Bytes of all that the kernel copies for one value.
    value: usize,
    info: MapInfo,
}

impl Map {
    /// Takes the map over; `cpus` is the number of possible CPUs, used if the map is per CPU.
    pub fn new(fd: OwnedFd, cpus: usize) -> io::Result<Map> {
        use std::os::fd::AsFd as _;
        const PERCPU_HASH: u32 = 5;
        const PERCPU_ARRAY: u32 = 6;
        const LRU_PERCPU_HASH: u32 = 10;
        let info = map_info(fd.as_fd())?;
        let value = if matches!(info.kind, PERCPU_HASH | PERCPU_ARRAY | LRU_PERCPU_HASH) {
            (info.value_size as usize).next_multiple_of(8) * cpus
        } else {
            info.value_size as usize
        };
        Ok(Map { fd, key: info.key_size as usize, value, info })
    }

    /// Type and sizes.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Bytes that one value takes in user space: every possible CPU's, if the map is per CPU.
    pub fn value_len(&self) -> usize {
        self.value
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.fd.as_fd()
    }

    fn check(&self, key: &[u8], value: Option<usize>) -> io::Result<()> {
        if key.len() == self.key && value.is_none_or(|len| len == self.value) {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// Reads the value of `key` into `value`; `false` if there is none.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key, Some(value.len()))?;
        let mut attr = Attr::new().fd(0, self.fd()).pointer(8, key.as_ptr()).pointer(16, value.as_mut_ptr());
        // SAFETY: `check` made sure that both buffers have the sizes the kernel copies.
        found(unsafe { attr.call(MAP_LOOKUP_ELEM) })
    }

    /// Writes the value of `key`.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        self.check(key, Some(value.len()))?;
        let mut attr = Attr::new().fd(0, self.fd()).pointer(8, key.as_ptr()).pointer(16, value.as_ptr()).u64(24, flags);
        // SAFETY: `check` made sure that both buffers have the sizes the kernel copies.
        unsafe { attr.call(MAP_UPDATE_ELEM) }.map(drop)
    }

    /// Deletes `key`; `false` if it was not there.
    pub fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key, None)?;
        let mut attr = Attr::new().fd(0, self.fd()).pointer(8, key.as_ptr());
        // SAFETY: `check` made sure that `key` has the size the kernel reads.
        found(unsafe { attr.call(MAP_DELETE_ELEM) })
    }

    /// The key after `key`, or the first one, into `next`; `false` at the end. A key that is gone starts over.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        self.check(next, None)?;
        key.map_or(Ok(()), |key| self.check(key, None))?;
        let from = key.map_or(std::ptr::null(), <[u8]>::as_ptr);
        let mut attr = Attr::new().fd(0, self.fd()).pointer(8, from).pointer(16, next.as_mut_ptr());
        // SAFETY: `check` made sure that both buffers have the size of a key; a null key is allowed.
        found(unsafe { attr.call(MAP_GET_NEXT_KEY) })
    }

    /// Reads the next batch of a hash map's entries into `batch`; kernel 5.6. EINVAL before, ENOSPC if more entries share a bucket
    /// than fit.
    pub fn lookup_batch(&self, batch: &mut Batch) -> io::Result<()> {
        let room = (batch.keys.len() / self.key.max(1)).min(batch.values.len() / self.value.max(1));
        batch.count = 0;
        let from = if batch.started { (&raw const batch.position).cast::<u8>() } else { std::ptr::null() };
        let mut after = [0u8; 4];
        let mut attr = Attr::new()
            .pointer(0, from)
            .pointer(8, after.as_mut_ptr())
            .pointer(16, batch.keys.as_mut_ptr())
            .pointer(24, batch.values.as_mut_ptr())
            .u32(32, room as u32)
            .fd(36, self.fd());
        // SAFETY: `room` says how many whole keys and values both buffers hold, and the kernel writes no more; a
        // hash map's position in a batch is 4 bytes.
        let result = unsafe { attr.call(MAP_LOOKUP_BATCH) };
        match result {
            Ok(_) => batch.position = after,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => batch.finished = true,
            Err(error) => return Err(error),
        }
        batch.started = true;
        batch.count = (attr.get_u32(32) as usize).min(room);
        Ok(())
    }
}

fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where a walk over a table stands, and the entries of its last step.
#[derive(Debug)]
pub struct Batch {
    keys: Vec<u8>,
    values: Vec<u8>,
    position: [u8; 4],
    started: bool,
    finished: bool,
    count: usize,
}

impl Batch {
    /// Room for `entries` entries of the map.
    pub fn new(map: &Map, entries: usize) -> Batch {
        Batch {
            keys: vec![0; entries * map.key],
            values: vec![0; entries * map.value],
            position: [0; 4],
            started: false,
            finished: false,
            count: 0,
        }
    }

    /// Starts over, keeping the buffers.
    pub fn rewind(&mut self) {
        (self.started, self.finished, self.count) = (false, false, 0);
    }

    /// True once the last step has reached the end.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Keys and values of the last step, for a map with these sizes.
    pub fn entries<'a>(&'a self, map: &Map) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.keys.chunks_exact(map.key.max(1)).zip(self.values.chunks_exact(map.value.max(1))).take(self.count)
    }
}

/// What a program run on a made-up frame gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned.
    pub retval: u32,
    /// Mean time of one run in nanoseconds.
    pub nanoseconds: u32,
}

/// Runs a classifier on `frame` `repeat` times, without any interface. `context` is a `struct __sk_buff` to start
/// from, empty for none.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], context: &[u8], repeat: u32) -> io::Result<TestRun> {
    let from = if context.is_empty() { std::ptr::null() } else { context.as_ptr() };
    let mut attr = Attr::new()
        .fd(0, program)
        .u32(8, frame.len() as u32)
        .pointer(16, frame.as_ptr())
        .u32(32, repeat)
        .u32(40, context.len() as u32)
        .pointer(48, from);
    // SAFETY: the sizes beside both pointers are those of the slices, which the kernel only reads.
    unsafe { attr.call(PROG_TEST_RUN) }?;
    Ok(TestRun { retval: attr.get_u32(4), nanoseconds: attr.get_u32(36) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_cpus_are_counted_range_by_range() {
        assert_eq!(cpus("0\n"), Some(1));
        assert_eq!(cpus("0-3\n"), Some(4));
        assert_eq!(cpus("0-1,4,6-7\n"), Some(5));
        for wrong in ["", "3-0", "0-", "a", "0,,1", "0-18446744073709551615"] {
            assert_eq!(cpus(wrong), None, "{wrong}");
        }
        assert!(possible_cpus().unwrap() > 0);
    }
}
