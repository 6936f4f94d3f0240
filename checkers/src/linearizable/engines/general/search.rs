//! The search itself: depth first, without recursion. What to try at each configuration is in `candidates`.

mod candidates;

use super::super::super::budget::{Budget, Exhausted, Meter};
use super::super::super::call::Call;
use super::super::super::specification::Specification;
use super::cache::{Configuration, DeadEnds};
use super::components::{Component, Components};
use super::reductions::{Reductions, Sabotage};
use super::schedule::{Schedule, Window};
use super::sets::{self, Sets};
use super::states::{Effect, States};

/// Slots that fit into a configuration as bits.
const BITS: usize = 32;

/// Searches that are started again because an action was wrongly taken for an observer; after that, none is taken for one.
const ATTEMPTS: usize = 4;

/// Pairs of a state and an observer that are looked at to confirm an answer; were there more, it is cheaper to search again.
const CONFIRMED: usize = 1 << 25;

/// What is known about an action.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It has never changed a state.
    Unmoving,
    /// As above, and calls took effect at once because of it.
    Observer,
    /// The specification says that it never changes a state.
    Promised,
    /// It has changed a state.
    Mover,
}

/// Which calls are to be tried at a configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The one that returns.
    Returning,
    /// Those after which it can happen.
    Helpers,
    /// The rest of them.
    Others,
    /// All, since it can happen already.
    All,
}

/// A configuration on the way, and what to try next there.
#[derive(Clone, Copy)]
struct Frame {
    configuration: Configuration,
    /// Length of the order when it was reached.
    order: u32,
    /// The state before the crashed call that led here, if the next call must show that it made a difference.
    before: Option<u32>,
    phase: Phase,
    /// The calls of which component need to be tried.
    component: Component,
    /// Which call is next: a place in the window, then a kind of crashed calls.
    candidate: u32,
    /// Which of the states it can leave is next.
    outcome: u32,
}

/// A step from a configuration.
struct Child {
    configuration: Configuration,
    call: u32,
    before: Option<u32>,
}

/// The search over the calls of one object.
pub(super) struct Search<'s, S: Specification> {
    schedule: Schedule<S::Action>,
    states: States<'s, S>,
    slots: Sets,
    crashed: Sets,
    dead: DeadEnds,
    window: Window,
    stack: Vec<Frame>,
    /// The calls that took effect on the way to the present configuration.
    pub order: Vec<u32>,
    manners: Vec<Manner>,
    /// An action that had been used as an observer turned out to be none.
    mistaken: bool,
    /// The most returns that some order passed.
    farthest: u32,
    meter: Meter,
    reductions: Reductions,
    components: Components,
    /// If it is to give up as soon as it has visited more configurations than this, and two for each return that it has passed.
    pub patience: Option<u64>,
    wide: bool,
    /// The most bytes held.
    pub peak: usize,
}

/// How a search ended.
pub(super) enum End {
    /// The order passes the goal.
    Found,
    /// No order passes the return of the call of this rank, but some order passes all before.
    Nothing(u32),
    /// After so many returns.
    Unknown(Exhausted, u32),
}

impl<'s, S: Specification> Search<'s, S> {
    pub fn new(
        specification: &'s S,
        calls: &[Call<S::Action>],
        reductions: Reductions,
        budget: Budget,
    ) -> Self {
        let schedule = Schedule::new(calls, &reductions);
        let components = Components::new(specification, &schedule, &reductions);
        let manner = |action| match reductions.observers_at_once {
            true if specification.observes(action) => Manner::Promised,
            true if !components.any() => Manner::Unmoving,
            _ => Manner::Mover,
        };
        Self {
            states: States::new(specification, calls.len()),
            slots: Sets::new(schedule.width),
            crashed: Sets::new(schedule.unknown.len()),
            dead: DeadEnds::new(schedule.returns(), reductions),
            window: Window::new(&schedule),
            stack: Vec::new(),
            order: Vec::new(),
            manners: schedule.actions.iter().map(manner).collect(),
            mistaken: false,
            farthest: 0,
            meter: Meter::new(budget),
            reductions,
            components,
            patience: None,
            wide: schedule.width > BITS || reductions.always_wide(),
            peak: 0,
            schedule,
        }
    }

    /// Configurations visited.
    pub fn visited(&self) -> u64 {
        self.meter.visited()
    }

    /// How many calls return before this position.
    pub fn returns_before(&self, end: u32) -> u32 {
        self.schedule.returned.partition_point(|returned| *returned < end) as u32
    }

