//! Taking turns.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

struct FlipFlop {
    now: Gen,
    then: Gen,
}

/// One operation of `a`, one of `b`, one of `a`, … until the one whose turn it is is done.
pub fn flip_flop(a: Gen, b: Gen) -> Gen {
    Arc::new(FlipFlop { now: a, then: b })
}

impl Generator for FlipFlop {
    fn op(&self, context: &Context<'_>) -> Step {
        match self.now.op(context) {
            Step::Op(op, next) => Step::Op(op, flip_flop(Arc::clone(&self.then), next)),
            other => other.map_next(|next| flip_flop(next, Arc::clone(&self.then))),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let now = self.now.update(context, worker, event);
        let then = self.then.update(context, worker, event);
        (now.is_some() || then.is_some()).then(|| {
            flip_flop(
                now.unwrap_or_else(|| Arc::clone(&self.now)),
                then.unwrap_or_else(|| Arc::clone(&self.then)),
            )
        })
    }
}
