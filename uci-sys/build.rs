//! Links OpenWrt's libuci, and libubox that it stands on. `UCI_LIB_DIR` names their directory where the linker does
//! not know it by itself. No header is read: the few structures needed are written down in `src/ffi.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=UCI_LIB_DIR");
    if let Ok(dir) = std::env::var("UCI_LIB_DIR") {
        println!("cargo:rustc-link-search=native={dir}");
    }
    println!("cargo:rustc-link-lib=dylib=uci");
    println!("cargo:rustc-link-lib=dylib=ubox");
}
