//! Until it worked.

use std::sync::Arc;

use schism_history::{Event, Kind};

use super::{Context, Gen, Generator, Step, WorkerSet};
use crate::op::Worker;

struct UntilOk {
    /// Workers that are busy with an operation of ours.
    open: WorkerSet,
    satisfied: bool,
    inner: Gen,
}

/// `inner` until one of its own operations completed `ok`.
pub fn until_ok(inner: Gen) -> Gen {
    Arc::new(UntilOk { open: WorkerSet::default(), satisfied: false, inner })
}

impl Generator for UntilOk {
    fn op(&self, context: &Context<'_>) -> Step {
        if self.satisfied {
            return Step::Done;
        }
        match self.inner.op(context) {
            Step::Op(op, inner) => {
                let mut open = self.open.clone();
                open.insert(op.worker);
                Step::Op(op, Arc::new(Self { open, satisfied: false, inner }))
            }
            other => {
                other.map_next(|inner| Arc::new(Self { open: self.open.clone(), satisfied: false, inner }))
            }
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let mut open = self.open.clone();
        let closed = event.kind != Kind::Invoke && context.free.contains(worker) && open.remove(worker);
        let satisfied = self.satisfied || closed && event.kind == Kind::Ok;
        let inner = self.inner.update(context, worker, event);
        (closed || inner.is_some()).then(|| -> Gen {
            Arc::new(Self { open, satisfied, inner: inner.unwrap_or_else(|| Arc::clone(&self.inner)) })
        })
    }
}
