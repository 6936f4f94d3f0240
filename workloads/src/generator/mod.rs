//! Generators: pure values that say which operation comes next.
//!
//! A generator never changes. Asked with [`Generator::op`] it answers *done*, *pending* or *(operation, next
//! generator)*; told of an event with [`Generator::update`] it answers with the generator that follows, if that differs.
//! An operation whose time is in the future is only a proposal: if anything happens first, whoever drives the generator
//! drops it and asks the old generator again. Because values are shared and never written to, dropping a proposal
//! undoes it completely, randomness included ([`schism_history::Random`] values live inside the generators).
//!
//! Each file holds one combinator. The laws they keep are tested in `tests/generator.rs` of this crate against
//! [`simulate`], which drives a generator in virtual time with simulated clients; the real driver is the scheduler of
//! the root package. Nothing here knows threads, clocks, clients or checkers.

mod any;
mod concurrency_limit;
mod cycle;
mod cycle_times;
mod delay;
mod each_worker;
mod filter;
mod flip_flop;
mod independent;
mod limit;
mod map;
mod mix;
mod on_update;
mod on_workers;
mod operation;
mod phases;
mod process_limit;
mod repeat;
mod reserve;
mod route;
mod sequence;
pub mod simulate;
mod sleep;
mod stagger;
mod survey;
mod synchronize;
mod time_limit;
mod timeline;
mod trace;
mod until_ok;
mod workers;

use std::sync::Arc;

use schism_history::Event;

pub use any::any;
pub use concurrency_limit::concurrency_limit;
pub use cycle::{cycle, cycle_times_over};
pub use cycle_times::cycle_times;
pub use delay::delay;
pub use each_worker::each_worker;
pub use filter::filter;
pub use flip_flop::flip_flop;
pub use independent::independent;
pub use limit::{limit, once};
pub use map::map;
pub use mix::mix;
pub use on_update::on_update;
pub use on_workers::on_workers;
pub use operation::{Action, operation, operations};
pub use phases::phases;
pub use process_limit::process_limit;
pub use repeat::{repeat, repeat_times};
pub use reserve::reserve;
pub use route::{clients, nemesis};
pub use sequence::{nothing, sequence};
pub use sleep::sleep;
pub use stagger::stagger;
pub use synchronize::synchronize;
pub use time_limit::time_limit;
pub use timeline::timeline;
pub use trace::{Traced, trace};
pub use until_ok::until_ok;
pub use workers::{WorkerSet, Workers};

use crate::op::{Op, Worker};

/// A generator as it is passed around: shared, so that a combinator keeps its unchanged parts for the price of a
/// reference count.
pub type Gen = Arc<dyn Generator>;

/// What a generator may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// How many operations were invoked so far. Generators without randomness of their own take turns among the
    /// workers by it ([`Context::worker`]).
    pub turn: u64,
    /// Workers with no open operation.
    pub free: Workers<'a>,
    /// Every worker.
    pub all: Workers<'a>,
}

impl<'a> Context<'a> {
    /// The same moment, seen by fewer workers.
    #[must_use]
    pub fn within(&self, free: Workers<'a>, all: Workers<'a>) -> Context<'a> {
        Context { free, all, ..*self }
    }

    /// A free worker, in turn: without turns, low numbers (and so the first nodes) would do nearly everything
    /// whenever the load is light.
    pub fn worker(&self) -> Option<Worker> {
        self.free.at_or_after(self.turn)
    }
}

/// A generator's answer.
pub enum Step {
    /// Nothing will ever come again.
    Done,
    /// Nothing now.
    Pending(Wait),
    /// This operation, and the generator that follows once it has been invoked. In the future (`op.time` later than
    /// the context's): only a proposal.
    Op(Op, Gen),
}

/// How long to wait, and with what.
#[derive(Default)]
pub struct Wait {
    /// Ask again at this time at the latest; `None`: after the next event.
    pub until: Option<u64>,
    /// Replaces the generator at once, for the few that must remember when they were first asked (a sleep). Whoever
    /// drops it only makes them begin later.
    pub next: Option<Gen>,
}

impl Wait {
    /// The same wait for a generator that wraps the waiting one.
    #[must_use]
    fn map(self, wrap: impl FnOnce(Gen) -> Gen) -> Self {
        Self { until: self.until, next: self.next.map(wrap) }
    }

    /// The same wait, ending at `time` at the latest.
    #[must_use]
    fn no_later(self, time: u64) -> Self {
        Self { until: Some(self.until.map_or(time, |until| until.min(time))), ..self }
    }
}

impl Step {
    /// Nothing until the next event.
    pub fn pending() -> Self {
        Self::Pending(Wait::default())
    }

    /// Nothing until `time`, unless an event changes that.
    pub fn pending_until(time: u64) -> Self {
        Self::Pending(Wait { until: Some(time), next: None })
    }

    /// Wraps whatever generator follows.
    #[must_use]
    fn map_next(self, wrap: impl FnOnce(Gen) -> Gen) -> Self {
        match self {
            Step::Done => Step::Done,
            Step::Pending(wait) => Step::Pending(wait.map(wrap)),
            Step::Op(op, next) => Step::Op(op, wrap(next)),
        }
    }
}

/// A pure source of operations.
pub trait Generator: Send + Sync {
    /// The next operation. Asked twice in the same context, it gives the same answer.
    fn op(&self, context: &Context<'_>) -> Step;

    /// The generator after `event` of `worker`; `None` when it stays as it is. Called for invocations as well as for
    /// completions, with the context after the event.
    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen>;
}
