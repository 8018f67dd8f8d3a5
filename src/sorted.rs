//! A map for a few entries, such as one for each interface: a sorted list.
//!
//! Each `BTreeMap` from which entries are removed takes 7 kB of code on MIPS, this takes less than one. Adding and
//! removing move what comes after, so it is not for tables of thousands that outsiders can fill.

/// Entries in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted(Vec::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Likewise, where most entries stand at a place that is known.
    pub fn get_near(&self, place: usize, key: &K) -> Option<&V> {
        self.0.get(self.place_near(place, key)?).map(|(_, value)| value)
    }

    /// Likewise, to be changed.
    pub fn get_mut_near(&mut self, place: usize, key: &K) -> Option<&mut V> {
        let at = self.place_near(place, key)?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    fn place_near(&self, place: usize, key: &K) -> Option<usize> {
        match self.0.get(place) {
            Some((known, _)) if known == key => Some(place),
            _ => self.find(key).ok(),
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().and_then(|at| self.0.get_mut(at)).map(|(_, value)| value)
    }

    /// Whether there is an entry for a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Sets the value of a key; the one it had if it was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Removes an entry; its value if it was there.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Removes the entries for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    /// Takes all entries out; their values, in order.
    pub fn drain(&mut self) -> Vec<V> {
        std::mem::take(&mut self.0).into_iter().map(|(_, value)| value).collect()
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The entries, in order, with values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_listed_in_order_whatever_order_they_came_in() {
        let mut map = Sorted::default();
        for (key, value) in [(3, "c"), (1, "a"), (2, "b")] {
            assert_eq!(map.insert(key, value), None);
        }
        assert_eq!(map.insert(2, "B"), Some("b"));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&1, &"a"), (&2, &"B"), (&3, &"c")]);
        assert_eq!((map.get(&2), map.get(&4), map.len()), (Some(&"B"), None, 3));
        for place in 0..5 {
            assert_eq!((map.get_near(place, &2), map.get_near(place, &4)), (Some(&"B"), None));
            assert_eq!(map.get_mut_near(place, &3), Some(&mut "c"));
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_all_else_stays() {
        let mut map = Sorted::default();
        (0..10).for_each(|key| _ = map.insert(key, key * 10));
        assert_eq!((map.remove(&4), map.remove(&4)), (Some(40), None));
        map.retain(|key, _| key % 2 == 1);
        map.iter_mut().for_each(|(_, value)| *value -= 1);
        *map.get_mut(&9).unwrap() += 1;
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [9, 29, 49, 69, 90]);
        assert!(!map.contains_key(&4) && !map.is_empty());
    }
}
