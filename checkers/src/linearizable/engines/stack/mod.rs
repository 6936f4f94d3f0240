//! Stacks with distinct values, in near-linear time.
//!
//! It does not apply where a value was pushed twice or something looked at the top. Exact, except that it gives up on
//! some histories with several pops of unknown outcome (below).
//!
//! A linearization is a point for each push and each pop so that the stretches from push to pop are nested or disjoint, and each call that
//! found nothing lies outside of all. Such a family is taken apart from the outside. (Removing values one by one without changing the answer is
//! the approach of Lee and Mathur, "Efficient decrease-and-conquer linearizability monitoring", OOPSLA 2025; what
//! follows is an argument of its own for stacks.) A value is *inside for certain* from the return of its push to the
//! invocation of its pop: its core.
//!
//! 1. Values whose push and pop overlap have no core. They are pushed and popped at one moment, which disturbs nothing: leave them out.
//! 2. In a gap that no core covers, the stack can be empty. The stretches around it form a chain; each belongs to a value pushed for certain
//!    after the gap, or popped for certain before it, or whose push or pop may move: cut off what reaches over, to the
//!    right or to the left, in the order of the chain. Nothing else is in the way. So what lies between two such
//!    gaps, a *component*, can be judged by itself, and a call that found nothing fits exactly if it has such a gap.
//! 3. The cores of a component cover it without a break, from the first return L of a push to the last invocation R of a pop. Of two
//!    disjoint outermost stretches the cores could not do that, so one stretch is around all others: that of a value with a push invoked before
//!    L and a pop that returned after R. Without such a value nothing fits.
//! 4. Each such value will do: in any solution its stretch can be taken out and put around all the others. Then they are judged
//!    without it, from step 2.
//!
//! What was never popped has its pop after all events and after all others' cores. A chain of values with cores that cover a component without a
//! break, which lacks a value as of step 3, is impossible by itself: it makes a component that lacks it, too.
//!
//! Unknown pushes that nobody saw are left out: a solution stays one without the push and the pop of a value. Those that were seen end when
//! their value is popped. Unknown pops can pop leftovers, which are values that no pop that returned took. Three answers are exact: if all fits
//! without those pops; if nothing fits even though each leftover had the earliest of them to itself; and if the ways to assign them
//! are few enough to try them all. An earlier pop allows whatever a later one does, and any pop what none does, so only the earliest pops are
//! assigned, and as many as possible.

mod order;
mod peel;

use super::super::budget::{Budget, Exhausted, Meter};
use super::super::call::{Answer, Call, Decision, NEVER};
use super::super::models::collection::Action;
use super::collection::cover::Cover;
use super::collection::empties::{self, HANDFUL};
use super::collection::{Earliest, FOREVER, Mistake, Span, Spans};
use peel::Layout;

const NAME: &str = "stack";

/// Ways to assign pops of unknown outcome that are tried at most.
const WAYS: usize = 120;

/// Decides the calls of one stack. `None`: a value was pushed twice, something looked at the top, or there are too many ways in which
/// pops of unknown outcome may have taken what was never popped otherwise.
pub(crate) fn decide(calls: &[Call<Action>], budget: Budget) -> Option<Decision> {
    decide_with(calls, budget, Mistake::None)
}

/// A linearization, if [`decide`] found that there is one.
pub(crate) fn order(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    order::build(calls)
}

fn decide_with(calls: &[Call<Action>], budget: Budget, mistake: Mistake) -> Option<Decision> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    let answer = match solve(calls, &spans, earliest, &mut Meter::new(budget), mistake) {
        Ok(Some(Solution::Fits(_))) => Answer::Linearizable,
        Ok(Some(Solution::Impossible(earliest))) => earliest.answer(),
        Ok(None) => return None,
        Err(limit) => Answer::Unknown(limit, 0),
    };
    Some(Decision { answer, engine: NAME })
}

enum Solution {
    /// With these pops for the leftovers.
    Fits(Vec<Span>),
    Impossible(Earliest),
}

fn solve(
    calls: &[Call<Action>],
    spans: &Spans,
    mut earliest: Earliest,
    meter: &mut Meter,
    mistake: Mistake,
) -> Result<Option<Solution>, Exhausted> {
    let unknown: &[u32] = if mistake.is(Mistake::UnknownRemovesNothing) { &[] } else { &spans.unknown };
    let leftovers: Vec<usize> =
        (0..spans.values.len()).filter(|at| !spans.values[*at].is_removed()).collect();
    let simple = unknown.is_empty() || leftovers.is_empty();
    let mut values = spans.values.clone();
    if let (false, Some(first)) = (simple, unknown.first()) {
        leftovers.iter().for_each(|at| assign(calls, &mut values[*at], *first));
    }
    // The judgement that is too mild if anything. Once it is a violation it is one.
    judge(calls, spans, &values, mistake, &mut earliest);
    if !earliest.is_none() {
        return Ok(Some(Solution::Impossible(earliest)));
    }
    if simple || mistake.is(Mistake::UnknownRemovesAll) {
        return Ok(Some(Solution::Fits(values)));
    }
    values.clone_from(&spans.values);
    let fits = |values: &[Span]| {
        let mut found = Earliest::default();
        judge(calls, spans, values, mistake, &mut found);
        found.is_none()
    };
    if fits(&values) {
        return Ok(Some(Solution::Fits(values)));
    }
    let pops = &unknown[..unknown.len().min(leftovers.len())];
    let ways = (0..pops.len()).try_fold(1_usize, |ways, taken| ways.checked_mul(leftovers.len() - taken));
    if ways.is_none_or(|ways| ways > WAYS) {
        return Ok(None);
    }
    // All ways, as counters: the digit of a pop says which of the leftovers that are still there it takes.
    for way in 0..ways.unwrap_or(0) {
        meter.spend(1 + spans.values.len(), 0)?;
        values.clone_from(&spans.values);
        let (mut rest, mut number) = (leftovers.clone(), way);
        for pop in pops {
            let digit = number % rest.len();
            number /= rest.len();
            assign(calls, &mut values[rest.swap_remove(digit)], *pop);
        }
        if fits(&values) {
            return Ok(Some(Solution::Fits(values)));
        }
    }
    // Nobody knows which calls would show it soonest: the last return will do.
    if let Some(last) = last_return(calls, 0..calls.len() as u32) {
        earliest.offer(calls, last, Vec::new);
    }
    Ok(Some(Solution::Impossible(earliest)))
}

