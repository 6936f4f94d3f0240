//! What the engines of queues and stacks share: which removal took out which value, and when something was certainly inside.
//!
//! Every value is put in once and taken out once at most; else the engines do not apply. Then a linearization is nothing but a point for
//! every insertion and removal. Positions are those of events; the *gap* `g` is the time between the events `g` and `g + 1`, and there
//! is room for any number of points in a gap.

mod add_tree;
pub(super) mod cover;
pub(super) mod empties;
mod least_tree;
mod sorting;
#[cfg(test)]
pub(super) mod testing;

pub(super) use add_tree::AddTree;
pub(super) use least_tree::LeastTree;
use sorting::sort_by_key;

use super::super::call::{Answer, Call, Contradiction, NEVER};
use super::super::models::collection::Action;

/// The invocation of a removal that does not exist: after all events, before [`NEVER`].
pub(super) const FOREVER: u32 = NEVER - 1;

/// No call.
pub(super) const NONE: u32 = u32::MAX;

/// Several calls.
const AMBIGUOUS: u32 = u32::MAX - 1;

/// A value that was put in for certain. The insertion's interval is (`in_from`, `in_to`), the removal's (`out_from`, `out_to`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub in_from: u32,
    pub in_to: u32,
    /// [`FOREVER`] if it was never taken out by a removal that returned.
    pub out_from: u32,
    pub out_to: u32,
    /// The call that put it in.
    pub insert: u32,
    /// The call that took it out, or [`NONE`].
    pub remove: u32,
}

impl Span {
    /// Whether it was inside during some time for certain, which is from `in_to` to `out_from`.
    pub fn is_solid(&self) -> bool {
        self.in_to < self.out_from
    }

    pub fn is_removed(&self) -> bool {
        self.remove != NONE
    }
}

/// The calls, sorted out.
pub(super) struct Spans {
    /// In the order of their insertions' invocations. What was put in by a call of unknown outcome, and never taken out by one that
    /// returned, is left out: in every order both that call and a removal of unknown outcome that takes it out can be left out.
    pub values: Vec<Span>,
    /// Calls that found nothing inside, in the order of their invocations.
    pub empties: Vec<u32>,
    /// Removals of unknown outcome, in the order of their invocations.
    pub unknown: Vec<u32>,
}

/// The violation that shows first.
#[derive(Default)]
pub(super) struct Earliest {
    found: Option<(u32, Contradiction)>,
}

impl Earliest {
    /// Notes a violation that shows when `culprit` returns.
    pub fn offer(&mut self, calls: &[Call<Action>], culprit: u32, pattern: impl FnOnce() -> Vec<u32>) {
        let shows = calls[culprit as usize].returned;
        if self.found.as_ref().is_some_and(|(known, _)| *known <= shows) {
            return;
        }
        let mut pattern: Vec<usize> = pattern().into_iter().map(|call| call as usize).collect();
        pattern.sort_unstable();
        pattern.dedup();
        self.found = Some((shows, Contradiction { culprit: culprit as usize, pattern }));
    }

    pub fn is_none(&self) -> bool {
        self.found.is_none()
    }

    pub fn answer(self) -> Answer {
        match self.found {
            Some((_, contradiction)) => Answer::Impossible(contradiction),
            None => Answer::Linearizable,
        }
    }
}

