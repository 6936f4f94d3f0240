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

/// Open calls of one kind, the first to return on top. Some may have taken effect already.
type Open = BinaryHeap<Reverse<(u32, u32)>>;

/// Tells `effect` about each effect in turn.
///
/// # Errors
/// The first call, in the order of returns, that has no place.
pub(super) fn walk(
    calls: &[Call<Action>],
    sabotage: Sabotage,
    mut effect: impl FnMut(u32),
) -> Result<(), usize> {
    let required = calls.iter().enumerate().filter(|(_, call)| call.is_required());
    let mut returns: Vec<(u32, u32)> = required.map(|(index, call)| (call.returned, index as u32)).collect();
    returns.sort_unstable();
    let mut done = vec![false; calls.len()];
    let (mut acquires, mut releases) = (Open::new(), Open::new());
    let mut taken = false;
    let mut invoked = 0;
    for (now, index) in returns {
        while let Some(call) = calls.get(invoked).filter(|call| call.invoked < now) {
            let open = if call.action == Action::Acquire { &mut acquires } else { &mut releases };
            let deadline = match sabotage {
                Sabotage::LatestDeadlineFirst => NEVER - call.returned,
                _ => call.returned,
            };
            if sabotage == Sabotage::Eager && taken == (call.action == Action::Release) {
                done[invoked] = true;
                taken = !taken;
                effect(invoked as u32);
            } else if sabotage != Sabotage::CrashedNever || call.is_required() {
                open.push(Reverse((deadline, invoked as u32)));
            }
            invoked += 1;
        }
        let at = index as usize;
        if done[at] {
            continue;
        }
        let acquire = calls[at].action == Action::Acquire;
        if acquire == taken {
            let other = if taken { &mut releases } else { &mut acquires };
            let first = loop {
                match other.pop() {
                    Some(Reverse((_, index))) if done[index as usize] => {}
                    Some(Reverse((_, index))) => break index,
                    None => return Err(at),
                }
            };
            done[first as usize] = true;
            effect(first);
        }
        done[at] = true;
        effect(index);
        taken = acquire;
    }
    Ok(())
}
