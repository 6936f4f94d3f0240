//! A history that begins in the middle.
//!
//! What was over at some moment has left the object in some state. If what came after is impossible whichever state that was,
//! nothing of what was before has to be shown. An order of the whole history, cut where the effects after the moment begin, is
//! one of the window: it begins in the state that the effects before have left, and what was open at the moment either belongs to
//! those or takes effect in time. So what is impossible in the window is impossible.

use super::super::super::specification::{Misfit, Specification};
use schism_history::View;

/// An action in a window.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Step<A> {
    /// The window begins, in some state.
    Begin,
    /// As it is.
    Do(A),
    /// It may have taken effect before.
    Perhaps(A),
}

/// An object in a state that nobody knows.
pub(super) struct Window<'w, S: Specification> {
    pub specification: &'w S,
    /// Each state in which it can be at first.
    pub states: Vec<S::State>,
}

impl<S: Specification> Specification for Window<'_, S> {
    type Action = Step<S::Action>;
    /// `None`: before it begins.
    type State = Option<S::State>;

    fn initial(&self) -> Self::State {
        None
    }

    fn action(&self, _operation: &View<'_>) -> Result<Option<Self::Action>, Misfit> {
        Err(Misfit::UNKNOWN)
    }

    fn step(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State> {
        let mut next = Vec::new();
        self.branch(state, action, &mut next);
        next.into_iter().next()
    }

    fn branch(&self, state: &Self::State, action: &Self::Action, next: &mut Vec<Self::State>) {
        match (state, action) {
            (None, Step::Begin) => next.extend(self.states.iter().cloned().map(Some)),
            (Some(inner), Step::Do(action) | Step::Perhaps(action)) => {
                let mut after = Vec::new();
                self.specification.branch(inner, action, &mut after);
                next.extend(after.into_iter().map(Some));
            }
            (None, _) | (Some(_), Step::Begin) => {}
        }
        if let (Some(_), Step::Perhaps(_)) = (state, action)
            && !next.contains(state)
        {
            next.push(state.clone());
        }
    }

    fn observes(&self, action: &Self::Action) -> bool {
        matches!(action, Step::Do(action) if self.specification.observes(action))
    }

    fn bytes(&self, state: &Self::State) -> usize {
        size_of_val(state) + state.as_ref().map_or(0, |state| self.specification.bytes(state))
    }
}
