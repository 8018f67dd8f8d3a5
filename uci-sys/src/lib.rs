//! OpenWrt's libuci, for reading: a path enters, sections copied out of the library leave.
//!
//! The safe surface is [`Context::load`]; nothing it returns points into the library. Strings are bytes as they
//! stand in the file, not necessarily UTF-8. Writing, deltas and look-ups by name are left out: whoever needs them
//! can use the `uci` program.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

mod ffi;

/// One `config TYPE NAME` with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's type.
    pub kind: Vec<u8>,
    /// The section's name; for an anonymous section the one the library makes up.
    pub name: Vec<u8>,
    /// Whether the name is made up.
    pub anonymous: bool,
    /// The options; no name occurs twice.
    pub options: Vec<Opt>,
}

/// One option of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// The option's name.
    pub name: Vec<u8>,
    /// What it is set to.
    pub value: Value,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Written with `option`.
    Text(Vec<u8>),
    /// Written with `list`.
    List(Vec<Vec<u8>>),
}

/// Why the library did not load a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UciError {
    /// `UCI_ERR_MEM`: out of memory.
    Memory,
    /// `UCI_ERR_INVAL`: a path that is not absolute, or a file name that is not printable ASCII without spaces.
    Invalid,
    /// `UCI_ERR_NOTFOUND`: no such file, or not a regular one.
    NotFound,
    /// `UCI_ERR_IO`: the file cannot be opened or locked.
    Io,
    /// `UCI_ERR_PARSE`: the file breaks the grammar.
    Parse {
        /// Newlines read until then: the line of the error, or the one before where the last line has no newline.
        line: u32,
        /// What is wrong there, in the library's words.
        reason: String,
    },
    /// Any other code.
    Unknown(i32),
}

impl fmt::Display for UciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UciError::Memory => f.write_str("libuci is out of memory"),
            UciError::Invalid => f.write_str("libuci refuses the file's name"),
            UciError::NotFound => f.write_str("libuci finds no such regular file"),
            UciError::Io => f.write_str("libuci cannot open or lock the file"),
            UciError::Parse { line, reason } => write!(f, "line {line}: {reason}"),
            UciError::Unknown(code) => write!(f, "libuci answers with code {code}"),
        }
    }
}

impl std::error::Error for UciError {}

/// A `struct uci_context` of our own. Not for several threads at once, which its raw pointer already rules out.
#[derive(Debug)]
pub struct Context {
    /// # Invariant
    /// From `uci_alloc_context`, and freed nowhere but in [`Drop`].
    raw: NonNull<ffi::Context>,
}

impl Context {
    /// Makes a context; fails only when out of memory.
    pub fn new() -> Result<Self, UciError> {
        // SAFETY: takes no argument and touches nothing of ours.
        let raw = unsafe { ffi::uci_alloc_context() };
        NonNull::new(raw).map(|raw| Context { raw }).ok_or(UciError::Memory)
    }

    /// Reads the file at an absolute path, strictly: the first bad line fails it. Uncommitted changes and run-time
    /// replacements are left out, as the library does for paths.
    pub fn load(&mut self, path: &Path) -> Result<Vec<Section>, UciError> {
        if !path.is_absolute() {
            // The library takes anything else for a name in /etc/config and merges uncommitted changes into it.
            return Err(UciError::Invalid);
        }
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| UciError::Invalid)?;
        let mut package = ptr::null_mut();
        // SAFETY: the context is live by the invariant of `raw`; `name` is a C string that outlives the call, which
        // copies what it keeps; `package` is a live variable of the type the library writes.
        let code = unsafe { ffi::uci_load(self.raw.as_ptr(), name.as_ptr(), &raw mut package) };
        if code != ffi::code::OK {
            return Err(self.error(code));
        }
        let package = NonNull::new(package).ok_or(UciError::Unknown(code))?;
        // SAFETY: `uci_load` returned 0, so this is a whole package, and it lives until `uci_unload` below.
        let sections = unsafe { copy_sections(package.as_ptr()) };
        // SAFETY: the package is from this very context and not used any more: `sections` holds copies only.
        unsafe { ffi::uci_unload(self.raw.as_ptr(), package.as_ptr()) };
        Ok(sections)
    }

    fn error(&self, code: c_int) -> UciError {
        match code {
            ffi::code::MEM => UciError::Memory,
            ffi::code::INVAL => UciError::Invalid,
            ffi::code::NOTFOUND => UciError::NotFound,
            ffi::code::IO => UciError::Io,
            ffi::code::PARSE => parse_error(&self.error_text()),
            other => UciError::Unknown(other),
        }
    }

    /// The library's text for the latest parse error; for other codes it would repeat an older one.
    fn error_text(&self) -> String {
        /// The library formats in one static buffer, whatever the context.
        static BUFFER: Mutex<()> = Mutex::new(());
        let _alone = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text: *mut c_char = ptr::null_mut();
        // SAFETY: the context is live by the invariant of `raw`; `text` is a live variable of the type written; a
        // null prefix means none; the lock keeps other threads of ours from the static buffer.
        unsafe { ffi::uci_get_errorstr(self.raw.as_ptr(), &raw mut text, ptr::null()) };
        // SAFETY: `text` is NULL or a string the library just made with malloc.
        let copy = unsafe { bytes(text) };
        // SAFETY: `text` is NULL or from malloc, and is not used after this.
        unsafe { libc::free(text.cast()) };
        String::from_utf8_lossy(&copy).into_owned()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: `raw` is from `uci_alloc_context` and this is the only place that frees it.
        unsafe { ffi::uci_free_context(self.raw.as_ptr()) };
    }
}

