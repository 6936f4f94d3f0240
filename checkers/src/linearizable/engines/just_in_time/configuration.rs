//! Configurations of the just-in-time search, and sets of them.

use rustc_hash::FxHashSet;

use super::Number;
use super::reductions::{Reductions, Sabotage};

/// A set of slots, `64 * W` at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slots<const W: usize>([u64; W]);

impl<const W: usize> Slots<W> {
    pub const EMPTY: Self = Self([0; W]);

    pub fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn without(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
        self
    }

    pub fn and(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
        self
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(word, other)| word & !other == 0)
    }

    /// The slots in it, ascending.
    #[inline]
    pub fn iter(&self) -> Members<W> {
        Members { words: self.0, at: 0 }
    }
}

/// The slots of a set, ascending.
pub(crate) struct Members<const W: usize> {
    /// What is left of each word.
    words: [u64; W],
    at: usize,
}

impl<const W: usize> Iterator for Members<W> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.words.get_mut(self.at) {
            if *word != 0 {
                let slot = self.at * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(slot);
            }
            self.at += 1;
        }
        None
    }
}

/// One way the past can have gone: what the register holds, and what of the open operations is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Configuration<const W: usize> {
    pub state: Number,
    /// Open operations that must still take effect before they return.
    pub required: Slots<W>,
    /// Open writes and compare-and-sets that may still take effect. Those outside `required` need not.
    pub available: Slots<W>,
}

impl<const W: usize> Configuration<W> {
    /// Whether every future of `other` is a future of `self` too: from the same state, `self` can still do whatever
    /// `other` can and must do nothing that `other` need not. (Proof: take a continuation of `other` and leave out
    /// the reads that `self` has behind it. The states are the same, each write in it is available to `self`, and
    /// everything `self` requires is in it, since `other` requires it too.)
    fn covers(&self, other: &Self, reductions: &Reductions) -> bool {
        self.state == other.state
            && (other.available.is_subset(&self.available)
                || reductions.sabotaged(Sabotage::DominanceForgetsChances))
            && (self.required.is_subset(&other.required)
                || reductions.sabotaged(Sabotage::DominanceForgetsDuties))
    }
}

/// Above this size a set only drops duplicates, so that inserting does not become quadratic.
const COMPARE_UP_TO: usize = 256;

/// A set of configurations without those covered by another one.
pub(crate) struct Frontier<const W: usize> {
    configurations: Vec<Configuration<W>>,
    /// Those of `configurations`, once there are many.
    index: FxHashSet<Configuration<W>>,
    reductions: Reductions,
}

impl<const W: usize> Frontier<W> {
    pub fn new(reductions: Reductions) -> Self {
        Self { configurations: Vec::new(), index: FxHashSet::default(), reductions }
    }

    /// Adds one; false if it was there or is covered.
    pub fn insert(&mut self, new: Configuration<W>) -> bool {
        if self.configurations.len() > COMPARE_UP_TO {
            if self.index.is_empty() {
                self.index.extend(self.configurations.iter().copied());
            }
            if !self.index.insert(new) {
                return false;
            }
            self.configurations.push(new);
            return true;
        }
        let mut position = 0;
        while let Some(old) = self.configurations.get(position) {
            if old.state != new.state {
                // Neither can cover the other.
                position += 1;
                continue;
            }
            if *old == new || (self.reductions.dominance && old.covers(&new, &self.reductions)) {
                return false;
            }
            if self.reductions.dominance && new.covers(old, &self.reductions) {
                self.configurations.swap_remove(position);
            } else {
                position += 1;
            }
        }
        self.configurations.push(new);
        true
    }

    pub fn clear(&mut self) {
        self.configurations.clear();
        self.index.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.configurations.is_empty()
    }

    pub fn len(&self) -> usize {
        self.configurations.len()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        (self.configurations.capacity() + self.index.capacity() * 2) * size_of::<Configuration<W>>()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Configuration<W>> {
        self.configurations.iter()
    }

    /// Changes all in place. Only for changes that keep different configurations different, as those of an
    /// invocation do.
    pub fn for_each_mut(&mut self, change: impl FnMut(&mut Configuration<W>)) {
        self.index.clear();
        self.configurations.iter_mut().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(members: &[usize]) -> Slots<2> {
        let mut slots = Slots::EMPTY;
        members.iter().for_each(|slot| slots.insert(*slot));
        slots
    }

    #[test]
    fn slots_are_a_set() {
        let mut some = slots(&[0, 63, 64, 127]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 63, 64, 127]);
        some.remove(63);
        assert!(some.contains(64) && !some.contains(63));
        assert_eq!(some.without(&slots(&[0, 1])), slots(&[64, 127]));
        assert_eq!(some.and(&slots(&[0, 1])), slots(&[0]));
        assert!(some.meets(&slots(&[127])) && !some.meets(&slots(&[126])));
        assert!(slots(&[64]).is_subset(&some) && !some.is_subset(&slots(&[64])));
        assert!(slots(&[]).is_empty() && !some.is_empty());
    }

    #[test]
    fn covered_configurations_are_left_out_and_thrown_out() {
        let configuration = |state, required: &[usize], available: &[usize]| Configuration {
            state,
            required: slots(required),
            available: slots(available),
        };
        let mut frontier = Frontier::new(Reductions::ALL);
        assert!(frontier.insert(configuration(1, &[1, 2], &[1])));
        assert!(!frontier.insert(configuration(1, &[1, 2], &[1])));
        assert!(!frontier.insert(configuration(1, &[1, 2, 3], &[])));
        assert!(frontier.insert(configuration(1, &[1], &[])), "less to do, but less is possible");
        assert!(frontier.insert(configuration(2, &[1, 2], &[1])));
        assert!(frontier.insert(configuration(1, &[], &[1])));
        assert_eq!(frontier.len(), 2);
    }

    #[test]
    fn a_large_set_still_drops_duplicates() {
        let mut frontier = Frontier::<1>::new(Reductions::ALL);
        for round in 0..2 {
            for state in 0..1000 {
                let new = Configuration { state, required: Slots::EMPTY, available: Slots::EMPTY };
                assert_eq!(frontier.insert(new), round == 0);
            }
        }
    }
}
