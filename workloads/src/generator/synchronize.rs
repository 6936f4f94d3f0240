//! Waits until everybody is ready.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::Worker;

struct Synchronize(Gen);

/// `inner`, from when every worker is free on.
pub fn synchronize(inner: Gen) -> Gen {
    Arc::new(Synchronize(inner))
}

impl Generator for Synchronize {
    fn op(&self, context: &Context<'_>) -> Step {
        if context.free.len() < context.all.len() {
            return Step::pending();
        }
        match self.0.op(context) {
            // The gate was open, once is enough.
            Step::Pending(Wait { until, next }) => {
                Step::Pending(Wait { until, next: Some(next.unwrap_or_else(|| Arc::clone(&self.0))) })
            }
            step => step,
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(synchronize(self.0.update(context, worker, event)?))
    }
}
