//! The search breadth first, for objects whose states are sequences: queues and stacks.
//!
//! Elements that went in at the same time come out long afterwards. Only then does it show in which order they went in, and a search that takes
//! up one order after the other looks at everything in between for each of them: exponentially many states, where elements are
//! equal. So this one takes up all orders at once. It walks the returns, as Lowe's search does ("Testing for linearizability", 2017),
//! and holds for each set of calls that can have taken effect *all* states in which they can have left the object. That is the subset
//! construction, and the sets of sequences are the automata of [`languages`]: what is open at once differs in a few places of the
//! sequence, which an automaton holds as a few nodes for each place where a list has their product. (A stack with
//! several tops is the graph-structured stack of Tomita, 1985.)
//!
//! The answer is exact in both directions, and so is the culprit: a set of calls is possible exactly if its set of states is not empty.
//! How much it takes depends on how many calls are open at once, and on the automata, for which there is no good bound; and crashed calls
//! multiply the sets, since each can have taken effect or not. So it has a limit, and the search depth first is there for the rest.

mod languages;

use std::collections::hash_map::Entry;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::super::super::budget::{Budget, Exhausted, Meter};
use super::super::super::call::Call;
use super::super::super::specification::{Edit, Specification};
use super::reductions::{Reductions, Sabotage};
use super::schedule::{Schedule, Window};
use super::search::End;
use super::sets::{self, Sets};
use languages::Languages;

/// Sets of calls at one return; more are left to the search depth first.
const WIDEST: usize = 1 << 14;

/// Configurations with the same open calls that each is compared with.
const COMPARED: usize = 32;

/// Nodes of automata before the first time that what is not needed any more is forgotten.
const NODES: usize = 1 << 14;

/// The calls that can have taken effect, of those before the present return, and in which states they can have left the object.
#[derive(Clone, Copy)]
struct Configuration {
    /// The open calls among them, and the crashed ones.
    open: u32,
    crashed: u32,
    states: u32,
}

/// Configurations with equally many calls, each known by its calls.
#[derive(Default)]
struct Level {
    configurations: Vec<Configuration>,
    known: FxHashMap<(u32, u32), u32>,
}

/// What the search needs, and what it cost.
pub(super) struct Layers<A> {
    schedule: Schedule<A>,
    /// By action.
    edits: Vec<Edit>,
    languages: Languages,
    slots: Sets,
    crashed: Sets,
    meter: Meter,
    reductions: Reductions,
    /// Nodes at which to forget.
    forget_at: usize,
    /// The most bytes held.
    pub peak: usize,
}

impl<A: Clone + Eq + Hash> Layers<A> {
    /// `None`: the states of the object are no sequences.
    pub fn new<S: Specification<Action = A>>(
        specification: &S,
        calls: &[Call<A>],
        reductions: Reductions,
        budget: Budget,
    ) -> Option<Self> {
        specification.edit(&calls.first()?.action)?;
        let schedule = Schedule::new(calls, &reductions);
        let edits =
            schedule.actions.iter().map(|action| specification.edit(action)).collect::<Option<_>>()?;
        Some(Self {
            edits,
            languages: Languages::new(),
            slots: Sets::new(schedule.width),
            crashed: Sets::new(schedule.unknown.len()),
            meter: Meter::new(budget),
            reductions,
            forget_at: NODES,
            peak: 0,
            schedule,
        })
    }

    /// Sets of calls visited.
    pub fn visited(&self) -> u64 {
        self.meter.visited()
    }

    /// Which of the calls given has this rank.
    pub fn call(&self, rank: u32) -> usize {
        self.schedule.call[rank as usize] as usize
    }

    /// Whether some order passes all returns.
    pub fn run(&mut self) -> End {
        let mut window = Window::new(&self.schedule);
        // Each with how many calls took effect; only the differences count.
        let start = Configuration { open: sets::EMPTY, crashed: sets::EMPTY, states: languages::START };
        let mut layer = vec![(0, start)];
        for rank in 0..self.schedule.returns() {
            layer = match self.pass(&window, layer) {
                Ok(next) => next,
                Err(limit) => return End::Unknown(limit, rank),
            };
            if layer.is_empty() {
                return End::Nothing(rank);
            }
            window.forward(&self.schedule);
        }
        End::Found
    }

    /// The configurations after the next return, of those before it.
    fn pass(
        &mut self,
        window: &Window,
        mut layer: Vec<(u32, Configuration)>,
    ) -> Result<Vec<(u32, Configuration)>, Exhausted> {
        layer.sort_by_key(|(count, _)| *count);
        let Some((mut count, _)) = layer.first().copied() else { return Ok(layer) };
        let (rank, mut waiting) = (window.at, layer.into_iter().peekable());
        let slot = self.schedule.slot[rank as usize];
        let (mut passed, mut level) = (Vec::new(), Level::default());
        loop {
            while let Some((_, configuration)) = waiting.next_if(|(other, _)| *other == count) {
                self.join(&mut level, configuration);
            }
            let mut next = Level::default();
            for configuration in std::mem::take(&mut level.configurations) {
                let returns = self.slots.contains(configuration.open, slot)
                    || self.reductions.sabotaged(Sabotage::ReturnsUnmet);
                if returns {
                    let open = self.slots.with(configuration.open, slot, false);
                    passed.push((count, Configuration { open, ..configuration }));
                } else {
                    self.extend(window, configuration, &mut next)?;
                }
                if passed.len() + next.configurations.len() > WIDEST {
                    return Err(Exhausted::Width);
                }
            }
            if next.configurations.is_empty() && waiting.peek().is_none() {
                break;
            }
            level = next;
            count += 1;
        }
        self.drop_dominated(&mut passed);
        if self.languages.count() > self.forget_at {
            self.languages.retain(passed.iter_mut().map(|(_, configuration)| &mut configuration.states));
            self.forget_at = (2 * self.languages.count()).max(NODES);
        }
        Ok(passed)
    }

