//! The smallest part of a history that is still impossible.
//!
//! Two steps. First the earliest return that no order explains: a history that is impossible stays so when it goes on, so this
//! is a binary search over the returns. Nothing that was invoked later belongs to the contradiction. Then operations are left out
//! in ever smaller chunks as long as the rest is impossible (Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", 2002). Left out is only what the specification says can be ([`Removal`]): merely deleting a write would
//! prove nothing, since a read of its value would become impossible for lack of the write.

use rustc_hash::FxHashMap;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Contradiction, Decision, NEVER};
use super::super::checker::Decide;
use super::super::engines::general;
use super::super::specification::{Removal, Specification};

/// Configurations one trial may visit; a trial that needs more counts as possible, which is always safe.
const TRIAL: u64 = 200_000;

/// Calls and configurations that all trials for one object may look at, shared by the objects that are explained. Counted and
/// not timed, so that the same history has the same evidence everywhere.
const TOTAL: u64 = 40_000_000;

/// What each object gets at least.
const SHARE: u64 = 2_000_000;

/// Calls that are impossible together, and which of them cannot be placed.
pub(super) struct Core {
    /// Indices into all calls, ascending.
    pub calls: Vec<usize>,
    /// Index into all calls.
    pub culprit: usize,
}

struct Trials<'a, S: Specification> {
    decide: &'a Decide<'a, S>,
    left: u64,
}

impl<S: Specification> Trials<'_, S> {
    fn contradiction(&mut self, calls: &[Call<S::Action>]) -> Option<Contradiction> {
        let visits = TRIAL.max(calls.len() as u64 * 4).min(self.left);
        self.left = self.left.saturating_sub(calls.len() as u64 + visits / 64);
        match (self.decide)(calls, Budget::visits(visits)).answer {
            Answer::Impossible(contradiction) => Some(contradiction),
            Answer::Linearizable | Answer::Unknown(..) => None,
        }
    }
}

/// Finds it. `contradiction` is what an engine found in `calls`; so many objects share the effort.
pub(super) fn core<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    contradiction: &Contradiction,
    decide: &Decide<'_, S>,
    sharing: usize,
) -> Core {
    let left = (TOTAL / sharing.max(1) as u64).max(SHARE);
    let found = core_by(specification, calls, contradiction, &mut Trials { decide, left });
    let end = calls.get(found.culprit).map_or(NEVER, |call| call.returned);
    let alone = cut(calls, found.calls.iter().copied(), end);
    if let (Decision { answer: Answer::Linearizable, .. }, _) =
        general::decide(specification, &alone, Budget::visits(TRIAL))
    {
        // An engine decides calls as a history has them, and a trial asks about others: there a call may be open that is known to have
        // returned something. The general search sees no difference.
        let search = &|calls: &[Call<S::Action>], budget| general::decide(specification, calls, budget).0;
        let last = Contradiction { culprit: last_return(calls), pattern: Vec::new() };
        return core_by(specification, calls, &last, &mut Trials { decide: search, left });
    }
    found
}

fn core_by<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    contradiction: &Contradiction,
    trials: &mut Trials<'_, S>,
) -> Core {
    let (past, culprit, pattern) = earliest(specification, calls, contradiction, trials);
    let kept = shrink(specification, calls, &past, culprit, &pattern, trials);
    Core { calls: kept, culprit }
}

/// The call that returns last.
fn last_return<A>(calls: &[Call<A>]) -> usize {
    let required = (0..calls.len()).filter(|call| calls[*call].is_required());
    required.max_by_key(|call| calls[*call].returned).unwrap_or(0)
}

/// The calls that were invoked before `end`; those that return later are open.
fn cut<A: Clone>(calls: &[Call<A>], kept: impl Iterator<Item = usize>, end: u32) -> Vec<Call<A>> {
    kept.map(|call| &calls[call])
        .filter(|call| call.invoked < end)
        .map(|call| Call {
            returned: if call.returned > end { NEVER } else { call.returned },
            ..call.clone()
        })
        .collect()
}

