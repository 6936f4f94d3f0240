//! A mean rate, with the irregularity that finds bugs.

use std::sync::Arc;

use schism_history::{Event, Random};

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

/// How far behind its schedule a stagger may fall before it forgives itself the rest: this many mean intervals,
const LAG_INTERVALS: u64 = 10;
/// but never less than this, in nanoseconds, which is an ordinary hiccup of a busy machine.
const LAG_MIN: u64 = 20_000_000;

struct Stagger {
    random: Random,
    /// Mean nanoseconds between operations.
    interval: u64,
    /// When the next operation is due; `None` before the first.
    due: Option<u64>,
    inner: Gen,
}

/// `inner`'s operations at a mean rate of one every `interval` nanoseconds over all workers together: the time between
/// two is uniform in `0..2·interval`.
///
/// The times form a schedule, so that small delays do not lower the rate: an operation that is late is due at once, and
/// the one after it when it would have been anyway. Only when the schedule lies more than ten intervals (at least
/// 20 ms) back, because all workers were stuck, the remainder is forgiven: a cluster that comes back is not greeted
/// with everything it missed.
pub fn stagger(random: Random, interval: u64, inner: Gen) -> Gen {
    Arc::new(Stagger { random, interval, due: None, inner })
}

impl Stagger {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { random: self.random, interval: self.interval, due: self.due, inner })
    }
}

impl Generator for Stagger {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.inner.op(context) {
            Step::Op(mut op, next) => {
                let lag = self.interval.saturating_mul(LAG_INTERVALS).max(LAG_MIN);
                let due = self.due.unwrap_or(context.time).max(context.time.saturating_sub(lag));
                op.time = op.time.max(due);
                let mut random = self.random;
                let gap = random.below(self.interval.saturating_mul(2));
                // From the schedule, not from the operation, which may have come later for reasons of its own.
                let following = if op.time > context.time { op.time } else { due };
                let due = Some(following.saturating_add(gap));
                Step::Op(op, Arc::new(Self { random, interval: self.interval, due, inner: next }))
            }
            other => other.map_next(|next| self.with(next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with(self.inner.update(context, worker, event)?))
    }
}
