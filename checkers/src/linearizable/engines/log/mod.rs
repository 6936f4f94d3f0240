//! Logs to which no element is appended twice, in near-linear time.
//!
//! Every read has to be a beginning of the longest one. That one says which append came where; acknowledgements with
//! offsets say more. What is left is a count of appends that goes up by ones: a read sees it at its own length, an append whose place is
//! known leads to a certain count, and any other append is a step whose place is behind all that was ever read. The
//! counter's engine decides that exactly ([`steps`](super::counter::steps)).

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Contradiction, Decision, NEVER};
use super::super::models::log::{Lists, LogAction};
use super::counter::steps::{self, Job, Kind};

/// The name as results show it.
const ENGINE: &str = "log";

/// Calls of a pattern that are still worth showing.
const SHOWN: usize = 16;

/// Mistakes to plant, which the tests have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Reads need not be beginnings of the longest.
    AnyOrder,
    /// The acknowledged place is not looked at.
    NoOffsets,
    /// What the longest read lacks may be anywhere.
    UnreadAnywhere,
    /// A mistake in the sweep.
    #[cfg_attr(not(test), allow(dead_code))]
    Steps(steps::Sabotage),
}

/// Decides whether the calls on one log are linearizable; `None` where an element is appended twice, which needs the
/// general search unless the reads contradict each other.
pub(crate) fn decide(calls: &[Call<LogAction>], _budget: Budget) -> Option<Decision> {
    let answer = match solve(calls, Sabotage::None)? {
        Ok(_) => Answer::Linearizable,
        Err(contradiction) => Answer::Impossible(contradiction),
    };
    Some(Decision { answer, engine: ENGINE })
}

/// A linearization of calls that [`decide`] found linearizable.
pub(crate) fn order(calls: &[Call<LogAction>]) -> Option<Vec<usize>> {
    solve(calls, Sabotage::None)?.ok()
}

fn solve(calls: &[Call<LogAction>], sabotage: Sabotage) -> Option<Result<Vec<usize>, Contradiction>> {
    let longest = longest(calls);
    let path = match longest.map(|(index, lists, node)| beginnings(calls, index, lists, node)) {
        None => Vec::new(),
        Some(Ok(path)) => path,
        Some(Err((path, _))) if sabotage == Sabotage::AnyOrder => path,
        Some(Err((_, found))) => return Some(Err(found)),
    };
    let mut appends: FxHashMap<ValueId, usize> = FxHashMap::default();
    for (index, call) in calls.iter().enumerate() {
        if let LogAction::Append(element, _) = call.action
            && appends.insert(element, index).is_some()
        {
            return None;
        }
    }
    Some(jobs(calls, &path, &appends, sabotage).and_then(|jobs| {
        let inner = if let Sabotage::Steps(inner) = sabotage { inner } else { steps::Sabotage::None };
        match steps::order(&jobs, inner) {
            Ok(order) => Ok(order.into_iter().map(|job| job as usize).collect()),
            Err(failure) => {
                let numbers = failure.pattern.into_iter().chain([failure.culprit]);
                let mut pattern: Vec<usize> = numbers.map(|job| job as usize).collect();
                pattern.extend(witness(calls, &jobs, &pattern));
                Err(contradiction(calls, pattern))
            }
        }
    }))
}

/// The call with the longest read: its number, all lists, and its list.
fn longest(calls: &[Call<LogAction>]) -> Option<(usize, &Lists, u32)> {
    let reads = calls.iter().enumerate().filter_map(|(index, call)| match &call.action {
        LogAction::Read(list) => Some((index, list)),
        LogAction::Append(..) => None,
    });
    // Of several the one that returned first, so that a contradiction shows early.
    let (index, list) =
        reads.max_by_key(|(index, list)| (list.length, std::cmp::Reverse(calls[*index].returned)))?;
    Some((index, list.lists(), list.node))
}

