//! Asking several generators and taking the soonest operation: what `any`, `mix`, `reserve`, `each_worker` and
//! `independent` have in common.

use super::{Context, Gen, Step, Wait};
use crate::op::Op;

/// What asking some branches brought to light.
pub(super) struct Survey {
    best: Option<(usize, Op, Gen)>,
    until: Option<u64>,
    pending: bool,
    changes: Changes,
}

/// What became of the branches that are not as they were.
#[derive(Default)]
pub(super) struct Changes {
    /// The branch whose operation is taken, and what follows it.
    winner: Option<(usize, Gen)>,
    /// Branches that are done (`None`) or remember something while they wait. Rarely any.
    others: Vec<(usize, Option<Gen>)>,
}

impl Changes {
    /// Visits what changed: the branch's index, and what it is now; `None` where it is done.
    pub(super) fn each(self, mut visit: impl FnMut(usize, Option<Gen>)) {
        for (index, now) in self.others {
            visit(index, now);
        }
        if let Some((index, next)) = self.winner {
            visit(index, Some(next));
        }
    }
}

impl Survey {
    pub(super) fn new() -> Self {
        Self { best: None, until: None, pending: false, changes: Changes::default() }
    }

    /// Asks one branch. Whether it has an operation for right now.
    pub(super) fn ask(&mut self, index: usize, branch: &Gen, context: &Context<'_>) -> bool {
        match branch.op(context) {
            Step::Done => {
                self.changes.others.push((index, None));
                false
            }
            Step::Pending(Wait { until, next }) => {
                self.pending = true;
                self.until = soonest(self.until, until);
                if let Some(next) = next {
                    self.changes.others.push((index, Some(next)));
                }
                false
            }
            Step::Op(op, next) => {
                let due = op.time <= context.time;
                // On a tie the branch asked first wins: the caller's order is its policy.
                if self.best.as_ref().is_none_or(|(_, best, _)| op.time < best.time) {
                    self.best = Some((index, op, next));
                }
                due
            }
        }
    }

    /// The answer. `rebuild` makes the next generator from what changed.
    pub(super) fn answer(self, context: &Context<'_>, rebuild: impl FnOnce(Changes) -> Gen) -> Step {
        let Survey { best, until, pending, mut changes } = self;
        match best {
            // A branch that waits for an earlier moment, or has something to remember, must not be forgotten over a
            // proposal that may never happen: then this is a wait as well.
            Some((_, op, _))
                if op.time > context.time
                    && (until.is_some_and(|until| until < op.time) || !changes.others.is_empty()) =>
            {
                let next = (!changes.others.is_empty()).then(|| rebuild(changes));
                Step::Pending(Wait { until: soonest(until, Some(op.time)), next })
            }
            Some((index, op, next)) => {
                changes.winner = Some((index, next));
                Step::Op(op, rebuild(changes))
            }
            None if pending => {
                let next = (!changes.others.is_empty()).then(|| rebuild(changes));
                Step::Pending(Wait { until, next })
            }
            None => Step::Done,
        }
    }
}

fn soonest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
