//! Fixed operations at fixed times.

use std::sync::Arc;

use schism_history::Event;

use super::{Action, Context, Gen, Generator, Step};
use crate::op::Worker;

struct Timeline {
    /// In ascending order of time.
    entries: Arc<[(u64, Action)]>,
    next: usize,
}

/// Each action at its time, in nanoseconds since the start of the run, or as soon after as a worker is free. Entries of
/// the same time keep their order.
pub fn timeline(entries: impl IntoIterator<Item = (u64, Action)>) -> Gen {
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(time, _)| *time);
    Arc::new(Timeline { entries: entries.into(), next: 0 })
}

impl Generator for Timeline {
    fn op(&self, context: &Context<'_>) -> Step {
        let Some((time, action)) = self.entries.get(self.next) else {
            return Step::Done;
        };
        // A wait rather than a proposal: it says the same and copies nothing, and this is asked with every operation.
        if *time > context.time {
            return Step::pending_until(*time);
        }
        match context.worker() {
            Some(worker) => Step::Op(
                action.clone().by(worker, *time),
                Arc::new(Self { entries: Arc::clone(&self.entries), next: self.next + 1 }),
            ),
            None => Step::pending(),
        }
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}
