//! The smallest part of a history that is still impossible.
//!
//! 1. The earliest return that no order explains: a history that is impossible stays so when it goes on, so this is a search over
//!    the returns, which gallops back from the one that the engine named. What was invoked later is no part of the contradiction, and
//!    of what returns later nobody knows the result yet.
//! 2. What concerns other elements or owners is left out, as far as the specification allows it ([`Removal`]), in ever smaller
//!    chunks as long as the rest is impossible (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002).
//! 3. The latest moment since when it is impossible, whatever was before ([`window`]).
//! 4. What is left is left out in chunks, and then one by one, until nothing more can go.
//!
//! Merely deleting a write would prove nothing, since a read of its value would become impossible for lack of the write. So what
//! the specification does not allow to leave out is *freed*: it stays in the trial as an operation of unknown outcome that may
//! have happened at any time from the very beginning, or never. Any order of the whole history is also one of a history with
//! some operations freed, so if what is kept is impossible beside them, the history is.

mod past;
mod window;

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::call::{Contradiction, NEVER};
use super::super::specification::{Removal, Specification};
use super::Failure;
pub(super) use past::forget;
use past::{Past, Trials};
use window::Window;

/// Configurations one trial may visit; a trial that needs more counts as possible, which is always safe.
const TRIAL: u64 = 50_000;

/// The same where operations were freed: each of them widens the search, and there may be many such trials.
const FREED_TRIAL: u64 = 10_000;

/// Calls and configurations that all trials for one object may look at, shared by the objects that are explained. Counted and
/// not timed, so that the same history has the same evidence everywhere as long as the time suffices.
const TOTAL: u64 = 6_000_000;

/// What each object gets at least.
const SHARE: u64 = 300_000;

/// How often a long history may be looked at as a whole beyond that.
const WHOLE: u64 = 10;

/// The most calls of a window: its trials are searches.
const WINDOW: usize = 1 << 14;

/// A history of no more than this is also looked at from its beginning, where there is a moment since when it is impossible.
const SHORT: usize = 64;

/// Calls of a window that a reader can still follow.
const CLEAR: usize = 24;

/// Calls that are impossible together, and which of them cannot be placed.
pub(super) struct Core<S: Specification> {
    /// Indices into all calls, ascending.
    pub calls: Vec<usize>,
    /// Index into all calls.
    pub culprit: usize,
    /// Why what was over before some moment is left out.
    pub before: Before<S::State>,
    /// None of them can be left out; otherwise work or time ran out before that was known.
    pub is_minimal: bool,
}

/// What was before the calls of a core.
pub(super) enum Before<T> {
    /// The beginning of the history.
    Nothing,
    /// These calls, over before the call `first` began. It does not matter in which of the states they left the object; if there is a
    /// sum, only of those in which they and some that were open can have left it if that is what they add up to.
    Left { over: Vec<usize>, first: usize, sum: Option<i64>, states: Vec<T> },
}

