//! One object, judged as its operations complete.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use schism_history::ValueId;

use super::super::CheckError;
use super::super::budget::Budget;
use super::super::call::{Answer, Call, Decision};
use super::super::checker::Checker;
use super::super::engines::general;
use super::super::select::Engine;
use super::super::specification::{Misfit, Specification};
use super::frontier::{self, Start, WIDTH};
use super::{Pace, Sabotage};

/// Ways in which the past can have gone that are kept in place of it. More would cost more than the calls.
const STARTS: usize = 16;
/// Crashed calls that may be left of a past that is dropped: each may double what the search has to look at.
const CARRIED: usize = 8;

/// What an operation that is open may turn out to have been.
pub(super) enum Pending<A> {
    /// Of unknown outcome so far: this.
    Call(Call<A>),
    /// It constrains nothing so far.
    Nothing,
    /// It does not fit the model, unless it fails: its position, and what to say.
    Misfit(u32, CheckError),
}

/// What is known about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All that was looked at fits.
    Fits,
    /// The last look did not suffice.
    Unknown,
    /// No order fits the history up to this position.
    Violates(u32),
}

/// One object, with what is kept of its past.
pub(super) struct Object<S: Specification> {
    /// Key and part.
    pub name: (ValueId, ValueId),
    /// How it can stand after what was dropped; the initial state at first.
    starts: Vec<Start<S::State>>,
    /// The crashed calls of what was dropped; `starts` say which have taken effect.
    crashed: Vec<Call<S::Action>>,
    /// The completed calls since, those of unknown outcome among them.
    calls: Vec<Call<S::Action>>,
    /// How many of them were complete when nothing was open the last time: they are a prefix in every order.
    cut: usize,
    /// Open operations.
    pub open: u32,
    /// Whether something completed since the last decision.
    pub changed: bool,
    /// Whether it is in the list of those to look at.
    pub listed: bool,
    pub standing: Standing,
    /// When it was decided last, and how long that took.
    decided: Option<(Duration, Duration)>,
    /// When a look saw it change the last time.
    touched: Duration,
    /// Calls up to the cut when dropping them failed.
    refused: usize,
}

impl<S: Specification> Object<S> {
    pub fn new(specification: &S, name: (ValueId, ValueId)) -> Self {
        Self {
            name,
            starts: vec![Start { state: specification.initial(), used: 0 }],
            crashed: Vec::new(),
            calls: Vec::new(),
            cut: 0,
            open: 0,
            changed: false,
            listed: false,
            standing: Standing::Fits,
            decided: None,
            touched: Duration::ZERO,
            refused: 0,
        }
    }

    /// Calls kept.
    pub fn kept(&self) -> usize {
        self.calls.len() + self.crashed.len()
    }

    /// An operation was completed; `call` is what it did, if it can have done anything.
    pub fn complete(&mut self, call: Option<Call<S::Action>>) {
        self.open = self.open.saturating_sub(1);
        if self.is_violated() {
            return;
        }
        if let Some(call) = call {
            self.changed |= call.is_required();
            // Nearly in order already: only calls that overlap change places.
            let place =
                self.calls.iter().rposition(|other| other.invoked < call.invoked).map_or(0, |at| at + 1);
            self.calls.insert(place, call);
        }
        if self.open == 0 {
            self.cut = self.calls.len();
        }
    }

    pub fn is_violated(&self) -> bool {
        matches!(self.standing, Standing::Violates(_))
    }

    /// Whether a decision is due: at once where it is quiet and small, and else as often as leaves four fifths of the time to others.
    pub fn is_due(&self, now: Duration, pace: &Pace) -> bool {
        let wait = |spent: Duration| if self.open == 0 { spent * 4 } else { (spent * 4).max(pace.recheck) };
        self.changed && self.decided.is_none_or(|(at, spent)| now >= at.saturating_add(wait(spent)))
    }

    /// Whether nothing is left to do before something else happens.
    pub fn is_idle(&self, now: Duration, pace: &Pace) -> bool {
        self.is_violated()
            || (!self.changed
                && (!self.may_drop() || self.standing == Standing::Unknown)
                && now >= self.touched.saturating_add(pace.patience))
    }

    /// Whether there is a past to drop. What was refused once is tried again when there is twice as much of it.
    fn may_drop(&self) -> bool {
        self.cut > 0 && self.cut >= self.refused * 2
    }

    /// Decides what has happened up to now. `pending` are the operations that are open: each can have taken effect already, or
    /// never, so an order that does not exist with them does not exist however they end.
    pub fn decide(
        &mut self,
        checker: &Checker<'_, S>,
        engine: Engine,
        pending: impl Iterator<Item = Call<S::Action>>,
        now: Duration,
        budget: Budget,
        sabotage: Sabotage,
    ) {
        let begun = Instant::now();
        let mut calls = self.calls.clone();
        if sabotage != Sabotage::ForgetsPending {
            calls.extend(pending);
            calls.sort_by_key(|call| call.invoked);
        }
        self.standing = match self.answer(checker, engine, &calls, &budget) {
            Answer::Linearizable => Standing::Fits,
            Answer::Unknown(..) => Standing::Unknown,
            Answer::Impossible(contradiction) => Standing::Violates(contradiction.culprit as u32),
        };
        if self.is_violated() {
            (self.calls, self.crashed, self.starts) = Default::default();
            (self.cut, self.refused) = (0, 0);
        }
        self.decided = Some((now, begun.elapsed()));
        self.touched = now;
        self.changed = false;
    }

