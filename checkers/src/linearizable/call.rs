//! What the engines see: the operations of one object, and what they answer.

use super::budget::Exhausted;

/// The return of a call that never returns.
pub const NEVER: u32 = u32::MAX;

/// An operation of one object as the engines see it. Every call either took effect between `invoked` and `returned`, or is of unknown
/// outcome; those that certainly did not happen, and those that constrain nothing, are no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<A> {
    /// What it does, and what it saw.
    pub action: A,
    /// Position of the invocation in the history. No two events have the same position.
    pub invoked: u32,
    /// Position of the completion. [`NEVER`]: the outcome is unknown, so this may take effect at any time after its
    /// invocation or never. Otherwise it took effect before that position.
    pub returned: u32,
    /// Which row of the table this is.
    pub source: u32,
}

impl<A> Call<A> {
    /// Whether it took effect for certain.
    pub fn is_required(&self) -> bool {
        self.returned != NEVER
    }
}

/// What an engine found out about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Some order fits.
    Linearizable,
    /// No order fits.
    Impossible(Contradiction),
    /// A limit was reached after so many of the calls had returned.
    Unknown(Exhausted, usize),
}

/// Why no order fits. Calls are indices into the calls that were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// A call for which there is no place: no order fits the history up to its return.
    pub culprit: usize,
    /// A few calls that are impossible together, whatever the others did, ascending and with the culprit among them; empty where the
    /// engine does not know them.
    pub pattern: Vec<usize>,
}

impl Answer {
    /// Impossible, without a pattern.
    pub fn impossible(culprit: usize) -> Self {
        Self::Impossible(Contradiction { culprit, pattern: Vec::new() })
    }
}

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub answer: Answer,
    /// The engine's name as results show it, e.g. `zones`.
    pub engine: &'static str,
}

impl Decision {
    /// The engine cannot decide objects of this kind.
    pub fn unsuited(engine: &'static str) -> Self {
        Self { answer: Answer::Unknown(Exhausted::Unsuited, 0), engine }
    }
}
