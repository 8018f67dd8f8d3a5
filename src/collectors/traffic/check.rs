//! What this system has for accounting and what it lacks: bpf(), a BPF file system to pin on, a hook. Read by the
//! `gatemeter check`, and once at start, while the privilege to mount is still there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::bpf_error;
use super::hook::{self, Hook};
use super::loader::Attach;
use crate::collectors::Finding;
use crate::error::{Error, Result};
use crate::sys::caps::{self, Capability};
use crate::sys::{bpf, fs, namespace};

/// Where the kernel offers a directory for the BPF file system.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Makes sure that `dir` can be made on a BPF file system, mounting one on /sys/fs/bpf if that is where it belongs.
pub fn ensure_bpffs(dir: &Path) -> Result<()> {
    let tried = || format!("keep counts in {}", dir.display());
    if !dir.is_absolute() {
        return Err(
            Error::failed(tried(), "it is not an absolute path").remedy("set traffic.pin_dir to one, or to none")
        );
    }
    // The directory itself may have to be made later, so what counts is the nearest one that is there.
    let there = dir.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
    if fs::is_bpffs(there).map_err(|source| Error::io(tried(), source))? {
        return Ok(());
    }
    if !dir.starts_with(MOUNT_POINT) {
        return Err(Error::failed(tried(), "it is not on a BPF file system")
            .remedy("mount one there (mount -t bpf bpf DIRECTORY), or set traffic.pin_dir to none"));
    }
    match fs::mount_bpffs(Path::new(MOUNT_POINT)) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(()),
        other => other.map_err(|source| {
            Error::io(format!("mount the BPF file system on {MOUNT_POINT}"), source)
                .remedy("mount -t bpf bpf /sys/fs/bpf as root before start, or set traffic.pin_dir to none")
        }),
    }
}

/// The directory to pin in, on a BPF file system; nothing if no pinning is wanted.
pub fn usable_pin_dir(wanted: Option<&Path>) -> Result<Option<PathBuf>> {
    wanted.map(|dir| ensure_bpffs(dir).map(|()| dir.to_owned())).transpose()
}

/// What the system has and lacks, apart from interfaces. Changes nothing.
pub fn findings(pin_dir: Option<&Path>, attach: Attach) -> Vec<Finding> {
    let mut findings = Vec::new();
    match bpf::available() {
        Ok(()) => {
            findings.push(Finding::ok("the kernel has bpf()"));
            findings.extend(hooks(attach));
        }
        Err(source) => {
            let error = bpf_error::with_remedy(Error::io("use bpf()", source));
            findings.push(Finding::broken(error.to_string()));
        }
    }
    for capability in super::CAPABILITIES {
        // Before Linux 5.8, CAP_SYS_ADMIN stands for all of them.
        if !caps::has(*capability) && !caps::has(Capability::SysAdmin) {
            let name = capability.name();
            findings.push(Finding::broken(format!("{name} is missing: run as root, or grant it")));
        }
    }
    match pin_dir {
        None => findings.push(Finding::note("traffic.pin_dir is none: counts end with the daemon")),
        Some(dir) => {
            let there = dir.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
            let shown = dir.display();
            findings.push(match fs::is_bpffs(there) {
                Ok(true) => Finding::ok(format!("counts are kept in {shown} while the daemon is not running")),
                _ if dir.starts_with(MOUNT_POINT) && caps::has(Capability::SysAdmin) => {
                    Finding::ok(format!("counts will be kept in {shown}; the BPF file system is mounted at start"))
                }
                _ => Finding::note(format!(
                    "{shown} is not on a BPF file system, so counts end with the daemon: mount -t bpf bpf {MOUNT_POINT}"
                )),
            });
        }
    }
    if super::loader::is_running() {
        findings.push(Finding::ok("a gatemeter is accounting in this network namespace now"));
    }
    findings
}

/// The loopback interface of a network namespace of one's own.
const LOOPBACK: u32 = 1;
/// What clsact takes.
const CLSACT_PACKAGES: &str = "the packages kmod-sched-core and kmod-sched-bpf (sch_ingress and cls_bpf)";

/// How programs will be attached, tried where it changes nothing; nothing where that cannot be tried.
fn hooks(attach: Attach) -> Option<Finding> {
    let tcx = attach != Attach::Clsact && bpf::has_tcx(LOOPBACK).ok()?;
    let clsact = attach != Attach::Tcx
        && !tcx
        && namespace::in_private_network(|| hook::has_clsact_filters(LOOPBACK)).and_then(|tried| tried).ok()?;
    let by = |hook: Hook| Finding::ok(format!("programs are attached by {hook}"));
    Some(match attach {
        _ if tcx => by(Hook::Tcx),
        _ if clsact => by(Hook::Clsact),
        Attach::Tcx => Finding::broken("this kernel has no TCX (Linux 6.6): set traffic.attach to auto or clsact"),
        Attach::Clsact => {
            Finding::broken(format!("this kernel has no filters for programs: install {CLSACT_PACKAGES}"))
        }
        Attach::Auto => Finding::broken(format!(
            "this kernel has nothing to attach programs to: install {CLSACT_PACKAGES}, or Linux 6.6"
        )),
    })
}
