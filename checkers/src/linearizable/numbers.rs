//! Numbers by number: the small table that every key needs for its values.

/// A slot that is free.
const FREE: u64 = u64::MAX;

/// Numbers by number. Open addressing with linear probing, at most half full.
///
/// A hash table for all purposes costs several times as much where most keys of a history have a hundred operations.
pub(super) struct Numbers {
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
