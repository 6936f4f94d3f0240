//! A queue without order: a removal takes out any element.
//!
//! For users: the operations are
//!
//! - `enqueue` with the element as its argument, anything but null. Its result is null or the element again.
//! - `dequeue` without an argument. Its result is the element, or null: then the queue was empty. A dequeue that got nothing and says
//!   nothing about the queue, such as one that timed out before it was sent, is a `fail`; one that may have taken
//!   something out is an `info`.
//!
//! The queue is empty at first. One element may be in it several times. `drain` is refused: it stands for many dequeues, each with
//! a moment of its own, and not for one operation; a history has to record each of them.
//!
//! Histories in which every element is enqueued once are decided in near-linear time.

use schism_history::{ValueId, View};

use super::collection::{Action, Names};
use crate::linearizable::specification::{Misfit, Removal, Specification};

/// A queue without order.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnorderedQueue;

/// The names of a queue's operations, of which looking at the first element is not one.
const NAMES: Names =
    Names { insert: "enqueue", remove: "dequeue", peek: None, hint: super::fifo_queue::HINT };

impl Specification for UnorderedQueue {
    type Action = Action;
    /// What is inside, sorted.
    type State = Vec<ValueId>;

    fn initial(&self) -> Self::State {
        Vec::new()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        NAMES.action(operation)
    }

    fn step(&self, state: &Self::State, action: &Action) -> Option<Self::State> {
        match action {
            Action::Insert(value) => {
                let mut state = state.clone();
                let place = state.partition_point(|other| other < value);
                state.insert(place, *value);
                Some(state)
            }
            Action::Remove(value) => without(state, state.binary_search(value).ok()?),
            Action::Peek(value) => state.binary_search(value).is_ok().then(|| state.clone()),
            Action::Empty => state.is_empty().then(Vec::new),
            // The least one, for those who need one answer; `branch` has all.
            Action::RemoveAny => Some(without(state, 0).unwrap_or_default()),
        }
    }

    fn branch(&self, state: &Self::State, action: &Action, next: &mut Vec<Self::State>) {
        if *action != Action::RemoveAny || state.is_empty() {
            next.extend(self.step(state, action));
            return;
        }
        let is_new = |place: &usize| *place == 0 || state[place - 1] != state[*place];
        next.extend((0..state.len()).filter(is_new).filter_map(|place| without(state, place)));
    }

    fn rebuild(&self, state: &Self::State) -> Option<Vec<Action>> {
        Some(state.iter().copied().map(Action::Insert).collect())
    }

    fn observes(&self, action: &Action) -> bool {
        action.observes()
    }

    fn removal(&self, action: &Action) -> Removal {
        action.removal()
    }
}

fn without(state: &[ValueId], place: usize) -> Option<Vec<ValueId>> {
    let (before, from) = state.split_at_checked(place)?;
    let (_, after) = from.split_first()?;
    Some([before, after].concat())
}
