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
    pub call: u32,
    /// Its slot while it is open.
    pub slot: u32,
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
        let mut begins = Vec::with_capacity(calls.len());
        let mut ends = Vec::with_capacity(calls.len());
        for (place, (call, action)) in calls.iter().zip(&actions).enumerate() {
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
                begins.push(dated(call.invoked, StepKind::Invoke, place as u32));
                if end != NEVER {
                    ends.push(dated(end, kind, place as u32));
                }
            }
        }
        sort(&mut begins);
        if !reductions.sabotaged(Sabotage::EndsAreUnsorted) {
            sort(&mut ends);
        }
        let steps = merged(&begins, &ends);
        let endless = calls.iter().map(|call| call.endless).collect();
        let required = calls.iter().map(|call| call.returned != NEVER).collect();
        let mut schedule = Self { steps, actions, endless, required, deadlines, last_observed, width: 0 };
        schedule.assign_slots();
        schedule
    }

    fn assign_slots(&mut self) {
        let mut free: Vec<u32> = Vec::new();
        let mut slots = vec![0; self.actions.len()];
        for step in &mut self.steps {
            if step.kind == StepKind::Invoke {
                step.slot = free.pop().unwrap_or_else(|| {
                    self.width += 1;
                    self.width as u32 - 1
                });
                slots[step.call as usize] = step.slot;
            } else {
                step.slot = slots[step.call as usize];
                free.push(step.slot);
            }
        }
    }
}

/// A step and when it is: its position in the history and its kind in one number, and its call. What returned last is forgotten after its
/// return, hence the order of the kinds.
type Dated = (u64, u32);

fn dated(position: usize, kind: StepKind, call: u32) -> Dated {
    ((position as u64) << 2 | kind as u64, call)
}

/// Sorts what is mostly in order but for few places: calls come by their invocations, and their ends are as far from that order as there
/// are operations open at once.
fn sort(steps: &mut [Dated]) {
    let mut moves = 8 * steps.len();
    for end in 1..steps.len() {
        let step = steps[end];
        let mut at = end;
        while at > 0 && steps[at - 1] > step {
            steps[at] = steps[at - 1];
            at -= 1;
        }
        steps[at] = step;
        moves = moves.saturating_sub(end - at);
        if moves == 0 {
            return steps.sort_unstable();
        }
    }
}

/// All of them in order.
fn merged(begins: &[Dated], ends: &[Dated]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(begins.len() + ends.len());
    let step = |dated: &Dated| {
        let kind = match dated.0 & 3 {
            0 => StepKind::Invoke,
            1 => StepKind::Return,
            _ => StepKind::Forget,
        };
        Step { kind, call: dated.1, slot: 0 }
    };
    let mut left = ends;
    for begin in begins {
        while let Some((end, more)) = left.split_first().filter(|(end, _)| *end < begin) {
            steps.push(step(end));
            left = more;
        }
        steps.push(step(begin));
    }
    steps.extend(left.iter().map(step));
    steps
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

#[cfg(test)]
mod tests {
    use schism_history::Random;

    use super::*;

    /// Long enough that the sort gives up on places that are far from where they belong.
    #[test]
    fn steps_come_in_order_however_far_out_of_it_they_were() {
        let mut random = Random::new(1, "steps");
        for _ in 0..2000 {
            let length = random.below(200) as usize;
            let far = 1 + [1, 10, 1000][random.below(3) as usize];
            let mut some = |from: usize| -> Vec<Dated> {
                let mut any = |place: usize| {
                    let kind =
                        [StepKind::Invoke, StepKind::Return, StepKind::Forget][random.below(3) as usize];
                    dated(place + random.below(far) as usize, kind, (from + place) as u32)
                };
                (0..length).map(&mut any).collect()
            };
            let (mut begins, mut ends) = (some(0), some(length));
            let mut expected = [&begins[..], &ends[..]].concat();
            expected.sort_unstable();
            sort(&mut begins);
            sort(&mut ends);
            let steps = merged(&begins, &ends);
            let found: Vec<_> = steps.iter().map(|step| (step.kind as u64, step.call)).collect();
            let expected: Vec<_> = expected.into_iter().map(|(when, call)| (when & 3, call)).collect();
            assert_eq!(found, expected);
        }
    }
}
