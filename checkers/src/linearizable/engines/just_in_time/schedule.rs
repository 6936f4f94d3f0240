//! Puts the calls of one key into the order in which the just-in-time search walks them, and gives each a slot.

use std::collections::BinaryHeap;

use super::super::super::models::register::Action;
use super::reductions::{Reductions, Sabotage};
use super::{NEVER, Number, RegisterCall};

/// One step of the walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub kind: StepKind,
    /// Which of the calls.
    pub call: usize,
    /// Its slot while it is open.
    pub slot: usize,
    /// Position in the history.
    pub position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepKind {
    Invoke,
    Return,
    /// Nothing that still can happen observes what this call of unknown outcome produces.
    Forget,
}

/// The walk over the calls of one key.
pub(crate) struct Schedule {
    pub steps: Vec<Step>,
    /// Per call: its action, with a cas that changes nothing as the read that it is.
    pub actions: Vec<Action<Number>>,
    /// Per call: whether taking it leaves it available.
    pub endless: Vec<bool>,
    /// Per call: whether it took effect for certain.
    pub required: Vec<bool>,
    /// Per call: the position before which it takes effect or never.
    pub deadlines: Vec<usize>,
    /// Per value: the position at which its last observer has returned, 0 if it has none.
    pub last_observed: Vec<usize>,
    /// Slots needed.
    pub width: usize,
}

impl Schedule {
    /// The schedule of `calls`, whose values are below `values`.
    pub fn new(calls: &[RegisterCall], values: usize, reductions: &Reductions) -> Self {
        let actions: Vec<_> = calls
            .iter()
            .map(|call| match call.action {
                Action::Cas(expected, new) if expected == new => Action::Read(new),
                action => action,
            })
            .collect();
        let last_observed = last_observed(calls, &actions, values, reductions);
        let mut deadlines = Vec::with_capacity(calls.len());
        let mut steps = Vec::with_capacity(calls.len() * 2);
        for (position, (call, action)) in calls.iter().zip(&actions).enumerate() {
            let (kind, end) = match (call.returned, action) {
                (NEVER, Action::Read(_)) => (None, NEVER),
                (NEVER, Action::Write(value) | Action::Cas(_, value)) if reductions.forget_unobserved => {
                    let end = last_observed[*value as usize];
                    ((end > call.invoked).then_some(StepKind::Forget), end)
                }
                (NEVER, _) => (Some(StepKind::Forget), NEVER),
                (returned, _) => (Some(StepKind::Return), returned),
            };
            deadlines.push(end);
            if let Some(kind) = kind {
                let step = Step { kind: StepKind::Invoke, call: position, slot: 0, position: call.invoked };
                steps.push(step);
                if end != NEVER {
                    steps.push(Step { kind, position: end, ..step });
                }
            }
        }
        // What returned last is forgotten after its return, hence the kind.
        steps.sort_by_key(|step| (step.position, step.kind, step.call));
        let endless = calls.iter().map(|call| call.endless).collect();
        let required = calls.iter().map(|call| call.returned != NEVER).collect();
        let mut schedule = Self { steps, actions, endless, required, deadlines, last_observed, width: 0 };
        schedule.assign_slots();
        schedule
    }

    fn assign_slots(&mut self) {
        let mut free: Vec<usize> = Vec::new();
        let mut slots = vec![0; self.actions.len()];
        for step in &mut self.steps {
            if step.kind == StepKind::Invoke {
                step.slot = free.pop().unwrap_or_else(|| {
                    self.width += 1;
                    self.width - 1
                });
                slots[step.call] = step.slot;
            } else {
                step.slot = slots[step.call];
                free.push(step.slot);
            }
        }
    }
}

fn last_observed(
    calls: &[RegisterCall],
    actions: &[Action<Number>],
    values: usize,
    reductions: &Reductions,
) -> Vec<usize> {
    let mut last = vec![0; values];
    // Unknown cas, by what they produce: they hand on to what they expect.
    let mut unknown: Vec<(Number, Number, usize)> = Vec::new();
    for (call, action) in calls.iter().zip(actions) {
        match (call.returned, *action) {
            (NEVER, Action::Cas(expected, new)) => unknown.push((new, expected, call.invoked)),
            (NEVER, _) | (_, Action::Write(_)) => {}
            (returned, Action::Read(value) | Action::Cas(value, _)) => {
                let last = &mut last[value as usize];
                if reductions.sabotaged(Sabotage::ForgetAfterFirstObserver) && *last != 0 {
                    *last = returned.min(*last);
                } else {
                    *last = returned.max(*last);
                }
            }
        }
    }
    if reductions.sabotaged(Sabotage::UnknownCasObservesNothing) {
        return last;
    }
    // The latest first: whatever is handed on is final then, as in Dijkstra's shortest paths.
    unknown.sort_unstable();
    let mut queue: BinaryHeap<(usize, Number)> =
        unknown.iter().map(|(new, ..)| (last[*new as usize], *new)).collect();
    while let Some((end, value)) = queue.pop() {
        if end < last[value as usize] {
            continue;
        }
        let first = unknown.partition_point(|(new, ..)| *new < value);
        for (_, expected, invoked) in unknown[first..].iter().take_while(|(new, ..)| *new == value) {
            if end > *invoked && end > last[*expected as usize] {
                last[*expected as usize] = end;
                queue.push((end, *expected));
            }
        }
    }
    last
}
