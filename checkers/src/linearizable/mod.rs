//! Linearizability: is there one order of all operations, in agreement with real time, that the model allows?
//!
//! [`check`] takes the paired operations of a history, splits them by independent key (an object is linearizable as a whole exactly
//! if each key is: Herlihy and Wing, 1990), decides each with an engine, and explains each key that fails.
//!
//! What an outcome means: `ok` took effect between its invocation and its completion; `fail` never takes effect and
//! constrains nothing; `info` and operations that never completed may take effect at any time after their
//! invocation, or never. A read without a result constrains nothing.
//!
//! The parts: `model` says what an operation means, `value` numbers the values, `engine_*` decide one key, `evidence` finds
//! and words the smallest contradiction. An engine knows calls and numbers only; it knows no events, no keys and no words.

mod budget;
// What follows up to `specification` is put in place now and used by the front door next.
#[allow(dead_code)]
mod call;
mod configuration;
mod engine_just_in_time;
#[allow(dead_code)]
mod engines;
mod evidence;
mod model;
#[allow(dead_code)]
mod models;
mod reductions;
mod schedule;
#[allow(dead_code)]
mod specification;
mod value;
#[allow(dead_code)]
mod witness;

#[cfg(test)]
mod differential;
#[cfg(test)]
#[allow(dead_code)]
mod testing;

use std::time::{Duration, Instant};

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use schism_history::Operation;
use serde_json::Value;

pub use model::{Model, UnknownModel};
pub use specification::{Misfit, Specification};

use crate::{CheckResult, Validity, Violation};
use budget::{Budget, Exhausted};
use engine_just_in_time::Answer;
use model::{Action, Call};
use reductions::Reductions;
use value::{Interner, canonical};

/// Violating keys that are explained; the others are only counted.
pub const EXPLAINED: usize = 16;

/// How to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The model to check against.
    pub model: Model,
    /// Time for the decision over all keys; the explanations come on top and are bounded by themselves.
    pub time_budget: Option<Duration>,
    /// Bytes for the search, over all threads.
    pub memory_budget: Option<usize>,
    /// Threads; 0: as many as there are processors.
    pub threads: usize,
}

