//! Sets of sequences, each known by a number of its own.

use rustc_hash::FxHashMap;

use super::super::super::super::specification::Edit;
use super::super::index::{Index, tag};

/// No sequence at all.
pub const NONE: u32 = 0;

/// The empty sequence alone.
pub const START: u32 = 1;

/// Sets of sequences as minimal acyclic automata in which equal nodes are one node (Goto's hash consing): a set is a node, a node says
/// whether the empty sequence is in the set and, for every first element, the set of what follows it. So equal sets have equal
/// numbers, and sets that differ at their beginnings share the rest.
///
/// Sequences are held with the newest element first, so that a push makes one node. What happens at the other end makes a node for
/// each that the set consists of, but only once for all sets that share it.
pub struct Languages {
    nodes: Vec<Node>,
    /// First element and what follows, ascending by the element; those of one node side by side.
    edges: Vec<(u32, u32)>,
    index: Index,
    /// Unions that were computed.
    unions: FxHashMap<(u32, u32), u32>,
    /// Changes at the far end that were computed, by node, by element, and by what happens to it.
    far: FxHashMap<(u32, Far), u32>,
    /// What is to be done, in place of recursion: sequences may be long.
    tasks: Vec<Task>,
    results: Vec<u32>,
    /// Edges of the node that is being made.
    scratch: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    first: u32,
    count: u32,
    /// Whether the empty sequence is in the set.
    ends: bool,
}

/// A change at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Far {
    /// Only sequences that end with the element, without it.
    Take(u32),
    /// All sequences but the empty one, without their last element.
    TakeAny,
    /// Only sequences that end with the element.
    Keep(u32),
}

#[derive(Clone, Copy)]
enum Task {
    Visit(u32, u32),
    Build(u32, u32),
}

impl Languages {
    pub fn new() -> Self {
        let mut languages = Self {
            nodes: Vec::new(),
            edges: Vec::new(),
            index: Index::default(),
            unions: FxHashMap::default(),
            far: FxHashMap::default(),
            tasks: Vec::new(),
            results: Vec::new(),
            scratch: Vec::new(),
        };
        languages.node(false);
        languages.node(true);
        languages
    }

    /// The set of what `edit` makes of the sequences of a set.
    pub fn edited(&mut self, set: u32, edit: Edit) -> u32 {
        match edit {
            Edit::Push(_) if set == NONE => NONE,
            Edit::Push(element) => self.with_first(element, set),
            Edit::TakeNewest(element) => self.after(set, element),
            Edit::TakeOldest(element) => self.far(set, Far::Take(element)),
            Edit::SeeNewest(element) => match self.after(set, element) {
                NONE => NONE,
                rest => self.with_first(element, rest),
            },
            Edit::SeeOldest(element) => self.far(set, Far::Keep(element)),
            Edit::SeeEmpty => self.empty_of(set),
            Edit::TakeNewestIfAny => {
                let mut all = self.empty_of(set);
                for edge in self.range(set) {
                    all = self.union(all, self.edges[edge].1);
                }
                all
            }
            Edit::TakeOldestIfAny => {
                let (rest, empty) = (self.far(set, Far::TakeAny), self.empty_of(set));
                self.union(rest, empty)
            }
        }
    }

    fn empty_of(&self, set: u32) -> u32 {
        if self.nodes[set as usize].ends { START } else { NONE }
    }

    /// Where the edges of a set lie.
    fn range(&self, set: u32) -> std::ops::Range<usize> {
        let Node { first, count, .. } = self.nodes[set as usize];
        first as usize..(first + count) as usize
    }

    fn edges_of(&self, set: u32) -> &[(u32, u32)] {
        &self.edges[self.range(set)]
    }

    /// What follows this first element.
    fn after(&self, set: u32, element: u32) -> u32 {
        let edges = self.edges_of(set);
        edges.binary_search_by_key(&element, |(first, _)| *first).map_or(NONE, |place| edges[place].1)
    }

    fn with_first(&mut self, element: u32, rest: u32) -> u32 {
        self.scratch.clear();
        self.scratch.push((element, rest));
        self.node(false)
    }

