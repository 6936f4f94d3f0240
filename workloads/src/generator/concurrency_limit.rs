//! Bounds how many operations are open at once.

use std::sync::Arc;

use schism_history::{Event, Kind};

use super::{Context, Gen, Generator, Step, WorkerSet};
use crate::op::Worker;

struct ConcurrencyLimit {
    count: usize,
    /// Workers that are busy with an operation of ours.
    open: WorkerSet,
    inner: Gen,
}

/// At most `count` of `inner`'s operations are open at any moment.
pub fn concurrency_limit(count: usize, inner: Gen) -> Gen {
    Arc::new(ConcurrencyLimit { count, open: WorkerSet::default(), inner })
}

impl ConcurrencyLimit {
    fn with(&self, open: WorkerSet, inner: Gen) -> Gen {
        Arc::new(Self { count: self.count, open, inner })
    }
}

impl Generator for ConcurrencyLimit {
    fn op(&self, context: &Context<'_>) -> Step {
        if self.open.view().len() >= self.count {
            return Step::pending();
        }
        match self.inner.op(context) {
            Step::Op(op, next) => {
                let mut open = self.open.clone();
                open.insert(op.worker);
                Step::Op(op, self.with(open, next))
            }
            other => other.map_next(|next| self.with(self.open.clone(), next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        // Every event of the nemesis is `info`; its lane's invocation is the one that comes while the lane is open
        // and busy, which the context tells.
        let completion = event.kind != Kind::Invoke && context.free.contains(worker);
        let mut open = self.open.clone();
        let closed = completion && open.remove(worker);
        match self.inner.update(context, worker, event) {
            Some(inner) => Some(self.with(open, inner)),
            None if closed => Some(self.with(open, Arc::clone(&self.inner))),
            None => None,
        }
    }
}
