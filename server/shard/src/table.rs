//! Things by number, where numbers come back: a key names one use of its place, and no later one.

use std::ops::{Index, IndexMut};

/// Names one thing of a [`Table`], also after it is gone: then it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Names nothing in any table: the first use of a place is number 1.
    pub const NOTHING: Key = Key { index: u32::MAX, generation: 0 };

    /// The place alone, for those who look only while the thing is there.
    #[inline]
    pub fn index(self) -> u32 {
        self.index
    }
}

#[derive(Debug)]
struct Place<T> {
    /// Uses of this place so far.
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub struct Table<T> {
    places: Vec<Place<T>>,
    /// Places that are free; the last is used next.
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 places");
            assert_ne!(index, Key::NOTHING.index, "the last place is nobody's");
            self.places.push(Place { generation: 0, value: None });
            index
        });
        let place = &mut self.places[index as usize];
        debug_assert!(place.value.is_none(), "a free place is empty");
        // Number 0 is nobody's, also after four billion uses.
        place.generation = place.generation.wrapping_add(1).max(1);
        place.value = Some(value);
        Key { index, generation: place.generation }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        let value = place.value.take_if(|_| place.generation == key.generation)?;
        debug_assert!(self.free.len() < self.places.len(), "a place in use was not free");
        self.free.push(key.index);
        Some(value)
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == key.generation)
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        place.value.as_mut().filter(|_| place.generation == key.generation)
    }

    /// What is at a place now, if anything is: it may be another thing than was there.
    pub fn now_at(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.value.as_ref()
    }

    /// By place alone, for those who are told when a thing goes and forget its place then.
    #[inline]
    pub fn at(&self, index: u32) -> &T {
        self.places[index as usize].value.as_ref().expect("nobody remembers the place of what is gone")
    }

    #[inline]
    pub fn at_mut(&mut self, index: u32) -> &mut T {
        self.places[index as usize].value.as_mut().expect("nobody remembers the place of what is gone")
    }

    /// The key of what is at a place now.
    pub fn key_at(&self, index: u32) -> Key {
        debug_assert!(self.places[index as usize].value.is_some(), "what is gone has no key");
        Key { index, generation: self.places[index as usize].generation }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }

    /// Recounts what `free` says.
    pub fn check(&self) {
        let used: usize = self.iter().map(|_| 1).sum();
        assert_eq!(self.len(), used, "every empty place is free");
        assert!(self.free.iter().all(|&index| self.places[index as usize].value.is_none()));
        assert!(self.iter().all(|(key, _)| key.generation != Key::NOTHING.generation), "a use has a number");
    }
}

/// For keys of what is known to be there.
impl<T> Index<Key> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, key: Key) -> &T {
        self.get(key).expect("the key of something that is there")
    }
}

impl<T> IndexMut<Key> for Table<T> {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut T {
        self.get_mut(key).expect("the key of something that is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_names_nothing_once_its_thing_is_gone() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(second.index(), first.index(), "places come back");
        assert_eq!((table.get(first), table.get(Key::NOTHING)), (None, None));
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!((table[second], *table.at(second.index()), table.len()), ("second", "second", 1));
        assert_eq!(table.key_at(second.index()), second);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_of_pairs_holds(
            steps in prop::collection::vec((any::<bool>(), 0usize..8), 0..200),
        ) {
            let mut table = Table::default();
            let mut known: Vec<(Key, usize)> = Vec::new();
            let mut gone: Vec<Key> = Vec::new();
            for (number, (inserts, place)) in steps.into_iter().enumerate() {
                if inserts || known.is_empty() {
                    known.push((table.insert(number), number));
                } else {
                    let (key, value) = known.swap_remove(place % known.len());
                    prop_assert_eq!(table.remove(key), Some(value));
                    gone.push(key);
                }
                prop_assert_eq!(table.len(), known.len());
                prop_assert!(known.iter().all(|&(key, value)| table.get(key) == Some(&value)));
                prop_assert!(gone.iter().all(|&key| table.get(key).is_none()));
                prop_assert_eq!(table.iter().count(), known.len());
                table.check();
            }
        }
    }
}
