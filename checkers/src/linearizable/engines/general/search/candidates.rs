//! Which calls to try at a configuration, and in which order.

use super::super::super::super::budget::Exhausted;
use super::super::super::super::specification::Specification;
use super::super::cache::Configuration;
use super::super::components::Component;
use super::super::reductions::Sabotage;
use super::super::states::Effect;
use super::{Child, Frame, Phase, Search};

/// Where a candidate comes from.
enum Source {
    /// A required call, by its rank.
    Required(u32),
    /// A crashed call, by its number.
    Crashed(u32),
    /// It need not be tried.
    Skip,
}

impl<S: Specification> Search<'_, S> {
    /// The next step from the configuration of a frame.
    pub(super) fn next(&mut self, top: usize) -> Result<Option<Child>, Exhausted> {
        let mut examined = 0_u32;
        loop {
            let frame = self.stack[top];
            let state = frame.configuration.state;
            let returning = self.schedule.action[frame.configuration.at as usize];
            if frame.phase == Phase::Returning {
                let (next, more) = self.outcome(state, returning, frame.outcome);
                if !more {
                    let phase = match (frame.outcome, next) {
                        (0, None) if self.reductions.helpers_first => Phase::Helpers,
                        _ => Phase::All,
                    };
                    self.stack[top] = Frame { phase, candidate: 1, outcome: 0, ..frame };
                } else {
                    self.stack[top].outcome += 1;
                }
                match next {
                    Some(next) if self.makes_a_difference(&frame, returning, next) => {
                        return Ok(Some(self.take(&frame, frame.configuration.at, next)));
                    }
                    _ => continue,
                }
            }
            examined += 1;
            if examined.is_multiple_of(4096) {
                self.meter.look()?;
            }
            let Some((action, source)) = self.candidate(&frame) else {
                match frame.phase {
                    Phase::Helpers if !self.reductions.sabotaged(Sabotage::HelpersOnly) => {
                        self.stack[top] = Frame { phase: Phase::Others, candidate: 1, outcome: 0, ..frame };
                        continue;
                    }
                    _ => return Ok(None),
                }
            };
            let tried = match source {
                Source::Skip => (None, false),
                _ => self.outcome(state, action, frame.outcome),
            };
            if tried.1 {
                self.stack[top].outcome += 1;
            } else {
                self.stack[top].candidate += 1;
                self.stack[top].outcome = 0;
            }
            let Some(next) = tried.0 else { continue };
            let required = matches!(source, Source::Required(_));
            let idle_matters = if required {
                !self.reductions.sabotaged(Sabotage::NoIdleRequired)
            } else {
                !self.reductions.no_idle_crashed
            };
            if (next == state && !idle_matters) || !self.makes_a_difference(&frame, action, next) {
                continue;
            }
            let wanted = match frame.phase {
                Phase::Helpers => Some(true),
                Phase::Others => Some(false),
                Phase::Returning | Phase::All => None,
            };
            if wanted.is_some_and(|wanted| wanted != (self.effect(next, returning) != Effect::Impossible)) {
                continue;
            }
            match source {
                Source::Required(rank) => return Ok(Some(self.take(&frame, rank, next))),
                Source::Crashed(number) => {
                    let crashed = self.crashed.with(frame.configuration.crashed, number, true);
                    return Ok(Some(Child {
                        configuration: Configuration { state: next, crashed, ..frame.configuration },
                        call: self.schedule.unknown[number as usize].0,
                        before: Some(state),
                    }));
                }
                Source::Skip => {}
            }
        }
    }

    /// The step in which a required call takes effect.
    fn take(&mut self, frame: &Frame, rank: u32, state: u32) -> Child {
        let open = self.mark(frame.configuration.open, self.schedule.slot[rank as usize], true);
        let careless = self.reductions.sabotaged(Sabotage::NoUselessRequired);
        Child {
            configuration: Configuration { state, open, ..frame.configuration },
            call: self.schedule.call[rank as usize],
            before: careless.then_some(frame.configuration.state),
        }
    }

    /// One of the states that the action can leave, and whether there are more.
    fn outcome(&mut self, state: u32, action: u32, which: u32) -> (Option<u32>, bool) {
        match self.effect(state, action) {
            Effect::Impossible => (None, false),
            Effect::Leaves(next) => ((which == 0).then_some(next), false),
            Effect::Several => {
                let several = &self.states.several;
                let more = which as usize + 1 < several.len()
                    && !self.reductions.sabotaged(Sabotage::FirstOutcomeOnly);
                (several.get(which as usize).copied(), more)
            }
        }
    }

    /// Whether the crashed call that led to the frame makes a difference to the action that follows.
    fn makes_a_difference(&mut self, frame: &Frame, action: u32, next: u32) -> bool {
        let Some(before) = frame.before else { return true };
        match self.effect(before, action) {
            Effect::Impossible => true,
            _ if self.reductions.sabotaged(Sabotage::UselessWhereverItLeads) => false,
            Effect::Leaves(without) => without != next,
            Effect::Several => !self.states.several.contains(&next),
        }
    }

    /// The call that the frame has to try next, and its action; `None` after the last.
    fn candidate(&self, frame: &Frame) -> Option<(u32, Source)> {
        let place = frame.candidate as usize;
        let Some(rank) = self.window.open.get(place) else {
            return self.crashed_candidate(frame, place - self.window.open.len());
        };
        let action = self.schedule.action[*rank as usize];
        let skip = self.is_taken(&frame.configuration, *rank)
            || self.is_elsewhere(frame, action)
            || (self.reductions.earliest_deadline_first && self.equal_first(frame, place, action))
            || self.reductions.sabotaged(Sabotage::OnlyTheReturning)
            || (self.reductions.sabotaged(Sabotage::CrashedBeforeRequired)
                && self.schedule.kinds.iter().any(|(other, first)| {
                    *other == action && !self.crashed.contains(frame.configuration.crashed, *first)
                }));
        Some((action, if skip { Source::Skip } else { Source::Required(*rank) }))
    }

    /// Whether an equal call that returns before the one in this place of the window waits too.
    fn equal_first(&self, frame: &Frame, place: usize, action: u32) -> bool {
        if !self.schedule.repeated[action as usize] {
            return false;
        }
        let waits = |rank: &u32| {
            self.schedule.action[*rank as usize] == action && !self.is_taken(&frame.configuration, *rank)
        };
        if self.reductions.sabotaged(Sabotage::LatestDeadlineFirst) {
            return self.window.open.iter().skip(place + 1).any(waits);
        }
        self.window.open.iter().take(place).any(waits)
    }

    /// Whether the action is about another component than those that need to be tried.
    fn is_elsewhere(&self, frame: &Frame, action: u32) -> bool {
        frame.component != Component::WHOLE && frame.component != self.components.of(action)
    }

    fn crashed_candidate(&self, frame: &Frame, kind: usize) -> Option<(u32, Source)> {
        let (action, first) = *self.schedule.kinds.get(kind)?;
        let end = self.schedule.returned[frame.configuration.at as usize];
        let is_open = |number: u32| {
            self.schedule.unknown[number as usize].1 < end
                || self.reductions.sabotaged(Sabotage::CrashedBeforeInvoked)
        };
        // The kinds come in order of their first invocation.
        if !is_open(first) && !self.reductions.sabotaged(Sabotage::CrashedLatestFirst) {
            return None;
        }
        let members = self.schedule.members(kind);
        let used = |number: u32| self.crashed.contains(frame.configuration.crashed, number);
        // Those that are used come first.
        let (mut low, mut high) = (members.start, members.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if used(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let skip = low == members.end
            || self.is_elsewhere(frame, action)
            || !is_open(low)
            || (self.reductions.earliest_deadline_first
                && !self.reductions.sabotaged(Sabotage::CrashedBeforeRequired)
                && self.equal_first(frame, self.window.open.len(), action));
        Some((action, if skip { Source::Skip } else { Source::Crashed(low) }))
    }
}