    /// Which of the calls given has this rank.
    pub fn call(&self, rank: u32) -> usize {
        self.schedule.call[rank as usize] as usize
    }

    /// Looks for an order that passes so many returns.
    pub fn run(&mut self, goal: u32) -> End {
        let mut attempts = 0;
        loop {
            match self.attempt(goal).and_then(|found| Ok((found, found || self.confirm()?))) {
                Ok((true, _)) => return End::Found,
                Ok((false, true)) => return End::Nothing(self.farthest),
                Ok((false, false)) => {
                    attempts += 1;
                    self.start_again(attempts);
                }
                Err(limit) => return End::Unknown(limit, self.farthest),
            }
        }
    }

    /// Whether no action that was taken for an observer changes any of the states that were met.
    fn confirm(&mut self) -> Result<bool, Exhausted> {
        if self.reductions.sabotaged(Sabotage::NobodyConfirms) {
            return Ok(!self.mistaken);
        }
        let observers: Vec<u32> = (0..self.manners.len() as u32)
            .filter(|action| self.manners[*action as usize] == Manner::Observer)
            .collect();
        let states = self.states.count();
        if observers.len().saturating_mul(states) > CONFIRMED {
            self.mistaken = true;
            observers.iter().for_each(|action| self.manners[*action as usize] = Manner::Mover);
            return Ok(false);
        }
        for action in observers {
            for state in 0..states as u32 {
                if state % 4096 == 0 {
                    self.meter.look()?;
                }
                self.effect(state, action);
                if self.manners[action as usize] == Manner::Mover {
                    break;
                }
            }
        }
        Ok(!self.mistaken)
    }

    fn start_again(&mut self, attempts: usize) {
        for manner in &mut self.manners {
            if attempts >= ATTEMPTS {
                *manner = Manner::Mover;
            } else if *manner == Manner::Observer {
                *manner = Manner::Unmoving;
            }
        }
        self.mistaken = false;
        self.farthest = 0;
        self.dead.clear();
    }

    fn attempt(&mut self, goal: u32) -> Result<bool, Exhausted> {
        self.window.back_to(&self.schedule, 0);
        self.stack.clear();
        self.order.clear();
        self.meter.look()?;
        self.spend()?;
        if goal == 0 {
            return Ok(true);
        }
        let start = Configuration { at: 0, state: 0, open: sets::EMPTY, crashed: sets::EMPTY };
        if self.enter(start, None, 0, goal) {
            return Ok(true);
        }
        while let Some(top) = self.stack.len().checked_sub(1) {
            let Frame { configuration, order, .. } = self.stack[top];
            self.window.back_to(&self.schedule, configuration.at);
            self.order.truncate(order as usize);
            match self.next(top)? {
                Some(child) => {
                    self.spend()?;
                    self.order.push(child.call);
                    if self.enter(child.configuration, child.before, order + 1, goal) {
                        return Ok(true);
                    }
                }
                None => {
                    self.dead.insert(configuration, &self.crashed);
                    self.stack.pop();
                }
            }
        }
        Ok(false)
    }

    /// Goes on from a configuration, if it is not known to be a dead end: lets observers take effect and passes the returns of calls that
    /// have taken effect. Whether that passes the goal.
    fn enter(
        &mut self,
        mut configuration: Configuration,
        before: Option<u32>,
        order: u32,
        goal: u32,
    ) -> bool {
        let at = configuration.at;
        for place in 0..self.window.open.len() {
            self.observe(&mut configuration, self.window.open[place]);
        }
        while self.is_taken(&configuration, configuration.at) {
            let slot = self.schedule.slot[configuration.at as usize];
            configuration.open = self.mark(configuration.open, slot, false);
            configuration.at += 1;
            if configuration.at >= goal {
                return true;
            }
            let arrived = self.window.forward(&self.schedule).len();
            for place in 0..arrived {
                let rank = self.schedule.arrivals(configuration.at)[place];
                self.observe(&mut configuration, rank);
            }
        }
        self.farthest = self.farthest.max(configuration.at);
        if !self.dead.holds(&configuration, &self.crashed) {
            let quiet = configuration.at == at && self.order.len() as u32 == order;
            self.stack.push(Frame {
                configuration,
                order: self.order.len() as u32,
                before: before.filter(|_| quiet && self.reductions.no_useless_crashed),
                phase: Phase::Returning,
                component: self.only_component(&configuration),
                candidate: 0,
                outcome: 0,
            });
        }
        false
    }

