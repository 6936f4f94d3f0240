//! The general search, for every model.
//!
//! Sources: Wing and Gong, "Testing and verifying concurrent objects" (1993), the search; Lowe, "Testing for linearizability" (2017), the
//! cache of configurations and just-in-time linearization: the search walks the returns, and at each lets calls take effect only until
//! the one that returns has. So a configuration consists of the return, the state, and which of the *open* calls took effect; it
//! does not grow with the history.
//!
//! The search goes depth first and takes the calls in order of return, which finds an order of most histories without going back. What it keeps
//! is 16 bytes for each dead end and 40 for each step on the way. The parts: `schedule` arranges the calls, `states` numbers the
//! states, `sets` the sets of calls, `cache` knows the dead ends, `reductions` says what need not be tried and why.

mod cache;
mod index;
mod reductions;
mod schedule;
mod search;
mod sets;
mod states;

#[cfg(test)]
mod tests;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Decision};
use super::super::specification::Specification;
use reductions::Reductions;
use search::{End, Search};

/// The name in results.
pub(crate) const NAME: &str = "search";

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Configurations visited.
    pub configurations: u64,
    /// The most bytes held, about.
    pub bytes: usize,
}

/// Decides whether `calls` can be put in order.
///
/// The culprit of an answer "impossible" is exact: some order fits the history up to just before its return, none up to just after.
pub(crate) fn decide<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
) -> (Decision, Stats) {
    let (decision, _, stats) = decide_and_order(specification, calls, budget);
    (decision, stats)
}

/// As [`decide`], with the order that was found: the calls that took effect, those of unknown outcome among them only where they were
/// needed.
pub(crate) fn decide_and_order<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
) -> (Decision, Option<Vec<usize>>, Stats) {
    let (answer, order, stats) = search(specification, calls, budget, Reductions::ALL);
    (Decision { answer, engine: NAME }, order, stats)
}

/// An order that fits, if there is one and the budget suffices.
pub(crate) fn order<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
) -> Option<Vec<usize>> {
    decide_and_order(specification, calls, budget).1
}

/// How far an order can come: one that passes every return before that of the `culprit` which [`decide`] named. Legal and in time up to
/// there; calls that return later are in it only where they took effect earlier.
pub(crate) fn longest_order<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    culprit: usize,
    budget: Budget,
) -> Option<Vec<usize>> {
    let end = calls.get(culprit)?.returned;
    let before = calls.iter().filter(|call| call.returned < end).count() as u32;
    let mut search = Search::new(specification, calls, Reductions::ALL, budget);
    matches!(search.run(before), End::Found).then(|| indices(&search.order))
}

fn indices(order: &[u32]) -> Vec<usize> {
    order.iter().map(|call| *call as usize).collect()
}

fn search<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
    reductions: Reductions,
) -> (Answer, Option<Vec<usize>>, Stats) {
    let mut search = Search::new(specification, calls, reductions, budget);
    let (answer, order) = match search.run(search.returns()) {
        End::Found => (Answer::Linearizable, Some(indices(&search.order))),
        End::Nothing(rank) => (Answer::impossible(search.call(rank)), None),
        End::Unknown(limit, returned) => (Answer::Unknown(limit, returned as usize), None),
    };
    (answer, order, Stats { configurations: search.visited(), bytes: search.peak })
}
