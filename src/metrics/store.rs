//! The snapshot: the latest page of every collector, in the order collectors are listed.
//!
//! The daemon runs on one thread, so the snapshot is a plain cell: a page is swapped in whole, and a reader sees either
//! the page before or the page after.

use std::cell::{Cell, RefCell};

use super::Page;

struct Entry {
    name: &'static str,
    page: Page,
    present: bool,
}

/// The latest page of every collector.
#[derive(Default)]
pub struct Store {
    entries: RefCell<Vec<Entry>>,
    generation: Cell<u32>,
}

impl Store {
    /// A store for the collectors of these names, which also gives the order of output.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let entries = names.into_iter().map(|name| Entry { name, page: Page::new(), present: false }).collect();
        Store { entries: RefCell::new(entries), generation: Cell::new(0) }
    }

    /// Puts a collector's new page in the snapshot; `page` becomes the one it replaces, emptied, ready to be filled.
    pub fn publish(&self, name: &str, page: &mut Page) {
        if let Some(entry) = self.entries.borrow_mut().iter_mut().find(|entry| entry.name == name) {
            page.fit();
            std::mem::swap(&mut entry.page, page);
            entry.present = true;
            self.generation.set(self.generation.get().wrapping_add(1));
        }
        page.clear();
    }

    /// Takes a collector's families out of the snapshot, because they are stale or it was turned off.
    pub fn withdraw(&self, name: &str) {
        if let Some(entry) = self.entries.borrow_mut().iter_mut().find(|entry| entry.name == name) {
            entry.page = Page::new();
            entry.present = false;
            self.generation.set(self.generation.get().wrapping_add(1));
        }
    }

    /// Changes whenever the snapshot does.
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Calls `each` with the name and page of every collector that has one, in output order.
    pub fn each(&self, mut each: impl FnMut(&'static str, &Page)) {
        for entry in self.entries.borrow().iter().filter(|entry| entry.present) {
            each(entry.name, &entry.page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Desc, Kind};

    const UP: Desc = Desc { name: "up", kind: Kind::Gauge, labels: &[], help: "Up." };

    fn names(store: &Store) -> Vec<&'static str> {
        let mut names = Vec::new();
        store.each(|name, _| names.push(name));
        names
    }

    #[test]
    fn pages_come_in_the_order_of_the_list_not_of_publication() {
        let store = Store::new(["a", "b"]);
        store.publish("b", &mut Page::new());
        store.publish("a", &mut Page::new());
        assert_eq!(names(&store), ["a", "b"]);
    }

    #[test]
    fn a_withdrawn_page_is_gone_and_the_generation_moves() {
        let store = Store::new(["a"]);
        let before = store.generation();
        store.publish("a", &mut Page::new());
        assert_ne!(store.generation(), before);
        store.withdraw("a");
        assert!(names(&store).is_empty());
    }

    #[test]
    fn publishing_hands_back_an_empty_page() {
        let store = Store::new(["a"]);
        let mut page = Page::new();
        page.single(&UP, 1u64);
        store.publish("a", &mut page);
        assert!(page.is_empty());
        page.single(&UP, 0u64);
        store.publish("a", &mut page);
        assert!(page.is_empty());
    }
}
