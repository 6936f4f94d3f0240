//! Random histories of queues and stacks, and the comparison with the brute force.

use std::collections::HashMap;
use std::marker::PhantomData;

use schism_history::{Random, ValueId, Values};

use super::super::super::call::{Answer, Call, Decision, NEVER};
use super::super::super::models::collection::Action;
use super::super::super::specification::Specification;
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};

/// A queue or a stack that is used at random. Of a hundred requests so many are removals, and so many values are put in again.
pub struct Simulation<S: Specification<Action = Action>> {
    specification: S,
    state: S::State,
    values: Values,
    used: Vec<ValueId>,
    removals: u64,
    repeats: u64,
}

#[derive(Clone)]
pub enum Request {
    Insert(ValueId),
    Remove,
}

impl<S: Specification<Action = Action>> Simulation<S> {
    pub fn new(specification: S, random: &mut Random) -> Self {
        let state = specification.initial();
        let removals = [35, 50, 65][random.below(3) as usize];
        let repeats = [0, 0, 0, 0, 0, 0, 0, 15][random.below(8) as usize];
        Self { specification, state, values: Values::new(), used: Vec::new(), removals, repeats }
    }

    fn value(&mut self, number: usize) -> ValueId {
        self.values.int(number as i64).unwrap()
    }
}

impl<S: Specification<Action = Action>> Simulated<S> for Simulation<S> {
    type Request = Request;

    fn request(&mut self, random: &mut Random, _process: usize) -> Request {
        if random.below(100) < self.removals {
            return Request::Remove;
        }
        let again = random.below(100) < self.repeats;
        let value = match random.pick(&self.used) {
            Some(value) if again => *value,
            _ => self.value(self.used.len()),
        };
        self.used.push(value);
        Request::Insert(value)
    }

    fn perform(&mut self, random: &mut Random, request: &Request) -> Option<Action> {
        if let Request::Insert(value) = request {
            self.state = self.specification.step(&self.state, &Action::Insert(*value))?;
            return Some(Action::Insert(*value));
        }
        let mut candidates = self.used.clone();
        random.shuffle(&mut candidates);
        let actions = candidates.into_iter().map(Action::Remove).chain([Action::Empty]);
        for action in actions {
            if let Some(state) = self.specification.step(&self.state, &action) {
                self.state = state;
                return Some(action);
            }
        }
        None
    }

    fn crashed(&mut self, request: &Request) -> Option<Action> {
        Some(match request {
            Request::Insert(value) => Action::Insert(*value),
            Request::Remove => Action::RemoveAny,
        })
    }

    fn lie(&mut self, random: &mut Random, action: Action) -> Action {
        match action {
            Action::Insert(_) => action,
            _ if random.below(3) == 0 => Action::Empty,
            _ => {
                let number = random.below(self.used.len() as u64 + 2) as usize;
                Action::Remove(self.value(number))
            }
        }
    }
}

/// A history with intervals and results drawn without any object: of these, fits and near-misses are about as common.
pub fn scattered(random: &mut Random, values: usize, others: usize, crash_percent: u64) -> Vec<Call<Action>> {
    let mut table = Values::new();
    let mut actions = Vec::new();
    for number in 0..values {
        let value = table.int(number as i64).unwrap();
        actions.push(Action::Insert(value));
        if random.below(5) > 0 {
            actions.push(Action::Remove(value));
        }
    }
    for _ in 0..others {
        actions.push([Action::Empty, Action::RemoveAny][random.below(2) as usize]);
    }
    let total = 2 * actions.len();
    let mut positions: Vec<u32> = (0..total as u32).collect();
    // Shuffled a little only, so that some calls are short.
    let reach = [2, 4, 8, total][random.below(4) as usize];
    for at in 0..total {
        let other = (at + random.below(reach as u64 + 1) as usize).min(total - 1);
        positions.swap(at, other);
    }
    let lies = random.below(4) == 0;
    let mut order: Vec<usize> = (0..actions.len()).collect();
    if random.below(2) == 0 {
        random.shuffle(&mut order);
    }
    let mut calls = Vec::new();
    for (turn, index) in order.into_iter().enumerate() {
        let (a, b) = (positions[2 * turn], positions[2 * turn + 1]);
        let mut action = actions[index];
        let mut returned = a.max(b);
        if action == Action::RemoveAny
            || matches!(action, Action::Insert(_)) && random.below(100) < crash_percent
        {
            returned = NEVER;
        }
        if lies && matches!(action, Action::Remove(_)) && random.below(8) == 0 {
            action = Action::Remove(table.int(random.below(values as u64 + 1) as i64).unwrap());
        }
        calls.push(Call { action, invoked: a.min(b), returned, source: index as u32 });
    }
    calls.sort_by_key(|call| call.invoked);
    calls
}

/// A random small history of one of many shapes.
pub fn draw<S: Specification<Action = Action> + Default>(random: &mut Random) -> Vec<Call<Action>> {
    if random.below(2) == 0 {
        let values = 1 + random.below(4) as usize;
        let others = random.below(3) as usize;
        let crash_percent = [0, 0, 25][random.below(3) as usize];
        return scattered(random, values, others, crash_percent);
    }
    let shape = Shape::draw(random, 9);
    let mut simulation = Simulation::new(S::default(), random);
    let mut calls: Vec<Call<Action>> = simulate(random, &mut simulation, shape);
    for _ in 0..random.below(4) {
        jolt(random, &mut calls);
    }
    calls
}

