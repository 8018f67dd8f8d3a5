//! What a page allocates: nothing for each sample, neither when it is filled again nor when it is written.
//!
//! The allocator of this program counts calls of each thread, so tests beside each other do not disturb one another.

#![allow(missing_docs, reason = "a test crate")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gatemeter::metrics::{Desc, Kind, Page};
use gatemeter::outputs::lines::{self, Lines};
use gatemeter::outputs::prometheus::{self, Dialect};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // While a thread ends its counter may be gone, and nobody reads it then.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it came; counting touches a cell of the thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System`, and the caller's promise is handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the block came from `System`, and the caller's promise is handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

static BYTES: Desc =
    Desc { name: "client_tx_bytes", kind: Kind::Counter, labels: &["mac", "hostname", "ip"], help: "Bytes." };
static RATE: Desc =
    Desc { name: "client_tx_bps", kind: Kind::Gauge, labels: &["mac", "hostname", "ip"], help: "Bytes a second." };

/// Two families with a sample of each client, as a collector would write them.
fn fill(page: &mut Page, clients: u32) {
    page.clear();
    for (desc, scale) in [(&BYTES, 1.0), (&RATE, 0.37)] {
        page.family(desc);
        for client in 0..clients {
            let addr = std::net::Ipv4Addr::from(0xc0a8_0000 + client);
            let labels = page.labels(&[&format_args!("02:1A:00:00:{client:04X}"), &"host \"of\" many", &addr]);
            page.sample(labels, f64::from(client) * scale);
        }
    }
}

fn filled(clients: u32) -> Page {
    let mut page = Page::new();
    fill(&mut page, clients);
    page
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_page_is_filled_again_in_the_memory_it_has() {
    let mut page = filled(1000);
    assert_eq!(allocations(|| fill(&mut page, 1000)), 0);
}

/// A text that is there already has room enough; what is left are a few for each page.
fn writing(clients: u32, encode: impl Fn(&Page, &mut String)) -> usize {
    let page = filled(clients);
    let mut text = String::new();
    encode(&page, &mut text);
    text.clear();
    let count = allocations(|| encode(&page, &mut text));
    assert!(text.lines().count() >= 2 * clients as usize, "{clients} clients");
    count
}

#[test]
fn text_formats_allocate_for_a_page_and_not_for_a_sample() {
    for dialect in [Dialect::Text, Dialect::OpenMetrics] {
        let encode = |page: &Page, text: &mut String| prometheus::encode(page, dialect, text);
        assert_eq!(writing(10, encode), writing(1000, encode), "{dialect:?}");
    }
}

#[test]
fn line_formats_allocate_for_a_page_and_not_for_a_sample() {
    for format in [Lines::Influx, Lines::Graphite(1_795_000_000)] {
        let encode = |page: &Page, text: &mut String| lines::encode(page, format, text);
        assert_eq!(writing(10, encode), writing(1000, encode), "{format:?}");
    }
}

#[test]
fn a_text_file_is_written_in_pieces_that_allocate_no_more_for_a_longer_page() {
    let in_pieces = |clients: u32| {
        let page = filled(clients);
        let mut text = String::with_capacity(32 * 1024);
        let mut pass_on = |text: &mut String| {
            if text.len() >= 16 * 1024 {
                text.clear();
            }
        };
        allocations(|| prometheus::encode_in_pieces(&page, Dialect::Text, &mut text, &mut pass_on))
    };
    assert_eq!(in_pieces(10), in_pieces(1000));
}
