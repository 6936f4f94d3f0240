//! Time in which nothing happens.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::Worker;

struct Sleep {
    length: u64,
    /// When it ends, once it has begun.
    end: Option<u64>,
}

/// No operation for `length` nanoseconds from when it is first asked, then done. In a [`sequence`](super::sequence()) it
/// delays whatever follows.
pub fn sleep(length: u64) -> Gen {
    Arc::new(Sleep { length, end: None })
}

impl Generator for Sleep {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.end {
            Some(end) if context.time >= end => Step::Done,
            Some(end) => Step::pending_until(end),
            None if self.length == 0 => Step::Done,
            None => {
                let end = context.time.saturating_add(self.length);
                let begun = Self { length: self.length, end: Some(end) };
                Step::Pending(Wait { until: Some(end), next: Some(Arc::new(begun)) })
            }
        }
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}
