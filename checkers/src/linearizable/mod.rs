//! Linearizability: is there one order of all operations, in agreement with real time, that the model allows?
//!
//! [`check`] takes the operations of a history as a table, splits them into independent objects (a history is linearizable as a whole
//! exactly if it is for each object: Herlihy and Wing, 1990), decides each with an engine, and explains each object that
//! fails.
//!
//! What an outcome means: `ok` took effect between its invocation and its completion; `fail` never takes effect and
//! constrains nothing; `info` and operations that never completed may take effect at any time after their
//! invocation, or never. A read without a result constrains nothing.
//!
//! The parts: `models` say what operations mean, `objects` splits a history, `engines` decide one object, `evidence` finds
//! and words the smallest contradiction. An engine knows calls and numbers only; it knows no events, no keys and no words.

mod budget;
mod call;
mod catalog;
mod checker;
mod engines;
mod evidence;
pub mod live;
mod model;
mod models;
mod numbers;
mod objects;
mod select;
mod specification;
mod witness;

#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use schism_history::{Table, ValueId};

pub use model::{Model, UnknownModel};
pub use select::{Engine, UnknownEngine};
pub use specification::{Edit, Misfit, Removal, Specification};
pub use witness::Witness;

use crate::{CheckResult, Progress};
use catalog::Visit;
use checker::Checker;
use select::Engines;

/// Violating objects that are explained; the others are only counted.
pub const EXPLAINED: usize = 16;

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model to check against.
    pub model: Model,
    /// Which engine is to decide.
    pub engine: Engine,
    /// The value that registers have at first, of the table's own [values](Table::values). Other models start empty.
    pub initial: ValueId,
    /// Time for the decision over all objects, and for making the evidence small. That has a tenth of it for itself.
    pub time_budget: Option<Duration>,
    /// Bytes for the search, over all threads.
    pub memory_budget: Option<usize>,
    /// Threads; 0: as many as there are processors.
    pub threads: usize,
    /// Where to note how far it has come.
    pub progress: Option<Arc<Progress>>,
}

impl Options {
    /// Two minutes, 4 GiB, all processors. A history that needs more is rare (some hundred operations open at once on one
    /// key), but without a limit it would take for ever.
    pub fn new(model: Model) -> Self {
        Self {
            model,
            engine: Engine::Auto,
            initial: ValueId::NULL,
            time_budget: Some(Duration::from_secs(120)),
            memory_budget: Some(4 << 30),
            threads: 0,
            progress: None,
        }
    }
}

/// Why a history cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// An operation that the model does not have.
    #[error("event {index}: the model `{model}` has no operation `{f}`{hint}")]
    UnknownOperation {
        /// The index of the invocation.
        index: u64,
        /// The operation's name.
        f: String,
        /// The model's name.
        model: String,
        /// What to do about it, if there is anything.
        hint: &'static str,
    },
    /// An operation whose value does not have the shape it needs.
    #[error("event {index}: {problem}")]
    Malformed {
        /// The index of the invocation.
        index: u64,
        /// What is wrong.
        problem: String,
    },
    /// The threads could not be started.
    #[error("cannot start the checker's threads: {0}")]
    Threads(String),
}

/// Checks that the operations of a history are linearizable.
///
/// The result is the same for every number of threads as long as no budget runs out.
///
/// # Errors
/// An operation that the model does not have, or whose value is malformed: the history is not judged at all then,
/// since leaving an operation out could turn a violation into a pass or a pass into a violation.
pub fn check(table: &Table, options: &Options) -> Result<CheckResult, CheckError> {
    struct Run<'a>(&'a Table, &'a Options);
    impl Visit for Run<'_> {
        type Output = Result<CheckResult, CheckError>;
        fn visit<S: Specification>(self, checker: &Checker<'_, S>) -> Self::Output {
            checker.run(self.0, self.1)
        }
    }
    catalog::with(options.model, table, options.initial, Run(table, options))
}

/// As [`check`], against a specification of the caller's own, called `name`; the model in the options does not count. It is decided by
/// the general search.
///
/// # Errors
/// As of [`check`].
pub fn check_with<S: Specification>(
    specification: &S,
    name: &str,
    table: &Table,
    options: &Options,
) -> Result<CheckResult, CheckError> {
    own(specification, name, |checker| checker.run(table, options))
}

/// An order of the operations of every object, which shows that it is linearizable. Each has been replayed step by step by code
/// that shares nothing with the engine that found it.
///
/// # Errors
/// As of [`check`].
pub fn witness(table: &Table, options: &Options) -> Result<Vec<Witness>, CheckError> {
    struct Run<'a>(&'a Table, &'a Options);
    impl Visit for Run<'_> {
        type Output = Result<Vec<Witness>, CheckError>;
        fn visit<S: Specification>(self, checker: &Checker<'_, S>) -> Self::Output {
            checker.witness(self.0, self.1)
        }
    }
    catalog::with(options.model, table, options.initial, Run(table, options))
}

/// Does something with a specification of the caller's own.
fn own<S: Specification, T>(specification: &S, name: &str, work: impl FnOnce(&Checker<'_, S>) -> T) -> T {
    let search =
        &|calls: &[call::Call<S::Action>], budget| engines::general::decide(specification, calls, budget).0;
    let engines = Engines { special: None, just_in_time: None, search };
    let (explain, order) = (&evidence::general::explain, &|_: &[call::Call<S::Action>]| None);
    work(&Checker { name, specification, engines, direct: None, explain, order })
}
