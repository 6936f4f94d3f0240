//! A queue, first in, first out.
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

use std::hash::{Hash, Hasher};

use schism_history::{ValueId, View};

use super::collection::{Action, Names};
use super::persistent::List;
use crate::linearizable::specification::{Edit, Misfit, Removal, Specification};

/// A queue, first in, first out.
#[derive(Clone, Copy, Debug, Default)]
pub struct FifoQueue;

/// What both kinds of queues say about other operations.
pub(super) const HINT: &str = "; a queue has `enqueue` and `dequeue` (a `drain` is many dequeues, each with a moment of its own: \
                               record each as a `dequeue`)";

const NAMES: Names = Names { insert: "enqueue", remove: "dequeue", peek: None, hint: HINT };

/// What is inside. Comes and goes in constant time, on average.
#[derive(Clone, Debug)]
pub struct Line {
    /// From the next one to leave on. Empty only if `back` is, too.
    front: List,
    /// Behind them, the last one first.
    back: List,
    /// Of the sequence, however it is split: the sum of `mix(value) * ODD^place`.
    sum: u64,
    /// `ODD` to the number of elements.
    power: u64,
}

/// Odd, so that it has an inverse.
const ODD: u64 = 0xd134_2543_de82_ef95;

/// Newton's iteration doubles the digits that are right, of which there are three at first.
const INVERSE: u64 = {
    let mut inverse = ODD;
    let mut digits = 3;
    while digits < 64 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(ODD.wrapping_mul(inverse)));
        digits *= 2;
    }
    inverse
};

fn mix(value: ValueId) -> u64 {
    let mixed = u64::from(value.raw()).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Line {
    fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    fn with(&self, value: ValueId) -> Self {
        let sum = self.sum.wrapping_add(mix(value).wrapping_mul(self.power));
        let power = self.power.wrapping_mul(ODD);
        if self.front.len() == 0 {
            return Self { front: List::default().with(value), back: List::default(), sum, power };
        }
        Self { front: self.front.clone(), back: self.back.with(value), sum, power }
    }

    /// The first element, and the rest.
    fn split(&self) -> Option<(ValueId, Self)> {
        let first = self.front.first()?;
        let (mut front, mut back) = (self.front.rest(), self.back.clone());
        if front.len() == 0 {
            front = back.iter().fold(List::default(), |front, value| front.with(value));
            back = List::default();
        }
        let sum = self.sum.wrapping_sub(mix(first)).wrapping_mul(INVERSE);
        Some((first, Self { front, back, sum, power: self.power.wrapping_mul(INVERSE) }))
    }

    fn sequence(&self) -> Vec<ValueId> {
        let mut sequence: Vec<ValueId> = self.back.iter().collect();
        sequence.reverse();
        self.front.iter().chain(sequence).collect()
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { front: List::default(), back: List::default(), sum: 0, power: 1 }
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        (self.sum, self.len()) == (other.sum, other.len())
            && ((&self.front, &self.back) == (&other.front, &other.back)
                || self.sequence() == other.sequence())
    }
}

impl Eq for Line {}

impl Hash for Line {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.sum);
    }
}

impl Specification for FifoQueue {
    type Action = Action;
    type State = Line;

    fn initial(&self) -> Line {
        Line::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        NAMES.action(operation)
    }

    fn step(&self, state: &Line, action: &Action) -> Option<Line> {
        let split = || state.split();
        match action {
            Action::Insert(value) => Some(state.with(*value)),
            Action::Remove(value) => split().filter(|(first, _)| first == value).map(|(_, rest)| rest),
            Action::Peek(value) => (state.front.first() == Some(*value)).then(|| state.clone()),
            Action::Empty => (state.len() == 0).then(Line::default),
            Action::RemoveAny => Some(split().map_or_else(Line::default, |(_, rest)| rest)),
        }
    }

    fn rebuild(&self, state: &Line) -> Option<Vec<Action>> {
        Some(state.sequence().into_iter().map(Action::Insert).collect())
    }

    /// Most states share all but one element with the one they came from.
    fn bytes(&self, state: &Line) -> usize {
        size_of_val(state) + List::BYTES_A_VALUE
    }

    fn observes(&self, action: &Action) -> bool {
        action.observes()
    }

    fn edit(&self, action: &Action) -> Option<Edit> {
        Some(match action {
            Action::Insert(value) => Edit::Push(value.raw()),
            Action::Remove(value) => Edit::TakeOldest(value.raw()),
            Action::RemoveAny => Edit::TakeOldestIfAny,
            Action::Peek(value) => Edit::SeeOldest(value.raw()),
            Action::Empty => Edit::SeeEmpty,
        })
    }

    fn removal(&self, action: &Action) -> Removal {
        action.removal()
    }
}