impl Spans {
    /// Sorts out the calls. `None` if a value was put in more than once, or if something was looked at without taking it out.
    ///
    /// Removals that contradict the insertion of their value, or each other, are noted in `earliest` and left out: the first two of the
    /// bad patterns of Bouajjani, Emmi, Enea and Hamza ("On reducing linearizability to state reachability", ICALP 2015). A value that was
    /// taken out twice is left out with all its calls, since either removal may be the wrong one; what fits with it fits without it.
    pub fn new(calls: &[Call<Action>], earliest: &mut Earliest) -> Option<Self> {
        let mut keyed: Vec<u32> = Vec::with_capacity(calls.len());
        let (mut empties, mut unknown) = (Vec::new(), Vec::new());
        for (call, at) in calls.iter().zip(0_u32..) {
            match call.action {
                Action::Insert(_) | Action::Remove(_) => keyed.push(at),
                Action::Empty if call.is_required() => empties.push(at),
                Action::RemoveAny if call.is_required() => return None,
                Action::RemoveAny => unknown.push(at),
                Action::Empty => {}
                Action::Peek(_) => return None,
            }
        }
        let value = |at: u32| match calls[at as usize].action {
            Action::Insert(value) | Action::Remove(value) | Action::Peek(value) => value.raw(),
            Action::Empty | Action::RemoveAny => 0,
        };
        let keyed = sort_by_key(keyed, value);
        let mut removals = vec![NONE; calls.len()];
        for group in keyed.chunk_by(|a, b| value(*a) == value(*b)) {
            let members = group.iter().copied();
            let is_insertion = |at: &u32| matches!(calls[*at as usize].action, Action::Insert(_));
            let mut insertions = members.clone().filter(is_insertion);
            let (insertion, another) = (insertions.next(), insertions.next());
            if another.is_some() {
                return None;
            }
            let returned = |at: u32| calls[at as usize].returned;
            let mut first = NONE;
            for removal in members.filter(|at| !is_insertion(at)) {
                if !calls[removal as usize].is_required() {
                    // No model has removals that know what they took out and not whether.
                    return None;
                }
                let Some(insertion) = insertion.filter(|at| calls[*at as usize].invoked < returned(removal))
                else {
                    earliest.offer(calls, removal, || insertion.into_iter().chain([removal]).collect());
                    continue;
                };
                if first == NONE {
                    first = removal;
                    removals[insertion as usize] = removal;
                    continue;
                }
                let culprit = if returned(first) < returned(removal) { removal } else { first };
                earliest.offer(calls, culprit, || vec![insertion, first, removal]);
                removals[insertion as usize] = AMBIGUOUS;
            }
        }
        let mut values = Vec::with_capacity(keyed.len() / 2 + 1);
        for (call, at) in calls.iter().zip(0_u32..) {
            let Action::Insert(_) = call.action else { continue };
            let remove = removals[at as usize];
            let (in_from, in_to) = (call.invoked, call.returned);
            if remove == AMBIGUOUS {
                continue;
            }
            if remove != NONE {
                let removal = &calls[remove as usize];
                values.push(Span {
                    in_from,
                    // It is put in before it is taken out, so before that returns, and taken out after this is invoked.
                    in_to: in_to.min(removal.returned),
                    out_from: removal.invoked.max(in_from),
                    out_to: removal.returned,
                    insert: at,
                    remove,
                });
            } else if call.is_required() {
                values.push(Span { in_from, in_to, out_from: FOREVER, out_to: NEVER, insert: at, remove });
            }
        }
        Some(Self { values, empties, unknown })
    }

    /// Whether a removal of unknown outcome can have taken effect before this position.
    pub fn may_help(&self, calls: &[Call<Action>], before: u32) -> bool {
        self.unknown.first().is_some_and(|first| calls[*first as usize].invoked < before)
    }
}

/// `0..count` in the order of a key.
pub(super) fn sorted(count: usize, key: impl Fn(usize) -> u32) -> Vec<u32> {
    sort_by_key((0..count as u32).collect(), |at| key(at as usize))
}

/// Plausible mistakes in these engines. Their tests make each and require that the comparison with the brute force finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Mistake {
    None,
    /// A value covers the time from its insertion's invocation.
    CoversFromInvocation,
    /// Something that was never taken out covers nothing.
    ForgetLeftovers,
    /// The time right after a cover counts as covered.
    CoversOneMore,
    /// A removal of unknown outcome takes out nothing.
    UnknownRemovesNothing,
    /// A removal of unknown outcome takes out anything, any number of times.
    UnknownRemovesAll,
    /// Queue: only neighbours in the order of insertion are compared.
    NeighboursOnly,
    /// Queue: what was never taken out does not block what came after it.
    LeftoversDoNotBlock,
    /// Stack: the outermost value need not be put in first.
    IgnoreLeft,
    /// Stack: the outermost value need not be taken out last.
    IgnoreRight,
    /// Stack: what is inside of the outermost value is not looked at.
    OutermostOnly,
    /// Stack: after taking off the outermost value the rest stays in one piece.
    NeverSplit,
}

impl Mistake {
    /// Whether this mistake is to be made; never, outside the tests of this crate.
    #[inline]
    pub fn is(self, mistake: Mistake) -> bool {
        #[cfg(test)]
        return self == mistake;
        #[cfg(not(test))]
        {
            let _ = mistake;
            false
        }
    }
}
