//! Queues with distinct values, in near-linear time.
//!
//! Exact, operations of unknown outcome included; it does not apply where a value was put in twice or something looked at the first
//! element.
//!
//! Without operations of unknown outcome a history fits exactly if it has none of four bad patterns (Bouajjani, Emmi, Enea and Hamza, "On
//! reducing linearizability to state reachability", ICALP 2015): (1) something is taken out before or without being put in, or (2) twice;
//! (3) `a` was certainly put in before `b`, but `b` was certainly taken out before `a`, or `a` never was; (4) a call
//! that found nothing has no gap in its interval in which nothing was inside for certain.
//!
//! They suffice. Say `a` before `b` if `a` was certainly put in, or certainly taken out, before `b`; what never was taken out comes out last.
//! Both parts are interval orders. A shortest cycle of the union alternates between them, and of two edges `a < b`, `c < d` of one interval
//! order either `a < d` or `c < b` holds too, which shortens the cycle down to two elements: pattern 3. So there is an order of all
//! values. Put in and take out each in that order and as early as possible: at the latest invocation so far. None misses its end: if the
//! invocation of `w` came after the end of `v`, then `v` would be before `w`. For empty queues choose a gap each (4). Every value can be
//! kept entirely on one side of it: those with an overlap of insertion and removal around it can go in and out at one moment before it.
//! None of those after it is before one of those before it, so that the pieces between the gaps can be ordered one by one.
//!
//! Unknown insertions that nobody saw are left out; those that were seen end when their value is taken out. Unknown removals: a
//! *leftover* is a value that no removal which returned took out. It must be out before its deadline, the earliest return of
//! a removal of some `b` that was certainly put in after it, and before each chosen gap in which it was inside for certain. A removal of unknown
//! outcome can do it if it was invoked before. In the order in which their insertions returned, leftovers have ascending deadlines, and those
//! inside at a gap come first; so the k-th of them is taken out by the k-th removal of unknown outcome, if that works for anything (the
//! usual exchange). Such a removal has no end, so it adds no edge but those of its own leftover's deadline; and no leftover that
//! stays is before one that is taken out. What is left to check is: the k-th such removal was invoked before the deadline of the k-th leftover; and in
//! a gap there are no more leftovers inside for certain than such removals were invoked before it.

mod order;

use super::super::budget::Budget;
use super::super::call::{Call, Decision};
use super::super::models::collection::Action;
use super::collection::empties::{self, HANDFUL};
use super::collection::{Earliest, Mistake, Span, Spans, sorted};

const NAME: &str = "queue";

/// Decides the calls of one queue. `None`: a value was put in twice, or something looked at the first element.
pub(crate) fn decide(calls: &[Call<Action>], _budget: Budget) -> Option<Decision> {
    decide_with(calls, Mistake::None)
}

/// A linearization, if [`decide`] found that there is one.
pub(crate) fn order(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    order::build(calls)
}

fn decide_with(calls: &[Call<Action>], mistake: Mistake) -> Option<Decision> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    let by_in_to = sorted(spans.values.len(), |at| spans.values[at].in_to);
    overtaking(calls, &spans, &by_in_to, mistake, &mut earliest);
    blocking(calls, &spans, &by_in_to, mistake, &mut earliest);
    if !spans.empties.is_empty() {
        let cover = empties::cover(calls, &spans, &empties::leftovers(&spans), mistake);
        empties::refuse(calls, &spans, &cover, &mut earliest);
    }
    Some(Decision { answer: earliest.answer(), engine: NAME })
}

/// Pattern 3, for values that were both taken out.
fn overtaking(
    calls: &[Call<Action>],
    spans: &Spans,
    by_in_to: &[u32],
    mistake: Mistake,
    earliest: &mut Earliest,
) {
    let mut certain =
        by_in_to.iter().map(|at| &spans.values[*at as usize]).filter(|a| a.is_removed()).peekable();
    // Of those that were certainly put in before `b`, the one that came out last.
    let mut last: Option<&Span> = None;
    for b in spans.values.iter().filter(|b| b.is_removed()) {
        while let Some(a) = certain.next_if(|a| a.in_to < b.in_from) {
            if mistake.is(Mistake::NeighboursOnly) || last.is_none_or(|last| last.out_from < a.out_from) {
                last = Some(a);
            }
        }
        let Some(a) = last.filter(|a| b.out_to < a.out_from) else { continue };
        // Before the removal of `a` returns, one of unknown outcome may have been it, as far as anybody can know.
        let culprit = if spans.may_help(calls, b.out_to) { a.remove } else { b.remove };
        earliest.offer(calls, culprit, || vec![a.insert, a.remove, b.insert, b.remove]);
    }
}

/// Pattern 3, for leftovers.
fn blocking(
    calls: &[Call<Action>],
    spans: &Spans,
    by_in_to: &[u32],
    mistake: Mistake,
    earliest: &mut Earliest,
) {
    if mistake.is(Mistake::LeftoversDoNotBlock) {
        return;
    }
    let span = |at: u32| &spans.values[at as usize];
    // From the last insertion backwards: the one put in from here on that came out first.
    let mut next_out: Vec<Option<&Span>> = Vec::with_capacity(spans.values.len());
    let mut first: Option<&Span> = None;
    for b in spans.values.iter().rev() {
        if b.is_removed() && first.is_none_or(|first| b.out_to < first.out_to) {
            first = Some(b);
        }
        next_out.push(first);
    }
    next_out.reverse();
    let mut later = 0;
    let leftovers: Vec<u32> = by_in_to.iter().copied().filter(|at| !span(*at).is_removed()).collect();
    for (turn, leftover) in leftovers.iter().enumerate() {
        while spans.values.get(later).is_some_and(|b| b.in_from < span(*leftover).in_to) {
            later += 1;
        }
        let Some(b) = next_out.get(later).copied().flatten() else { return };
        let taken_by = if mistake.is(Mistake::UnknownRemovesAll) { 0 } else { turn };
        let removal = spans.unknown.get(taken_by).map(|call| calls[*call as usize].invoked);
        if !mistake.is(Mistake::UnknownRemovesNothing) && removal.is_some_and(|invoked| invoked < b.out_to) {
            continue;
        }
        // Deadlines ascend, so the first one that is missed shows first.
        earliest.offer(calls, b.remove, || {
            let before = &leftovers[..=turn];
            if 2 * before.len() + 1 > HANDFUL {
                return Vec::new();
            }
            let takers =
                spans.unknown.iter().copied().filter(|call| calls[*call as usize].invoked < b.out_to);
            let insertions = before.iter().map(|at| span(*at).insert);
            insertions.chain([b.insert, b.remove]).chain(takers).collect()
        });
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::super::super::models::fifo_queue::FifoQueue;
    use super::super::collection::testing::Comparison;
    use super::*;

    fn comparison(histories: usize, tolerant: bool) -> Comparison<FifoQueue> {
        Comparison { seed: 12, histories, tolerant, model: PhantomData }
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
            Mistake::NeighboursOnly,
            Mistake::LeftoversDoNotBlock,
        ] {
            let seen = comparison(20_000, true).run(|calls| decide_with(calls, mistake), order);
            assert!(seen.wrong > 0, "{mistake:?}: {seen:?}");
        }
    }
}
