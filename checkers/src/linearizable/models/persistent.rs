//! A list that shares its tail with others, so that states of long queues and stacks are cheap to copy.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use schism_history::ValueId;

/// A list of values. Copies, additions and removals at the front take constant time; so does a comparison of lists that
/// differ, almost always.
#[derive(Clone, Debug, Default)]
pub struct List {
    head: Option<Arc<Node>>,
}

#[derive(Debug)]
struct Node {
    value: ValueId,
    length: usize,
    /// Of this and what follows. Mixed so that lists that differ rarely agree in it.
    hash: u64,
    next: Option<Arc<Node>>,
}

impl List {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.head.as_ref().map_or(0, |node| node.length)
    }

    /// The first value.
    pub fn first(&self) -> Option<ValueId> {
        self.head.as_ref().map(|node| node.value)
    }

    /// The list with one more value at its front.
    pub fn with(&self, value: ValueId) -> Self {
        let hash = (self.hash() ^ u64::from(value.raw())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let node = Node { value, length: self.len() + 1, hash: hash ^ hash >> 29, next: self.head.clone() };
        Self { head: Some(Arc::new(node)) }
    }

    /// What follows the first value.
    pub fn rest(&self) -> Self {
        Self { head: self.head.as_ref().and_then(|node| node.next.clone()) }
    }

    /// Bytes that one more value takes, with the two counters of its node.
    pub const BYTES_A_VALUE: usize = size_of::<Node>() + 2 * size_of::<usize>();

    /// All values, from the first.
    pub fn iter(&self) -> impl Iterator<Item = ValueId> {
        std::iter::successors(self.head.as_deref(), |node| node.next.as_deref()).map(|node| node.value)
    }

    fn hash(&self) -> u64 {
        self.head.as_ref().map_or(0, |node| node.hash)
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.head.as_ref(), other.head.as_ref());
        while let (Some(one), Some(two)) = (a, b) {
            if Arc::ptr_eq(one, two) {
                return true;
            }
            if (one.hash, one.length, one.value) != (two.hash, two.length, two.value) {
                return false;
            }
            (a, b) = (one.next.as_ref(), two.next.as_ref());
        }
        a.is_none() && b.is_none()
    }
}

impl Eq for List {}

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash());
    }
}

impl Drop for List {
    /// One node after the other: dropping a node drops its tail, which would nest as deep as the list is long.
    fn drop(&mut self) {
        let mut head = self.head.take();
        while let Some(mut node) = head.and_then(Arc::into_inner) {
            head = node.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_dropped_and_compared_without_nesting() {
        let values: Vec<ValueId> = vec![ValueId::NULL; 1_000_000];
        let list = |first: &List| values.iter().fold(first.clone(), |list, value| list.with(*value));
        let (one, two) = (list(&List::default()), list(&List::default()));
        assert_eq!(one, two);
        assert_ne!(one, two.rest());
        assert_eq!(one.rest(), two.rest());
        assert_eq!(one.len(), one.iter().count());
    }
}
