//! What is impossible whatever adds up to what.
//!
//! Let `a` have returned before `b` was invoked, and let both have seen the value. Between them in the order stand certainly the amounts
//! that were added entirely between the two, and at most those that were not over when `a` was invoked and had begun when `b` returned. So
//! the value that `b` saw is at least that after `a`, plus what was certainly added, minus all that can have been taken away; and at most
//! the same with the signs exchanged. The history's beginning, where the value is 0, is such an `a` too. All of these are differences of sums
//! up to an event, so that for `b` only the largest of a number per `a` counts: O(n log n) for sorting the events.

use super::super::super::call::{Call, Contradiction, NEVER};
use super::super::super::models::counter::CounterAction;
use super::{SHOWN, Sabotage, amount, gcd, seen};

/// A bound that some earlier call sets; no call: the beginning does.
type Bound = (i128, Option<usize>);

/// The amounts of one sign, up to an event: those of all calls invoked, and those of all that have returned.
#[derive(Clone, Copy, Default)]
struct Sums {
    invoked: i128,
    returned: i128,
}

/// How low the value can be, if amounts are what they are; with the signs exchanged, how high.
#[derive(Clone)]
struct Side {
    sign: i128,
    up: Sums,
    down: Sums,
    /// The largest value seen, less what had been taken away for certain before.
    seen: Bound,
    /// The same, less all that can have been added by then.
    added: Bound,
    /// What stood there at each call's invocation: `up.returned`, `down.returned`, `seen`, `added`.
    at: Vec<(i128, i128, Bound, Bound)>,
}

impl Side {
    fn new(sign: i128, calls: usize) -> Self {
        let nothing = (0, None);
        let at = vec![(0, 0, nothing, nothing); calls];
        Self { sign, up: Sums::default(), down: Sums::default(), seen: nothing, added: nothing, at }
    }

    fn parts(&self, call: &Call<CounterAction>) -> (i128, i128) {
        let delta = self.sign * i128::from(amount(&call.action));
        (delta.max(0), delta.min(0))
    }

    fn invoke(&mut self, index: usize, call: &Call<CounterAction>) {
        let (up, down) = self.parts(call);
        self.at[index] = (self.up.returned, self.down.returned, self.seen, self.added);
        self.up.invoked += up;
        self.down.invoked += down;
    }

    /// The bound that a value seen is below, if there is one: the call that sets it, and whether what was added since is part of it.
    fn below(&self, index: usize, call: &Call<CounterAction>) -> Option<(Option<usize>, bool)> {
        let value = self.sign * seen(&call.action)?;
        let (_, down) = self.parts(call);
        let (up_returned, _, seen, added) = self.at[index];
        let taken = self.down.invoked - down;
        if seen.0 + taken > value {
            return Some((seen.1, false));
        }
        (added.0 + up_returned + taken > value).then_some((added.1, true))
    }

    fn complete(&mut self, index: usize, call: &Call<CounterAction>) {
        let (up, down) = self.parts(call);
        if let Some(value) = seen(&call.action) {
            let (_, down_returned, ..) = self.at[index];
            let after = self.sign * value + up + down - down_returned - down;
            self.seen = self.seen.max((after, Some(index)));
            self.added = self.added.max((after - self.up.invoked, Some(index)));
        }
        self.up.returned += up;
        self.down.returned += down;
    }

    /// A few calls that are impossible together whatever the others did, if nothing can have been taken away.
    fn pattern(
        &self,
        calls: &[Call<CounterAction>],
        culprit: usize,
        (since, needs): (Option<usize>, bool),
    ) -> Vec<usize> {
        let own = |index: usize| self.parts(&calls[index]).1;
        let taken = self.down.invoked - own(culprit) - since.map_or(0, own);
        let mut pattern: Vec<usize> = since.into_iter().chain([culprit]).collect();
        if taken != 0 {
            return Vec::new();
        }
        if needs {
            let from = since.map_or(0, |since| calls[since].returned);
            let to = calls[culprit].invoked;
            let between =
                calls.iter().enumerate().filter(|(_, call)| from <= call.invoked && call.returned < to);
            let mut added: Vec<(i128, usize)> =
                between.map(|(index, call)| (self.parts(call).0, index)).collect();
            added.sort_unstable_by_key(|(up, index)| (std::cmp::Reverse(*up), *index));
            // As many of the largest as make it impossible.
            let value = |index: usize| self.sign * seen(&calls[index].action).unwrap_or(0);
            let after = |index: usize| value(index) + self.sign * i128::from(amount(&calls[index].action));
            let mut sum = since.map_or(0, after);
            let most = value(culprit);
            let needed = added.iter().take_while(|(up, _)| {
                let enough = sum > most;
                sum += up;
                !enough
            });
            let needed: Vec<usize> = needed.map(|(_, index)| *index).collect();
            if needed.len() + pattern.len() > SHOWN {
                return Vec::new();
            }
            pattern.extend(needed);
        }
        pattern.sort_unstable();
        pattern.dedup();
        pattern
    }
}

/// The first value, in the order of returns, that is out of bounds.
pub(super) fn contradiction(calls: &[Call<CounterAction>], sabotage: Sabotage) -> Option<Contradiction> {
    let divisor = calls.iter().fold(0, |divisor, call| gcd(divisor, amount(&call.action).unsigned_abs()));
    let mut events: Vec<(u32, u32)> = Vec::with_capacity(2 * calls.len());
    for (index, call) in calls.iter().enumerate() {
        events.push((call.invoked, index as u32));
        if call.returned != NEVER {
            events.push((call.returned, index as u32));
        }
    }
    events.sort_unstable();
    let mut sides = [Side::new(1, calls.len()), Side::new(-1, calls.len())];
    for (at, index) in events {
        let index = index as usize;
        let call = &calls[index];
        if at == call.invoked {
            sides.iter_mut().for_each(|side| side.invoke(index, call));
            continue;
        }
        let divides = |value: i128| divisor == 0 || value % i128::from(divisor) == 0;
        if !seen(&call.action).is_none_or(divides) {
            return Some(Contradiction { culprit: index, pattern: vec![index] });
        }
        for side in &sides {
            if let Some(below) = side.below(index, call) {
                return Some(Contradiction { culprit: index, pattern: side.pattern(calls, index, below) });
            }
        }
        sides.iter_mut().for_each(|side| side.complete(index, call));
        if sabotage == Sabotage::CompletesTwice {
            sides.iter_mut().for_each(|side| side.up.returned += side.parts(call).0);
        }
    }
    None
}
