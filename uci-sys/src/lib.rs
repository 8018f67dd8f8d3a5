//! FFI to OpenWrt's libuci.
