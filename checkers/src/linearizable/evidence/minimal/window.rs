//! A history that begins in the middle.
//!
//! What was over at some moment has left the object in some state. If what came after is impossible whichever state that was,
//! nothing of what was before has to be shown. An order of the whole history, cut where the effects after the moment begin, is
//! one of the window: it begins in the state that the effects before have left, and what was open at the moment either belongs to
//! those or takes effect in time. So what is impossible in the window is impossible.
//!
//! Where states are sums ([`Specification::balance`]), the sum of what was over is known. Then the state at the moment is that sum, and
//! what of the open operations belongs to the effects before: the window keeps an account of it, which has to be even in the end.

use schism_history::View;

use super::super::super::specification::{Misfit, Specification};

/// An action in a window.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Step<A> {
    /// The window begins, in some state.
    Begin,
    /// As it is.
    Do(A),
    /// It may have taken effect before.
    Perhaps(A),
    /// The account is even.
    End,
}

/// An object in a state of which nobody knows more than perhaps a sum.
pub(super) struct Window<'w, S: Specification> {
    pub specification: &'w S,
    /// Each state in which it can be at first, and how far that is from the initial one less how far what was over had taken it; 0 where
    /// there are no sums.
    pub states: Vec<(S::State, i64)>,
    /// Whether there are sums.
    pub sums: bool,
}

impl<S: Specification> Specification for Window<'_, S> {
    type Action = Step<S::Action>;
    /// The state, and how far open operations have still to have taken it before the window. `None`: before it begins.
    type State = Option<(S::State, i64)>;

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
            (Some((inner, account)), Step::Do(action) | Step::Perhaps(action)) => {
                let mut after = Vec::new();
                self.specification.branch(inner, action, &mut after);
                next.extend(after.into_iter().map(|after| Some((after, *account))));
            }
            (Some((_, 0)), Step::End) => next.push(state.clone()),
            _ => {}
        }
        if let (Some((inner, account)), Step::Perhaps(action)) = (state, action) {
            let balance = if self.sums { self.specification.balance(action) } else { None };
            let before = Some((inner.clone(), account - balance.unwrap_or(0)));
            if !next.contains(&before) {
                next.push(before);
            }
        }
    }

    fn observes(&self, action: &Self::Action) -> bool {
        match action {
            Step::Do(action) => self.specification.observes(action),
            Step::End => true,
            Step::Begin | Step::Perhaps(_) => false,
        }
    }

    fn bytes(&self, state: &Self::State) -> usize {
        size_of_val(state) + state.as_ref().map_or(0, |(state, _)| self.specification.bytes(state))
    }
}