/// The call that returned last.
fn last_return(calls: &[Call<Action>], among: impl Iterator<Item = u32>) -> Option<u32> {
    let returned = among.filter(|call| calls[*call as usize].is_required());
    returned.max_by_key(|call| calls[*call as usize].returned)
}

/// Lets a pop of unknown outcome take this value.
fn assign(calls: &[Call<Action>], span: &mut Span, pop: u32) {
    span.remove = pop;
    span.out_from = calls[pop as usize].invoked.max(span.in_from);
    // It has no end, as that of a value that is never popped.
    span.out_to = NEVER;
}

/// Notes what does not fit when values are popped like this.
fn judge(calls: &[Call<Action>], spans: &Spans, values: &[Span], mistake: Mistake, earliest: &mut Earliest) {
    if !spans.empties.is_empty() {
        let late = mistake.is(Mistake::CoversFromInvocation);
        let extra = u32::from(mistake.is(Mistake::CoversOneMore));
        let solid = values.iter().filter(|span| {
            span.is_solid() && (span.out_from != FOREVER || !mistake.is(Mistake::ForgetLeftovers))
        });
        let stretch = |span: &Span| (if late { span.in_from } else { span.in_to }, span.out_from + extra);
        let cover = Cover::new(solid.map(stretch).collect());
        let judged =
            Spans { values: values.to_vec(), empties: spans.empties.clone(), unknown: spans.unknown.clone() };
        empties::refuse(calls, &judged, &cover, earliest);
    }
    for chain in Layout::new(values, mistake).failures {
        let span = |at: u32| &values[at as usize];
        let mut pattern = empties::calls_of(values, &chain);
        // Of those pushed early enough to be around the others none was popped late enough; and the prefix of the history up to the last return
        // among these pops has no value that could be around the chain, either.
        let first = chain.first().map_or(0, |at| span(*at).in_to);
        let early = chain.iter().filter(|at| span(**at).in_from < first && span(**at).out_to != NEVER);
        let decisive = early.map(|at| span(*at).remove).max_by_key(|pop| calls[*pop as usize].returned);
        // As long as a pop has not returned, one of unknown outcome may have taken its value, as far as anybody can know.
        let decisive = decisive.filter(|pop| !spans.may_help(calls, calls[*pop as usize].returned));
        let Some(culprit) = decisive.or_else(|| last_return(calls, pattern.iter().copied())) else {
            continue;
        };
        if chain.iter().any(|at| span(*at).out_to == NEVER) {
            pattern.extend(&spans.unknown);
        }
        earliest.offer(calls, culprit, || if pattern.len() > HANDFUL { Vec::new() } else { pattern });
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::super::super::models::stack::Stack;
    use super::super::collection::testing::Comparison;
    use super::*;

    const FREE: Budget = Budget::UNLIMITED;

    fn comparison(histories: usize, tolerant: bool) -> Comparison<Stack> {
        Comparison { seed: 13, histories, tolerant, model: PhantomData }
    }

    #[test]
    fn agrees_with_the_brute_force() {
        let decide = |calls: &[Call<Action>]| decide_with(calls, FREE, Mistake::None);
        let seen = comparison(400_000, false).run(decide, order);
        assert!(seen.fits > 80_000 && seen.violations > 80_000, "{seen:?}");
        assert!(seen.undecided_distinct == 0 && seen.undecided > 1000, "{seen:?}");
        assert!(seen.with_patterns * 10 > seen.violations * 8, "{seen:?}");
    }

    /// As above, far more often and with larger histories: `cargo test --release -p schism-checkers -- --ignored hard`.
    #[test]
    #[ignore = "takes minutes"]
    fn agrees_with_the_brute_force_hard() {
        let decide = |calls: &[Call<Action>]| decide_with(calls, FREE, Mistake::None);
        for seed in 100..110 {
            let seen = Comparison { seed, ..comparison(300_000, false) }.run(decide, order);
            assert!(seen.fits > 60_000 && seen.violations > 60_000, "{seen:?}");
        }
    }

    #[test]
    fn planted_mistakes_are_found() {
        for mistake in [
            Mistake::CoversFromInvocation,
            Mistake::ForgetLeftovers,
            Mistake::CoversOneMore,
            Mistake::UnknownRemovesNothing,
            Mistake::UnknownRemovesAll,
            Mistake::IgnoreLeft,
            Mistake::IgnoreRight,
            Mistake::OutermostOnly,
            Mistake::NeverSplit,
        ] {
            let seen = comparison(20_000, true).run(|calls| decide_with(calls, FREE, mistake), order);
            assert!(seen.wrong > 0, "{mistake:?}: {seen:?}");
        }
    }
}
