//! So many operations and no more.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct Limit {
    left: u64,
    inner: Gen,
}

/// At most `count` of `inner`'s operations.
pub fn limit(count: u64, inner: Gen) -> Gen {
    Arc::new(Limit { left: count, inner })
}

/// One of `inner`'s operations.
pub fn once(inner: Gen) -> Gen {
    limit(1, inner)
}

impl Generator for Limit {
    fn op(&self, context: &Context<'_>) -> Step {
        let Some(fewer) = self.left.checked_sub(1) else {
            return Step::Done;
        };
        match self.inner.op(context) {
            Step::Op(op, next) => Step::Op(op, limit(fewer, next)),
            other => other.map_next(|next| limit(self.left, next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(limit(self.left, self.inner.update(context, worker, event)?))
    }
}
