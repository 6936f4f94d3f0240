//! An even pace.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct Delay {
    interval: u64,
    /// Not before this.
    due: u64,
    inner: Gen,
}

/// `inner`'s operations at least `interval` nanoseconds apart, the first at once. Lost time is not made up for.
pub fn delay(interval: u64, inner: Gen) -> Gen {
    Arc::new(Delay { interval, due: 0, inner })
}

impl Delay {
    fn with(&self, due: u64, inner: Gen) -> Gen {
        Arc::new(Self { interval: self.interval, due, inner })
    }
}

impl Generator for Delay {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.inner.op(context) {
            Step::Op(mut op, next) => {
                op.time = op.time.max(self.due);
                let due = op.time.max(context.time).saturating_add(self.interval);
                Step::Op(op, self.with(due, next))
            }
            other => other.map_next(|next| self.with(self.due, next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with(self.due, self.inner.update(context, worker, event)?))
    }
}
