//! One generator after another.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::Worker;

struct Nothing;

/// No operation at all.
pub fn nothing() -> Gen {
    Arc::new(Nothing)
}

impl Generator for Nothing {
    fn op(&self, _: &Context<'_>) -> Step {
        Step::Done
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}

struct Sequence {
    current: Gen,
    /// What comes after `current`: `rest[from..]`.
    rest: Arc<[Gen]>,
    from: usize,
}

/// Each generator until it is done, then the next. A generator learns of events only while it is the current one.
pub fn sequence(parts: impl IntoIterator<Item = Gen>) -> Gen {
    let rest: Arc<[Gen]> = parts.into_iter().collect();
    match rest.first() {
        Some(first) => Arc::new(Sequence { current: Arc::clone(first), rest, from: 1 }),
        None => nothing(),
    }
}

impl Sequence {
    fn at(&self, current: Gen, from: usize) -> Gen {
        Arc::new(Self { current, rest: Arc::clone(&self.rest), from })
    }
}

impl Generator for Sequence {
    fn op(&self, context: &Context<'_>) -> Step {
        let (mut current, mut from) = (&self.current, self.from);
        loop {
            match current.op(context) {
                Step::Done => match self.rest.get(from) {
                    Some(next) => (current, from) = (next, from + 1),
                    None => return Step::Done,
                },
                Step::Pending(Wait { until, next }) => {
                    // Having moved on is remembered, so that an old part that is done is never told of events again.
                    let moved = (from != self.from).then(|| Arc::clone(current));
                    let next = next.or(moved).map(|current| self.at(current, from));
                    return Step::Pending(Wait { until, next });
                }
                Step::Op(op, next) => return Step::Op(op, self.at(next, from)),
            }
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let current = self.current.update(context, worker, event)?;
        Some(self.at(current, self.from))
    }
}
