//! Tells the program what it was built for and from, for `gatemeter_build_info`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GATEMETER_REVISION");
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".into());
    println!("cargo:rustc-env=GATEMETER_TARGET={target}");
}
