//! The calls of one object as they are in a history that ends early, and trials of parts of them.

use std::time::{Duration, Instant};

use schism_history::{OPEN, Outcome, Table, ValueId};

use super::super::super::budget::Budget;
use super::super::super::call::{Answer, Call, Contradiction, NEVER};
use super::super::super::checker::Decide;
use super::super::super::engines::general;
use super::super::super::specification::Specification;
use super::window::{Step, Window};

/// Open calls that all configurations of one trial may look at: what is of unknown outcome stays open, and is looked at again
/// and again.
const LOOKS: u64 = 20_000_000;

/// What the call would be had nobody heard of its outcome; `None`: it would constrain nothing.
pub(in super::super) fn forget<S: Specification>(
    specification: &S,
    table: &Table,
    call: &Call<S::Action>,
) -> Option<S::Action> {
    if call.returned == NEVER {
        return Some(call.action.clone());
    }
    let mut view = table.view(call.source as usize);
    let mut row = *view.row;
    (row.outcome, row.result) = (Outcome::Unknown, ValueId::ABSENT);
    (row.completed, row.complete_time) = (OPEN, row.invoke_time);
    view.row = &row;
    specification.action(&view).unwrap_or_else(|_| Some(call.action.clone()))
}

/// The calls of one object, as its evidence needs them.
pub(super) struct Past<'a, S: Specification> {
    pub specification: &'a S,
    pub calls: &'a [Call<S::Action>],
    /// What each call is while its outcome is unknown; `None`: it constrains nothing then.
    unknown: Vec<Option<S::Action>>,
}

impl<'a, S: Specification> Past<'a, S> {
    pub fn new(specification: &'a S, table: &Table, calls: &'a [Call<S::Action>]) -> Self {
        let unknown = calls.iter().map(|call| forget(specification, table, call)).collect();
        Self { specification, calls, unknown }
    }

    /// The call as it is in a history that ends at `end`; `None`: it constrains nothing there.
    pub fn at(&self, call: usize, end: u32) -> Option<Call<S::Action>> {
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
    pub fn trial(&self, kept: &[usize], freed: &[usize], end: u32) -> Vec<Call<S::Action>> {
        let mut trial = Vec::with_capacity(kept.len() + freed.len());
        for call in freed {
            if let Some(action) = self.unknown[*call].clone() {
                let invoked = trial.len() as u32;
                trial.push(Call { action, invoked, returned: NEVER, source: self.calls[*call].source });
            }
        }
        let shift = trial.len() as u32;
        let kept = kept.iter().filter_map(|call| self.at(*call, end));
        trial.extend(kept.map(|call| shifted(&call, call.action.clone(), shift)));
        trial
    }

    /// As [`trial`](Self::trial), of a history that begins at `begin` in any state. What was over by then is not part of it. What was open then took
    /// effect before, which is part of the state, or does so in time.
    pub fn window(
        &self,
        kept: &[usize],
        freed: &[usize],
        (begin, end): (u32, u32),
        sums: bool,
    ) -> Vec<Call<Step<S::Action>>> {
        let source = 0;
        let mut trial = vec![Call { action: Step::Begin, invoked: 0, returned: 1, source }];
        for call in freed.iter().filter(|call| self.calls[**call].returned > begin) {
            if let Some(action) = self.unknown[*call].clone() {
                let invoked = trial.len() as u32 + 1;
                let action = if sums { Step::Perhaps(action) } else { Step::Do(action) };
                trial.push(Call { action, invoked, returned: NEVER, source });
            }
        }
        let shift = trial.len() as u32 + 1;
        for call in kept.iter().filter_map(|call| self.at(*call, end)) {
            let action = call.action.clone();
            match call.invoked < begin && (sums || call.is_required()) {
                false => trial.push(shifted(&call, Step::Do(action), shift)),
                // Its result is what it is, but what changes nothing need not be in the window.
                true if call.returned < begin || self.specification.observes(&action) => {}
                true => trial.push(shifted(&call, Step::Perhaps(action), shift)),
            }
        }
        if sums {
            let last = trial.iter().flat_map(|call| [call.invoked, call.returned]);
            let last = last.filter(|position| *position != NEVER).max().unwrap_or(0);
            trial.push(Call { action: Step::End, invoked: last + 1, returned: last + 2, source });
        }
        trial
    }
}

fn shifted<A, B>(call: &Call<A>, action: B, shift: u32) -> Call<B> {
    let returned = if call.returned == NEVER { NEVER } else { call.returned + shift };
    Call { action, invoked: call.invoked + shift, returned, source: call.source }
}

/// Decides trials, as long as there is work and time left.
pub(super) struct Trials<'a, S: Specification> {
    decide: &'a Decide<'a, S>,
    left: u64,
    deadline: Option<(Instant, Duration)>,
}

impl<'a, S: Specification> Trials<'a, S> {
    pub fn new(decide: &'a Decide<'a, S>, work: u64, deadline: Option<(Instant, Duration)>) -> Self {
        Self { decide, left: work, deadline }
    }

    /// Whether anything more can be tried.
    pub fn go_on(&mut self) -> bool {
        if self.deadline.is_some_and(|(deadline, _)| Instant::now() >= deadline) {
            self.left = 0;
        }
        self.left > 0
    }

    fn budget<A>(&mut self, calls: &[Call<A>], limit: u64) -> Budget {
        let open = calls.iter().filter(|call| !call.is_required()).count() as u64;
        let visits = limit.max(calls.len() as u64 * 4).min(self.left).min(LOOKS / (1 + open));
        self.left = self.left.saturating_sub(calls.len() as u64 + visits / 64);
        Budget { deadline: self.deadline, ..Budget::visits(visits) }
    }

    fn settle(&mut self, answer: Answer, visits: u64) -> Option<Contradiction> {
        match answer {
            Answer::Impossible(contradiction) => Some(contradiction),
            Answer::Linearizable => None,
            Answer::Unknown(..) => {
                self.left = self.left.saturating_sub(visits);
                None
            }
        }
    }

    /// What is impossible about the calls, if they are found to be impossible.
    pub fn contradiction(&mut self, calls: &[Call<S::Action>], limit: u64) -> Option<Contradiction> {
        let budget = self.budget(calls, limit);
        let visits = budget.visits;
        let answer = (self.decide)(calls, budget).answer;
        self.settle(answer, visits)
    }

    /// Whether the calls of a window are found to be impossible.
    pub fn is_impossible_in(
        &mut self,
        window: &Window<'_, S>,
        calls: &[Call<Step<S::Action>>],
        limit: u64,
    ) -> bool {
        let budget = self.budget(calls, limit);
        let visits = budget.visits;
        let answer = general::decide(window, calls, budget).0.answer;
        self.settle(answer, visits).is_some()
    }
}