/// The calls up to the first impossible return (indices), the call whose return that is, and a pattern if the engine
/// knows one.
fn earliest<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    contradiction: &Contradiction,
    trials: &mut Trials<'_, S>,
) -> (Vec<usize>, usize, Vec<usize>) {
    let mut returns: Vec<(u32, usize)> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.is_required())
        .map(|(index, call)| (call.returned, index))
        .collect();
    returns.sort_unstable();
    let claimed = calls.get(contradiction.culprit).map_or(NEVER, |call| call.returned);
    // Impossible at `high`, possible at everything below `low`.
    let mut high = returns.partition_point(|(end, _)| *end < claimed).min(returns.len().saturating_sub(1));
    let mut low = 0;
    let mut found = contradiction.clone();
    let mut found_in: Vec<usize> = (0..calls.len()).collect();
    // What is open and changes nothing constrains nothing.
    let is_past = |call: usize, end: u32| {
        let Call { action, invoked, returned, .. } = &calls[call];
        *invoked < end && (*returned <= end || !specification.observes(action))
    };
    let at = |place: usize| returns.get(place).map_or(NEVER, |(end, _)| *end);
    while low < high && trials.left > 0 {
        // The culprit an engine names is close to the first one, so the steps grow from there.
        let middle = low + (high - low) / 2;
        let end = at(middle);
        let past: Vec<usize> = (0..calls.len()).filter(|call| is_past(*call, end)).collect();
        match trials.contradiction(&cut(calls, past.iter().copied(), end)) {
            Some(contradiction) => {
                high = middle;
                found = contradiction;
                found_in = past;
            }
            None => low = middle + 1,
        }
    }
    let end = at(high);
    let culprit = returns.get(high).map_or(0, |(_, index)| *index);
    let past = (0..calls.len()).filter(|call| is_past(*call, end)).collect();
    let pattern: Vec<usize> = found.pattern.iter().filter_map(|call| found_in.get(*call).copied()).collect();
    (past, culprit, pattern)
}

/// A small part of `past`, with the culprit, that is impossible.
fn shrink<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    past: &[usize],
    culprit: usize,
    pattern: &[usize],
    trials: &mut Trials<'_, S>,
) -> Vec<usize> {
    let end = calls.get(culprit).map_or(NEVER, |call| call.returned);
    let mut units = units(specification, calls, past, culprit, end);
    let flat = |units: &[Vec<usize>]| {
        let mut kept: Vec<usize> = units.iter().flatten().copied().collect();
        kept.sort_unstable();
        kept
    };
    // What the engine names already is nearly all there is; what belongs to it must be there too.
    if !pattern.is_empty() {
        let named: Vec<Vec<usize>> = units
            .iter()
            .filter(|unit| unit.contains(&culprit) || unit.iter().any(|call| pattern.contains(call)))
            .cloned()
            .collect();
        if trials.contradiction(&cut(calls, flat(&named).into_iter(), end)).is_some() {
            units = named;
        }
    }
    let mut chunk = (units.len() / 2).max(1);
    while trials.left > 0 {
        let before = units.len();
        let mut start = 0;
        while start < units.len() && trials.left > 0 {
            let stop = (start + chunk).min(units.len());
            let rest: Vec<Vec<usize>> = units
                .iter()
                .enumerate()
                .filter(|(place, unit)| {
                    !(start..stop).contains(place) || must_stay(unit, culprit, specification, calls)
                })
                .map(|(_, unit)| unit.clone())
                .collect();
            if rest.len() < units.len()
                && trials.contradiction(&cut(calls, flat(&rest).into_iter(), end)).is_some()
            {
                units = rest;
            } else {
                start = stop;
            }
        }
        if chunk == 1 && units.len() == before {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    flat(&units)
}

fn must_stay<S: Specification>(
    unit: &[usize],
    culprit: usize,
    specification: &S,
    calls: &[Call<S::Action>],
) -> bool {
    unit.contains(&culprit)
        || unit.iter().any(|call| specification.removal(&calls[*call].action) == Removal::Never)
}

/// What can only be left out together. What has nothing to do with the culprit comes first, so that it goes first.
fn units<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    past: &[usize],
    culprit: usize,
    end: u32,
) -> Vec<Vec<usize>> {
    let mut groups: FxHashMap<u32, usize> = FxHashMap::default();
    let mut units: Vec<Vec<usize>> = Vec::new();
    for call in past.iter().copied() {
        match specification.removal(&calls[call].action) {
            // Open at the end and without an effect: it constrains nothing.
            Removal::Alone if call != culprit && calls[call].returned > end => {}
            Removal::Alone | Removal::Never => units.push(vec![call]),
            Removal::Together(group) => {
                let unit = *groups.entry(group).or_insert_with(|| {
                    units.push(Vec::new());
                    units.len() - 1
                });
                units[unit].push(call);
            }
        }
    }
    units.sort_by_key(|unit| (unit.contains(&culprit), unit.last().copied()));
    units
}
