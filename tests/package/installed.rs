//! What packages hold, and what installing, upgrading and removing them leaves on a router.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ipk::Package;
use crate::{Dir, run, source, text_of};

/// What a header of an ELF program says of the machine: class, byte order, and number.
const MACHINES: [(&str, [u8; 2], [u8; 2]); 4] =
    [("mips", [1, 2], [0, 8]), ("mipsel", [1, 1], [8, 0]), ("aarch64", [2, 1], [183, 0]), ("x86_64", [2, 1], [62, 0])];

/// A directory with a stand-in for the program of each target; the real ones are for those who run them.
fn programs() -> Dir {
    let dir = Dir::new();
    for (target, ident, machine) in MACHINES {
        let mut program = b"\x7fELF".to_vec();
        program.extend_from_slice(&ident);
        program.resize(18, 0);
        program.extend_from_slice(&machine);
        program.extend_from_slice(target.as_bytes());
        dir.write(&format!("gatemeter-{target}-unknown-linux-musl"), program);
    }
    dir
}

/// Makes packages of the programs in a directory, into another one.
fn pack(from: &Path, into: &Path, archs: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(source("openwrt/package"));
    command.arg("--from").arg(from).arg("--into").arg(into).args(archs);
    run(command)
}

/// The package for an architecture, of stand-ins.
fn package(arch: &str) -> (Dir, PathBuf) {
    let (from, into) = (programs(), Dir::new());
    let (code, stdout, stderr) = pack(&from.0, &into.0, &[arch]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let path = into.join(&format!("gatemeter_{}_{arch}.ipk", version()));
    (into, path)
}

fn version() -> String {
    format!("{}-r1", env!("CARGO_PKG_VERSION"))
}

/// Every file and directory below a root, with mode and owner.
fn found(root: &Path) -> BTreeMap<String, (u32, u32, u32)> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                all.insert(name, (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()));
            }
        }
    }
    all
}

