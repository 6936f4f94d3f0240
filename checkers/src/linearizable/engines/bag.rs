//! Queues without order, in near-linear time.
//!
//! Exact for distinct values, operations of unknown outcome included; else it does not apply.
//!
//! A history fits exactly if (1) no value is taken out twice, before it is put in, or without being put in, and (2) each call that found
//! nothing has a gap within its interval in which nothing was inside for certain. (Compare Bouajjani, Emmi, Enea and
//! Hamza, ICALP 2015; without order only two kinds of their patterns are left.)
//!
//! Necessary: a value is inside from the return of its insertion to the invocation of its removal. Of the leftovers, which no removal
//! that returned took out, those inserted up to a gap must each have been taken out by another removal of unknown outcome
//! that was invoked before that gap.
//!
//! Sufficient: choose such a gap for each of those calls. A value whose insertion and removal overlap goes in and comes out at
//! one moment of the overlap. Any other goes in just before its insertion returns and comes out just after its removal is invoked, thus
//! is inside of none of the chosen gaps. The k-th leftover, in the order in which the insertions returned, is taken out by the
//! k-th removal of unknown outcome: up to a chosen gap there are no more of the former than of the latter, so that
//! those inserted before it are out by then.

use super::super::budget::Budget;
use super::super::call::{Call, Decision};
use super::super::models::collection::Action;
use super::collection::{Earliest, Mistake, NONE, Spans, empties};

const NAME: &str = "bag";

/// Decides the calls of one queue without order. `None`: a value was put in twice.
pub(crate) fn decide(calls: &[Call<Action>], _budget: Budget) -> Option<Decision> {
    decide_with(calls, Mistake::None)
}

fn decide_with(calls: &[Call<Action>], mistake: Mistake) -> Option<Decision> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    if !spans.empties.is_empty() {
        let cover = empties::cover(calls, &spans, &empties::leftovers(&spans), mistake);
        empties::refuse(calls, &spans, &cover, &mut earliest);
    }
    Some(Decision { answer: earliest.answer(), engine: NAME })
}

/// A linearization, if [`decide`] found that there is one: the points of the proof, sorted.
pub(crate) fn order(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    let leftovers = empties::leftovers(&spans);
    let cover = empties::cover(calls, &spans, &leftovers, Mistake::None);
    // By gap, and within a gap first what comes out, then what needs no more than one moment, then what goes in.
    let mut points: Vec<(u32, u8, u32, u32)> = Vec::with_capacity(calls.len());
    let mut place = |in_from: u32, in_to: u32, out_from: u32, insert: u32, remove: u32| {
        if remove != NONE && out_from < in_to {
            points.push((out_from.max(in_from), 1, insert, remove));
            return;
        }
        points.push((in_to - 1, 2, insert, NONE));
        if remove != NONE {
            points.push((out_from, 0, remove, NONE));
        }
    };
    for span in spans.values.iter().filter(|span| span.is_removed()) {
        place(span.in_from, span.in_to, span.out_from, span.insert, span.remove);
    }
    for (turn, value) in leftovers.iter().enumerate() {
        let span = &spans.values[*value as usize];
        let removal = spans.unknown.get(turn).copied().unwrap_or(NONE);
        let invoked = calls.get(removal as usize).map_or(u32::MAX, |call| call.invoked);
        place(span.in_from, span.in_to, invoked, span.insert, removal);
    }
    for empty in &spans.empties {
        let call = &calls[*empty as usize];
        points.push((cover.free(call.invoked, call.returned)?, 1, *empty, NONE));
    }
    points.sort_unstable();
    let both = |point: (u32, u8, u32, u32)| [point.2, point.3].into_iter().filter(|call| *call != NONE);
    earliest.is_none().then(|| points.into_iter().flat_map(both).map(|call| call as usize).collect())
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::super::super::models::unordered_queue::UnorderedQueue;
    use super::super::collection::testing::Comparison;
    use super::*;

    fn comparison(histories: usize, tolerant: bool) -> Comparison<UnorderedQueue> {
        Comparison { seed: 11, histories, tolerant, model: PhantomData }
    }

    #[test]
    fn agrees_with_the_brute_force() {
        let decide = |calls: &[Call<Action>]| decide_with(calls, Mistake::None);
        let seen = comparison(200_000, false).run(decide, order);
        assert!(seen.fits > 60_000 && seen.violations > 40_000, "{seen:?}");
        assert!(seen.undecided_distinct == 0 && seen.undecided > 1000, "{seen:?}");
        assert!(seen.with_patterns * 10 > seen.violations * 8, "{seen:?}");
    }

    #[test]
    fn planted_mistakes_are_found() {
        for mistake in [
            Mistake::CoversFromInvocation,
            Mistake::ForgetLeftovers,
            Mistake::CoversOneMore,
            Mistake::UnknownRemovesNothing,
            Mistake::UnknownRemovesAll,
        ] {
            let seen = comparison(20_000, true).run(|calls| decide_with(calls, mistake), order);
            assert!(seen.wrong > 0, "{mistake:?}: {seen:?}");
        }
    }
}
