//! Sets of workers, as bits: a thousand workers are sixteen words, so that routing costs nothing to speak of.

use crate::op::Worker;

const BITS: usize = u64::BITS as usize;

/// A set of workers that somebody owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSet {
    clients: Vec<u64>,
    nemesis: Vec<u64>,
}

/// A set of workers, looked at. Iterates client workers first, each kind in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers<'a> {
    clients: &'a [u64],
    nemesis: &'a [u64],
}

fn full(count: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; count.div_ceil(BITS)];
    if let (Some(last), rest @ 1..) = (words.last_mut(), count % BITS) {
        *last = (1 << rest) - 1;
    }
    words
}

fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

fn has(words: &[u64], number: usize) -> bool {
    words.get(number / BITS).is_some_and(|word| word >> (number % BITS) & 1 == 1)
}

fn iterate(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(index, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                index * BITS + bit
            })
        })
    })
}

/// The lowest number that is at least `start`.
fn first_from(words: &[u64], start: usize) -> Option<usize> {
    let (index, bit) = (start / BITS, start % BITS);
    let head = words.get(index)? & (u64::MAX << bit);
    if head != 0 {
        return Some(index * BITS + head.trailing_zeros() as usize);
    }
    let later = words.iter().enumerate().skip(index + 1).find(|(_, word)| **word != 0)?;
    Some(later.0 * BITS + later.1.trailing_zeros() as usize)
}

/// The `n`th number, from 0.
fn nth(words: &[u64], mut n: usize) -> Option<usize> {
    for (index, &word) in words.iter().enumerate() {
        let ones = word.count_ones() as usize;
        if n < ones {
            let mut rest = word;
            for _ in 0..n {
                rest &= rest - 1;
            }
            return Some(index * BITS + rest.trailing_zeros() as usize);
        }
        n -= ones;
    }
    None
}

fn and(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

impl WorkerSet {
    /// Client workers `0..clients` and nemesis lanes `0..lanes`.
    pub fn new(clients: usize, lanes: usize) -> Self {
        Self { clients: full(clients), nemesis: full(lanes) }
    }

    /// Adds a worker.
    pub fn insert(&mut self, worker: Worker) {
        let (words, number) = self.place(worker);
        if words.len() <= number / BITS {
            words.resize(number / BITS + 1, 0);
        }
        words[number / BITS] |= 1 << (number % BITS);
    }

    /// Takes a worker out; whether it was there.
    pub fn remove(&mut self, worker: Worker) -> bool {
        let there = self.view().contains(worker);
        if there {
            let (words, number) = self.place(worker);
            words[number / BITS] &= !(1 << (number % BITS));
        }
        there
    }

    fn place(&mut self, worker: Worker) -> (&mut Vec<u64>, usize) {
        match worker {
            Worker::Client(number) => (&mut self.clients, number),
            Worker::Nemesis(number) => (&mut self.nemesis, number),
        }
    }

    /// The set, to look at.
    pub fn view(&self) -> Workers<'_> {
        Workers { clients: &self.clients, nemesis: &self.nemesis }
    }
}

impl FromIterator<Worker> for WorkerSet {
    fn from_iter<I: IntoIterator<Item = Worker>>(workers: I) -> Self {
        let mut set = Self::default();
        for worker in workers {
            set.insert(worker);
        }
        set
    }
}

impl<'a> Workers<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        count(self.clients) + count(self.nemesis)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.clients.iter().chain(self.nemesis).all(|word| *word == 0)
    }

    /// Whether `worker` is one of them.
    pub fn contains(self, worker: Worker) -> bool {
        match worker {
            Worker::Client(number) => has(self.clients, number),
            Worker::Nemesis(number) => has(self.nemesis, number),
        }
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Worker> + 'a {
        iterate(self.clients).map(Worker::Client).chain(iterate(self.nemesis).map(Worker::Nemesis))
    }

    /// The `n`th of them, from 0.
    pub fn nth(self, n: usize) -> Option<Worker> {
        match nth(self.clients, n) {
            Some(number) => Some(Worker::Client(number)),
            None => nth(self.nemesis, n.checked_sub(count(self.clients))?).map(Worker::Nemesis),
        }
    }

    /// The first client worker whose number is at least `turn` modulo the room for workers, cyclically; where there
    /// are no client workers, the lowest nemesis lane.
    pub fn at_or_after(self, turn: u64) -> Option<Worker> {
        // The room is a multiple of the word size, which would favour the first worker after the last word's unused
        // bits; the highest member bounds it instead.
        let highest = self.clients.iter().rposition(|word| *word != 0);
        let Some(index) = highest else {
            return first_from(self.nemesis, 0).map(Worker::Nemesis);
        };
        let room = index * BITS + (BITS - self.clients[index].leading_zeros() as usize);
        let start = usize::try_from(turn % room as u64).unwrap_or(0);
        first_from(self.clients, start).or_else(|| first_from(self.clients, 0)).map(Worker::Client)
    }

    /// Only the client workers.
    #[must_use]
    pub fn clients(self) -> Self {
        Self { nemesis: &[], ..self }
    }

    /// Only the nemesis lanes.
    #[must_use]
    pub fn nemesis(self) -> Self {
        Self { clients: &[], ..self }
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(self, other: Workers<'_>) -> WorkerSet {
        WorkerSet { clients: and(self.clients, other.clients), nemesis: and(self.nemesis, other.nemesis) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worker() -> impl Strategy<Value = Worker> {
        prop_oneof![(0..200_usize).prop_map(Worker::Client), (0..70_usize).prop_map(Worker::Nemesis)]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(
            some in proptest::collection::btree_set(worker(), 0..40),
            others in proptest::collection::btree_set(worker(), 0..40),
            n in 0..50_usize,
            turn in any::<u64>(),
        ) {
            let mut set: WorkerSet = some.iter().copied().collect();
            let other: WorkerSet = others.iter().copied().collect();
            prop_assert_eq!(set.view().iter().collect::<Vec<_>>(), some.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.view().len(), some.len());
            prop_assert_eq!(set.view().is_empty(), some.is_empty());
            prop_assert_eq!(set.view().nth(n), some.iter().nth(n).copied());
            prop_assert_eq!(
                set.view().intersection(other.view()).view().iter().collect::<Vec<_>>(),
                some.intersection(&others).copied().collect::<Vec<_>>()
            );
            prop_assert_eq!(set.view().at_or_after(turn).is_some(), !some.is_empty());
            for worker in &others {
                prop_assert_eq!(set.remove(*worker), some.contains(worker));
                prop_assert!(!set.view().contains(*worker));
            }
        }
    }

    #[test]
    fn takes_turns() {
        let set = WorkerSet::new(5, 1);
        let order: Vec<_> = (0..7).filter_map(|turn| set.view().at_or_after(turn)).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 0, 1].map(Worker::Client));
        assert_eq!(set.view().nemesis().at_or_after(9), Some(Worker::Nemesis(0)));
        assert_eq!(set.view().clients().len(), 5);
    }
}