    /// The node with the edges in `scratch`.
    fn node(&mut self, ends: bool) -> u32 {
        let mut hash = u64::from(ends) + 1;
        for (element, rest) in &self.scratch {
            hash = (hash.rotate_left(5) ^ (u64::from(*element) << 32 | u64::from(*rest)))
                .wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        let tag = tag(hash ^ hash >> 32);
        let (nodes, edges, wanted) = (&self.nodes, &self.edges, &self.scratch);
        let is_it = |number: u32| {
            let Node { first, count, ends: other } = nodes[number as usize];
            other == ends && edges[first as usize..(first + count) as usize] == wanted[..]
        };
        if let Some(number) = self.index.find(tag, is_it) {
            return number;
        }
        let number = self.nodes.len() as u32;
        let (first, count) = (self.edges.len() as u32, self.scratch.len() as u32);
        self.nodes.push(Node { first, count, ends });
        self.edges.extend_from_slice(&self.scratch);
        self.index.insert(tag, number);
        number
    }

    /// The sequences of both sets.
    pub fn union(&mut self, one: u32, other: u32) -> u32 {
        self.tasks.push(Task::Visit(one, other));
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Visit(one, other) => {
                    let (one, other) = (one.min(other), one.max(other));
                    if one == NONE || one == other {
                        self.results.push(other);
                    } else if let Some(known) = self.unions.get(&(one, other)) {
                        self.results.push(*known);
                    } else {
                        self.tasks.push(Task::Build(one, other));
                        // The last first, so that the results come in order.
                        let mut others = self.edges[self.range(other)].iter().rev().peekable();
                        for (element, rest) in self.edges[self.range(one)].iter().rev() {
                            while others.next_if(|(first, _)| first > element).is_some() {}
                            if let Some((_, also)) = others.next_if(|(first, _)| first == element) {
                                self.tasks.push(Task::Visit(*rest, *also));
                            }
                        }
                    }
                }
                Task::Build(one, other) => {
                    let mut scratch = std::mem::take(&mut self.scratch);
                    scratch.clear();
                    scratch.extend_from_slice(self.edges_of(one));
                    scratch.extend_from_slice(self.edges_of(other));
                    scratch.sort_unstable();
                    let pairs = scratch.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
                    let mut next = self.results.len() - pairs;
                    let results = &self.results;
                    scratch.dedup_by(|later, kept| {
                        let same = later.0 == kept.0;
                        if same {
                            kept.1 = results[next];
                            next += 1;
                        }
                        same
                    });
                    self.results.truncate(self.results.len() - pairs);
                    self.scratch = scratch;
                    let ends = self.nodes[one as usize].ends || self.nodes[other as usize].ends;
                    let all = self.node(ends);
                    self.unions.insert((one, other), all);
                    self.results.push(all);
                }
            }
        }
        self.results.pop().unwrap_or(NONE)
    }

    /// Changes the last element of every sequence.
    fn far(&mut self, set: u32, far: Far) -> u32 {
        self.tasks.push(Task::Visit(set, 0));
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Visit(set, _) => {
                    if let Some(known) = self.far.get(&(set, far)) {
                        self.results.push(*known);
                        continue;
                    }
                    self.tasks.push(Task::Build(set, 0));
                    let edges = self.edges[self.range(set)].iter();
                    self.tasks.extend(edges.rev().map(|(_, rest)| Task::Visit(*rest, 0)));
                }
                Task::Build(set, _) => {
                    let range = self.range(set);
                    let from = self.results.len() - range.len();
                    let mut scratch = std::mem::take(&mut self.scratch);
                    scratch.clear();
                    let mut ends = false;
                    for (place, edge) in range.enumerate() {
                        let (element, rest) = self.edges[edge];
                        let last = self.nodes[rest as usize].ends;
                        let mut changed = self.results[from + place];
                        match far {
                            Far::Take(wanted) => ends |= last && element == wanted,
                            Far::TakeAny => ends |= last,
                            Far::Keep(wanted) if last && element == wanted => {
                                self.scratch.clear();
                                let edges = self.range(changed);
                                self.scratch.extend_from_slice(&self.edges[edges]);
                                changed = self.node(true);
                            }
                            Far::Keep(_) => {}
                        }
                        if changed != NONE {
                            scratch.push((element, changed));
                        }
                    }
                    self.results.truncate(from);
                    self.scratch = scratch;
                    let changed = self.node(ends);
                    self.far.insert((set, far), changed);
                    self.results.push(changed);
                }
            }
        }
        self.results.pop().unwrap_or(NONE)
    }

    /// Forgets all sets but these, which get new numbers.
    pub fn retain<'r>(&mut self, roots: impl Iterator<Item = &'r mut u32>) {
        let roots: Vec<&mut u32> = roots.collect();
        let mut live = vec![false; self.nodes.len()];
        roots.iter().for_each(|root| live[**root as usize] = true);
        // What follows was there first, so it has the smaller number.
        for number in (0..self.nodes.len()).rev() {
            if live[number] {
                for (_, rest) in self.edges_of(number as u32) {
                    live[*rest as usize] = true;
                }
            }
        }
        let mut kept = Self::new();
        let mut renamed = vec![NONE; self.nodes.len()];
        for number in (0..self.nodes.len()).filter(|number| live[*number]) {
            kept.scratch.clear();
            let edges = self.edges_of(number as u32);
            kept.scratch.extend(edges.iter().map(|(element, rest)| (*element, renamed[*rest as usize])));
            renamed[number] = kept.node(self.nodes[number].ends);
        }
        for root in roots {
            *root = renamed[*root as usize];
        }
        *self = kept;
    }

    /// How many there are, and parts of them.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.edges.capacity() * size_of::<(u32, u32)>()
            + self.index.bytes()
            + self.unions.capacity() * (size_of::<((u32, u32), u32)>() + 1)
            + self.far.capacity() * (size_of::<((u32, Far), u32)>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schism_history::Random;

    use super::*;

    /// The newest element first.
    type Plain = BTreeSet<Vec<u32>>;

    fn edited(set: &Plain, edit: Edit) -> Plain {
        let one = |sequence: &Vec<u32>| {
            let mut sequence = sequence.clone();
            let length = sequence.len();
            let fits = match edit {
                Edit::Push(element) => {
                    sequence.insert(0, element);
                    true
                }
                Edit::TakeNewest(element) => length > 0 && sequence.remove(0) == element,
                Edit::TakeOldest(element) => sequence.pop() == Some(element),
                Edit::TakeNewestIfAny => {
                    sequence.drain(..length.min(1));
                    true
                }
                Edit::TakeOldestIfAny => {
                    sequence.pop();
                    true
                }
                Edit::SeeNewest(element) => sequence.first() == Some(&element),
                Edit::SeeOldest(element) => sequence.last() == Some(&element),
                Edit::SeeEmpty => length == 0,
            };
            fits.then_some(sequence)
        };
        set.iter().filter_map(one).collect()
    }

    #[test]
    fn sets_of_sequences_are_what_plain_sets_say() {
        let mut random = Random::new(1, "languages");
        for _ in 0..300 {
            let mut languages = Languages::new();
            let start: Plain = [Vec::new()].into();
            let mut known: Vec<(Plain, u32)> = vec![(Plain::new(), NONE), (start, START)];
            for _ in 0..60 {
                let (plain, set) = random.pick(&known).unwrap().clone();
                let element = random.below(3) as u32;
                let edits = [
                    Edit::TakeNewest(element),
                    Edit::TakeOldest(element),
                    Edit::TakeNewestIfAny,
                    Edit::TakeOldestIfAny,
                    Edit::SeeNewest(element),
                    Edit::SeeOldest(element),
                    Edit::SeeEmpty,
                ];
                let (plain, set) = match random.below(3) {
                    0 => {
                        let (other, also) = random.pick(&known).unwrap().clone();
                        (&plain | &other, languages.union(set, also))
                    }
                    1 => (edited(&plain, Edit::Push(element)), languages.edited(set, Edit::Push(element))),
                    _ => {
                        let edit = *random.pick(&edits).unwrap();
                        (edited(&plain, edit), languages.edited(set, edit))
                    }
                };
                for (other, number) in &known {
                    assert_eq!(*number == set, *other == plain, "{other:?} and {plain:?}");
                }
                if plain.len() < 200 && known.iter().all(|(other, _)| *other != plain) {
                    known.push((plain, set));
                }
                if random.below(10) == 0 {
                    known.retain(|(plain, _)| plain.len() < 2 || random.below(4) > 0);
                    languages.retain(known.iter_mut().map(|(_, number)| number));
                }
            }
        }
    }

    #[test]
    fn long_sequences_need_no_stack() {
        let mut languages = Languages::new();
        let mut one = START;
        for place in 0..200_000 {
            one = languages.edited(one, Edit::Push(place % 7));
        }
        let other = languages.edited(one, Edit::TakeOldest(0));
        let both = languages.union(one, other);
        assert_eq!(languages.edited(both, Edit::SeeOldest(0)), one);
        assert_eq!(languages.edited(both, Edit::SeeOldest(1)), other);
    }
}
