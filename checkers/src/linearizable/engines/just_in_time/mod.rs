//! Just-in-time linearization of registers with compare-and-set.
//!
//! Source: Lowe, "Testing for linearizability" (2017): walk the events, keep the set of configurations that the past
//! allows, and let operations take effect only when a return forces one to. What is kept is bounded by the operations open
//! at once and not by the length of the history. The reductions that keep the set small are in
//! [`reductions`], each with its proof.

mod call;
mod configuration;
#[cfg(test)]
mod differential;
mod groups;
mod reductions;
mod schedule;

use schism_history::ValueId;

use super::super::budget::{Budget, Exhausted, Meter};
use super::super::call::{Answer as Verdict, Call, Decision};
use super::super::models::register::Action;
use configuration::{Configuration, Frontier, Slots};
use groups::Groups;
use schedule::{Schedule, Step, StepKind};

pub(crate) use call::{INITIAL, NEVER, Number, Numbering, RegisterCall};
pub(crate) use reductions::{Reductions, Sabotage};

/// The name in results.
pub(crate) const NAME: &str = "just-in-time";

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Some order fits.
    Linearizable,
    /// No order fits the history up to the return of this call (an index into the calls).
    Impossible(usize),
    /// A limit was reached after so many of the calls had returned.
    Unknown(Exhausted, usize),
}

/// The state that stands for all states without observers.
const DEAD: Number = Number::MAX;

/// Decides whether `calls` on one register, whose values are below `values`, can be put in order. Returns the answer and
/// how many configurations were visited.
pub(crate) fn decide(
    calls: &[RegisterCall],
    values: usize,
    reductions: Reductions,
    budget: Budget,
) -> (Answer, u64) {
    let schedule = Schedule::new(calls, values, &reductions);
    match schedule.width {
        0..=64 => Search::<1>::new(&schedule, reductions, budget).run(),
        65..=128 => Search::<2>::new(&schedule, reductions, budget).run(),
        129..=512 => Search::<8>::new(&schedule, reductions, budget).run(),
        513..=2048 => Search::<32>::new(&schedule, reductions, budget).run(),
        2049..=16384 => Search::<256>::new(&schedule, reductions, budget).run(),
        _ => (Answer::Unknown(Exhausted::Width, 0), 0),
    }
}

/// Decides the calls of any register that has the value `initial` at first.
pub(crate) fn decide_calls(calls: &[Call<Action<ValueId>>], initial: ValueId, budget: Budget) -> Decision {
    let (calls, numbering) = Numbering::of(calls, initial);
    let (answer, _) = decide(&calls, numbering.count(), Reductions::ALL, budget);
    let answer = match answer {
        Answer::Linearizable => Verdict::Linearizable,
        Answer::Impossible(culprit) => Verdict::impossible(culprit),
        Answer::Unknown(limit, done) => Verdict::Unknown(limit, done),
    };
    Decision { answer, engine: NAME }
}

/// An open operation.
#[derive(Clone, Copy)]
struct Open {
    call: u32,
    /// Until when it takes effect or never: its return, if it has one.
    deadline: usize,
    action: Action<Number>,
}

struct Search<'s, const W: usize> {
    schedule: &'s Schedule,
    reductions: Reductions,
    meter: Meter,
    /// What a slot holds; stale where the slot is free.
    open: Vec<Open>,
    groups: Groups<W>,
    /// The plain writes among the open operations.
    plain: Slots<W>,
    frontier: Frontier<W>,
    /// The search of one return, kept for its memory.
    seen: Frontier<W>,
    waiting: Vec<Configuration<W>>,
    next: Frontier<W>,
}

impl<'s, const W: usize> Search<'s, W> {
    fn new(schedule: &'s Schedule, reductions: Reductions, budget: Budget) -> Self {
        let mut frontier = Frontier::new(reductions);
        frontier.insert(Configuration { state: INITIAL, required: Slots::EMPTY, available: Slots::EMPTY });
        Self {
            schedule,
            reductions,
            meter: Meter::new(budget),
            open: vec![Open { call: 0, deadline: 0, action: Action::Read(INITIAL) }; schedule.width],
            groups: Groups::new(schedule.last_observed.len()),
            plain: Slots::EMPTY,
            frontier,
            seen: Frontier::new(reductions),
            waiting: Vec::new(),
            next: Frontier::new(reductions),
        }
    }

