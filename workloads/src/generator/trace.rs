//! Watching a generator at work.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::{Op, Worker};

/// Something a traced generator did.
#[derive(Debug)]
pub enum Traced<'a> {
    /// It is done.
    Done,
    /// It waits, at most until the time given.
    Pending(Option<u64>),
    /// It proposed this.
    Op(&'a Op),
    /// It heard of this.
    Update(Worker, &'a Event),
}

type Report = dyn Fn(u64, &Traced<'_>) + Send + Sync;

struct Trace {
    report: Arc<Report>,
    inner: Gen,
}

/// `inner`, every answer and every event of which is told to `report` along with the time. For finding out why a
/// generator does what it does.
pub fn trace(report: impl Fn(u64, &Traced<'_>) + Send + Sync + 'static, inner: Gen) -> Gen {
    Arc::new(Trace { report: Arc::new(report), inner })
}

impl Trace {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { report: Arc::clone(&self.report), inner })
    }
}

impl Generator for Trace {
    fn op(&self, context: &Context<'_>) -> Step {
        let step = self.inner.op(context);
        let traced = match &step {
            Step::Done => Traced::Done,
            Step::Pending(wait) => Traced::Pending(wait.until),
            Step::Op(op, _) => Traced::Op(op),
        };
        (self.report)(context.time, &traced);
        step.map_next(|next| self.with(next))
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        (self.report)(context.time, &Traced::Update(worker, event));
        Some(self.with(self.inner.update(context, worker, event)?))
    }
}
