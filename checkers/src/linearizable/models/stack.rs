//! A stack: last in, first out.
//!
//! For users: the operations are
//!
//! - `push` with the element as its argument, anything but null. Its result is null or the element again.
//! - `pop` without an argument. Its result is the element, or null: then the stack was empty. A pop that got nothing and says nothing
//!   about the stack is a `fail`; one that may have taken something off is an `info`.
//! - `peek` without an argument: as `pop`, but the element stays.
//!
//! The stack is empty at first. One element may be in it several times.
//!
//! Histories without `peek` in which every element is pushed once are decided in near-linear time; if there are pops of unknown
//! outcome and elements that nobody is known to have popped, sometimes only by the general search.

use schism_history::View;

use super::collection::{Action, Names};
use super::persistent::List;
use crate::linearizable::specification::{Edit, Misfit, Removal, Specification};

/// A stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack;

const NAMES: Names = Names {
    insert: "push",
    remove: "pop",
    peek: Some("peek"),
    hint: "; the model `stack` has `push`, `pop` and `peek`",
};

impl Specification for Stack {
    type Action = Action;
    /// What is inside, the last one first.
    type State = List;

    fn initial(&self) -> List {
        List::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        NAMES.action(operation)
    }

    fn step(&self, state: &List, action: &Action) -> Option<List> {
        match action {
            Action::Insert(value) => Some(state.with(*value)),
            Action::Remove(value) => (state.first() == Some(*value)).then(|| state.rest()),
            Action::Peek(value) => (state.first() == Some(*value)).then(|| state.clone()),
            Action::Empty => state.first().is_none().then(List::default),
            Action::RemoveAny => Some(state.rest()),
        }
    }

    fn rebuild(&self, state: &List) -> Option<Vec<Action>> {
        let mut actions: Vec<Action> = state.iter().map(Action::Insert).collect();
        actions.reverse();
        Some(actions)
    }

    /// Most states share all but one element with the one they came from.
    fn bytes(&self, state: &List) -> usize {
        size_of_val(state) + List::BYTES_A_VALUE
    }

    fn observes(&self, action: &Action) -> bool {
        action.observes()
    }

    fn edit(&self, action: &Action) -> Option<Edit> {
        Some(match action {
            Action::Insert(value) => Edit::Push(value.raw()),
            Action::Remove(value) => Edit::TakeNewest(value.raw()),
            Action::RemoveAny => Edit::TakeNewestIfAny,
            Action::Peek(value) => Edit::SeeNewest(value.raw()),
            Action::Empty => Edit::SeeEmpty,
        })
    }

    fn removal(&self, action: &Action) -> Removal {
        action.removal()
    }
}