/// Finds it.
pub(super) fn core<S: Specification>(failure: &Failure<'_, S>) -> Core<S> {
    let Failure { specification, table, calls, contradiction, decide, sharing, deadline, .. } = *failure;
    let past = Past::new(specification, table, calls);
    let work = (TOTAL / sharing.max(1) as u64).max(SHARE) + WHOLE * calls.len() as u64;
    let mut trials = Trials::<S>::new(decide, work, deadline);
    let (culprit, pattern) = earliest(&past, contradiction, &mut trials);
    let end = calls.get(culprit).map_or(NEVER, |call| call.returned);
    let units = units(&past, culprit, end);
    let mut shrink = Shrink { past: &past, trials, culprit, end, freed: Vec::new(), since: None };
    let units = shrink.related(units, &pattern);
    let whole = (units.len() <= SHORT).then(|| (units.clone(), shrink.freed.clone()));
    let units = shrink.since_when(units);
    let mut kept = flat(&shrink.one_by_one(units));
    if let Some((units, freed)) = whole
        && shrink.since.is_some()
        && kept.len() > 1
    {
        // The moment is the latest there is, and an earlier one, such as the beginning, may need fewer operations.
        let late = (shrink.since.take(), std::mem::replace(&mut shrink.freed, freed));
        let other = flat(&shrink.one_by_one(units));
        match other.len() < kept.len() {
            true => kept = other,
            false => (shrink.since, shrink.freed) = late,
        }
    }
    shrink.hide_open(&mut kept);
    let is_minimal = shrink.trials.go_on();
    Core { calls: kept, culprit, before: shrink.before(), is_minimal }
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
    let later = claimed < last && !is_impossible(claimed, trials);
    let (mut low, mut high) = if later { (claimed + 1, last) } else { (0, claimed) };
    // Nearly always the engine is right, or wrong by little, and each trial looks at the whole history.
    let mut step = 1;
    while low < high && trials.go_on() {
        let middle = match later {
            _ if step > (high - low) / 2 => low + (high - low) / 2,
            true => low + step - 1,
            false => high - step,
        };
        step *= 2;
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
#[derive(Clone)]
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

/// Since when a history is impossible, whatever was before.
struct Since<'a, S: Specification> {
    begin: u32,
    window: Window<'a, S>,
}

struct Shrink<'a, S: Specification> {
    past: &'a Past<'a, S>,
    trials: Trials<'a, S>,
    culprit: usize,
    end: u32,
    freed: Vec<usize>,
    since: Option<Since<'a, S>>,
}

impl<'a, S: Specification> Shrink<'a, S> {
    /// Whether these calls are impossible together, with those freed.
    fn is_impossible(&mut self, kept: &[usize], freed: &[usize]) -> bool {
        let limit = if freed.is_empty() { TRIAL } else { FREED_TRIAL };
        match &self.since {
            Some(Since { begin, window }) => {
                let trial = self.past.window(kept, freed, (*begin, self.end), window.sums);
                self.trials.is_impossible_in(window, &trial, limit)
            }
            None => {
                let trial = self.past.trial(kept, freed, self.end);
                self.trials.contradiction(&trial, limit).is_some()
            }
        }
    }

    /// Leaves out some of the units, if the rest is impossible. The culprit stays.
    fn without(&mut self, units: Vec<Unit>, goes: impl Fn(usize, &Unit) -> bool) -> (Vec<Unit>, bool) {
        let goes = |place: usize, unit: &Unit| goes(place, unit) && !unit.calls.contains(&self.culprit);
        let goes: Vec<bool> = units.iter().enumerate().map(|(place, unit)| goes(place, unit)).collect();
        if !goes.contains(&true) {
            return (units, false);
        }
        let (mut kept, mut freed) = (Vec::new(), self.freed.clone());
        for (unit, goes) in units.iter().zip(&goes) {
            match goes {
                false => kept.extend_from_slice(&unit.calls),
                true if unit.lasting => freed.extend_from_slice(&unit.calls),
                true => {}
            }
        }
        kept.sort_unstable();
        if !self.is_impossible(&kept, &freed) {
            return (units, false);
        }
        self.freed = freed;
        (units.into_iter().zip(goes).filter(|(_, goes)| !goes).map(|(unit, _)| unit).collect(), true)
    }

    /// Leaves out what needs not be freed for that.
    fn related(&mut self, mut units: Vec<Unit>, pattern: &[usize]) -> Vec<Unit> {
        let mut went = false;
        // What the engine names already is nearly all there is; what belongs to it must be there too.
        if !pattern.is_empty() {
            let pattern: FxHashSet<usize> = pattern.iter().copied().collect();
            let other = |_, unit: &Unit| !unit.calls.iter().any(|call| pattern.contains(call));
            (units, went) = self.without(units, other);
        }
        let movable = units.iter().filter(|unit| !unit.lasting).count();
        if !went && movable > units.len() / 2 {
            // The contradiction is usually close to where it shows.
            let mut count = 1;
            while count < units.len() && !went && self.trials.go_on() {
                let first = units.len() - count;
                (units, went) = self.without(units, |place, unit| place < first && !unit.lasting);
                count *= 4;
            }
        }
        self.in_chunks(units, |unit| !unit.lasting)
    }