    /// The component of the call that returns, if no open call is about more than one.
    fn only_component(&self, configuration: &Configuration) -> Component {
        if !self.components.any() {
            return Component::WHOLE;
        }
        let action = |rank: u32| self.schedule.action[rank as usize];
        let returning = self.components.of(action(configuration.at));
        let whole = |rank: &u32| {
            self.components.of(action(*rank)) == Component::WHOLE && !self.is_taken(configuration, *rank)
        };
        let end = self.schedule.returned[configuration.at as usize];
        let hindered = returning == Component::WHOLE
            || (self.window.open.iter().any(whole)
                && !self.reductions.sabotaged(Sabotage::ComponentsBesidesTheWhole))
            || (self.components.crashed_whole < end
                && !self.reductions.sabotaged(Sabotage::ComponentsBesidesTheCrashed));
        if hindered { Component::WHOLE } else { returning }
    }

    fn is_taken(&self, configuration: &Configuration, rank: u32) -> bool {
        let slot = self.schedule.slot[rank as usize];
        if self.wide {
            self.slots.contains(configuration.open, slot)
        } else {
            configuration.open >> slot & 1 == 1
        }
    }

    /// The open calls with this slot as one that took effect, or as free.
    fn mark(&mut self, open: u32, slot: u32, taken: bool) -> u32 {
        match (self.wide, taken) {
            (true, _) => self.slots.with(open, slot, taken),
            (false, true) => open | 1 << slot,
            (false, false) => open & !(1 << slot),
        }
    }

    fn effect(&mut self, state: u32, number: u32) -> Effect {
        let effect = self.states.effect(state, number, &self.schedule.actions[number as usize]);
        let moves = match effect {
            Effect::Impossible => false,
            Effect::Leaves(next) => next != state,
            Effect::Several => true,
        };
        let manner = &mut self.manners[number as usize];
        if moves && *manner != Manner::Mover {
            self.mistaken |= *manner != Manner::Unmoving && !self.reductions.sabotaged(Sabotage::IdleAtOnce);
            *manner = Manner::Mover;
        }
        effect
    }

    /// Looks at an open call in the present state, and lets it take effect if it is an observer.
    fn observe(&mut self, configuration: &mut Configuration, rank: u32) {
        let action = self.schedule.action[rank as usize];
        let careless = self.reductions.sabotaged(Sabotage::IdleAtOnce)
            || self.reductions.sabotaged(Sabotage::MaybeIdleAtOnce);
        if self.manners[action as usize] == Manner::Mover && !careless {
            return;
        }
        if self.is_taken(configuration, rank) {
            return;
        }
        let state = configuration.state;
        let effect = self.effect(state, action);
        let idle = effect == Effect::Leaves(state)
            || (self.reductions.sabotaged(Sabotage::MaybeIdleAtOnce)
                && effect == Effect::Several
                && self.states.several.contains(&state));
        if !idle {
            return;
        }
        if self.manners[action as usize] == Manner::Unmoving {
            // Most that are no observers show it in one of a few states.
            let count = self.states.count() as u32;
            for other in std::iter::once(0).chain(count.saturating_sub(7)..count) {
                self.effect(other, action);
            }
            if self.manners[action as usize] == Manner::Mover && !careless {
                return;
            }
            if !careless {
                self.manners[action as usize] = Manner::Observer;
            }
        }
        configuration.open = self.mark(configuration.open, self.schedule.slot[rank as usize], true);
        self.order.push(self.schedule.call[rank as usize]);
    }

    /// Counts a step. Short of memory, the cache gives back what it can spare.
    fn spend(&mut self) -> Result<(), Exhausted> {
        let mut bytes = self.bytes();
        let short = bytes > self.meter.bytes();
        if short || self.reductions.trims_always() {
            let keep = (!self.reductions.trims_always()).then_some(self.window.at);
            let schedule = &self.schedule;
            self.dead.trim(keep, &self.crashed, |rank| schedule.is_cut(rank));
            bytes = self.bytes();
            // Else it would trim again and again for a few bytes.
            if short && bytes > self.meter.bytes() / 4 * 3 {
                return Err(Exhausted::Memory);
            }
        }
        self.peak = self.peak.max(bytes);
        self.meter.spend(1, bytes)?;
        match self.patience {
            Some(patience) if self.visited() > patience + 2 * u64::from(self.farthest) => {
                Err(Exhausted::Visits)
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        self.states.bytes()
            + self.slots.bytes()
            + self.crashed.bytes()
            + self.dead.bytes()
            + self.stack.capacity() * size_of::<Frame>()
            + self.order.capacity() * size_of::<u32>()
            + self.manners.len()
            + self.schedule.bytes()
    }
}
