//! The same operation again and again.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct Repeat {
    /// `None`: without end.
    left: Option<u64>,
    inner: Gen,
}

/// `inner`'s next operation without end: what follows an operation is `inner` as it was. For a generator that should
/// run through and start over, see [`cycle`](super::cycle()).
pub fn repeat(inner: Gen) -> Gen {
    Arc::new(Repeat { left: None, inner })
}

/// `inner`'s next operation `count` times.
pub fn repeat_times(count: u64, inner: Gen) -> Gen {
    Arc::new(Repeat { left: Some(count), inner })
}

impl Generator for Repeat {
    fn op(&self, context: &Context<'_>) -> Step {
        if self.left == Some(0) {
            return Step::Done;
        }
        let with = |left, inner| -> Gen { Arc::new(Self { left, inner }) };
        match self.inner.op(context) {
            Step::Op(op, _) => Step::Op(op, with(self.left.map(|left| left - 1), Arc::clone(&self.inner))),
            other => other.map_next(|next| with(self.left, next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let inner = self.inner.update(context, worker, event)?;
        Some(Arc::new(Self { left: self.left, inner }))
    }
}
