//! Bounds how many processes take part.

use std::sync::Arc;

use schism_history::{Event, Kind};

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct ProcessLimit {
    processes: u64,
    /// Operations of ours with an unknown outcome; each ended its process.
    crashed: u64,
    inner: Gen,
}

/// `inner` until more than `processes` processes might have taken part: every worker is one, and every operation that
/// ends as `info` makes its worker go on as another. An operation of unknown outcome stays open to the end of the
/// history, so this is what keeps checking linearizability tractable.
pub fn process_limit(processes: u64, inner: Gen) -> Gen {
    Arc::new(ProcessLimit { processes, crashed: 0, inner })
}

impl ProcessLimit {
    fn with(&self, crashed: u64, inner: Gen) -> Gen {
        Arc::new(Self { processes: self.processes, crashed, inner })
    }
}

impl Generator for ProcessLimit {
    fn op(&self, context: &Context<'_>) -> Step {
        if context.all.len() as u64 + self.crashed > self.processes {
            return Step::Done;
        }
        self.inner.op(context).map_next(|next| self.with(self.crashed, next))
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let crash = u64::from(event.kind == Kind::Info && matches!(worker, Worker::Client(_)));
        match self.inner.update(context, worker, event) {
            Some(inner) => Some(self.with(self.crashed + crash, inner)),
            None if crash == 0 => None,
            None => Some(self.with(self.crashed + crash, Arc::clone(&self.inner))),
        }
    }
}
