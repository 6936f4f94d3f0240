//! Objects whose calls concern one component of the state each: every component is searched by itself.
//!
//! Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects" (1990), theorem 1: a history is
//! linearizable exactly if what it says about each object is. A component of which the others know nothing is such an object
//! (`Specification::component`). It holds for every prefix of the history, so the culprit is the first one of all components.

use rustc_hash::FxHashMap;

use super::super::super::budget::Budget;
use super::super::super::call::{Answer, Call};
use super::super::super::specification::Specification;
use super::Stats;
use super::reductions::{Reductions, Sabotage};

/// What a search answers.
pub(super) type Found = (Answer, Option<Vec<usize>>, Stats);

/// The calls of each component, ascending, in the order in which the components first appear. `None`: there is but one, or some call
/// concerns more than its own.
fn split<S: Specification>(specification: &S, calls: &[Call<S::Action>]) -> Option<Vec<Vec<u32>>> {
    specification.component(&calls.first()?.action)?;
    let mut numbers: FxHashMap<u32, usize> = FxHashMap::default();
    let mut parts: Vec<Vec<u32>> = Vec::new();
    for (index, call) in (0..).zip(calls) {
        let number = *numbers.entry(specification.component(&call.action)?).or_insert(parts.len());
        if number == parts.len() {
            parts.push(Vec::new());
        }
        parts[number].push(index);
    }
    (parts.len() > 1).then_some(parts)
}

/// Searches every component by itself; `None` where the object does not fall apart. `search` decides the calls it is given.
pub(super) fn search<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    budget: &Budget,
    reductions: Reductions,
    search: impl Fn(&[Call<S::Action>], Budget) -> Found,
) -> Option<Found> {
    if !reductions.components {
        return None;
    }
    let parts = split(specification, calls)?;
    let mut stats = Stats::default();
    let mut points: Vec<(u32, u32)> = Vec::with_capacity(calls.len());
    let mut culprit: Option<usize> = None;
    // The limit that was reached first in the history, and the return that the part did not pass.
    let mut unknown = None;
    for part in &parts {
        let own: Vec<Call<S::Action>> = part.iter().map(|call| calls[*call as usize].clone()).collect();
        let budget =
            Budget { visits: budget.visits - stats.configurations.min(budget.visits), ..budget.clone() };
        let (answer, order, cost) = search(&own, budget);
        stats.configurations += cost.configurations;
        stats.bytes = stats.bytes.max(cost.bytes);
        match answer {
            Answer::Linearizable => {}
            Answer::Impossible(contradiction) => {
                let found = part[contradiction.culprit] as usize;
                let earlier = |other: &usize| calls[*other].returned <= calls[found].returned;
                culprit = culprit.filter(earlier).or(Some(found));
            }
            Answer::Unknown(limit, passed) => {
                let mut returns: Vec<u32> =
                    own.iter().filter(|call| call.is_required()).map(|call| call.returned).collect();
                returns.sort_unstable();
                let at = returns.get(passed).copied().unwrap_or(0);
                if unknown.is_none_or(|(_, other)| at < other) {
                    unknown = Some((limit, at));
                }
            }
        }
        if culprit.is_none() && unknown.is_none() {
            merge(&own, part, &order.unwrap_or_default(), reductions, &mut points);
        }
    }
    if let Some(culprit) = culprit {
        return Some((Answer::impossible(culprit), None, stats));
    }
    if let Some((limit, at)) = unknown {
        let passed = calls.iter().filter(|call| call.is_required() && call.returned < at).count();
        return Some((Answer::Unknown(limit, passed), None, stats));
    }
    // Stable, as calls of one component may share a point.
    points.sort_by_key(|(point, _)| *point);
    let order = points.into_iter().map(|(_, call)| call as usize).collect();
    Some((Answer::Linearizable, Some(order), stats))
}

/// Adds the order of one component, each call at a point in time: just after the latest invocation up to it. That is before its
/// return, since it may stand after the call that was invoked then. Calls of different components never share a point, so
/// to go by these points keeps all orders and all of what returned before something else was invoked.
fn merge<A>(
    own: &[Call<A>],
    part: &[u32],
    order: &[usize],
    reductions: Reductions,
    points: &mut Vec<(u32, u32)>,
) {
    let mut latest = 0;
    for call in order {
        latest = match reductions.sabotaged(Sabotage::MergedByInvocation) {
            true => own[*call].invoked,
            false => latest.max(own[*call].invoked),
        };
        points.push((latest, part[*call]));
    }
}
