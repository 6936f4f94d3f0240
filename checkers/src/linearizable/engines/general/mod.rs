//! The general search, for every model.
//!
//! Sources: Wing and Gong, "Testing and verifying concurrent objects" (1993), the search; Lowe, "Testing for linearizability" (2017), the
//! cache of configurations and just-in-time linearization: the search walks the returns, and at each lets calls take effect only until
//! the one that returns has. So a configuration consists of the return, the state, and which of the *open* calls took effect; it
//! does not grow with the history.
//!
//! The search goes depth first and takes the calls in order of return, which finds an order of most histories without going back. What it keeps
//! is 16 bytes for each dead end and 40 for each step on the way. The parts: `schedule` arranges the calls, `states` numbers the
//! states, `sets` the sets of calls, `cache` knows the dead ends, `reductions` says what need not be tried and why, `parts` searches
//! components of the state one by one where every call concerns but one of them. Where the states are sequences, `layers`
//! searches breadth first what depth first would take too long.

mod cache;
mod components;
mod index;
mod layers;
mod parts;
mod reductions;
mod schedule;
mod search;
mod sets;
mod states;

#[cfg(test)]
mod tests;

use super::super::budget::{Budget, Exhausted};
use super::super::call::{Answer, Call, Decision, NEVER};
use super::super::specification::Specification;
use layers::Layers;
use parts::Found;
use reductions::Reductions;
use search::{End, Search};

/// Configurations that the search depth first visits, and [`Search::patience`] for each return that it passes, before one breadth first
/// is tried.
const PATIENCE: u64 = 4096;

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
/// The culprit of an answer "impossible" is exact: some order fits the history up to just before its return, none up to just after. (Only
/// if a limit is reached in one of several independent components, there may be an earlier one in that.)
pub(crate) fn decide<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
) -> (Decision, Stats) {
    let (answer, _, stats) = search(specification, calls, budget, Reductions::ALL);
    (Decision { answer, engine: NAME }, stats)
}

/// As [`decide`], with the order that was found: the calls that took effect, those of unknown outcome among them only where they were
/// needed.
pub(crate) fn decide_and_order<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
) -> (Decision, Option<Vec<usize>>, Stats) {
    // Breadth first there is an answer, but no order.
    let reductions = Reductions { layers: false, ..Reductions::ALL };
    let (answer, order, stats) = search(specification, calls, budget, reductions);
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
    search_until(specification, calls, budget, Reductions::ALL, end).1
}

fn indices(order: &[u32]) -> Vec<usize> {
    order.iter().map(|call| *call as usize).collect()
}

fn search<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
    reductions: Reductions,
) -> Found {
    search_until(specification, calls, budget, reductions, NEVER)
}

/// Looks for an order that passes every return before `end`.
fn search_until<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
    reductions: Reductions,
    end: u32,
) -> Found {
    let one = |calls: &[Call<S::Action>], budget| search_whole(specification, calls, budget, reductions, end);
    parts::search(specification, calls, &budget, reductions, one).unwrap_or_else(|| one(calls, budget))
}

/// As [`search_until`], all components together.
fn search_whole<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
    reductions: Reductions,
    end: u32,
) -> Found {
    let layered = reductions.layers
        && end == NEVER
        && calls.first().is_some_and(|call| specification.edit(&call.action).is_some());
    if !layered {
        return depth_first(specification, calls, budget, reductions, end);
    }
    // Mostly an order is found at once.
    let patience = if reductions.always_layers() { 0 } else { PATIENCE };
    let mut search = Search::new(specification, calls, reductions, budget.clone());
    search.patience = Some(patience);
    let (answer, order, mut stats) = found(&mut search, end);
    if !matches!(answer, Answer::Unknown(Exhausted::Visits, _)) || search.visited() > budget.visits {
        return (answer, order, stats);
    }
    drop(search);
    let left = |stats: &Stats| Budget {
        visits: budget.visits - stats.configurations.min(budget.visits),
        ..budget.clone()
    };
    if let Some(mut layers) = Layers::new(specification, calls, reductions, left(&stats).half()) {
        let end = layers.run();
        stats.configurations += layers.visited();
        stats.bytes = stats.bytes.max(layers.peak);
        match end {
            End::Found => return (Answer::Linearizable, None, stats),
            End::Nothing(rank) => return (Answer::impossible(layers.call(rank)), None, stats),
            End::Unknown(..) => {}
        }
    }
    let (answer, order, cost) = depth_first(specification, calls, left(&stats), reductions, end);
    stats.configurations += cost.configurations;
    stats.bytes = stats.bytes.max(cost.bytes);
    (answer, order, stats)
}

fn depth_first<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: Budget,
    reductions: Reductions,
    end: u32,
) -> Found {
    found(&mut Search::new(specification, calls, reductions, budget), end)
}

fn found<S: Specification>(search: &mut Search<'_, S>, end: u32) -> Found {
    let (answer, order) = match search.run(search.returns_before(end)) {
        End::Found => (Answer::Linearizable, Some(indices(&search.order))),
        End::Nothing(rank) => (Answer::impossible(search.call(rank)), None),
        End::Unknown(limit, returned) => (Answer::Unknown(limit, returned as usize), None),
    };
    (answer, order, Stats { configurations: search.visited(), bytes: search.peak })
}
