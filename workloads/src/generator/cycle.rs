//! A generator that starts over.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::Worker;

struct Cycle {
    /// How often it may still start over; `None`: without end.
    left: Option<u64>,
    original: Gen,
    current: Gen,
}

/// `inner` until it is done, then from its beginning, without end.
pub fn cycle(inner: Gen) -> Gen {
    Arc::new(Cycle { left: None, original: Arc::clone(&inner), current: inner })
}

/// `inner` from beginning to end `count` times.
pub fn cycle_times_over(count: u64, inner: Gen) -> Gen {
    match count.checked_sub(1) {
        Some(left) => Arc::new(Cycle { left: Some(left), original: Arc::clone(&inner), current: inner }),
        None => super::nothing(),
    }
}

impl Cycle {
    fn with(&self, left: Option<u64>, current: Gen) -> Gen {
        Arc::new(Self { left, original: Arc::clone(&self.original), current })
    }
}

impl Generator for Cycle {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.current.op(context) {
            Step::Done if self.left != Some(0) => {
                let left = self.left.map(|left| left - 1);
                match self.original.op(context) {
                    // Nothing even when fresh: there is nothing to go round.
                    Step::Done => Step::Done,
                    Step::Pending(Wait { until, next }) => {
                        let fresh = next.unwrap_or_else(|| Arc::clone(&self.original));
                        Step::Pending(Wait { until, next: Some(self.with(left, fresh)) })
                    }
                    Step::Op(op, next) => Step::Op(op, self.with(left, next)),
                }
            }
            step => step.map_next(|next| self.with(self.left, next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with(self.left, self.current.update(context, worker, event)?))
    }
}
