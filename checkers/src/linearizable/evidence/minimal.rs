//! The smallest part of a history that is still impossible.
//!
//! Two steps. First the earliest return that no order explains: a history that is impossible stays so when it goes on, so this
//! is a binary search over the returns. What was invoked later is no part of the contradiction, and of what returns later nobody knows
//! the result yet. Then operations are left out in ever smaller chunks as long as the rest is impossible (Zeller and Hildebrandt,
//! "Simplifying and isolating failure-inducing input", 2002).
//!
//! Merely deleting a write would prove nothing, since a read of its value would become impossible for lack of the write. So what
//! the specification does not allow to leave out ([`Removal`]) is *freed*: it stays in the trial as an operation of unknown outcome that may
//! have happened at any time from the very beginning, or never. Any order of the whole history is also one of a history with
//! some operations freed, so if what is kept is impossible beside them, the history is.

use rustc_hash::{FxHashMap, FxHashSet};
use schism_history::{OPEN, Outcome, Table, ValueId};

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Contradiction, NEVER};
use super::super::checker::Decide;
use super::super::specification::{Removal, Specification};

/// Configurations one trial may visit; a trial that needs more counts as possible, which is always safe.
const TRIAL: u64 = 50_000;

/// The same where operations were freed: each of them widens the search, and there may be many such trials.
const FREED_TRIAL: u64 = 10_000;

/// Calls and configurations that all trials for one object may look at, shared by the objects that are explained. Counted and
/// not timed, so that the same history has the same evidence everywhere.
const TOTAL: u64 = 6_000_000;

/// What each object gets at least.
const SHARE: u64 = 300_000;

/// Calls that are impossible together, and which of them cannot be placed.
pub(super) struct Core {
    /// Indices into all calls, ascending.
    pub calls: Vec<usize>,
    /// Index into all calls.
    pub culprit: usize,
    /// How many calls are left out because they were over before this call (an index into all of them) began and had, taken together,
    /// left the object as it was at first.
    pub undone: Option<(usize, usize)>,
}

/// The calls of one object, as its evidence needs them.
struct Past<'a, S: Specification> {
    specification: &'a S,
    calls: &'a [Call<S::Action>],
    /// What each call is while its outcome is unknown; `None`: it constrains nothing then.
    unknown: Vec<Option<S::Action>>,
}

impl<'a, S: Specification> Past<'a, S> {
    fn new(specification: &'a S, table: &Table, calls: &'a [Call<S::Action>]) -> Self {
        let forget = |call: &Call<S::Action>| {
            if call.returned == NEVER {
                return Some(call.action.clone());
            }
            let mut view = table.view(call.source as usize);
            let mut row = *view.row;
            (row.outcome, row.result) = (Outcome::Unknown, ValueId::ABSENT);
            (row.completed, row.complete_time) = (OPEN, row.invoke_time);
            view.row = &row;
            specification.action(&view).unwrap_or_else(|_| Some(call.action.clone()))
        };
        Self { specification, calls, unknown: calls.iter().map(forget).collect() }
    }

    /// The call as it is in a history that ends at `end`; `None`: it constrains nothing there.
    fn at(&self, call: usize, end: u32) -> Option<Call<S::Action>> {
        let Call { invoked, returned, source, .. } = self.calls[call];
        if invoked >= end {
            return None;
        }
        if returned <= end {
            return Some(self.calls[call].clone());
        }
        let action = self.unknown[call].clone()?;
        Some(Call { action, invoked, returned: NEVER, source })
    }

    /// The calls of a trial: some of them as they are at `end`, and before all of them those that are freed.
    fn trial(&self, kept: &[usize], freed: &[usize], end: u32) -> Vec<Call<S::Action>> {
        let mut trial = Vec::with_capacity(kept.len() + freed.len());
        for call in freed {
            if let Some(action) = self.unknown[*call].clone() {
                let invoked = trial.len() as u32;
                trial.push(Call { action, invoked, returned: NEVER, source: self.calls[*call].source });
            }
        }
        let shift = trial.len() as u32;
        trial.extend(kept.iter().filter_map(|call| self.at(*call, end)).map(|call| Call {
            invoked: call.invoked + shift,
            returned: if call.returned == NEVER { NEVER } else { call.returned + shift },
            ..call
        }));
        trial
    }
}

struct Trials<'a, S: Specification> {
    decide: &'a Decide<'a, S>,
    left: u64,
}

impl<S: Specification> Trials<'_, S> {
    fn contradiction(&mut self, calls: &[Call<S::Action>], limit: u64) -> Option<Contradiction> {
        let visits = limit.max(calls.len() as u64 * 4).min(self.left);
        self.left = self.left.saturating_sub(calls.len() as u64 + visits / 64);
        match (self.decide)(calls, Budget::visits(visits)).answer {
            Answer::Impossible(contradiction) => Some(contradiction),
            Answer::Linearizable => None,
            Answer::Unknown(..) => {
                self.left = self.left.saturating_sub(visits);
                None
            }
        }
    }
}

