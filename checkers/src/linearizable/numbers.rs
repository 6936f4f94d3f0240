//! Numbers by number: the small table that every object needs for its values.

/// A slot that is free.
const FREE: u64 = u64::MAX;

/// Numbers by number. Open addressing with linear probing, at most half full.
///
/// A hash table for all purposes costs several times as much where most objects of a history have a hundred operations.
pub(crate) struct Numbers {
    slots: Vec<(u64, u32)>,
    shift: u32,
    used: usize,
}

impl Numbers {
    /// With room for some.
    pub fn for_some(expected: usize) -> Self {
        let size = (2 * expected).next_power_of_two().max(16);
        Self { slots: vec![(FREE, 0); size], shift: 64 - size.trailing_zeros(), used: 0 }
    }

    /// The number of `key`, which must be less than the largest there is. One that is new gets `fresh`.
    #[inline]
    pub fn of(&mut self, key: u64, fresh: u32) -> u32 {
        if 2 * self.used >= self.slots.len() {
            self.grow();
        }
        let place = self.place(key);
        let slot = &mut self.slots[place];
        if slot.0 == FREE {
            *slot = (key, fresh);
            self.used += 1;
        }
        slot.1
    }

    /// The number of `key`, if it has one.
    #[inline]
    pub fn get(&self, key: u64) -> Option<u32> {
        let slot = self.slots[self.place(key)];
        (slot.0 != FREE).then_some(slot.1)
    }

    /// Where the key is, or where it belongs.
    #[inline]
    fn place(&self, key: u64) -> usize {
        // Multiplying by 2^64 divided by the golden ratio spreads evenly whatever goes up in equal steps.
        let mut place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.slots[place].0 != FREE && self.slots[place].0 != key {
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }

    fn grow(&mut self) {
        let old = std::mem::take(self);
        *self = Self::for_some(old.slots.len());
        for (key, number) in old.slots.into_iter().filter(|slot| slot.0 != FREE) {
            self.of(key, number);
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::for_some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schism_history::Random;

    use super::*;

    #[test]
    fn few_numbers_find_themselves_again_among_many() {
        let mut random = Random::new(24, "numbers");
        for _ in 0..200 {
            let mut numbers = Numbers::for_some(random.below(4) as usize);
            let mut expected = BTreeMap::new();
            for fresh in 0..random.below(600) as u32 {
                // Close together, and so far apart that only the upper half differs.
                let key = random.below(200) << [0, 32][random.below(2) as usize];
                assert_eq!(numbers.get(key), expected.get(&key).copied());
                assert_eq!(numbers.of(key, fresh), *expected.entry(key).or_insert(fresh));
            }
            assert!(expected.iter().all(|(key, number)| numbers.get(*key) == Some(*number)));
        }
    }
}