    /// Lets each open call take effect that has not, and the first of each kind of crashed calls.
    fn extend(
        &mut self,
        window: &Window,
        configuration: Configuration,
        next: &mut Level,
    ) -> Result<(), Exhausted> {
        let bytes = self.bytes();
        self.peak = self.peak.max(bytes);
        self.meter.spend(1, bytes)?;
        for (place, rank) in window.open.iter().enumerate() {
            let (slot, action) = (self.schedule.slot[*rank as usize], self.schedule.action[*rank as usize]);
            if self.slots.contains(configuration.open, slot)
                || self.equal_waits(window, configuration, place, action)
            {
                continue;
            }
            let states = self.languages.edited(configuration.states, self.edits[action as usize]);
            if states != languages::NONE {
                let open = self.slots.with(configuration.open, slot, true);
                self.join(next, Configuration { open, states, ..configuration });
            }
        }
        let end = self.schedule.returned[window.at as usize];
        for kind in 0..self.schedule.kinds.len() {
            let members = self.schedule.members(kind);
            let action = self.schedule.kinds[kind].0;
            // The kinds come in order of their first invocation.
            if self.schedule.unknown[members.start as usize].1 > end {
                break;
            }
            // Those that are used come first.
            let (mut first, mut after) = (members.start, members.end);
            while first < after {
                let middle = first + (after - first) / 2;
                if self.crashed.contains(configuration.crashed, middle) {
                    first = middle + 1;
                } else {
                    after = middle;
                }
            }
            if first == members.end {
                continue;
            }
            if self.schedule.unknown[first as usize].1 > end
                || self.equal_waits(window, configuration, window.open.len(), action)
            {
                continue;
            }
            let states = self.languages.edited(configuration.states, self.edits[action as usize]);
            // The same states are there without it, and it can still be used.
            if states != languages::NONE && states != configuration.states {
                let crashed = self.crashed.with(configuration.crashed, first, true);
                self.join(next, Configuration { crashed, states, ..configuration });
            }
        }
        Ok(())
    }

    /// Whether an equal call waits that is among the first of those that are open, by return.
    fn equal_waits(&self, window: &Window, configuration: Configuration, first: usize, action: u32) -> bool {
        self.reductions.earliest_deadline_first
            && self.schedule.repeated[action as usize]
            && window.open.iter().take(first).any(|rank| {
                self.schedule.action[*rank as usize] == action
                    && !self.slots.contains(configuration.open, self.schedule.slot[*rank as usize])
            })
    }

    /// Adds a configuration to those with as many calls: its states to those that the same calls can leave in another order.
    fn join(&mut self, level: &mut Level, configuration: Configuration) {
        let Configuration { open, crashed, states } = configuration;
        let number = level.configurations.len() as u32;
        match level.known.entry((open, crashed)) {
            Entry::Vacant(place) => {
                place.insert(number);
                level.configurations.push(configuration);
            }
            Entry::Occupied(_) if self.reductions.sabotaged(Sabotage::OneOrderOnly) => {}
            Entry::Occupied(place) => {
                let all = &mut level.configurations[*place.get() as usize].states;
                *all = self.languages.union(*all, states);
            }
        }
    }

    /// Dominance: of two configurations with the same open calls, the one that used up fewer crashed calls can do whatever the other can, if
    /// all its states are among those of the former.
    fn drop_dominated(&mut self, layer: &mut Vec<(u32, Configuration)>) {
        if !self.reductions.dominance || self.schedule.unknown.is_empty() {
            return;
        }
        // Those that used fewer come first.
        let mut kept: Vec<(u32, Configuration)> = Vec::with_capacity(layer.len());
        let mut same: FxHashMap<u32, Vec<Configuration>> = FxHashMap::default();
        for (count, configuration) in layer.drain(..) {
            let others = same.entry(configuration.open).or_default();
            let dominated = others.iter().rev().take(COMPARED).any(|other| {
                self.crashed.is_subset(other.crashed, configuration.crashed)
                    && (self.languages.union(other.states, configuration.states) == other.states
                        || self.reductions.sabotaged(Sabotage::FewerCallsDominate))
            });
            if !dominated {
                others.push(configuration);
                kept.push((count, configuration));
            }
        }
        *layer = kept;
    }

    fn bytes(&self) -> usize {
        self.languages.bytes()
            + self.slots.bytes()
            + self.crashed.bytes()
            + self.edits.capacity() * size_of::<Edit>()
            + self.schedule.bytes()
    }
}