impl Options {
    /// Two minutes, 4 GiB, all processors. A history that needs more is rare (some hundred operations open at once on one
    /// key), but without a limit it would take for ever.
    pub fn new(model: Model) -> Self {
        Self { model, time_budget: Some(Duration::from_secs(120)), memory_budget: Some(4 << 30), threads: 0 }
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
        /// The model.
        model: Model,
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

/// The operations of one key.
struct Part<'h> {
    key: Option<&'h Value>,
    /// Which of the operations, and what each claims.
    members: Vec<(usize, Option<Action<&'h Value>>)>,
}

/// What was found out about one key.
struct Finding<'h> {
    calls: Vec<Call>,
    values: Interner<'h>,
    answer: Answer,
}

/// Checks that the operations, as [`schism_history::pair`] gives them, are linearizable.
///
/// The result is the same for every number of threads as long as no budget runs out.
///
/// # Errors
/// An operation that the model does not have, or whose value is malformed: the history is not judged at all then,
/// since leaving an operation out could turn a violation into a pass or a pass into a violation.
pub fn check(operations: &[Operation<'_>], options: &Options) -> Result<CheckResult, CheckError> {
    let started = Instant::now();
    let parts = partition(operations, options.model)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|number| format!("check-{number}"))
        .build()
        .map_err(|error| CheckError::Threads(error.to_string()))?;
    let budget = Budget {
        deadline: options.time_budget.and_then(|time| Some((started.checked_add(time)?, time))),
        bytes: options.memory_budget.map_or(usize::MAX, |bytes| bytes / pool.current_num_threads().max(1)),
        visits: u64::MAX,
        cancelled: None,
    };
    let findings: Vec<Finding<'_>> =
        pool.install(|| parts.par_iter().map(|part| decide(part, operations, budget.clone())).collect());
    let violating: Vec<usize> = (0..parts.len())
        .filter(|position| matches!(findings[*position].answer, Answer::Impossible(_)))
        .collect();
    let unknown = describe_unknown(&parts, &findings, options);
    // The clearest can only be known once all are explained; a bound on their number bounds the time.
    let explain = &violating[..violating.len().min(4 * EXPLAINED)];
    let mut violations: Vec<Violation> = pool.install(|| {
        explain
            .par_iter()
            .map(|position| {
                let (part, finding) = (&parts[*position], &findings[*position]);
                evidence::explain(part.key, operations, &part.members, finding, explain.len())
            })
            .collect()
    });
    violations.sort_by_key(|violation| (violation.operations.len(), violation.window));
    violations.truncate(EXPLAINED);
    let validity = match (violating.is_empty(), &unknown) {
        (false, _) => Validity::Violation,
        (true, Some(_)) => Validity::Unknown,
        (true, None) => Validity::Pass,
    };
    Ok(CheckResult {
        checker: "linearizable".into(),
        model: options.model.name().into(),
        engine: engine_just_in_time::NAME.into(),
        validity,
        keys: parts.len(),
        operations: operations.len(),
        violating_keys: violating.len(),
        violations,
        unknown,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Splits the operations by key, in the order in which the keys first appear. Operations without a key concern one
/// object of their own.
fn partition<'h>(operations: &[Operation<'h>], model: Model) -> Result<Vec<Part<'h>>, CheckError> {
    let mut parts: Vec<Part<'h>> = Vec::new();
    let mut known: FxHashMap<Option<String>, usize> = FxHashMap::default();
    let mut last: Option<(Option<&Value>, usize)> = None;
    for (source, operation) in operations.iter().enumerate() {
        let key = operation.key();
        let position = match last {
            Some((last, position)) if last == key => position,
            _ => *known.entry(key.map(canonical)).or_insert_with(|| {
                parts.push(Part { key, members: Vec::new() });
                parts.len() - 1
            }),
        };
        last = Some((key, position));
        parts[position].members.push((source, model::action(model, operation)?));
    }
    Ok(parts)
}

fn decide<'h>(part: &Part<'h>, operations: &[Operation<'h>], budget: Budget) -> Finding<'h> {
    let mut values = Interner::new();
    let calls: Vec<Call> = part
        .members
        .iter()
        .filter_map(|(source, action)| model::call(*action, &operations[*source], *source, &mut values))
        .collect();
    let (answer, _) = engine_just_in_time::decide(&calls, values.count(), Reductions::ALL, budget);
    Finding { calls, values, answer }
}

fn describe_unknown(parts: &[Part<'_>], findings: &[Finding<'_>], options: &Options) -> Option<String> {
    let mut undecided = parts.iter().zip(findings).filter_map(|(part, finding)| match finding.answer {
        Answer::Unknown(limit, done) => Some((part, limit, done)),
        Answer::Linearizable | Answer::Impossible(_) => None,
    });
    let (part, limit, done) = undecided.next()?;
    let count = 1 + undecided.count();
    let limit = match limit {
        Exhausted::Time => {
            let seconds = options.time_budget.unwrap_or_default().as_secs_f64();
            format!("the time budget of {seconds} s ran out")
        }
        Exhausted::Memory => {
            let mebibytes = options.memory_budget.unwrap_or_default() as f64 / f64::from(1 << 20);
            format!("the memory budget of {mebibytes} MiB ran out")
        }
        Exhausted::Visits => "the search was given up".into(),
        Exhausted::Cancelled => "the search was called off".into(),
        Exhausted::Width => "more operations were open at once than the search can hold".into(),
    };
    let of_key = part.key.map_or(String::new(), |key| format!(" of key {key}"));
    let members = part.members.len();
    Some(format!(
        "{limit}: {count} of {} keys undecided; the first{of_key} came as far as {done} completed operations of {members}",
        parts.len()
    ))
}