    fn run(mut self) -> (Answer, u64) {
        let mut returned = 0;
        for step in &self.schedule.steps {
            match step.kind {
                StepKind::Invoke => self.invoke(step),
                StepKind::Forget => self.forget(step),
                StepKind::Return => {
                    if let Err(exhausted) = self.complete(step) {
                        return (Answer::Unknown(exhausted, returned), self.meter.visited());
                    }
                    if self.frontier.is_empty() {
                        return (Answer::Impossible(step.call as usize), self.meter.visited());
                    }
                    returned += 1;
                }
            }
        }
        (Answer::Linearizable, self.meter.visited())
    }

    fn action(&self, slot: usize) -> Action<Number> {
        self.open[slot].action
    }

    fn invoke(&mut self, step: &Step) {
        let (slot, call) = (step.slot as usize, step.call as usize);
        let (deadline, action) = (self.schedule.deadlines[call], self.schedule.actions[call]);
        self.open[slot] = Open { call: step.call, deadline, action };
        let required = self.schedule.required[call];
        let discharge = self.reductions.discharge;
        match action {
            Action::Read(value) => {
                self.groups.of(value).reads.insert(slot);
                let free = self.reductions.sabotaged(Sabotage::ReadsAreFree);
                self.frontier.for_each_mut(|configuration| {
                    if configuration.state != value && !free {
                        configuration.required.insert(slot);
                    }
                });
            }
            Action::Write(value) => {
                self.groups.of(value).writes.insert(slot);
                self.plain.insert(slot);
                self.frontier.for_each_mut(|configuration| {
                    configuration.available.insert(slot);
                    if required && !(discharge && configuration.state == value) {
                        configuration.required.insert(slot);
                    }
                });
            }
            Action::Cas(expected, _) => {
                self.groups.of(expected).compares.insert(slot);
                self.frontier.for_each_mut(|configuration| {
                    configuration.available.insert(slot);
                    if required {
                        configuration.required.insert(slot);
                    }
                });
            }
        }
    }

    fn close(&mut self, slot: usize) {
        let value = match self.action(slot) {
            Action::Read(value) | Action::Write(value) | Action::Cas(value, _) => value,
        };
        self.plain.remove(slot);
        if !self.reductions.sabotaged(Sabotage::GroupsAreNeverLeft) {
            self.groups.leave(value, slot);
        }
    }

    fn forget(&mut self, step: &Step) {
        self.next.clear();
        for configuration in self.frontier.iter() {
            let mut configuration = *configuration;
            configuration.available.remove(step.slot as usize);
            self.next.insert(configuration);
        }
        std::mem::swap(&mut self.frontier, &mut self.next);
        self.close(step.slot as usize);
    }

    /// Lets operations take effect until the one that returns has.
    fn complete(&mut self, step: &Step) -> Result<(), Exhausted> {
        let slot = step.slot as usize;
        let position = self.open[slot].deadline;
        let open = |configuration: &Configuration<W>| {
            configuration.required.contains(slot) || configuration.available.contains(slot)
        };
        self.meter.spend(self.frontier.len(), 0)?;
        if !self.frontier.iter().any(open) {
            self.close(slot);
            return Ok(());
        }
        self.next.clear();
        self.seen.clear();
        self.waiting.clear();
        for configuration in self.frontier.iter() {
            if !open(configuration) {
                self.next.insert(self.done(*configuration, slot));
            } else if self.seen.insert(*configuration) {
                self.waiting.push(*configuration);
            }
        }
        while let Some(configuration) = self.waiting.pop() {
            let waiting = self.waiting.capacity() * size_of::<Configuration<W>>();
            let bytes = self.frontier.bytes() + self.next.bytes() + self.seen.bytes() + waiting;
            // Comparing with a large set is work too.
            self.meter.spend(1 + self.seen.len() / 32, bytes)?;
            if !configuration.required.contains(slot) {
                // An optional write that returns. It can have taken effect earlier, unseen …
                self.next.insert(self.done(configuration, slot));
                // … or as late as now, which matters to later observers only.
                if !self.observed_after(self.action(slot).leaves(), position)
                    || self.reductions.sabotaged(Sabotage::OptionalNeverLast)
                {
                    continue;
                }
            }
            for candidate in configuration.available.iter() {
                if !self.worth_trying(&configuration, candidate, slot) {
                    continue;
                }
                let after = self.take(configuration, candidate);
                if !open(&after) {
                    self.next.insert(self.done(after, slot));
                } else if self.seen.insert(after) {
                    self.waiting.push(after);
                }
            }
        }
        std::mem::swap(&mut self.frontier, &mut self.next);
        self.close(slot);
        Ok(())
    }

