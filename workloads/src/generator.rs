//! Generators: pure values that say which operation comes next.
//!
//! A generator never changes. Asked with [`Generator::op`] it answers *done*, *pending* or *(operation, next
//! generator)*; told of an event with [`Generator::update`] it returns the next generator. An operation whose time is
//! in the future is only a proposal: if anything happens first, the scheduler drops it and asks the old generator again.

use schism_history::Event;

use crate::op::{Op, Worker};

/// What a generator may look at.
pub struct Context<'a> {
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// Workers with no open operation, in ascending order.
    pub free: &'a [Worker],
    /// Every worker, in ascending order.
    pub all: &'a [Worker],
}

/// A generator's answer.
#[expect(
    clippy::large_enum_variant,
    reason = "made and taken apart once an operation; a box would be an allocation each"
)]
pub enum Step {
    /// Nothing will ever come again.
    Done,
    /// Nothing now; ask again after the next event.
    Pending,
    /// This operation, and the generator that follows once it has been invoked.
    Op(Op, Box<dyn Generator>),
}

/// A pure source of operations.
pub trait Generator: Send + Sync {
    /// The next operation.
    fn op(&self, context: &Context<'_>) -> Step;

    /// The generator after `event` of `worker`; `None` when it stays as it is.
    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Box<dyn Generator>>;

    /// The same generator again.
    fn boxed_clone(&self) -> Box<dyn Generator>;
}
