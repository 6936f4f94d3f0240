//! Confines a generator to some workers.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, WorkerSet};
use crate::op::Worker;

struct OnWorkers {
    workers: Arc<WorkerSet>,
    inner: Gen,
}

/// `inner` sees, and hears of, `workers` only.
pub fn on_workers(workers: WorkerSet, inner: Gen) -> Gen {
    Arc::new(OnWorkers { workers: Arc::new(workers), inner })
}

impl OnWorkers {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { workers: Arc::clone(&self.workers), inner })
    }
}

impl Generator for OnWorkers {
    fn op(&self, context: &Context<'_>) -> Step {
        let ours = self.workers.view();
        let (free, all) = (context.free.intersection(ours), context.all.intersection(ours));
        self.inner.op(&context.within(free.view(), all.view())).map_next(|next| self.with(next))
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let ours = self.workers.view();
        if !ours.contains(worker) {
            return None;
        }
        let (free, all) = (context.free.intersection(ours), context.all.intersection(ours));
        Some(self.with(self.inner.update(&context.within(free.view(), all.view()), worker, event)?))
    }
}