    /// Leaves out what was over before some moment, if that does not matter.
    fn since_when(&mut self, units: Vec<Unit>) -> Vec<Unit> {
        let kept = flat(&units);
        let Ok(place) = kept.binary_search(&self.culprit) else { return units };
        // The clearest first: in any state; as at first; with a sum that has to be believed. The next one if a reader could not follow that.
        let moments: Vec<usize> = (0..=place).rev().collect();
        let mut found = vec![self.latest(&kept, &moments, None)];
        let calls = self.past.calls;
        let length = |since: &Option<Since<'a, S>>| match since {
            Some(since) => kept.iter().filter(|call| calls[**call].returned > since.begin).count(),
            None => usize::MAX,
        };
        // What is freed may have happened at any time, and is in no sum.
        if length(&found[0]) > CLEAR
            && self.freed.is_empty()
            && let Some(sums) = self.sums(&kept)
        {
            // The account knows the culprit, so it need not begin in the window: one that was open for long is only out of place at
            // its return.
            let moments: Vec<usize> = (0..kept.len()).rev().collect();
            let even: Vec<usize> = moments.iter().copied().filter(|place| sums[*place] == 0).collect();
            found.push(self.latest(&kept, &even, Some(&sums)));
            if length(&found[1]) > CLEAR {
                found.push(self.latest(&kept, &moments, Some(&sums)));
            }
        }
        found.sort_by_key(|since| length(since).max(CLEAR));
        self.since = found.swap_remove(0);
        let Some(Since { begin, .. }) = self.since else { return units };
        let past = self.past;
        if !past.calls.iter().any(|call| call.returned < begin) {
            // Nothing was before, so the state is known.
            self.since = None;
            return units;
        }
        units.into_iter().filter(|unit| !unit.is_before(past, begin)).collect()
    }

    /// How far what was over had taken the object away from its initial state, when each of these calls was invoked.
    fn sums(&self, kept: &[usize]) -> Option<Vec<i64>> {
        let calls = self.past.calls;
        let mut over: Vec<(u32, i64)> = Vec::with_capacity(kept.len());
        for call in kept.iter().map(|call| &calls[*call]).filter(|call| call.is_required()) {
            over.push((call.returned, self.past.specification.balance(&call.action)?));
        }
        over.sort_unstable();
        let mut over = over.into_iter().peekable();
        let mut sum = 0;
        let sum_at = |call: &usize| {
            while let Some((_, balance)) = over.next_if(|(returned, _)| *returned < calls[*call].invoked) {
                sum += balance;
            }
            sum
        };
        Some(kept.iter().map(sum_at).collect())
    }

    /// The latest moment after which it is impossible, in whatever state the object was, or in whatever fits the sum of what was over. The
    /// moments are invocations, places in `kept`, the latest first.
    fn latest(&mut self, kept: &[usize], moments: &[usize], sums: Option<&[i64]>) -> Option<Since<'a, S>> {
        let past = self.past;
        let mut attempt = |number: usize| {
            let place = *moments.get(number)?;
            let begin = past.calls[kept[place]].invoked;
            let inside: Vec<usize> =
                kept.iter().copied().filter(|call| past.calls[*call].returned > begin).collect();
            let known = inside.iter().filter_map(|call| past.at(*call, self.end));
            let actions: Vec<S::Action> = known.map(|call| call.action).collect();
            let mut possible = past.specification.states(&actions)?;
            // A state stands for others that are like it as far as those calls go that are kept, and what is freed can turn one of them
            // into another.
            let begun = past.calls.iter().filter(|call| call.invoked < begin);
            let begun = begun.chain(self.freed.iter().map(|call| &past.calls[*call]));
            let begun: Vec<S::Action> = begun.map(|call| call.action.clone()).collect();
            possible.retain(|state| past.specification.reachable(state, &begun));
            let mut states = Vec::new();
            for state in possible {
                let account = match sums {
                    Some(sums) => past.specification.distance(&state)? - sums[place],
                    None => 0,
                };
                states.push((state, account));
            }
            let window = Window { specification: past.specification, states, sums: sums.is_some() };
            let trial = past.window(&inside, &self.freed, (begin, self.end), window.sums);
            let impossible = self.trials.is_impossible_in(&window, &trial, TRIAL);
            impossible.then_some(Since { begin, window })
        };
        // Possible below `low`, impossible at `high`: the earlier it begins, the more is known.
        let (mut low, mut high) = (0, 0);
        let mut latest = attempt(0);
        while latest.is_none() && high + 1 < moments.len().min(WINDOW) {
            (low, high) = (high + 1, (2 * high + 1).min(moments.len() - 1));
            latest = attempt(high);
        }
        latest.as_ref()?;
        while low < high {
            let middle = low + (high - low) / 2;
            match attempt(middle) {
                Some(later) => (latest, high) = (Some(later), middle),
                None => low = middle + 1,
            }
        }
        latest
    }

    /// Leaves out some of those units that may go, in ever smaller chunks.
    fn in_chunks(&mut self, mut units: Vec<Unit>, may_go: impl Fn(&Unit) -> bool) -> Vec<Unit> {
        let mut chunk = (units.len() / 2).max(1);
        while units.iter().any(&may_go) && self.trials.go_on() {
            let before = units.len();
            let mut start = 0;
            while start < units.len() && self.trials.go_on() {
                let stop = (start + chunk).min(units.len());
                let went;
                (units, went) =
                    self.without(units, |place, unit| (start..stop).contains(&place) && may_go(unit));
                start = if went { start } else { stop };
            }
            if chunk == 1 && units.len() == before {
                break;
            }
            chunk = (chunk / 2).max(1);
        }
        units
    }

    /// Leaves out whatever can go, each call by itself in the end.
    fn one_by_one(&mut self, units: Vec<Unit>) -> Vec<Unit> {
        // What may be left out goes before anything is freed: what is freed makes all later trials harder.
        let units = self.in_chunks(units, |unit| !unit.lasting);
        let end = self.end;
        let calls = self.past.calls;
        let mut units: Vec<Unit> = units
            .into_iter()
            .flat_map(|unit| match unit.calls.len() {
                0 | 1 => vec![unit],
                _ => {
                    let open = |call: usize| calls[call].returned > end;
                    let single = |call| Unit { calls: vec![call], lasting: true, open: open(call) };
                    unit.calls.into_iter().map(single).collect()
                }
            })
            .collect();
        if let Some(Since { begin, .. }) = self.since {
            let specification = self.past.specification;
            units.retain(|unit| {
                let idle = |call: &usize| {
                    let call = &calls[*call];
                    let early = call.invoked < begin && call.is_required();
                    early && (call.returned < begin || specification.observes(&call.action))
                };
                !unit.calls.iter().all(idle)
            });
        }
        units = self.in_chunks(units, |unit| unit.lasting);
        self.in_chunks(units, |_| true)
    }

    /// Of what concerns one element, what is open at the end need not be shown if it makes no difference when it was invoked.
    fn hide_open(&mut self, kept: &mut Vec<usize>) {
        let open = |call: &usize| self.past.calls[*call].returned > self.end;
        let candidates: Vec<usize> = kept.iter().copied().filter(open).collect();
        for call in candidates {
            let rest: Vec<usize> = kept.iter().copied().filter(|other| *other != call).collect();
            let mut freed = self.freed.clone();
            freed.push(call);
            if self.trials.go_on() && self.is_impossible(&rest, &freed) {
                (*kept, self.freed) = (rest, freed);
            }
        }
    }

    fn before(self) -> Before<S::State> {
        let calls = self.past.calls;
        let Some(Since { begin, window }) = self.since else { return Before::Nothing };
        let over: Vec<usize> = (0..calls.len()).filter(|call| calls[*call].returned < begin).collect();
        let Some(first) = calls.iter().position(|call| call.invoked == begin) else { return Before::Nothing };
        match over.is_empty() {
            true => Before::Nothing,
            false => {
                let sum = window.sums.then(|| {
                    let balance = |call: &usize| self.past.specification.balance(&calls[*call].action);
                    over.iter().filter_map(balance).sum()
                });
                let states = window.states.into_iter().map(|(state, _)| state).collect();
                Before::Left { over, first, sum, states }
            }
        }
    }
}
