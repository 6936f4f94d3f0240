//! Ends a generator at a moment.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct TimeLimit {
    deadline: u64,
    inner: Gen,
}

/// `inner` until `deadline`, in nanoseconds since the start of the run. Fires even while `inner` waits for an event that
/// never comes.
pub fn time_limit(deadline: u64, inner: Gen) -> Gen {
    Arc::new(TimeLimit { deadline, inner })
}

impl Generator for TimeLimit {
    fn op(&self, context: &Context<'_>) -> Step {
        if context.time >= self.deadline {
            return Step::Done;
        }
        let with = |inner| time_limit(self.deadline, inner);
        match self.inner.op(context) {
            Step::Done => Step::Done,
            // An event may still bring an earlier one.
            Step::Op(op, _) if op.time >= self.deadline => Step::pending_until(self.deadline),
            Step::Op(op, next) => Step::Op(op, with(next)),
            Step::Pending(wait) => Step::Pending(wait.map(with).no_later(self.deadline)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(time_limit(self.deadline, self.inner.update(context, worker, event)?))
    }
}
