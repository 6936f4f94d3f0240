//! Contradictions of sets.

use schism_history::View;

use super::super::models::members::Members;
use super::super::models::set::{Set, SetAction};
use super::super::specification::{Misfit, Removal, Specification};
use super::{Failure, general};
use crate::Violation;

/// The contradiction in the history of a set.
pub(in super::super) fn explain(failure: &Failure<'_, Set>) -> Violation {
    if failure.calls.iter().any(|call| matches!(call.action, SetAction::Read(_))) {
        return general::explain(failure);
    }
    let Failure { table, key, rows, calls, contradiction, decide, sharing, deadline, .. } = *failure;
    let specification = &Singles(failure.specification);
    general::explain(&Failure {
        specification,
        table,
        key,
        rows,
        calls,
        contradiction,
        decide,
        sharing,
        deadline,
    })
}

/// A set that nobody reads as a whole: its elements have nothing to do with each other, so all that concerns one of them can
/// be left out together.
struct Singles<'s>(&'s Set);

impl Specification for Singles<'_> {
    type Action = SetAction;
    type State = Members;

    fn initial(&self) -> Members {
        self.0.initial()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<SetAction>, Misfit> {
        self.0.action(operation)
    }

    fn step(&self, state: &Members, action: &SetAction) -> Option<Members> {
        self.0.step(state, action)
    }

    fn component(&self, action: &SetAction) -> Option<u32> {
        self.0.component(action)
    }

    fn observes(&self, action: &SetAction) -> bool {
        self.0.observes(action)
    }

    fn states(&self, actions: &[SetAction]) -> Option<Vec<Members>> {
        self.0.states(actions)
    }

    fn reachable(&self, state: &Members, actions: &[SetAction]) -> bool {
        self.0.reachable(state, actions)
    }

    fn removal(&self, action: &SetAction) -> Removal {
        match action {
            SetAction::Add(element, _) | SetAction::Remove(element, _) | SetAction::Contains(element, _) => {
                Removal::Together(element.raw())
            }
            SetAction::Read(_) => Removal::Alone,
        }
    }
}
