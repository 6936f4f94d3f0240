//! Leaves operations out.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::{Op, Worker};

type Keep = dyn Fn(&Op) -> bool + Send + Sync;

/// How many operations are passed over in one go. A generator that has nothing else to offer must not hang whoever
/// asks it.
const SKIPS_MAX: usize = 1_000;

struct Filter {
    keep: Arc<Keep>,
    inner: Gen,
}

/// Only those of `inner`'s operations that `keep` accepts. After 1,000 refusals in a row it is pending for a
/// microsecond before it looks further.
pub fn filter(keep: impl Fn(&Op) -> bool + Send + Sync + 'static, inner: Gen) -> Gen {
    Arc::new(Filter { keep: Arc::new(keep), inner })
}

impl Filter {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { keep: Arc::clone(&self.keep), inner })
    }
}

impl Generator for Filter {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut inner = Arc::clone(&self.inner);
        for skipped in 0..SKIPS_MAX {
            match inner.op(context) {
                Step::Op(op, next) if (self.keep)(&op) => return Step::Op(op, self.with(next)),
                Step::Op(_, next) => inner = next,
                Step::Done => return Step::Done,
                Step::Pending(Wait { until, next }) => {
                    let next = next.or((skipped > 0).then_some(inner)).map(|inner| self.with(inner));
                    return Step::Pending(Wait { until, next });
                }
            }
        }
        Step::Pending(Wait { until: Some(context.time.saturating_add(1_000)), next: Some(self.with(inner)) })
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with(self.inner.update(context, worker, event)?))
    }
}
