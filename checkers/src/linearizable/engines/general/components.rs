//! Which component of the state each action is about, if the specification says so.

use std::hash::Hash;

use super::super::super::call::NEVER;
use super::super::super::specification::Specification;
use super::reductions::Reductions;
use super::schedule::Schedule;

/// One component, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component(u32);

impl Component {
    /// More than one component. Were there one of this number, it would only be taken for more than it is.
    pub const WHOLE: Self = Self(u32::MAX);
}

/// The components that the actions of a history are about.
pub(super) struct Components {
    /// By action; empty where no action has a component.
    of: Vec<Component>,
    /// Where the first crashed call that concerns the whole state is invoked.
    pub crashed_whole: u32,
}

impl Components {
    pub fn new<S: Specification>(
        specification: &S,
        schedule: &Schedule<S::Action>,
        reductions: &Reductions,
    ) -> Self
    where
        S::Action: Clone + Eq + Hash,
    {
        let none = Self { of: Vec::new(), crashed_whole: NEVER };
        if !reductions.components {
            return none;
        }
        let component = |action| match specification.component(action) {
            Some(component) if component != u32::MAX => Component(component),
            _ => Component::WHOLE,
        };
        let of: Vec<Component> = schedule.actions.iter().map(component).collect();
        if of.iter().all(|component| *component == Component::WHOLE) {
            return none;
        }
        let whole = |(action, _): &&(u32, u32)| of[*action as usize] == Component::WHOLE;
        let first = |(_, first): &(u32, u32)| schedule.unknown[*first as usize].1;
        let crashed_whole = schedule.kinds.iter().filter(whole).map(first).min().unwrap_or(NEVER);
        Self { of, crashed_whole }
    }

    /// Whether any action has a component of its own.
    pub fn any(&self) -> bool {
        !self.of.is_empty()
    }

    /// Which component an action is about.
    pub fn of(&self, action: u32) -> Component {
        self.of[action as usize]
    }
}