    /// The culprit of the answer is the position of its return.
    fn answer(
        &self,
        checker: &Checker<'_, S>,
        engine: Engine,
        kept: &[Call<S::Action>],
        budget: &Budget,
    ) -> Answer {
        let mut farthest = None;
        let mut unknown = None;
        for start in &self.starts {
            let left = self.crashed.iter().enumerate().filter(|(place, _)| start.used >> place & 1 == 0);
            let left = left.map(|(_, call)| call);
            // The special engines know the initial state only. What leads to another one is put where the past was, which was
            // at least as long: at the position of an invocation and of a return for each.
            let rebuilt = match start.state == checker.specification.initial() {
                true => Some(Vec::new()),
                false => checker.specification.rebuild(&start.state),
            };
            let seeds = rebuilt.iter().flatten().zip(0_u32..);
            let seeds = seeds.map(|(action, place)| Call {
                action: action.clone(),
                invoked: place * 2,
                returned: place * 2 + 1,
                source: 0,
            });
            let offset = rebuilt.as_ref().map_or(0, |actions| actions.len() as u32 * 2);
            // What crashed before has no effect before what is kept, and is older than that, so this is in order of invocation.
            let left = left.cloned().zip(offset..).map(|(call, place)| Call { invoked: place, ..call });
            let calls: Cow<'_, [_]> = match offset == 0 && self.crashed.is_empty() {
                true => kept.into(),
                false => seeds.chain(left).chain(kept.iter().cloned()).collect(),
            };
            let Decision { answer, .. } = if rebuilt.is_some() {
                checker.engines.decide(engine, &calls, budget.clone())
            } else {
                let later = Later { specification: checker.specification, state: &start.state };
                general::decide(&later, &calls, budget.clone()).0
            };
            match answer {
                Answer::Linearizable => return answer,
                Answer::Unknown(..) => unknown = Some(answer),
                Answer::Impossible(contradiction) => {
                    farthest = farthest.max(Some(calls[contradiction.culprit].returned));
                }
            }
        }
        unknown.unwrap_or(match farthest {
            Some(position) => Answer::impossible(position as usize),
            None => Answer::Linearizable,
        })
    }

    /// Drops the past up to the last moment at which nothing was open, if few ways in which it can have ended tell all that matters of it.
    /// Whether it did.
    pub fn drop_past(&mut self, specification: &S, now: Duration, pace: &Pace, pressed: bool) -> bool {
        let recent = now < self.touched.saturating_add(pace.patience);
        if !self.may_drop() || self.standing != Standing::Fits || self.changed || (recent && !pressed) {
            return false;
        }
        self.refused = self.cut;
        let past = &self.calls[..self.cut];
        let crashed: Vec<_> = past.iter().filter(|call| !call.is_required()).cloned().collect();
        if self.crashed.len() + crashed.len() > WIDTH {
            return false;
        }
        let all: Vec<_> = self.crashed.iter().chain(&crashed).cloned().collect();
        let required: Vec<_> = past.iter().filter(|call| call.is_required()).cloned().collect();
        let visits = pace.visits.saturating_mul(required.len() as u64 + 16);
        let Some(mut ends) = frontier::ends(specification, &self.starts, &all, &required, visits) else {
            return false;
        };
        if ends.is_empty() || ends.len() > STARTS {
            return false;
        }
        match pace.sabotage {
            Sabotage::DropsCrashed => ends.iter_mut().for_each(|end| end.used = u64::MAX),
            Sabotage::ForgetsUsed => ends.iter_mut().for_each(|end| end.used = 0),
            Sabotage::FirstStateOnly => ends.truncate(1),
            Sabotage::None | Sabotage::ForgetsPending => {}
        }
        // What every way has used up need not be carried on.
        let carried: Vec<usize> =
            (0..all.len()).filter(|place| ends.iter().any(|end| end.used >> place & 1 == 0)).collect();
        if carried.len() > CARRIED {
            return false;
        }
        for end in &mut ends {
            let bits = carried.iter().enumerate().map(|(bit, place)| (end.used >> place & 1) << bit);
            end.used = bits.fold(0, |used, bit| used | bit);
        }
        self.crashed = carried.into_iter().map(|place| all[place].clone()).collect();
        self.starts = ends;
        self.calls.drain(..self.cut);
        self.calls.shrink_to(64);
        (self.cut, self.refused) = (0, 0);
        true
    }
}

/// The same specification from another state on.
struct Later<'s, S: Specification> {
    specification: &'s S,
    state: &'s S::State,
}

impl<S: Specification> Specification for Later<'_, S> {
    type Action = S::Action;
    type State = S::State;

    fn initial(&self) -> S::State {
        self.state.clone()
    }

    fn action(&self, operation: &schism_history::View<'_>) -> Result<Option<S::Action>, Misfit> {
        self.specification.action(operation)
    }

    fn step(&self, state: &S::State, action: &S::Action) -> Option<S::State> {
        self.specification.step(state, action)
    }

    fn branch(&self, state: &S::State, action: &S::Action, next: &mut Vec<S::State>) {
        self.specification.branch(state, action, next);
    }

    fn observes(&self, action: &S::Action) -> bool {
        self.specification.observes(action)
    }

    fn bytes(&self, state: &S::State) -> usize {
        self.specification.bytes(state)
    }
}
