//! Where something can have been found empty.

use super::super::super::call::{Call, NEVER};
use super::cover::{Cover, chain};
use super::{Action, Earliest, FOREVER, Mistake, Span, Spans, sorted};

/// Calls in a pattern at most; more explain nothing to anybody.
pub(in crate::linearizable::engines) const HANDFUL: usize = 24;

/// When something was certainly inside, whatever removals of unknown outcome took out.
pub(in crate::linearizable::engines) fn cover(
    calls: &[Call<Action>],
    spans: &Spans,
    leftovers: &[u32],
    mistake: Mistake,
) -> Cover {
    let mut stretches = solid(spans, mistake);
    stretches.extend(beyond_unknown(calls, spans, leftovers, mistake));
    Cover::new(stretches)
}

/// Stretches between the insertion and the removal of a value, both of which returned.
fn solid(spans: &Spans, mistake: Mistake) -> Vec<(u32, u32)> {
    let from =
        |span: &Span| if mistake.is(Mistake::CoversFromInvocation) { span.in_from } else { span.in_to };
    let to = |span: &Span| span.out_from + u32::from(mistake.is(Mistake::CoversOneMore));
    let taken_out = spans.values.iter().filter(|span| span.is_removed() && span.is_solid());
    taken_out.map(|span| (from(span), to(span))).collect()
}

/// The values that no removal that returned took out, in the order in which their insertions returned.
pub(in crate::linearizable::engines) fn leftovers(spans: &Spans) -> Vec<u32> {
    let by_return = sorted(spans.values.len(), |at| spans.values[at].in_to);
    by_return.into_iter().filter(|at| !spans.values[*at as usize].is_removed()).collect()
}

/// Stretches during which there were more leftovers for certain than removals of unknown outcome had been invoked.
fn beyond_unknown(
    calls: &[Call<Action>],
    spans: &Spans,
    leftovers: &[u32],
    mistake: Mistake,
) -> Vec<(u32, u32)> {
    let mut stretches = Vec::new();
    if mistake.is(Mistake::ForgetLeftovers) {
        return stretches;
    }
    let unknown: &[u32] = if mistake.is(Mistake::UnknownRemovesNothing) { &[] } else { &spans.unknown };
    let mut removals = unknown.iter().map(|call| calls[*call as usize].invoked).peekable();
    if mistake.is(Mistake::UnknownRemovesAll) && removals.peek().is_some() {
        return stretches;
    }
    // Leftovers inside beyond the removals invoked: below zero, some of those can wait for what is put in later.
    let (mut excess, mut since) = (0_i64, FOREVER);
    let mut inside = leftovers.iter().map(|value| spans.values[*value as usize].in_to).peekable();
    loop {
        let (next, removal) = (inside.peek().copied(), removals.peek().copied());
        match (next, removal) {
            (Some(next), removal) if removal.is_none_or(|removal| next < removal) => {
                inside.next();
                excess += 1;
                if excess == 1 {
                    since = next;
                }
            }
            (_, Some(removal)) => {
                removals.next();
                if excess == 1 {
                    stretches.push((since, removal));
                }
                excess -= 1;
            }
            (_, None) => break,
        }
    }
    if excess > 0 {
        stretches.push((since, FOREVER));
    }
    stretches
}

/// Notes the first call that found nothing although `cover` leaves no gap of its interval free.
pub(in crate::linearizable::engines) fn refuse(
    calls: &[Call<Action>],
    spans: &Spans,
    cover: &Cover,
    earliest: &mut Earliest,
) {
    let call_of = |empty: u32| &calls[empty as usize];
    let without_gap = spans.empties.iter().copied().filter(|empty| {
        let call = call_of(*empty);
        cover.free(call.invoked, call.returned).is_none()
    });
    let Some(empty) = without_gap.min_by_key(|empty| call_of(*empty).returned) else { return };
    // Before a removal returns, one of unknown outcome may have taken out its value, as far as anybody can know.
    let culprit = if spans.may_help(calls, call_of(empty).returned) {
        let inside = |span: &&Span| {
            span.in_to < call_of(empty).returned
                && span.out_from > call_of(empty).invoked
                && span.out_to != NEVER
        };
        let removals = spans.values.iter().filter(inside).map(|span| span.remove);
        removals.chain([empty]).max_by_key(|removal| call_of(*removal).returned).unwrap_or(empty)
    } else {
        empty
    };
    earliest.offer(calls, culprit, || pattern(calls, spans, empty, culprit));
}

/// The call, and values of which one after the other was inside during its whole interval; empty if it takes many.
fn pattern(calls: &[Call<Action>], spans: &Spans, empty: u32, culprit: u32) -> Vec<u32> {
    let call = &calls[empty as usize];
    let helped = spans.may_help(calls, call.returned);
    let order = sorted(spans.values.len(), |at| spans.values[at].in_to);
    let stretches = order.into_iter().filter_map(|at| {
        let span = &spans.values[at as usize];
        (span.is_solid() && (span.is_removed() || !helped)).then_some((at, (span.in_to, span.out_from)))
    });
    let chain = chain(stretches, call.invoked, call.returned);
    let mut calls_of = calls_of(&spans.values, &chain);
    calls_of.push(empty);
    if helped && chain.iter().any(|at| spans.values[*at as usize].out_to == NEVER) {
        calls_of.extend(&spans.unknown);
    }
    if chain.is_empty() || calls_of.len() > HANDFUL || !calls_of.contains(&culprit) {
        return Vec::new();
    }
    calls_of
}

/// The insertions and removals of these values.
pub(in crate::linearizable::engines) fn calls_of(spans: &[Span], values: &[u32]) -> Vec<u32> {
    let of_one = |at: &u32| {
        let span = &spans[*at as usize];
        [Some(span.insert), span.is_removed().then_some(span.remove)]
    };
    values.iter().flat_map(of_one).flatten().collect()
}