    /// The configuration after the return.
    fn done(&self, mut configuration: Configuration<W>, slot: usize) -> Configuration<W> {
        configuration.required.remove(slot);
        configuration.available.remove(slot);
        let position = self.open[slot].deadline;
        if self.reductions.merge_dead_states && !self.observed_after(configuration.state, position) {
            configuration.state = DEAD;
        }
        configuration
    }

    fn observed_after(&self, value: Number, position: usize) -> bool {
        value != DEAD && self.schedule.last_observed[value as usize] > position
    }

    /// Whether `candidate` can take effect now, and no reduction says that it need not be tried on the way to the
    /// return of `returning`.
    fn worth_trying(&self, configuration: &Configuration<W>, candidate: usize, returning: usize) -> bool {
        let action = self.action(candidate);
        let produced = match action {
            Action::Read(_) => return false,
            Action::Write(value) => value,
            Action::Cas(expected, _) if expected != configuration.state => return false,
            Action::Cas(_, new) => new,
        };
        let duty = matches!(action, Action::Cas(..))
            && configuration.required.contains(candidate)
            && !self.reductions.sabotaged(Sabotage::RequiredCasMustBeUseful);
        if self.reductions.only_useful
            && candidate != returning
            && !duty
            && !self.is_awaited(configuration, produced)
        {
            return false;
        }
        !self.reductions.earliest_deadline_first || !self.another_first(configuration, candidate, action)
    }

    /// Whether an open operation that has not taken effect observes `value`.
    fn is_awaited(&self, configuration: &Configuration<W>, value: Number) -> bool {
        self.groups.get(value).is_some_and(|group| {
            configuration.required.meets(&group.reads)
                || (configuration.available.meets(&group.compares)
                    && !self.reductions.sabotaged(Sabotage::CasIsNoObserver))
        })
    }

    /// Whether an available operation of equal effect has an earlier deadline, and is not optional where `candidate` is
    /// required.
    fn another_first(
        &self,
        configuration: &Configuration<W>,
        candidate: usize,
        action: Action<Number>,
    ) -> bool {
        let rank = |slot: usize| (self.open[slot].deadline, self.open[slot].call);
        let equal = match action {
            Action::Read(value) | Action::Write(value) => self.groups.get(value).map(|group| &group.writes),
            Action::Cas(expected, _) => self.groups.get(expected).map(|group| &group.compares),
        };
        let Some(equal) = equal else { return false };
        let required = configuration.required.contains(candidate);
        configuration.available.and(equal).iter().any(|other| {
            let before = if self.reductions.sabotaged(Sabotage::LatestDeadlineFirst) {
                rank(other) > rank(candidate)
            } else {
                rank(other) < rank(candidate)
            };
            before
                && self.action(other) == action
                && (!required
                    || configuration.required.contains(other)
                    || self.reductions.sabotaged(Sabotage::DeadlineBeatsDuty))
        })
    }

    /// The configuration after `slot` took effect, with all that then happens by itself.
    fn take(&self, mut configuration: Configuration<W>, slot: usize) -> Configuration<W> {
        if !self.schedule.endless[self.open[slot].call as usize] {
            configuration.available.remove(slot);
        }
        configuration.required.remove(slot);
        let action = self.action(slot);
        configuration.state = action.leaves();
        let discharges = match action {
            Action::Cas(..) => self.reductions.sabotaged(Sabotage::CasDischarges),
            Action::Read(_) | Action::Write(_) => true,
        };
        if self.reductions.discharge && discharges {
            configuration.required = if self.reductions.sabotaged(Sabotage::DischargeCas) {
                configuration.required.without(&configuration.available)
            } else {
                configuration.required.without(&self.plain)
            };
        }
        if let Some(group) = self.groups.get(configuration.state) {
            configuration.required = configuration.required.without(&group.reads);
            if self.reductions.discharge {
                configuration.required = configuration.required.without(&group.writes);
            }
        }
        configuration
    }
}
