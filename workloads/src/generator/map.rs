//! Changes every operation on its way out.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::{Op, Worker};

type Change = dyn Fn(Op) -> Op + Send + Sync;

struct Map {
    change: Arc<Change>,
    inner: Gen,
}

/// `inner`'s operations, each passed through `change`, which must leave time and worker alone.
pub fn map(change: impl Fn(Op) -> Op + Send + Sync + 'static, inner: Gen) -> Gen {
    Arc::new(Map { change: Arc::new(change), inner })
}

impl Map {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { change: Arc::clone(&self.change), inner })
    }
}

impl Generator for Map {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.inner.op(context) {
            Step::Op(op, next) => Step::Op((self.change)(op), self.with(next)),
            other => other.map_next(|next| self.with(next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with(self.inner.update(context, worker, event)?))
    }
}
