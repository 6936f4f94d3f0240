//! A row of numbers: set one, find the first small one in a stretch. Both in logarithmic time.

/// A segment tree over numbers; a node holds the least of its stretch.
pub(in crate::linearizable::engines) struct LeastTree {
    /// Leaves, a power of two.
    size: usize,
    least: Vec<u32>,
}

impl LeastTree {
    pub fn new(count: usize, number: impl Fn(usize) -> u32) -> Self {
        let size = count.max(1).next_power_of_two();
        let mut least = vec![u32::MAX; 2 * size];
        for at in 0..count {
            least[size + at] = number(at);
        }
        for node in (1..size).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        Self { size, least }
    }

    pub fn set(&mut self, at: usize, number: u32) {
        let mut node = at + self.size;
        self.least[node] = number;
        while node > 1 {
            node /= 2;
            let least = self.least[2 * node].min(self.least[2 * node + 1]);
            if self.least[node] == least {
                break;
            }
            self.least[node] = least;
        }
    }

    /// The first place in `from..to` with less than `bound`.
    pub fn first_below(&self, from: usize, to: usize, bound: u32) -> Option<usize> {
        if from >= to.min(self.size) {
            return None;
        }
        let mut node = from + self.size;
        while self.least[node] >= bound {
            // Up until there is something to the right, then to the right.
            node += 1;
            node >>= node.trailing_zeros();
            // The root, or the row ended: nothing is to the right. A stretch that starts after `to` need not be looked at.
            if node == 1 || self.start(node) >= to {
                return None;
            }
        }
        while node < self.size {
            node *= 2;
            if self.least[node] >= bound {
                node += 1;
            }
        }
        Some(node - self.size).filter(|at| *at < to)
    }

    /// The first place below a node.
    fn start(&self, node: usize) -> usize {
        let level = self.size.trailing_zeros() - node.ilog2();
        (node << level) - self.size
    }
}

#[cfg(test)]
mod tests {
    use schism_history::Random;

    use super::*;

    #[test]
    fn does_what_a_plain_row_does() {
        let mut random = Random::new(8, "least tree");
        for _ in 0..2000 {
            let count = random.below(20) as usize;
            let mut row: Vec<u32> = (0..count).map(|_| random.below(30) as u32).collect();
            let mut tree = LeastTree::new(count, |at| row[at]);
            for _ in 0..20 {
                let at = random.below(count as u64) as usize;
                if let Some(number) = row.get_mut(at) {
                    *number = random.below(30) as u32;
                    tree.set(at, *number);
                }
                let (from, to) = (random.below(22) as usize, random.below(count as u64 + 1) as usize);
                let bound = random.below(32) as u32;
                let expected = (from..to).find(|at| row[*at] < bound);
                assert_eq!(tree.first_below(from, to, bound), expected, "{row:?} {from}..{to} below {bound}");
            }
        }
    }
}