/// Takes `Parse error (REASON) at line L, byte B` apart; a text of another form is kept whole as the reason.
fn parse_error(text: &str) -> UciError {
    let parts = text.split_once('(').and_then(|(_, rest)| {
        let (reason, rest) = rest.rsplit_once(") at line ")?;
        let (line, _) = rest.split_once(',')?;
        Some((reason, line.parse().ok()?))
    });
    match parts {
        Some((reason, line)) => UciError::Parse { line, reason: reason.to_owned() },
        None => UciError::Parse { line: 0, reason: text.to_owned() },
    }
}

/// The links of a ring from behind its head until the head comes round again.
struct Ring {
    head: *const ffi::List,
    next: *const ffi::List,
}

impl Ring {
    /// # Safety
    /// `head` is the head of one of the library's rings, whose elements all live as long as this value is used.
    unsafe fn new(head: *const ffi::List) -> Self {
        // SAFETY: the caller says that `head` is a live head; the library initialises every head.
        let next = unsafe { (*head).next };
        Ring { head, next }
    }
}

impl Iterator for Ring {
    type Item = *const ffi::List;

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.next;
        if current == self.head || current.is_null() {
            return None;
        }
        // SAFETY: `current` is a link of a live ring by the contract of `new`, and not its head.
        self.next = unsafe { (*current).next };
        Some(current)
    }
}

/// # Safety
/// `package` is a loaded package that nobody changes or unloads during the call.
unsafe fn copy_sections(package: *const ffi::Package) -> Vec<Section> {
    // SAFETY: the package is live, so the address of its member is within it.
    let head = unsafe { &raw const (*package).sections };
    // SAFETY: `head` is the package's list of sections, which live as long as the package.
    let links = unsafe { Ring::new(head) };
    links
        .map(|link| {
            // A link is the first member of its element, and the element of its section: the addresses are equal.
            let section: *const ffi::Section = link.cast();
            // SAFETY: the ring of a package's sections holds sections only, and they are live.
            unsafe { copy_section(section) }
        })
        .collect()
}

/// # Safety
/// `section` belongs to a loaded package that nobody changes or unloads during the call.
unsafe fn copy_section(section: *const ffi::Section) -> Section {
    // SAFETY: the section is live; nothing else refers to it mutably during the call.
    let section = unsafe { &*section };
    // SAFETY: the reference above is to a live section, so its member is a live head.
    let links = unsafe { Ring::new(&raw const section.options) };
    Section {
        // SAFETY: a C string that belongs to the live section.
        kind: unsafe { bytes(section.kind) },
        // SAFETY: a C string that belongs to the live section.
        name: unsafe { bytes(section.e.name) },
        anonymous: section.anonymous != 0,
        options: links
            .filter_map(|link| {
                let option: *const ffi::Opt = link.cast();
                // SAFETY: the ring of a section's options holds options only, and they are live.
                unsafe { copy_option(option) }
            })
            .collect(),
    }
}

/// `None` for a kind of option that does not exist today.
///
/// # Safety
/// `option` belongs to a loaded package that nobody changes or unloads during the call.
unsafe fn copy_option(option: *const ffi::Opt) -> Option<Opt> {
    // SAFETY: the option is live; nothing else refers to it mutably during the call.
    let option = unsafe { &*option };
    let value = match option.kind {
        ffi::STRING => {
            // SAFETY: `kind` says that the union holds the string.
            let string = unsafe { option.value.string };
            // SAFETY: a C string that belongs to the live option.
            Value::Text(unsafe { bytes(string) })
        }
        ffi::LIST => {
            // SAFETY: `kind` says that the union holds the head of the items.
            let head = unsafe { &raw const *option.value.list };
            // SAFETY: `head` is a live head, and the items live as long as their option.
            let links = unsafe { Ring::new(head) };
            Value::List(
                links
                    .map(|link| {
                        let item: *const ffi::Element = link.cast();
                        // SAFETY: the ring of a list option holds bare elements, and they are live.
                        let name = unsafe { (*item).name };
                        // SAFETY: a C string that belongs to the live item.
                        unsafe { bytes(name) }
                    })
                    .collect(),
            )
        }
        _ => return None,
    };
    // SAFETY: a C string that belongs to the live option.
    let name = unsafe { bytes(option.e.name) };
    Some(Opt { name, value })
}

/// Copies a C string; NULL is an empty one.
///
/// # Safety
/// `string` is NULL or a C string that lives and stays the same during the call.
unsafe fn bytes(string: *const c_char) -> Vec<u8> {
    if string.is_null() {
        return Vec::new();
    }
    // SAFETY: not NULL, so by the caller's word a live C string.
    unsafe { CStr::from_ptr(string) }.to_bytes().to_vec()
}