/// Finds it. `contradiction` is what an engine found in `calls`; so many objects share the effort.
pub(super) fn core<S: Specification>(
    specification: &S,
    table: &Table,
    calls: &[Call<S::Action>],
    contradiction: &Contradiction,
    decide: &Decide<'_, S>,
    sharing: usize,
) -> Core {
    let past = Past::new(specification, table, calls);
    let mut trials = Trials::<S> { decide, left: (TOTAL / sharing.max(1) as u64).max(SHARE) };
    let (culprit, pattern) = earliest(&past, contradiction, &mut trials);
    let end = calls.get(culprit).map_or(NEVER, |call| call.returned);
    let units = units(&past, culprit, end);
    let mut shrink = Shrink { past: &past, trials, culprit, end, freed: Vec::new() };
    let begin = shrink.restart(&units);
    let units: Vec<Unit> = match begin {
        Some(begin) => units.into_iter().filter(|unit| !unit.is_before(&past, begin)).collect(),
        None => units,
    };
    let mut kept = flat(&shrink.run(units, &pattern));
    shrink.hide_open(&mut kept);
    let undone = begin.and_then(|begin| {
        let count = calls.iter().filter(|call| call.returned < begin).count();
        Some((count, calls.iter().position(|call| call.invoked == begin)?))
    });
    Core { calls: kept, culprit, undone }
}

/// The call whose return is the first impossible one, and a pattern if the engine knows one.
fn earliest<S: Specification>(
    past: &Past<'_, S>,
    contradiction: &Contradiction,
    trials: &mut Trials<'_, S>,
) -> (usize, Vec<usize>) {
    let calls = past.calls;
    let mut returns: Vec<(u32, usize)> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.is_required())
        .map(|(index, call)| (call.returned, index))
        .collect();
    returns.sort_unstable();
    let last = returns.len().saturating_sub(1);
    let claimed = calls.get(contradiction.culprit).map_or(NEVER, |call| call.returned);
    let claimed = returns.partition_point(|(end, _)| *end < claimed).min(last);
    let mut found = contradiction.clone();
    let mut found_in: Vec<usize> = (0..calls.len()).collect();
    let mut is_impossible = |place: usize, trials: &mut Trials<'_, S>| {
        let end = returns.get(place).map_or(NEVER, |(end, _)| *end);
        let kept: Vec<usize> = (0..calls.len()).filter(|call| past.at(*call, end).is_some()).collect();
        match trials.contradiction(&past.trial(&kept, &[], end), TRIAL) {
            Some(contradiction) => {
                (found, found_in) = (contradiction, kept);
                true
            }
            None => false,
        }
    };
    // Impossible at `high`, possible at everything below `low`. The engine knew results that are not known yet when its culprit returns, so
    // the first impossible return can be later than that.
    let (mut low, mut high) = match claimed < last && !is_impossible(claimed, trials) {
        true => (claimed + 1, last),
        false => (0, claimed),
    };
    while low < high && trials.left > 0 {
        let middle = low + (high - low) / 2;
        match is_impossible(middle, trials) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let culprit = returns.get(high).map_or(0, |(_, index)| *index);
    let end = returns.get(high).map_or(NEVER, |(end, _)| *end);
    let mut pattern: Vec<usize> =
        found.pattern.iter().filter_map(|call| found_in.get(*call).copied()).collect();
    pattern.retain(|call| calls[*call].returned <= end);
    (culprit, pattern)
}

/// What can only be left out together.
struct Unit {
    calls: Vec<usize>,
    /// It cannot be left out, only freed.
    lasting: bool,
    /// Open at the end.
    open: bool,
}

impl Unit {
    /// It was over by then.
    fn is_before<S: Specification>(&self, past: &Past<'_, S>, begin: u32) -> bool {
        self.calls.iter().all(|call| past.calls[*call].returned < begin)
    }
}

/// What has nothing to do with the culprit comes first, so that it goes first.
fn units<S: Specification>(past: &Past<'_, S>, culprit: usize, end: u32) -> Vec<Unit> {
    let mut groups: FxHashMap<u32, usize> = FxHashMap::default();
    let mut units: Vec<Unit> = Vec::new();
    for index in 0..past.calls.len() {
        let Some(call) = past.at(index, end) else { continue };
        let open = call.returned == NEVER;
        let alone = |lasting| Unit { calls: vec![index], lasting, open };
        match past.specification.removal(&call.action) {
            // Without an effect and perhaps never: it constrains nothing.
            Removal::Alone if open => {}
            Removal::Alone => units.push(alone(false)),
            Removal::Never => units.push(alone(true)),
            Removal::Together(group) => {
                let unit = *groups.entry(group).or_insert_with(|| {
                    units.push(Unit { calls: Vec::new(), lasting: false, open: false });
                    units.len() - 1
                });
                units[unit].calls.push(index);
            }
        }
    }
    units.sort_by_key(|unit| (unit.calls.contains(&culprit), !unit.open, unit.calls.last().copied()));
    units
}

fn flat(units: &[Unit]) -> Vec<usize> {
    let mut kept: Vec<usize> = units.iter().flat_map(|unit| &unit.calls).copied().collect();
    kept.sort_unstable();
    kept
}

