//! Tells the program what it was built for and from, and which kernel object it embeds: the committed one of the
//! target's byte order, or the one under `GATEMETER_BPF_OBJECT_DIR`, which lets the tests run on objects that were
//! rebuilt by another toolchain. Leaves out of a MIPS program what only debuggers read.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

#[path = "page/pack.rs"]
mod page;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GATEMETER_REVISION");
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".into());
    println!("cargo::rustc-env=GATEMETER_TARGET={target}");

    let name = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "gatemeter.bpfeb.o",
        _ => "gatemeter.bpfel.o",
    };
    let committed = || PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("bpf");
    let dir = env::var_os("GATEMETER_BPF_OBJECT_DIR").map_or_else(committed, PathBuf::from);
    let object = dir.join(name);
    println!("cargo::rerun-if-env-changed=GATEMETER_BPF_OBJECT_DIR");
    println!("cargo::rerun-if-changed={}", object.display());
    if env::var_os("CARGO_FEATURE_TRAFFIC").is_some()
        && let Err(error) = pack_object(&object)
    {
        println!("cargo::error=cannot compress {}: {error}", object.display());
    }
    println!("cargo::rustc-env=GATEMETER_BPF_DIR={}", dir.display());

    if env::var_os("CARGO_FEATURE_PAGE").is_some() {
        page::pack();
    }

    // On MIPS every function gets a record for debuggers (.pdr) that is not loaded and that stripping spares: a tenth
    // of the file.
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("mips") {
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
        println!("cargo::rerun-if-changed=mips.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", root.join("mips.ld").display());
    }
}

/// Writes the kernel program's object to the build's directory, compressed, and tells the compiler its length.
fn pack_object(object: &Path) -> std::io::Result<()> {
    let bytes = fs::read(object)?;
    println!("cargo::rustc-env=GATEMETER_BPF_LENGTH={}", bytes.len());
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&bytes)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("gatemeter.o.deflate");
    fs::write(out, packed.finish()?)
}
