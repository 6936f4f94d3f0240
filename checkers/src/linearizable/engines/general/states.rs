//! The states of the object that the search has met, and what each action makes of them.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::super::super::specification::Specification;
use super::index::{Index, tag};

/// What an action does in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It cannot happen.
    Impossible,
    /// It leaves this one state.
    Leaves(u32),
    /// It leaves one of the states in [`States::several`].
    Several,
}

/// The most places of the memory of transitions.
const REMEMBERED: usize = 1 << 14;

/// Places of it for each call: a short history does not meet more transitions than that at a time.
const REMEMBERED_A_CALL: usize = 4;

/// Numbers the states, and remembers transitions where computing them again would cost more.
pub(super) struct States<'s, S: Specification> {
    specification: &'s S,
    states: Vec<S::State>,
    index: Index,
    /// Bytes of the states themselves.
    bytes: usize,
    /// The last transitions: state, action, effect. Exact, but forgetful: a newer transition takes the place of an older one.
    remembered: Vec<(u32, u32, Effect)>,
    scratch: Vec<S::State>,
    /// The states of the last effect that was [`Effect::Several`], without repetition.
    pub several: Vec<u32>,
}

impl<'s, S: Specification> States<'s, S> {
    /// Only the initial state, number 0, for a history of so many calls.
    pub fn new(specification: &'s S, calls: usize) -> Self {
        // A state that owns nothing on the heap is as quickly computed as looked up.
        let remembered = match std::mem::needs_drop::<S::State>() {
            true => calls.saturating_mul(REMEMBERED_A_CALL).min(REMEMBERED).next_power_of_two(),
            false => 0,
        };
        let mut states = Self {
            specification,
            states: Vec::new(),
            index: Index::default(),
            bytes: 0,
            remembered: vec![(u32::MAX, 0, Effect::Impossible); remembered],
            scratch: Vec::new(),
            several: Vec::new(),
        };
        states.number(specification.initial());
        states
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    fn number(&mut self, state: S::State) -> u32 {
        let mut hasher = FxHasher::default();
        state.hash(&mut hasher);
        let tag = tag(hasher.finish());
        let states = &self.states;
        if let Some(number) = self.index.find(tag, |number| states[number as usize] == state) {
            return number;
        }
        let number = self.states.len() as u32;
        self.bytes += self.specification.bytes(&state);
        self.states.push(state);
        self.index.insert(tag, number);
        number
    }

    /// What the action, known by this number, does in a state.
    pub fn effect(&mut self, state: u32, number: u32, action: &S::Action) -> Effect {
        let place =
            tag(u64::from(state) << 32 | u64::from(number)) as usize & self.remembered.len().wrapping_sub(1);
        if let Some((known, same, effect)) = self.remembered.get(place)
            && (*known, *same) == (state, number)
            && *effect != Effect::Several
        {
            return *effect;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.specification.branch(&self.states[state as usize], action, &mut scratch);
        self.several.clear();
        for next in scratch.drain(..) {
            let next = self.number(next);
            // Mostly one or two; many are sorted below.
            if self.several.last() != Some(&next) {
                self.several.push(next);
            }
        }
        self.scratch = scratch;
        if self.several.len() > 1 {
            self.several.sort_unstable();
            self.several.dedup();
        }
        let effect = match self.several[..] {
            [] => Effect::Impossible,
            [next] => Effect::Leaves(next),
            _ => Effect::Several,
        };
        if let Some(place) = self.remembered.get_mut(place) {
            *place = (state, number, effect);
        }
        effect
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        let inline = (self.states.capacity() - self.states.len()) * size_of::<S::State>();
        self.bytes + inline + self.index.bytes() + self.remembered.len() * size_of::<(u32, u32, Effect)>()
    }
}
