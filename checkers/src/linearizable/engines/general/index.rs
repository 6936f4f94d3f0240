//! A hash table of numbers, for things that lie elsewhere.

/// Marks an empty place.
const EMPTY: u32 = u32::MAX;

/// Finds the number of a thing by its hash. The things lie in a list of the owner, who compares them: 8 bytes a thing, and equal
/// hashes are never taken for equal things.
#[derive(Default)]
pub(super) struct Index {
    /// Part of the hash, and the number.
    places: Vec<(u32, u32)>,
    len: usize,
}

/// Spreads the bits of a hash over its upper half, which is what the tables use.
pub(super) fn tag(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

impl Index {
    /// The number under this hash that `is_it` recognises.
    pub fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let mut place = tag as usize & mask;
        loop {
            let (other, number) = self.places[place];
            if number == EMPTY {
                return None;
            }
            if other == tag && is_it(number) {
                return Some(number);
            }
            place = (place + 1) & mask;
        }
    }

    /// Adds a number that is not in it yet.
    pub fn insert(&mut self, tag: u32, number: u32) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            let larger = vec![(0, EMPTY); (self.places.len() * 2).max(16)];
            let smaller = std::mem::replace(&mut self.places, larger);
            for (tag, number) in smaller.into_iter().filter(|(_, number)| *number != EMPTY) {
                self.put(tag, number);
            }
        }
        self.put(tag, number);
        self.len += 1;
    }

    fn put(&mut self, tag: u32, number: u32) {
        let mask = self.places.len() - 1;
        let mut place = tag as usize & mask;
        while self.places[place].1 != EMPTY {
            place = (place + 1) & mask;
        }
        self.places[place] = (tag, number);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<(u32, u32)>()
    }
}
