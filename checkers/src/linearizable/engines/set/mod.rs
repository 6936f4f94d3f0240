//! Sets.
//!
//! Without reads of the whole set its elements are independent objects of one bit each: [`elements`]. With such reads, but without removals,
//! each element comes once and stays: [`growing`]. With both, what one element shows is still necessary, since a
//! linearization of the set is one of each element: that finds most violations, but no order; so the rest needs the general search.

mod elements;
mod growing;

use schism_history::ValueId;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Contradiction, Decision};
use super::super::models::set::SetAction;

/// The name as results show it.
const ENGINE: &str = "set";

/// Calls of a pattern that are still worth showing.
const SHOWN: usize = 16;

/// How much longer than the calls and what they read may be what they say about single elements, if both removals and reads of the
/// whole set are there. It is their product in the worst case.
const PROJECTION: usize = 64;

/// Mistakes to plant, which the tests have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Of several adds or removes use the one with the latest deadline.
    LatestFirst,
    /// What was true at some time may not change anything later.
    MetIsSpent,
    /// An operation whose time runs out is not used once it is met.
    NoLastChance,
    /// Adds and removes of unknown outcome never happen.
    UnknownIsNever,
    /// Those that changed something are like those that may not have.
    ChangedIsBlind,
    /// A configuration makes others needless whatever it still has to do.
    CarelessDominance,
    /// Reads need not be chains.
    NoChain,
    /// Elements may come in any order that their own bounds allow.
    NoFloor,
    /// An element that no read shows may still have come first.
    UnseenAnywhere,
    /// An add that changed nothing may be what put the element in.
    UnchangedPuts,
    /// Elements read twice in one read are fine.
    RepeatsAreFine,
}

/// Decides whether the calls on one set are linearizable; `None` where this needs the general search.
pub(crate) fn decide(calls: &[Call<SetAction>], budget: Budget) -> Option<Decision> {
    let answer = solve(calls, budget, Sabotage::None)?;
    Some(Decision { answer, engine: ENGINE })
}

/// A linearization of calls that [`decide`] found linearizable, where none removes an element.
pub(crate) fn order(calls: &[Call<SetAction>]) -> Option<Vec<usize>> {
    if removes(calls) { None } else { growing::solve(calls, Sabotage::None).ok() }
}

/// Whether a call may take an element out.
fn removes(calls: &[Call<SetAction>]) -> bool {
    // What was absent anyway is only seen to be absent.
    calls.iter().any(|call| matches!(call.action, SetAction::Remove(_, changed) if changed != Some(false)))
}

fn solve(calls: &[Call<SetAction>], budget: Budget, sabotage: Sabotage) -> Option<Answer> {
    let repeats = calls.iter().enumerate().filter(|(_, call)| match &call.action {
        SetAction::Read(all) => all.repeats() && sabotage != Sabotage::RepeatsAreFine,
        _ => false,
    });
    if let Some((culprit, _)) = repeats.min_by_key(|(_, call)| call.returned) {
        return Some(Answer::Impossible(Contradiction { culprit, pattern: vec![culprit] }));
    }
    if !removes(calls) {
        return Some(match growing::solve(calls, sabotage) {
            Ok(_) => Answer::Linearizable,
            Err(found) => Answer::Impossible(unless_removed(calls, found)),
        });
    }
    if !calls.iter().any(|call| matches!(call.action, SetAction::Read(_))) {
        return elements::decide(calls, elements::single(calls), budget, sabotage);
    }
    let shown = projected(calls)?;
    elements::decide(calls, shown, budget, sabotage).filter(|answer| matches!(answer, Answer::Impossible(_)))
}

/// The same, certain only once all removals that might have been behind it have said that they removed nothing.
fn unless_removed(calls: &[Call<SetAction>], found: Contradiction) -> Contradiction {
    let end = calls[found.culprit].returned;
    let open = calls.iter().enumerate().filter(|(_, call)| call.invoked < end && end < call.returned);
    let removals = open.filter(|(_, call)| matches!(call.action, SetAction::Remove(..)));
    match removals.max_by_key(|(_, call)| call.returned) {
        None => found,
        Some((culprit, _)) if found.pattern.is_empty() => Contradiction { culprit, ..found },
        Some((culprit, _)) => contradiction(culprit, found.pattern),
    }
}

/// What all calls say about single elements, reads of the whole set about each; `None` if that is too much.
fn projected(calls: &[Call<SetAction>]) -> Option<Vec<elements::Part>> {
    let mut parts = elements::single(calls);
    let mut all: Vec<ValueId> = parts.iter().map(|part| part.element).collect();
    let reads = calls.iter().enumerate().filter_map(|(index, call)| match &call.action {
        SetAction::Read(read) => Some((index, read)),
        _ => None,
    });
    let mut size = calls.len();
    let mut count = 0;
    for (_, read) in reads.clone() {
        all.extend(read.sorted());
        size += read.sorted().len();
        count += 1;
    }
    all.sort_unstable();
    all.dedup();
    if all.len().saturating_mul(count) > size.saturating_mul(PROJECTION) {
        return None;
    }
    for (index, read) in reads {
        let seen = |element: &ValueId| elements::Deed::Look(read.has(*element));
        parts.extend(all.iter().map(|element| elements::Part {
            element: *element,
            call: index as u32,
            deed: seen(element),
        }));
    }
    Some(parts)
}

/// Of calls that are impossible together, the one at whose return that is certain.
fn contradiction(culprit: usize, mut pattern: Vec<usize>) -> Contradiction {
    if !pattern.contains(&culprit) {
        pattern.push(culprit);
    }
    pattern.sort_unstable();
    pattern.dedup();
    if pattern.len() > SHOWN {
        pattern.clear();
    }
    Contradiction { culprit, pattern }
}

#[cfg(test)]
mod tests;
