//! Small sets of operations that are impossible together, whatever the others did.
//!
//! An operation is left out by *freeing* it: a read is dropped; a write, or a compare-and-set that changes something, becomes a write of unknown
//! outcome that could have taken effect at any time from the very beginning, or never. Any order of the whole history is also an
//! order of a history with some operations freed, so if what is kept is impossible, the history is. (Merely deleting
//! a write would prove nothing: a read of its value would become impossible for lack of the write.)

use std::time::{Duration, Instant};

use super::super::super::budget::Budget;
use super::super::super::engines::just_in_time::{self, Answer, NEVER, Number, Reductions, RegisterCall};
use super::super::super::models::register::Action;

/// Configurations one trial may visit; a trial that needs more counts as possible, which is always safe.
const TRIAL: u64 = 20_000;

/// Configurations and calls that shrinking may look at in all, over all keys: about a second. Counted and not timed, so
/// that the same history has the same evidence everywhere.
const TOTAL: u64 = 1_000_000;

/// What each key gets at least, which is enough for a short one.
const SHARE: u64 = 50_000;

/// More free writes of one value than this are as good as any number.
const MANY: usize = 16;

/// Tries out which of the calls are impossible together.
pub(super) struct Core<'a> {
    past: &'a [RegisterCall],
    values: usize,
    left: u64,
    deadline: Option<(Instant, Duration)>,
}

impl<'a> Core<'a> {
    /// `past` are all calls, whose values are below `values`; so many `keys` are explained.
    pub fn new(past: &'a [RegisterCall], values: usize, keys: usize) -> Self {
        Self { past, values, left: (TOTAL / keys.max(1) as u64).max(SHARE), deadline: None }
    }

    /// The same, until then.
    pub fn until(self, deadline: Option<(Instant, Duration)>) -> Self {
        Self { deadline, ..self }
    }

    /// Whether nothing stopped it so far: neither the work nor the time.
    pub fn goes_on(&mut self) -> bool {
        if self.deadline.is_some_and(|(deadline, _)| Instant::now() >= deadline) {
            self.left = 0;
        }
        self.left > 0
    }

    /// Whether the kept calls (ascending indices) are impossible together, with all others freed.
    pub fn is_impossible(&mut self, kept: &[usize]) -> bool {
        let mut observers = vec![0_usize; self.values];
        for call in kept.iter().map(|kept| &self.past[*kept]) {
            if let Some(value) = call.action.observes() {
                observers[value as usize] += 1;
            }
        }
        let mut trial = Vec::with_capacity(kept.len());
        let mut free: Vec<usize> = vec![0; self.values];
        let mut kept = kept.iter().copied().peekable();
        for (position, call) in self.past.iter().enumerate() {
            if kept.next_if_eq(&position).is_some() {
                let returned = if call.returned == NEVER { NEVER } else { call.returned + 1 };
                trial.push(RegisterCall { invoked: call.invoked + 1, returned, ..*call });
            } else if let Some(value) = call.action.produces().filter(|_| !leaves_as_is(call.action)) {
                free[value as usize] += 1;
            }
        }
        for (value, (free, observers)) in free.into_iter().zip(observers).enumerate() {
            // An observer needs at most one free write, right before it, so as many free writes as observers are as
            // good as any number. To take many for any number only allows more, and what is impossible even then is
            // impossible; each by itself would keep a slot of the search for the whole history.
            let endless = free >= observers || free > MANY;
            let action = Action::Write(value as Number);
            let write = RegisterCall { action, invoked: 0, returned: NEVER, source: usize::MAX, endless };
            trial.extend(std::iter::repeat_n(write, if endless { observers.min(1) } else { free }));
        }
        let visits = TRIAL.min(self.left);
        let budget = Budget { deadline: self.deadline, ..Budget::visits(visits) };
        let (answer, visits) = just_in_time::decide(&trial, self.values, Reductions::ALL, budget);
        let looked_at = visits + self.values as u64 / 8 + self.past.len() as u64 / 8;
        self.left = self.left.saturating_sub(looked_at);
        matches!(answer, Answer::Impossible(_))
    }

    /// A small set of calls that are impossible together; if it could be afforded, one of which none can be freed.
    pub fn shrink(&mut self, culprit: usize) -> Vec<usize> {
        // The latest calls first: the contradiction is usually close to where it shows.
        let all = self.past.len();
        let mut size = 2;
        let mut kept: Vec<usize> = loop {
            let latest: Vec<usize> = (all.saturating_sub(size)..all).collect();
            if size >= all || self.is_impossible(&latest) {
                break latest;
            }
            size *= 2;
        };
        // Most values have nothing to do with it, so what concerns one value stands together, the culprit's own last.
        let value = |call: &usize| self.past[*call].action.leaves();
        let mut latest = vec![0; self.values];
        for call in &kept {
            latest[value(call) as usize] = *call;
        }
        if let Some(own) = self.past.get(culprit).and_then(|call| call.action.observes()) {
            latest[own as usize] = all;
        }
        kept.sort_by_key(|call| (latest[value(call) as usize], *call));
        let chunk = kept.len() / 2;
        self.without_the_needless(kept, culprit, chunk)
    }

