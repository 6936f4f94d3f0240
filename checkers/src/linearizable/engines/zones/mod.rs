//! Registers with distinct written values, in near-linear time.
//!
//! Source: Gibbons and Korach, "Testing shared memories" (1997), extended by compare-and-set and by unknown outcomes.
//!
//! **What counts.** An operation of unknown outcome has to be looked at only if something that certainly happened needs it: a
//! read or a compare-and-set of its value, or an unknown compare-and-set that is itself needed. (In an order that has another one, leave
//! it out, and with it the unknown ones that build on it: nothing sees a difference, since the next operation that depends on
//! the state or sets it is a plain write.) One that is needed did happen, as nothing else produces the value. It then lies
//! between its invocation and whatever needs it, and that follows it in every order considered here, so it needs no return of its own.
//!
//! **Clusters and blocks.** The operation that produces a value and the reads of the value are a cluster. A compare-and-set
//! reads one value and produces another, and between the two nothing else can be: clusters linked by compare-and-sets are one
//! *block*, whose inner order is forced: write, reads, compare-and-set, reads, … . The initial value begins a block that comes
//! first. An order of all operations is thus an order of the blocks, with each block's own order inside.
//!
//! **Inside a block** an operation must not have returned before the invocation of one in an earlier place: one pass.
//!
//! **Between blocks.** Let f be the earliest return in a block, and s the latest invocation. Block A has to be before block B exactly if
//! f(A) < s(B). The zone of a block lies between f and s; it is *forward* if f < s and *backward* otherwise. Two forward zones that overlap
//! demand both orders, as does a backward zone inside a forward one; no other pair does. If there is no such pair, then f(A) < s(B) implies
//! that A's zone begins before B's (try the four kinds of pairs), so the blocks can be ordered by the beginnings of their zones.
//!
//! **When it is not decided here:** a value that something observes can come from two operations (or is the initial
//! one and was written again).

mod blocks;
mod clusters;
mod directory;
mod explain;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use schism_history::ValueId;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Decision};
use super::super::models::register::Action;
use clusters::{Analysis, Everything, Finding};

/// The name in results.
pub(crate) const NAME: &str = "zones";

thread_local! {
    /// Most histories have many keys of some hundred calls: the memory is kept from one to the next.
    static ANALYSIS: RefCell<Analysis> = RefCell::new(Analysis::default());
}

/// Decides whether `calls` on one register can be put in order; `None` if a value that was observed can come from two of them.
/// Takes O(n log n), so there is nothing to limit.
pub(crate) fn decide(calls: &[Call<Action<ValueId>>], budget: Budget) -> Option<Decision> {
    let _ = budget;
    ANALYSIS.with_borrow_mut(|analysis| {
        let answer = decide_with(analysis, calls)?;
        analysis.trim();
        Some(Decision { answer, engine: NAME })
    })
}

fn decide_with(analysis: &mut Analysis, calls: &[Call<Action<ValueId>>]) -> Option<Answer> {
    match analysis.run(calls, Everything::HORIZON) {
        Finding::Consistent => Some(Answer::Linearizable),
        Finding::Ambiguous => None,
        Finding::Broken(fault) => Some(Answer::Impossible(explain::earliest(analysis, calls, fault))),
    }
}

/// An order of the calls, of which [`decide`] said that there is one. Unknown ones that nothing needs are left out.
pub(crate) fn order(calls: &[Call<Action<ValueId>>]) -> Option<Vec<usize>> {
    let mut analysis = Analysis::default();
    match analysis.run(calls, Everything::HORIZON) {
        Finding::Consistent => Some(analysis.order(calls)),
        Finding::Ambiguous | Finding::Broken(_) => None,
    }
}