/// What a comparison saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub fits: usize,
    pub violations: usize,
    pub undecided: usize,
    /// Of those undecided, how many have distinct values.
    pub undecided_distinct: usize,
    pub with_patterns: usize,
    pub wrong: usize,
}

/// Holds an engine against the brute force. Disagreements are counted if `tolerant`, else they fail.
pub struct Comparison<S> {
    pub seed: u64,
    pub histories: usize,
    pub tolerant: bool,
    pub model: PhantomData<S>,
}

impl<S: Specification<Action = Action> + Default> Comparison<S> {
    pub fn run(
        &self,
        decide: impl Fn(&[Call<Action>]) -> Option<Decision>,
        order: impl Fn(&[Call<Action>]) -> Option<Vec<usize>>,
    ) -> Seen {
        let specification = S::default();
        let mut random = Random::new(self.seed, "collections");
        let mut seen = Seen::default();
        for number in 0..self.histories {
            let calls = draw::<S>(&mut random);
            let Some(decision) = decide(&calls) else {
                seen.undecided += 1;
                seen.undecided_distinct += usize::from(is_distinct(&calls));
                continue;
            };
            let fits = brute_force(&specification, &calls);
            if fits != (decision.answer == Answer::Linearizable) {
                seen.wrong += 1;
                assert!(
                    self.tolerant,
                    "history {number}: brute force says {fits}, not {decision:?}: {calls:#?}"
                );
                continue;
            }
            match decision.answer {
                Answer::Linearizable => {
                    seen.fits += 1;
                    if !self.tolerant {
                        let order = order(&calls);
                        let problem = order
                            .as_ref()
                            .map_or(Some("none".into()), |order| replay(&specification, &calls, order));
                        assert_eq!(
                            problem, None,
                            "history {number}: the order {order:?} is wrong: {calls:#?}"
                        );
                    }
                }
                Answer::Impossible(contradiction) => {
                    seen.violations += 1;
                    if !self.tolerant {
                        seen.with_patterns += usize::from(!contradiction.pattern.is_empty());
                        self.judge(number, &calls, contradiction.culprit, &contradiction.pattern);
                    }
                }
                Answer::Unknown(..) => panic!("history {number}: no search, no limits"),
            }
        }
        seen
    }

    /// The pattern is impossible by itself; no call that could help was left out of it; nothing fits up to the culprit's return.
    fn judge(&self, number: usize, calls: &[Call<Action>], culprit: usize, pattern: &[usize]) {
        let specification = S::default();
        let end = calls[culprit].returned;
        assert_ne!(end, NEVER, "history {number}: the culprit never returned: {calls:#?}");
        // What it will have done is known of an open call; whether it did it yet is not.
        let mut before: Vec<Call<Action>> = calls.iter().copied().filter(|call| call.invoked < end).collect();
        for call in before.iter_mut().filter(|call| call.returned > end) {
            call.returned = NEVER;
        }
        assert!(!brute_force(&specification, &before), "history {number}: {culprit} has a place: {calls:#?}");
        if pattern.is_empty() {
            return;
        }
        assert!(pattern.is_sorted() && pattern.contains(&culprit), "history {number}: {pattern:?}");
        let few: Vec<Call<Action>> = pattern.iter().map(|call| calls[*call]).collect();
        assert!(!brute_force(&specification, &few), "history {number}: {pattern:?} fits: {calls:#?}");
        // Whatever the others did: replace each by the most permissive one, a removal of anything, unless it does something else that is
        // known. It is enough to look at those that could have taken out or put in a value of the pattern.
        for (at, call) in calls.iter().enumerate().filter(|(at, _)| !pattern.contains(at)) {
            let concerns = |value: ValueId| {
                few.iter().any(
                    |other| matches!(other.action, Action::Insert(of) | Action::Remove(of) if of == value),
                )
            };
            let mut with = few.clone();
            with.push(*call);
            with.sort_by_key(|call| call.invoked);
            let relevant = match call.action {
                Action::Insert(value) | Action::Remove(value) => concerns(value),
                Action::RemoveAny => true,
                Action::Empty | Action::Peek(_) => false,
            };
            assert!(
                !relevant || !brute_force(&specification, &with),
                "history {number}: {pattern:?} fits with {at}: {calls:#?}"
            );
        }
    }
}

fn is_distinct(calls: &[Call<Action>]) -> bool {
    let mut insertions: HashMap<ValueId, usize> = HashMap::new();
    for call in calls {
        if let Action::Insert(value) = call.action {
            *insertions.entry(value).or_default() += 1;
        }
    }
    insertions.values().all(|count| *count == 1)
}

/// What is wrong with an order, if anything: it must have every required call, none twice, keep real time, and be legal.
pub fn replay<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    order: &[usize],
) -> Option<String> {
    let mut placed = vec![false; calls.len()];
    // States, since a specification may leave something open.
    let mut states = vec![specification.initial()];
    let mut latest = 0;
    for (place, at) in order.iter().enumerate() {
        if std::mem::replace(&mut placed[*at], true) {
            return Some(format!("{at} stands twice"));
        }
        if calls[*at].returned < latest {
            return Some(format!("{at} at {place} returned before one before it was invoked"));
        }
        latest = latest.max(calls[*at].invoked);
        let mut next = Vec::new();
        states.iter().for_each(|state| specification.branch(state, &calls[*at].action, &mut next));
        next.dedup();
        if next.is_empty() {
            return Some(format!("{at} at {place} is not legal"));
        }
        states = next;
    }
    let missing = (0..calls.len()).find(|at| !placed[*at] && calls[*at].is_required());
    missing.map(|at| format!("{at} is missing"))
}