    /// Leaves out in chunks that become smaller (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), and
    /// one by one until nothing more can go.
    fn without_the_needless(&mut self, mut kept: Vec<usize>, culprit: usize, chunk: usize) -> Vec<usize> {
        let mut chunk = chunk.max(1);
        while self.goes_on() {
            let before = kept.len();
            let mut start = 0;
            while start < kept.len() && self.goes_on() {
                let end = (start + chunk).min(kept.len());
                let rest: Vec<usize> = kept
                    .iter()
                    .enumerate()
                    .filter(|(position, call)| !(start..end).contains(position) || **call == culprit)
                    .map(|(_, call)| *call)
                    .collect();
                if rest.len() < kept.len() && self.is_impossible(&ascending(&rest)) {
                    kept = rest;
                } else {
                    start = end;
                }
            }
            if chunk == 1 && kept.len() == before {
                break;
            }
            chunk = (chunk / 2).max(1);
        }
        ascending(&kept)
    }

    /// A small set as [`shrink`](Self::shrink) finds it, with the one write of each value that is observed, even where its time does not
    /// matter: it belongs to the picture. Nothing else of it can be left out.
    pub fn picture(&mut self, culprit: usize) -> Vec<usize> {
        /// Each round can show a write that makes others needless. There is hardly ever a second one.
        const ROUNDS: usize = 16;
        let mut kept = self.shrink(culprit);
        for _ in 0..ROUNDS {
            let writers: Vec<usize> =
                self.writers(&kept).into_iter().filter(|writer| !kept.contains(writer)).collect();
            let all: Vec<usize> = kept.iter().chain(&writers).copied().collect();
            // What was there before goes first.
            let fewer = self.without_the_needless(all.clone(), culprit, 1);
            if fewer == kept || !self.goes_on() {
                return ascending(&all);
            }
            kept = fewer;
        }
        kept
    }

    /// Whether none of these impossible calls can be freed, but for the writes of what they observe. Not asked of long histories: it takes a
    /// look at the whole of them for each call.
    pub fn needs_all(&mut self, calls: &[usize], culprit: usize) -> bool {
        const LONG: usize = 10_000;
        if self.past.len() > LONG {
            return true;
        }
        let writers: Vec<usize> =
            calls.iter().copied().filter(|call| self.is_observed(*call, calls)).collect();
        let mut others = calls.iter().copied().filter(|call| *call != culprit && !writers.contains(call));
        others.all(|gone| {
            let rest: Vec<usize> = calls.iter().copied().filter(|call| *call != gone).collect();
            !self.is_impossible(&rest)
        })
    }

    /// Whether one of the others observes what the call wrote.
    fn is_observed(&self, call: usize, others: &[usize]) -> bool {
        let written = self.past[call].action.produces();
        written.is_some()
            && others.iter().any(|other| *other != call && self.past[*other].action.observes() == written)
    }

    /// The one write of each value that these calls observe, of those that have one.
    fn writers(&self, kept: &[usize]) -> Vec<usize> {
        let mut writers = Vec::new();
        for value in kept.iter().filter_map(|call| self.past[*call].action.observes()) {
            let writes = |call: &usize| {
                let action = self.past[*call].action;
                action.produces() == Some(value) && !leaves_as_is(action)
            };
            let mut found = (0..self.past.len()).filter(writes);
            if let (Some(writer), None) = (found.next(), found.next()) {
                writers.push(writer);
            }
        }
        let mut writers = ascending(&writers);
        writers.dedup();
        writers
    }
}

/// A compare-and-set to the value that it expects can be dropped like a read.
fn leaves_as_is(action: Action<Number>) -> bool {
    action.observes() == action.produces()
}

fn ascending(calls: &[usize]) -> Vec<usize> {
    let mut calls = calls.to_vec();
    calls.sort_unstable();
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: Action<u32>, invoked: usize, returned: usize, source: usize) -> RegisterCall {
        RegisterCall { action, invoked, returned, source, endless: false }
    }

    #[test]
    fn what_is_kept_is_impossible_and_needs_every_call() {
        // Thirty writes of distinct values and reads of them, then a read of the value of write 10.
        let mut past = Vec::new();
        for value in 1..=30_u32 {
            let at = past.len() * 10;
            past.push(call(Action::Write(value), at, at + 5, past.len()));
            past.push(call(Action::Read(value), at + 6, at + 9, past.len()));
        }
        past.push(call(Action::Read(10), 1000, 1010, past.len()));
        let culprit = past.len() - 1;
        let mut core = Core::new(&past, 31, 1);
        let kept = core.shrink(culprit);
        assert!(core.is_impossible(&kept) && kept.contains(&culprit));
        assert!(kept.len() <= 4, "{kept:?}");
        for gone in &kept {
            let rest: Vec<usize> = kept.iter().copied().filter(|call| call != gone).collect();
            assert!(!core.is_impossible(&rest), "{gone} of {kept:?} is not needed");
        }
        assert!(!core.is_impossible(&(0..culprit).collect::<Vec<_>>()));
    }

    #[test]
    fn freeing_a_write_does_not_make_its_value_unwritten() {
        let past = [call(Action::Write(1), 0, 1, 0), call(Action::Read(1), 2, 3, 1)];
        assert!(!Core::new(&past, 2, 1).is_impossible(&[1]));
        let past = [call(Action::Read(1), 2, 3, 0)];
        assert!(Core::new(&past, 2, 1).is_impossible(&[0]));
    }
}
