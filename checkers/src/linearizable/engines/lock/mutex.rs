//! A mutex that anybody may release.
//!
//! Effects alternate, acquire, release, acquire, …, so that the n-th effect of every order is of the same kind. The engine walks the returns
//! and has calls take effect as late as possible: when a call returns without having taken effect, it does so now, after one call of the
//! other kind if the mutex is not in the state for it. That other call is the open one that returns first; one of unknown
//! outcome returns never, and so comes last.
//!
//! Why this is exact. Suppose that some order fits, that its first n effects are those of the engine, and that the engine's next one is x, when
//! c returns at m. All calls that returned before m are among the n; c is not, so the order has an effect n + 1, y, no later than c,
//! and thus invoked before m. It is of the same kind as x (they alternate), and it had not taken effect in the engine: it was a
//! candidate, and x was preferred, so x returns no later than y. Exchange x and y in the order (or replace y by x if x, of unknown outcome, is not in it;
//! then y is of unknown outcome, too, and can be left out). What stood between them, like y now, comes after x: it did not return before m,
//! and x was invoked before m. What stood between them comes before y now: it stood before x, so it was invoked before x returned,
//! hence before y returns. So there is an order that fits and has n + 1 effects in common with the engine; by induction the engine never gets
//! stuck while an order exists. The same for the history up to any return: where the engine gets stuck first, nothing before is wrong.
//!
//! There is no pattern of a few calls to show: whether two acquires go together depends on all releases there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::sabotage::Sabotage;
use crate::linearizable::budget::Budget;
use crate::linearizable::call::{Answer, Call, Decision, NEVER};
use crate::linearizable::models::mutex::Action;

/// The name in results.
pub(crate) const NAME: &str = "lock-count";

/// Decides. Every history is of the kind this can decide.
pub(crate) fn decide(calls: &[Call<Action>], _budget: Budget) -> Option<Decision> {
    let answer = match walk(calls, Sabotage::None, |_| {}) {
        Ok(()) => Answer::Linearizable,
        Err(culprit) => Answer::impossible(culprit),
    };
    Some(Decision { answer, engine: NAME })
}

/// An order that fits, if there is one.
pub(crate) fn order(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    let mut order = Vec::with_capacity(calls.len());
    walk(calls, Sabotage::None, |call| order.push(call as usize)).ok()?;
    Some(order)
}

/// Calls by their deadlines, the first to return on top.
type Open = BinaryHeap<Reverse<(u32, u32)>>;

/// The state after some effects.
struct Walk<'c, E> {
    calls: &'c [Call<Action>],
    sabotage: Sabotage,
    effect: E,
    taken: bool,
    done: Vec<bool>,
    /// The open calls of each kind. Some may have taken effect already.
    acquires: Open,
    releases: Open,
}

/// Tells `effect` about each effect in turn.
///
/// # Errors
/// The first call, in the order of returns, that has no place.
pub(super) fn walk(calls: &[Call<Action>], sabotage: Sabotage, effect: impl FnMut(u32)) -> Result<(), usize> {
    let done = vec![false; calls.len()];
    let (acquires, releases) = (Open::new(), Open::new());
    let mut walk = Walk { calls, sabotage, effect, taken: false, done, acquires, releases };
    // A heap of what is open in place of a sort of all returns: histories are long and few calls are open at a time.
    let mut returns = Open::new();
    for (index, call) in calls.iter().enumerate() {
        while let Some(Reverse((now, first))) = returns.peek().copied().filter(|next| next.0.0 < call.invoked)
        {
            returns.pop();
            walk.returns(now, first)?;
        }
        walk.invokes(index as u32);
        if call.is_required() {
            returns.push(Reverse((call.returned, index as u32)));
        }
    }
    while let Some(Reverse((now, first))) = returns.pop() {
        walk.returns(now, first)?;
    }
    Ok(())
}

impl<E: FnMut(u32)> Walk<'_, E> {
    fn is_acquire(&self, index: u32) -> bool {
        self.calls[index as usize].action == Action::Acquire
    }

    fn take_effect(&mut self, index: u32) {
        self.done[index as usize] = true;
        self.taken = self.is_acquire(index);
        (self.effect)(index);
    }

    fn invokes(&mut self, index: u32) {
        let call = &self.calls[index as usize];
        let deadline = match self.sabotage {
            Sabotage::LatestDeadlineFirst => NEVER - call.returned,
            _ => call.returned,
        };
        if self.sabotage == Sabotage::Eager && self.taken != self.is_acquire(index) {
            self.take_effect(index);
        } else if self.sabotage != Sabotage::CrashedNever || call.is_required() {
            let open = if self.is_acquire(index) { &mut self.acquires } else { &mut self.releases };
            open.push(Reverse((deadline, index)));
        }
    }

    fn returns(&mut self, now: u32, index: u32) -> Result<(), usize> {
        if !self.done[index as usize] {
            if self.is_acquire(index) == self.taken {
                let other = if self.taken { &mut self.releases } else { &mut self.acquires };
                let first = loop {
                    match other.pop() {
                        Some(Reverse((_, first))) if self.done[first as usize] => {}
                        Some(Reverse((_, first))) => break first,
                        None => return Err(index as usize),
                    }
                };
                self.take_effect(first);
            }
            self.take_effect(index);
        }
        // What has returned has taken effect.
        let open = if self.is_acquire(index) { &mut self.acquires } else { &mut self.releases };
        while open.peek().is_some_and(|Reverse((deadline, _))| *deadline <= now) {
            if self.sabotage == Sabotage::LatestDeadlineFirst {
                break;
            }
            open.pop();
        }
        Ok(())
    }
}
