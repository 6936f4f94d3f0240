//! A row of numbers: add to a stretch, find the first small one. Both in logarithmic time.

/// A segment tree over numbers. A node holds the least of its stretch, without what is added at its ancestors.
pub(in crate::linearizable::engines) struct AddTree {
    /// Leaves, a power of two.
    size: usize,
    least: Vec<i32>,
    added: Vec<i32>,
}

impl AddTree {
    pub fn new(numbers: &[i32]) -> Self {
        let size = numbers.len().max(1).next_power_of_two();
        let mut least = vec![i32::MAX / 2; 2 * size];
        least[size..size + numbers.len()].copy_from_slice(numbers);
        for node in (1..size).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        Self { size, least, added: vec![0; size] }
    }

    /// Adds to the numbers in `from..to`.
    pub fn add(&mut self, from: usize, to: usize, amount: i32) {
        if from >= to {
            return;
        }
        let (mut low, mut high) = (from + self.size, to + self.size);
        while low < high {
            if low & 1 == 1 {
                self.add_at(low, amount);
                low += 1;
            }
            if high & 1 == 1 {
                high -= 1;
                self.add_at(high, amount);
            }
            low /= 2;
            high /= 2;
        }
        self.refresh(from + self.size);
        self.refresh(to - 1 + self.size);
    }

    fn add_at(&mut self, node: usize, amount: i32) {
        self.least[node] += amount;
        if let Some(added) = self.added.get_mut(node) {
            *added += amount;
        }
    }

    /// Recomputes what is above a leaf.
    fn refresh(&mut self, leaf: usize) {
        let mut node = leaf / 2;
        while node >= 1 {
            self.least[node] = self.least[2 * node].min(self.least[2 * node + 1]) + self.added[node];
            node /= 2;
        }
    }

    /// The first place from `from` on with at most `limit`.
    pub fn first_at_most(&self, from: usize, limit: i32) -> Option<usize> {
        if from >= self.size {
            return None;
        }
        let mut node = from + self.size;
        // What is still allowed at `node`, once what its ancestors add is taken off.
        let mut limit = limit - self.above(node);
        loop {
            if self.least[node] <= limit {
                break;
            }
            // Up until there is something to the right, then to the right.
            while node & 1 == 1 {
                node /= 2;
                if node <= 1 {
                    return None;
                }
                limit += self.added[node];
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.size {
            limit -= self.added[node];
            node *= 2;
            if self.least[node] > limit {
                node += 1;
            }
        }
        Some(node - self.size)
    }

    /// What the ancestors of a node add.
    fn above(&self, node: usize) -> i32 {
        let (mut node, mut sum) = (node / 2, 0);
        while node >= 1 {
            sum += self.added[node];
            node /= 2;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use schism_history::Random;

    use super::*;

    #[test]
    fn does_what_a_plain_row_does() {
        let mut random = Random::new(7, "add tree");
        for _ in 0..2000 {
            let count = random.below(20) as usize;
            let mut row: Vec<i32> = (0..count).map(|_| random.below(7) as i32 - 3).collect();
            let mut tree = AddTree::new(&row);
            for _ in 0..20 {
                let (a, b) =
                    (random.below(count as u64 + 1) as usize, random.below(count as u64 + 1) as usize);
                let amount = random.below(5) as i32 - 2;
                tree.add(a, b, amount);
                row.iter_mut().take(b).skip(a).for_each(|number| *number += amount);
                let (from, limit) = (random.below(22) as usize, random.below(9) as i32 - 6);
                let expected = (from..count).find(|at| row[*at] <= limit);
                assert_eq!(tree.first_at_most(from, limit), expected, "{row:?} from {from} at most {limit}");
            }
        }
    }
}