#[test]
fn every_architecture_has_its_package_and_opkg_takes_it() {
    let (from, into) = (programs(), Dir::new());
    let (code, stdout, stderr) = pack(&from.0, &into.0, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    for (arch, target) in [
        ("mips_24kc", "mips"),
        ("mipsel_24kc", "mipsel"),
        ("mipsel_74kc", "mipsel"),
        ("aarch64_cortex-a53", "aarch64"),
        ("aarch64_cortex-a72", "aarch64"),
        ("aarch64_cortex-a76", "aarch64"),
        ("aarch64_generic", "aarch64"),
        ("x86_64", "x86_64"),
    ] {
        let path = into.join(&format!("gatemeter_{}_{arch}.ipk", version()));
        assert!(stdout.contains(&format!("{}_{arch}.ipk: ", version())), "{stdout}");
        let package = Package::read(&path).unwrap_or_else(|problem| panic!("{arch}: {problem}"));
        let control = &package.control;
        let field = |name: &str| control[name].as_str();
        assert_eq!(
            (field("Package"), field("Version"), field("Architecture")),
            ("gatemeter", version().as_str(), arch)
        );
        assert_eq!((field("Depends"), field("License"), field("Section")), ("libc", "MIT", "net"));
        let program = package.data.iter().find(|member| member.name == "./usr/sbin/gatemeter").unwrap();
        assert!(program.content.ends_with(target.as_bytes()), "{arch}");
        // opkg unpacks in order, and a directory must be there before what is in it.
        let names: Vec<&str> = package.data.iter().map(|member| member.name.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        assert!(package.data.iter().all(|member| member.owner == (0, 0) && member.time == 0));
        let wrong = Dir::new();
        let refused = package.install(&wrong.0, "arm_cortex-a7_neon-vfpv4").unwrap_err();
        assert!(refused.contains("incompatible"), "{refused}");
    }
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    let (from, one, other) = (programs(), Dir::new(), Dir::new());
    pack(&from.0, &one.0, &["mips_24kc"]);
    // Times and modes of the files in the tree are nobody's business.
    let later = from.join("gatemeter-mips-unknown-linux-musl");
    fs::set_permissions(&later, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&later, fs::read(&later).unwrap()).unwrap();
    pack(&from.0, &other.0, &["mips_24kc"]);
    let name = format!("gatemeter_{}_mips_24kc.ipk", version());
    assert_eq!(fs::read(one.join(&name)).unwrap(), fs::read(other.join(&name)).unwrap());
}

#[test]
fn an_empty_root_has_what_the_package_holds_and_nothing_else() {
    let (_dir, path) = package("mips_24kc");
    let root = Dir::new();
    Package::read(&path).unwrap().install(&root.0, "mips_24kc").unwrap();
    let mut files = found(&root.0);
    files.retain(|name, _| !name.starts_with("usr/lib/opkg/info/"));
    let expected = [
        ("etc/capabilities/gatemeter.json", 0o644),
        ("etc/config/gatemeter", 0o600),
        ("etc/init.d/gatemeter", 0o755),
        ("lib/upgrade/keep.d/gatemeter", 0o644),
        ("usr/sbin/gatemeter", 0o755),
    ];
    assert_eq!(files, expected.map(|(name, mode)| (name.to_owned(), (mode, 0, 0))).into());
    let state = fs::metadata(root.join("etc/gatemeter")).unwrap();
    assert_eq!((state.is_dir(), state.mode() & 0o777), (true, 0o755));
    // What a new firmware keeps: names, and the token of the Freebox.
    assert_eq!(root.read("lib/upgrade/keep.d/gatemeter"), "/etc/config/gatemeter\n/etc/gatemeter/\n");
    assert_eq!(root.read("usr/lib/opkg/info/gatemeter.conffiles"), "/etc/config/gatemeter\n");
    for (script, mode) in [("postinst", 0o755), ("prerm", 0o755), ("prerm-pkg", 0o755), ("control", 0o644)] {
        let path = root.join(&format!("usr/lib/opkg/info/gatemeter.{script}"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{script}");
    }
}

#[test]
fn an_upgrade_keeps_a_configuration_that_was_edited_and_replaces_one_that_was_not() {
    let (_dir, path) = package("mips_24kc");
    let (package, root) = (Package::read(&path).unwrap(), Dir::new());
    package.install(&root.0, "mips_24kc").unwrap();
    let config = root.join("etc/config/gatemeter");
    package.install(&root.0, "mips_24kc").unwrap();
    assert!(!root.join("etc/config/gatemeter-opkg").exists());
    fs::write(&config, "config gatemeter 'main'\n").unwrap();
    package.install(&root.0, "mips_24kc").unwrap();
    assert_eq!(fs::read_to_string(&config).unwrap(), "config gatemeter 'main'\n");
    assert_eq!(root.read("etc/config/gatemeter-opkg"), text_of("openwrt/gatemeter/files/gatemeter.config"));
}

#[test]
fn what_cannot_be_packed_is_told_in_one_line() {
    let (from, into) = (programs(), Dir::new());
    let (code, _, stderr) = pack(&from.0, &into.0, &["mips_mips32"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("package: no program is built for mips_mips32, expected mips_24kc, "), "{stderr}");
    fs::copy(from.join("gatemeter-mipsel-unknown-linux-musl"), from.join("gatemeter-mips-unknown-linux-musl")).unwrap();
    let (code, _, stderr) = pack(&from.0, &into.0, &["mips_24kc"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.ends_with("gatemeter-mips-unknown-linux-musl is no program for mips-unknown-linux-musl\n"),
        "{stderr}"
    );
    let empty = Dir::new();
    let (code, _, stderr) = pack(&empty.0, &into.0, &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("run make cross first"), "{stderr}");
    assert!(fs::read_dir(&into.0).unwrap().next().is_none());
}

/// A root with the package installed, where scripts run with what OpenWrt has for them on record.
fn with_scripts() -> Dir {
    let (_dir, path) = package("mips_24kc");
    let root = Dir::new();
    Package::read(&path).unwrap().install(&root.0, "mips_24kc").unwrap();
    root.write(
        "lib/functions.sh",
        "default_postinst() { echo \"postinst $*\"; }\n\
         default_prerm() { [ -f /usr/lib/opkg/info/gatemeter.prerm-pkg ] && ( . /usr/lib/opkg/info/gatemeter.prerm-pkg ); echo \"prerm $*\"; }\n",
    );
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("/bin/busybox, from the package busybox-static");
    for applet in ["sh", "sleep", "rm"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    // A daemon that ends a little later than procd says, and until then has clean refused.
    for (path, text) in [
        ("etc/init.d/gatemeter", "#!/bin/sh\necho \"service $1\"\n"),
        ("usr/sbin/gatemeter", "#!/bin/sh\nif [ -e /tried ]; then echo \"cleaned\"; else echo >/tried; exit 1; fi\n"),
    ] {
        fs::set_permissions(root.write(path, text), fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn script(root: &Dir, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new("chroot");
    command.arg(&root.0).arg(format!("/usr/lib/opkg/info/gatemeter.{script}")).args(arguments);
    command.env_clear().env("PATH", "/bin:/usr/sbin").envs(environment.iter().copied());
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    stdout
}

#[test]
fn installing_leaves_the_rest_to_openwrt_s_own_functions() {
    let root = with_scripts();
    let own = "/usr/lib/opkg/info/gatemeter.postinst";
    assert_eq!(script(&root, "postinst", &["configure"], &[]), format!("postinst {own} configure\n"));
    assert_eq!(script(&root, "postinst", &[], &[("IPKG_NO_SCRIPT", "1")]), "");
    fs::remove_file(root.join("lib/functions.sh")).unwrap();
    assert_eq!(script(&root, "postinst", &[], &[]), "");
    assert_eq!(script(&root, "prerm", &[], &[]), "");
}

#[test]
fn removing_clears_the_kernel_and_an_upgrade_leaves_the_counts_there() {
    let root = with_scripts();
    let own = "/usr/lib/opkg/info/gatemeter.prerm";
    assert_eq!(script(&root, "prerm", &["upgrade", "0.2.0"], &[]), format!("prerm {own} upgrade 0.2.0\n"));
    assert_eq!(script(&root, "prerm", &["remove"], &[("PKG_UPGRADE", "1")]), format!("prerm {own} remove\n"));
    let told = format!("service stop\ncleaned\nprerm {own} remove\n");
    assert_eq!(script(&root, "prerm", &["remove"], &[("PKG_UPGRADE", "0")]), told);
}

#[test]
fn the_feed_builds_the_version_of_the_program_and_installs_the_same_files() {
    let makefile = text_of("openwrt/gatemeter/Makefile");
    assert!(makefile.contains(&format!("\nPKG_VERSION:={}\n", env!("CARGO_PKG_VERSION"))), "PKG_VERSION");
    for path in
        ["/usr/sbin/gatemeter", "/etc/init.d/gatemeter", "/etc/config/gatemeter", "/etc/capabilities/gatemeter.json"]
    {
        assert!(makefile.contains(&format!("$(1){path}\n")), "{path}");
    }
    // The state directory is a conffile of the feed's package; the buildroot makes the keep list of it.
    assert!(makefile.contains("\ndefine Package/gatemeter/conffiles\n/etc/config/gatemeter\n/etc/gatemeter/\nendef\n"));
    // Everything that is copied for the build is there, and the workspace's members are among it.
    let copied = makefile.lines().find(|line| line.contains("Cargo.toml Cargo.lock")).unwrap();
    let copied: Vec<&str> = copied.trim_end_matches('\\').split_whitespace().collect();
    for path in &copied {
        assert!(source(path).exists(), "{path}");
    }
    // And all that the compiler and the build script have read of the tree to make this program, as they have noted it.
    let read = read_by_the_build();
    assert!(["src", "page", "bpf"].iter().all(|path| read.contains(*path)), "{read:?}");
    for path in read {
        assert!(copied.contains(&path.as_str()), "{path} is not copied for the build");
    }
}

/// The names at the top of the tree that builds of the library and their build scripts have read. (What cargo notes beside
/// the program is there after `cargo build` only.)
fn read_by_the_build() -> BTreeSet<String> {
    let built = Path::new(env!("CARGO_BIN_EXE_gatemeter")).parent().unwrap();
    let below = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut notes = String::new();
    for path in below(&built.join("deps")) {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("gatemeter-") && name.ends_with(".d") {
            let note = fs::read_to_string(&path).unwrap();
            // Of the library as such: its tests read more, and clippy makes none.
            if note.contains(".rlib:") {
                notes += &note;
            }
        }
    }
    for dir in below(&built.join("build")) {
        if dir.file_name().unwrap().to_string_lossy().starts_with("gatemeter-") {
            for path in below(&dir) {
                let name = path.file_name().unwrap().to_string_lossy();
                if name == "output" || name.ends_with(".d") {
                    notes += &fs::read_to_string(&path).unwrap().replace("cargo::rerun-if-changed=", "\n");
                }
            }
        }
    }
    let root = format!("{}/", env!("CARGO_MANIFEST_DIR"));
    let tops = notes.split_whitespace().map(|path| path.strip_prefix(&root).unwrap_or(path).trim_end_matches(':'));
    let tops = tops.filter_map(|path| path.split('/').next()).filter(|top| !top.is_empty());
    // Clippy notes its own configuration.
    let tops = tops.filter(|top| !["target", ".ci"].contains(top));
    tops.filter(|top| Path::new(&root).join(top).exists()).map(str::to_owned).collect()
}
