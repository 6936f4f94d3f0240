//! Sets of small numbers, each known by a number of its own.

use super::index::{Index, tag};

/// The empty set.
pub(super) const EMPTY: u32 = 0;

/// Sets over `0..universe`, so that equal sets have equal numbers: binary tries of 64-bit leaves in which equal nodes are one node
/// (Goto's hash consing). To add or remove an element makes a node per level at most, whatever the size of the set.
///
/// A leaf is a pair of 32-bit halves, an inner node a pair of nodes. Both lie in one list: the depth tells which is meant, and
/// the pair of two zeros is the empty set at every depth.
pub(super) struct Sets {
    nodes: Vec<(u32, u32)>,
    index: Index,
    /// Inner levels above the leaves.
    levels: u32,
}

impl Sets {
    /// Sets of numbers below `universe`.
    pub fn new(universe: usize) -> Self {
        let leaves = universe.div_ceil(64).max(1);
        let mut sets = Self {
            nodes: Vec::new(),
            index: Index::default(),
            levels: leaves.next_power_of_two().trailing_zeros(),
        };
        sets.node((0, 0));
        sets
    }

    fn node(&mut self, pair: (u32, u32)) -> u32 {
        let tag = tag((u64::from(pair.0) << 32 | u64::from(pair.1)).wrapping_add(1));
        let nodes = &self.nodes;
        if let Some(number) = self.index.find(tag, |number| nodes[number as usize] == pair) {
            return number;
        }
        let number = self.nodes.len() as u32;
        self.nodes.push(pair);
        self.index.insert(tag, number);
        number
    }

    fn leaf(&self, node: u32) -> u64 {
        let (low, high) = self.nodes[node as usize];
        u64::from(high) << 32 | u64::from(low)
    }

    /// Whether `element` is in `set`.
    pub fn contains(&self, set: u32, element: u32) -> bool {
        let mut node = set;
        for level in (0..self.levels).rev() {
            let (left, right) = self.nodes[node as usize];
            node = if element >> (6 + level) & 1 == 0 { left } else { right };
        }
        self.leaf(node) >> (element & 63) & 1 == 1
    }

    /// `set` with `element` in it (or without).
    pub fn with(&mut self, set: u32, element: u32, present: bool) -> u32 {
        let mut path = [0; 32];
        let mut node = set;
        for level in (0..self.levels).rev() {
            path[level as usize] = node;
            let (left, right) = self.nodes[node as usize];
            node = if element >> (6 + level) & 1 == 0 { left } else { right };
        }
        let bit = 1 << (element & 63);
        let word = if present { self.leaf(node) | bit } else { self.leaf(node) & !bit };
        node = self.node((word as u32, (word >> 32) as u32));
        for level in 0..self.levels {
            let (left, right) = self.nodes[path[level as usize] as usize];
            node = self.node(if element >> (6 + level) & 1 == 0 { (node, right) } else { (left, node) });
        }
        node
    }

    /// Whether every element of `some` is in `all`.
    pub fn is_subset(&self, some: u32, all: u32) -> bool {
        // Two children wait for each level at most.
        let mut waiting = [(0, 0, 0); 64];
        waiting[0] = (some, all, self.levels);
        let mut length = 1;
        while length > 0 {
            length -= 1;
            let (some, all, level) = waiting[length];
            if some == all || some == EMPTY {
                continue;
            }
            if level == 0 {
                if self.leaf(some) & !self.leaf(all) != 0 {
                    return false;
                }
                continue;
            }
            let (left, right) = self.nodes[some as usize];
            let (all_left, all_right) = self.nodes[all as usize];
            waiting[length] = (left, all_left, level - 1);
            waiting[length + 1] = (right, all_right, level - 1);
            length += 2;
        }
        true
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<(u32, u32)>() + self.index.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schism_history::Random;

    use super::*;

    #[test]
    fn sets_are_equal_exactly_if_their_numbers_are() {
        for universe in [1, 64, 65, 5000] {
            let mut random = Random::new(universe, "sets");
            let mut sets = Sets::new(universe as usize);
            let mut known: Vec<(BTreeSet<u32>, u32)> = vec![(BTreeSet::new(), EMPTY)];
            for _ in 0..3000 {
                let (mut elements, number) = random.pick(&known).unwrap().clone();
                // Few elements, far apart, so that sets meet again.
                let element = (random.below(6) * (universe / 6)) as u32;
                let present = random.below(2) == 0;
                assert_eq!(sets.contains(number, element), elements.contains(&element));
                let changed = sets.with(number, element, present);
                if present {
                    elements.insert(element);
                } else {
                    elements.remove(&element);
                }
                for (other, other_number) in &known {
                    assert_eq!(changed == *other_number, elements == *other);
                    assert_eq!(sets.is_subset(*other_number, changed), other.is_subset(&elements));
                }
                if known.iter().all(|(other, _)| *other != elements) {
                    known.push((elements, changed));
                }
            }
        }
    }
}