struct Shrink<'a, S: Specification> {
    past: &'a Past<'a, S>,
    trials: Trials<'a, S>,
    culprit: usize,
    end: u32,
    freed: Vec<usize>,
}

impl<S: Specification> Shrink<'_, S> {
    /// The latest position before the culprit's invocation at which nothing that took effect was open and the object was as at first. What
    /// was over by then can be left out.
    fn restart(&mut self, units: &[Unit]) -> Option<u32> {
        let calls = self.past.calls;
        let begin = calls.get(self.culprit)?.invoked;
        let mut done: Vec<&Call<S::Action>> = flat(units)
            .into_iter()
            .map(|call| &calls[call])
            .filter(|call| call.returned <= self.end && call.invoked <= begin)
            .collect();
        done.sort_unstable_by_key(|call| call.invoked);
        let mut balance = 0_i128;
        let (mut latest, mut over) = (0, None);
        for (place, call) in done.iter().enumerate() {
            if place > 0 && call.invoked > latest && balance == 0 {
                over = Some(call.invoked);
            }
            balance += i128::from(self.past.specification.balance(&call.action)?);
            latest = latest.max(call.returned);
        }
        let over = over?;
        let rest: Vec<usize> = flat(units).into_iter().filter(|call| calls[*call].returned > over).collect();
        let trial = self.past.trial(&rest, &[], self.end);
        self.trials.contradiction(&trial, TRIAL).map(|_| over)
    }

    /// Whether what is kept is impossible, with the lasting ones of what goes freed.
    fn can_go(&mut self, kept: &[Unit], gone: &[&Unit]) -> Option<Vec<usize>> {
        let mut freed = self.freed.clone();
        freed.extend(gone.iter().filter(|unit| unit.lasting).flat_map(|unit| &unit.calls));
        let trial = self.past.trial(&flat(kept), &freed, self.end);
        let limit = if freed.is_empty() { TRIAL } else { FREED_TRIAL };
        self.trials.contradiction(&trial, limit).map(|_| freed)
    }

    /// Leaves out some of the units, if the rest is impossible. The culprit stays.
    fn without(&mut self, units: Vec<Unit>, goes: impl Fn(usize, &Unit) -> bool) -> (Vec<Unit>, bool) {
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (place, unit) in units.into_iter().enumerate() {
            if goes(place, &unit) && !unit.calls.contains(&self.culprit) {
                gone.push((place, unit));
            } else {
                kept.push(unit);
            }
        }
        if gone.is_empty() {
            return (kept, false);
        }
        let going: Vec<&Unit> = gone.iter().map(|(_, unit)| unit).collect();
        if let Some(freed) = self.can_go(&kept, &going) {
            self.freed = freed;
            return (kept, true);
        }
        for (place, unit) in gone {
            kept.insert(place, unit);
        }
        (kept, false)
    }

    /// A few units that are impossible together.
    fn run(&mut self, mut units: Vec<Unit>, pattern: &[usize]) -> Vec<Unit> {
        // What the engine names already is nearly all there is; what belongs to it must be there too.
        if !pattern.is_empty() {
            let pattern: FxHashSet<usize> = pattern.iter().copied().collect();
            let other = |_, unit: &Unit| !unit.calls.iter().any(|call| pattern.contains(call));
            units = self.without(units, other).0;
        }
        // What may be left out goes before anything is freed: what is freed makes all later trials harder.
        for lasting in [false, true] {
            let mut chunk = (units.len() / 2).max(1);
            while self.trials.left > 0 {
                let before = units.len();
                let mut start = 0;
                while start < units.len() && self.trials.left > 0 {
                    let stop = (start + chunk).min(units.len());
                    let goes = |place, unit: &Unit| (start..stop).contains(&place) && unit.lasting == lasting;
                    let went;
                    (units, went) = self.without(units, goes);
                    start = if went { start } else { stop };
                }
                if chunk == 1 && units.len() == before {
                    break;
                }
                chunk = (chunk / 2).max(1);
            }
        }
        // What is freed may have made something else superfluous.
        let mut place = 0;
        while place < units.len() && self.trials.left > 0 {
            let went;
            (units, went) = self.without(units, |at, unit| at == place && !unit.lasting);
            place += usize::from(!went);
        }
        units
    }

    /// Of what concerns one element, what is open at the end need not be shown if it makes no difference when it was invoked.
    fn hide_open(&mut self, kept: &mut Vec<usize>) {
        let open = |call: &usize| self.past.calls[*call].returned > self.end;
        let candidates: Vec<usize> = kept.iter().copied().filter(open).collect();
        for call in candidates {
            let rest: Vec<usize> = kept.iter().copied().filter(|other| *other != call).collect();
            let mut freed = self.freed.clone();
            freed.push(call);
            let trial = self.past.trial(&rest, &freed, self.end);
            if self.trials.left > 0 && self.trials.contradiction(&trial, FREED_TRIAL).is_some() {
                (*kept, self.freed) = (rest, freed);
            }
        }
    }
}
