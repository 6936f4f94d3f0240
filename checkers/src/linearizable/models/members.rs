//! A set of numbers that shares most of itself with others, so that states of large sets are cheap to copy and to change.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bits of a number that a leaf holds as a map of 512 bits.
const LEAF_BITS: u32 = 9;

/// Bits of a number that choose among the children of an inner node.
const INNER_BITS: u32 = 3;

/// A set of numbers: a tree of bit maps. A copy takes constant time, a change a node for each three digits (in base two) of the largest
/// number, and a comparison of different sets constant time, almost always.
#[derive(Clone, Debug, Default)]
pub struct Members {
    root: Option<Arc<Node>>,
    /// Inner levels above the leaves.
    levels: u32,
    len: u32,
    sum: u64,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf([u64; 1 << (LEAF_BITS - 6)]),
    Inner([Option<Arc<Node>>; 1 << INNER_BITS]),
}

/// What a member adds to the hash.
fn mix(number: u32) -> u64 {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// What [`Members::sum`] is for these numbers.
pub fn sum(numbers: impl Iterator<Item = u32>) -> u64 {
    numbers.fold(0, |sum, number| sum.wrapping_add(mix(number)))
}

/// Which child of a node at this level the number is under.
fn child(number: u32, level: u32) -> usize {
    (number >> (LEAF_BITS + INNER_BITS * level)) as usize & ((1 << INNER_BITS) - 1)
}

/// Which word of a leaf holds the number, and its bit there.
fn bit(number: u32) -> (usize, u64) {
    ((number >> 6) as usize & ((1 << (LEAF_BITS - 6)) - 1), 1 << (number & 63))
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The sum of what the members are mixed to: different sets rarely agree in it.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether a tree of so many levels has a place for the number.
    fn fits(number: u32, levels: u32) -> bool {
        number.checked_shr(LEAF_BITS + INNER_BITS * levels).unwrap_or(0) == 0
    }

    /// Whether the number is among them.
    pub fn has(&self, number: u32) -> bool {
        if !Self::fits(number, self.levels) {
            return false;
        }
        let (mut node, mut level) = (self.root.as_deref(), self.levels);
        loop {
            match node {
                None => return false,
                Some(Node::Leaf(words)) => {
                    let (word, bit) = bit(number);
                    return words[word] & bit != 0;
                }
                Some(Node::Inner(children)) => {
                    level -= 1;
                    node = children[child(number, level)].as_deref();
                }
            }
        }
    }

    /// The set with the number in it if it was not, and without it if it was.
    pub fn toggled(&self, number: u32) -> Self {
        let (mut root, mut levels) = (self.root.clone(), self.levels);
        while !Self::fits(number, levels) {
            levels += 1;
            if root.is_some() {
                let mut children: [Option<Arc<Node>>; 1 << INNER_BITS] = Default::default();
                children[0] = root;
                root = Some(Arc::new(Node::Inner(children)));
            }
        }
        let present = self.has(number);
        let (len, sum) = match present {
            true => (self.len - 1, self.sum.wrapping_sub(mix(number))),
            false => (self.len + 1, self.sum.wrapping_add(mix(number))),
        };
        Self { root: Some(Node::toggled(root.as_deref(), levels, number)), levels, len, sum }
    }

    /// Bytes that this set takes and does not share with the one it was made of.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + (self.levels as usize + 1) * (size_of::<Node>() + 2 * size_of::<usize>())
    }
}

impl Node {
    fn toggled(node: Option<&Self>, level: u32, number: u32) -> Arc<Self> {
        if level == 0 {
            let mut words = match node {
                Some(Node::Leaf(words)) => *words,
                _ => Default::default(),
            };
            let (word, bit) = bit(number);
            words[word] ^= bit;
            return Arc::new(Node::Leaf(words));
        }
        let mut children = match node {
            Some(Node::Inner(children)) => children.clone(),
            _ => Default::default(),
        };
        // Eight levels at most, whatever the number.
        let place = &mut children[child(number, level - 1)];
        *place = Some(Self::toggled(place.as_deref(), level - 1, number));
        Arc::new(Node::Inner(children))
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Leaf(words) => words.iter().all(|word| *word == 0),
            Node::Inner(children) => children.iter().flatten().all(|child| child.is_empty()),
        }
    }

    /// Whether the same numbers are under both, which are of one level. Nodes without any stay in the tree.
    fn same(one: Option<&Arc<Self>>, other: Option<&Arc<Self>>) -> bool {
        match (one, other) {
            (None, None) => true,
            (Some(node), None) | (None, Some(node)) => node.is_empty(),
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => true,
            (Some(one), Some(other)) => match (&**one, &**other) {
                (Node::Leaf(one), Node::Leaf(other)) => one == other,
                (Node::Inner(one), Node::Inner(other)) => {
                    one.iter().zip(other).all(|(one, other)| Self::same(one.as_ref(), other.as_ref()))
                }
                _ => false,
            },
        }
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        if (self.sum, self.len) != (other.sum, other.len) {
            return false;
        }
        let (low, high) = if self.levels <= other.levels { (self, other) } else { (other, self) };
        let mut node = high.root.as_ref();
        for _ in low.levels..high.levels {
            node = match node.map(|node| &**node) {
                Some(Node::Inner(children)) => {
                    if children[1..].iter().flatten().any(|child| !child.is_empty()) {
                        return false;
                    }
                    children[0].as_ref()
                }
                _ => None,
            };
        }
        Node::same(low.root.as_ref(), node)
    }
}

impl Eq for Members {}

impl Hash for Members {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.sum);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schism_history::Random;

    use super::*;

    /// Against plain sets: numbers near each other, and the farthest apart.
    #[test]
    fn members_are_what_plain_sets_say() {
        let numbers = [0, 1, 63, 64, 511, 512, 4095, 4096, 1 << 20, u32::MAX - 1, u32::MAX];
        let mut random = Random::new(5, "members");
        let mut known = vec![(BTreeSet::new(), Members::default())];
        for _ in 0..3000 {
            let (mut plain, members) = random.pick(&known).unwrap().clone();
            let number = *random.pick(&numbers).unwrap();
            if !plain.remove(&number) {
                plain.insert(number);
            }
            let changed = members.toggled(number);
            assert_eq!(changed.len(), plain.len());
            assert_eq!(changed.sum(), sum(plain.iter().copied()));
            for number in numbers {
                assert_eq!(changed.has(number), plain.contains(&number), "{number} in {plain:?}");
            }
            for (other, other_members) in &known {
                assert_eq!(changed == *other_members, plain == *other, "{plain:?} and {other:?}");
            }
            if known.len() < 200 {
                known.push((plain, changed));
            }
        }
    }
}
