//! The sequential specification of an object: what a model is to the general search.

use std::fmt;
use std::hash::Hash;

use schism_history::{ValueId, View};

/// A sequential specification: which operations an object has, and what each does when they come one by one.
///
/// An object starts in [`initial`](Self::initial). An operation of the history becomes an [`Action`](Self::Action) once, which holds
/// what it asked and, if it succeeded, what it got. [`step`](Self::step) says whether the action can happen in a state, and what
/// state it leaves. That is all the search needs; histories are never seen by `step`.
pub trait Specification: Send + Sync {
    /// What an operation does and saw. Equal actions are interchangeable.
    type Action: Clone + Eq + Hash + Send + Sync;
    /// The state of one object. States that nothing can tell apart should be equal.
    type State: Clone + Eq + Hash + Send + Sync;

    /// The state at the start of the history.
    fn initial(&self) -> Self::State;

    /// What the operation claims. Asked for operations that succeeded and for those of unknown outcome, whose
    /// [`View::result`] is `None`: their action must allow every result they could have had. `Ok(None)`: it constrains nothing, such as a
    /// read of unknown outcome.
    ///
    /// # Errors
    /// The specification has no such operation, or its value has not the shape it needs. The history is then not judged at all: leaving an
    /// operation out could turn a violation into a pass or a pass into a violation.
    fn action(&self, operation: &View<'_>) -> Result<Option<Self::Action>, Misfit>;

    /// The state after `action`, or `None` where the action cannot happen in this state with the result it had.
    fn step(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;

    /// Every state in which `action` can leave the object: appended to `next`, none if it cannot happen. Only for
    /// specifications that leave something open, such as which element a queue without order hands out.
    fn branch(&self, state: &Self::State, action: &Self::Action, next: &mut Vec<Self::State>) {
        next.extend(self.step(state, action));
    }

    /// Whether `action` leaves every state in which it can happen as it is, such as a read that returned a value. A promise: the search
    /// lets such an operation take effect as soon as it can, so a wrong `true` can make a wrong verdict. `false` is always
    /// right: the search then finds out by itself, which costs time in long histories of many different states.
    fn observes(&self, action: &Self::Action) -> bool {
        let _ = action;
        false
    }

    /// How many bytes a state takes, about, with what it owns on the heap: what the search counts against its memory budget. To be
    /// overridden where states are large.
    fn bytes(&self, state: &Self::State) -> usize {
        size_of_val(state)
    }

    /// Actions which, one after the other, take the object from its initial state to this one: no more of them than must have taken
    /// effect for it. Engines that know the initial state only can then go on from a later one. `None`: nobody knows any.
    fn rebuild(&self, state: &Self::State) -> Option<Vec<Self::Action>> {
        let _ = state;
        None
    }

    /// In which states the object can be at some moment that nobody knows anything about, as far as `actions` can tell, in whatever order
    /// some of them happen then. Whatever state it can be in, one of those given must allow every sequence of these actions
    /// which that state allows; more of them than there can be do no harm. The proof of a violation can then begin in the middle of
    /// the history. `None`: nobody knows, or there are too many.
    fn states(&self, actions: &[Self::Action]) -> Option<Vec<Self::State>> {
        let _ = actions;
        None
    }

    /// Whether some of `actions`, in whatever order and with whatever results, can have taken the object to this one of its
    /// [`states`](Self::states). `true` is always right; `false` makes proofs shorter. Besides what began before the moment, `actions` are all
    /// those that the states were not made for and that may happen after it.
    fn reachable(&self, state: &Self::State, actions: &[Self::Action]) -> bool {
        let _ = (state, actions);
        true
    }

    /// How far the state is from the initial one, where [`balance`](Self::balance) measures that.
    fn distance(&self, state: &Self::State) -> Option<i64> {
        let _ = state;
        None
    }

    /// Which of several independent objects the operation concerns, beyond the key in the history. Objects are checked one by one, which
    /// is as exact as checking them together (Herlihy and Wing, 1990) and much faster. An operation on several objects at once forbids it.
    fn part(&self, operation: &View<'_>) -> ValueId {
        let _ = operation;
        ValueId::ABSENT
    }

    /// Which component of the state `action` is about, if the state is a family of components that have nothing to do with each other and
    /// the action sees and changes this one alone: an element of a set, but not a look at the whole set. A promise:
    /// actions of different components can be exchanged wherever they stand side by side, and a history in which every action has a
    /// component is checked component by component. `None` is always right. Unlike [`part`](Self::part), this may
    /// differ from action to action, so that an object can have both kinds.
    fn component(&self, action: &Self::Action) -> Option<u32> {
        let _ = action;
        None
    }

    /// What `action` does to the state, if every state is a sequence of elements, which is empty at first, and the action an edit at one of its
    /// ends. A promise that [`branch`](Self::branch) gives just the same states; for all actions or for none. The search can then
    /// hold whole sets of states as one.
    fn edit(&self, action: &Self::Action) -> Option<Edit> {
        let _ = action;
        None
    }

    /// How the proof of a violation may leave this operation out. The more can be left out, the smaller the proof.
    fn removal(&self, action: &Self::Action) -> Removal {
        if self.observes(action) { Removal::Alone } else { Removal::Never }
    }

    /// How far `action` takes the object away from its initial state or, where it is negative, back, if every state is that far from the
    /// initial one as all actions before add up to: 1 for taking a mutex and -1 for releasing it. The proof of a violation can
    /// then begin where the sum was 0. `None`: there is no such measure.
    fn balance(&self, action: &Self::Action) -> Option<i64> {
        let _ = action;
        None
    }
}

/// What an action does to a sequence of elements, which are known by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds this element.
    Push(u32),
    /// Takes out the element that was added last, which is this one.
    TakeNewest(u32),
    /// Takes out the element that was added first, which is this one.
    TakeOldest(u32),
    /// Takes out the element that was added last, if there is any.
    TakeNewestIfAny,
    /// Takes out the element that was added first, if there is any.
    TakeOldestIfAny,
    /// Sees that the element that was added last is this one.
    SeeNewest(u32),
    /// Sees that the element that was added first is this one.
    SeeOldest(u32),
    /// Sees that there is none.
    SeeEmpty,
}

/// What can be left out of a history so that every legal order of it is still a legal order of what is left. (Then, if what is
/// left has no legal order, the history has none either.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// The operation by itself, because it changes nothing: a read.
    Alone,
    /// The operation, if all others of this number are left out with it: all that concerns one element of a queue.
    Together(u32),
    /// Others may build on it.
    Never,
}

/// An operation that does not fit a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// There is no operation of this name; what to do about it, or nothing.
    Unknown {
        /// Such as "; the model `cas-register` has".
        hint: &'static str,
    },
    /// What is wrong with its argument or its result.
    Malformed(String),
}

impl Misfit {
    /// The specification has no operation of this name.
    pub const UNKNOWN: Self = Self::Unknown { hint: "" };

    /// What is wrong with the argument or the result.
    pub fn malformed(problem: impl fmt::Display) -> Self {
        Self::Malformed(problem.to_string())
    }
}