/// The elements of the longest read, or a read that is not a beginning of it (and the elements all the same).
fn beginnings(
    calls: &[Call<LogAction>],
    longest: usize,
    lists: &Lists,
    node: u32,
) -> Result<Vec<ValueId>, (Vec<ValueId>, Contradiction)> {
    let mut path = Vec::new();
    let mut is_beginning = Vec::new();
    lists.with(|tree| {
        is_beginning.resize(tree.size(), false);
        let mut at = node;
        is_beginning[at as usize] = true;
        while let Some((parent, last)) = tree.parent(at) {
            path.push(last);
            at = parent;
            is_beginning[at as usize] = true;
        }
    });
    path.reverse();
    let stray = calls.iter().enumerate().filter(|(_, call)| match &call.action {
        LogAction::Read(list) => !is_beginning.get(list.node as usize).is_some_and(|is| *is),
        LogAction::Append(..) => false,
    });
    match stray.min_by_key(|(_, call)| call.returned) {
        None => Ok(path),
        Some((index, _)) => Err((path, contradiction(calls, vec![index, longest]))),
    }
}

/// A read that says where the appends of a pattern are which do not say so themselves.
fn witness(calls: &[Call<LogAction>], jobs: &[Job], pattern: &[usize]) -> Option<usize> {
    let place = |index: &usize| match (&calls[*index].action, jobs[*index].kind) {
        (LogAction::Append(_, None), Kind::Rung(level)) => Some(level),
        _ => None,
    };
    first_reader(calls, pattern.iter().filter_map(place).max()?)
}

/// The first read to return of those that saw so many elements.
fn first_reader(calls: &[Call<LogAction>], length: u32) -> Option<usize> {
    let saw = |index: &usize| match &calls[*index].action {
        LogAction::Read(list) => list.length >= length,
        LogAction::Append(..) => false,
    };
    (0..calls.len()).filter(saw).min_by_key(|index| calls[*index].returned)
}

/// What each call does to the length.
fn jobs(
    calls: &[Call<LogAction>],
    path: &[ValueId],
    appends: &FxHashMap<ValueId, usize>,
    sabotage: Sabotage,
) -> Result<Vec<Job>, Contradiction> {
    let mut rungs = vec![0_u32; calls.len()];
    for (place, element) in path.iter().enumerate() {
        let append = appends.get(element).copied();
        let before = append.map(|append| std::mem::replace(&mut rungs[append], place as u32 + 1));
        // Never appended, or appended once and read at two places.
        if before != Some(0) {
            let reader = first_reader(calls, place as u32 + 1);
            return Err(contradiction(calls, append.into_iter().chain(reader).collect()));
        }
    }
    let mut places: FxHashMap<u32, usize> = FxHashMap::default();
    for (index, call) in calls.iter().enumerate() {
        let LogAction::Append(_, Some(offset)) = call.action else { continue };
        if sabotage == Sabotage::NoOffsets {
            continue;
        }
        let rung = offset + 1;
        // Read elsewhere, or something else was read there.
        if rungs[index] != 0 && rungs[index] != rung || rungs[index] == 0 && rung as usize <= path.len() {
            let shown = if rungs[index] == 0 { rung } else { rungs[index] };
            return Err(contradiction(
                calls,
                [index].into_iter().chain(first_reader(calls, shown)).collect(),
            ));
        }
        if let Some(other) = places.insert(offset, index) {
            return Err(contradiction(calls, vec![other, index]));
        }
        rungs[index] = rung;
    }
    let job = |(index, call): (usize, &Call<LogAction>)| {
        let kind = match (&call.action, rungs[index]) {
            (LogAction::Read(list), _) => Kind::Look(list.length),
            (LogAction::Append(..), 0) => Kind::Step,
            (LogAction::Append(..), level) => Kind::Rung(level),
        };
        Job { kind, invoked: call.invoked, returned: call.returned }
    };
    let mut jobs: Vec<Job> = calls.iter().enumerate().map(job).collect();
    if sabotage == Sabotage::UnreadAnywhere {
        jobs.iter_mut().filter(|job| job.kind == Kind::Step).for_each(|job| job.returned = NEVER);
    }
    Ok(jobs)
}

/// Calls that are impossible together; the last of them to return is what nothing explains.
fn contradiction(calls: &[Call<LogAction>], mut pattern: Vec<usize>) -> Contradiction {
    pattern.sort_unstable();
    pattern.dedup();
    let returned = |index: &usize| calls[*index].returned;
    let culprit = pattern.iter().copied().filter(|index| returned(index) != NEVER).max_by_key(returned);
    if pattern.len() > SHOWN {
        pattern.clear();
    }
    Contradiction { culprit: culprit.unwrap_or(0), pattern }
}

#[cfg(test)]
mod tests;
