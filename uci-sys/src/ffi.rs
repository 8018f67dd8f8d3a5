//! What `uci.h` declares, as far as reading needs it.
//!
//! The layouts are the same in every release since 2021 (OpenWrt 22.03 and later). They are checked when this is
//! compiled, against offsets taken from C programs for x86-64, mips and mipsel. `struct uci_context` does change
//! between releases, so it stays opaque.

use std::ffi::{c_char, c_int};
use std::mem::offset_of;

/// `struct uci_context`, only ever seen through a pointer.
#[repr(C)]
pub struct Context {
    _opaque: [u8; 0],
}

/// `struct uci_list`: a link of a ring; the head is a link of its own that is no element.
#[repr(C)]
pub struct List {
    pub next: *const List,
    pub prev: *const List,
}

/// `struct uci_element`: the first member of packages, sections and options, and all of a list item.
#[repr(C)]
pub struct Element {
    /// First member: a pointer to it is a pointer to the element.
    pub list: List,
    pub kind: c_int,
    pub name: *const c_char,
}

/// `struct uci_package`, without the private members at its end.
#[repr(C)]
pub struct Package {
    pub e: Element,
    pub sections: List,
}

/// `struct uci_section`.
#[repr(C)]
pub struct Section {
    pub e: Element,
    pub options: List,
    pub package: *const Package,
    /// A C `bool`; read as a byte, since only 0 and 1 would be a valid Rust `bool`.
    pub anonymous: u8,
    pub kind: *const c_char,
}

/// `struct uci_option`.
#[repr(C)]
pub struct Opt {
    pub e: Element,
    pub section: *const Section,
    /// One of [`STRING`] and [`LIST`]: which member of `value` holds.
    pub kind: c_int,
    pub value: OptValue,
}

/// The union `v` in `struct uci_option`.
#[repr(C)]
pub union OptValue {
    /// Head of the items, which are bare elements with the value as their name.
    pub list: std::mem::ManuallyDrop<List>,
    pub string: *const c_char,
}

/// `UCI_TYPE_STRING` of `enum uci_option_type`.
pub const STRING: c_int = 0;
/// `UCI_TYPE_LIST` of `enum uci_option_type`.
pub const LIST: c_int = 1;

/// `UCI_ERR_*`.
pub mod code {
    use std::ffi::c_int;

    pub const OK: c_int = 0;
    pub const MEM: c_int = 1;
    pub const INVAL: c_int = 2;
    pub const NOTFOUND: c_int = 3;
    pub const IO: c_int = 4;
    pub const PARSE: c_int = 5;
}

unsafe extern "C" {
    /// NULL when out of memory.
    pub fn uci_alloc_context() -> *mut Context;
    /// Frees the context and every package in it.
    pub fn uci_free_context(ctx: *mut Context);
    /// Loads a package; `package` is set only when the result is 0.
    pub fn uci_load(ctx: *mut Context, name: *const c_char, package: *mut *mut Package) -> c_int;
    /// Frees a package and all that hangs on it.
    pub fn uci_unload(ctx: *mut Context, package: *mut Package) -> c_int;
    /// Sets `dest` to a string from malloc, or to NULL; formats in a static buffer.
    pub fn uci_get_errorstr(ctx: *mut Context, dest: *mut *mut c_char, prefix: *const c_char);
}

/// The same number counted in pointers on 64-bit and 32-bit machines would hide padding, so both are written out.
const fn bits(on_64: usize, on_32: usize) -> usize {
    if size_of::<usize>() == 8 { on_64 } else { on_32 }
}

const _: () = {
    assert!(size_of::<List>() == bits(16, 8));
    assert!(size_of::<Element>() == bits(32, 16));
    assert!(offset_of!(Element, kind) == bits(16, 8));
    assert!(offset_of!(Element, name) == bits(24, 12));
    assert!(offset_of!(Package, sections) == bits(32, 16));
    assert!(size_of::<Section>() == bits(72, 36));
    assert!(offset_of!(Section, options) == bits(32, 16));
    assert!(offset_of!(Section, anonymous) == bits(56, 28));
    assert!(offset_of!(Section, kind) == bits(64, 32));
    assert!(size_of::<Opt>() == bits(64, 32));
    assert!(offset_of!(Opt, section) == bits(32, 16));
    assert!(offset_of!(Opt, kind) == bits(40, 20));
    assert!(offset_of!(Opt, value) == bits(48, 24));
};
