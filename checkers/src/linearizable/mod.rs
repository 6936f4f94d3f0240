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
#[allow(dead_code)]
mod call;
#[allow(dead_code)]
mod engines;
mod evidence;
mod model;
#[allow(dead_code)]
mod models;
mod objects;
mod select;
mod specification;
mod witness;

#[cfg(test)]
#[allow(dead_code)]
mod testing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use schism_history::Table;

pub use model::{Model, UnknownModel};
pub use models::register::Register;
pub use select::{Engine, UnknownEngine};
pub use specification::{Misfit, Removal, Specification};

use crate::{CheckResult, Progress, Validity, Violation};
use budget::{Budget, Exhausted};
use call::{Answer, Call, Contradiction, Decision};
use engines::just_in_time;
use evidence::Failure;
use objects::{Objects, Unfit};

/// Violating objects that are explained; the others are only counted.
pub const EXPLAINED: usize = 16;

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model to check against.
    pub model: Model,
    /// Which engine is to decide.
    pub engine: Engine,
    /// Time for the decision over all objects; the explanations come on top and are bounded by themselves.
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

type Decide<S> = dyn Fn(&[Call<<S as Specification>::Action>], Budget) -> Decision + Sync;
type Explain<S> = dyn Fn(&Failure<'_, S>) -> Violation + Sync;

/// Everything there is to know about a model in order to check it.
struct Checker<'c, S: Specification> {
    name: &'c str,
    specification: &'c S,
    /// Decides one object.
    decide: &'c Decide<S>,
    /// Explains one object that failed.
    explain: &'c Explain<S>,
}

/// Checks that the operations of a history are linearizable.
///
/// The result is the same for every number of threads as long as no budget runs out.
///
/// # Errors
/// An operation that the model does not have, or whose value is malformed: the history is not judged at all then,
/// since leaving an operation out could turn a violation into a pass or a pass into a violation.
pub fn check(table: &Table, options: &Options) -> Result<CheckResult, CheckError> {
    let name = options.model.name();
    match options.model {
        Model::Register | Model::CasRegister => {
            let specification = &Register { cas: options.model == Model::CasRegister };
            let decide = &just_in_time::decide_calls;
            let explain = &evidence::register::explain;
            Checker { name, specification, decide, explain }.run(table, options)
        }
    }
}

impl<S: Specification> Checker<'_, S> {
    fn run(&self, table: &Table, options: &Options) -> Result<CheckResult, CheckError> {
        let started = Instant::now();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|number| format!("check-{number}"))
            .build()
            .map_err(|error| CheckError::Threads(error.to_string()))?;
        let budget = Budget {
            deadline: options.time_budget.and_then(|time| Some((started.checked_add(time)?, time))),
            bytes: options
                .memory_budget
                .map_or(usize::MAX, |bytes| bytes / pool.current_num_threads().max(1)),
            visits: u64::MAX,
        };
        if let Some(progress) = &options.progress {
            progress.expect(table.rows().len());
        }
        let objects = Objects::of(self.specification, table);
        let decisions = pool.install(|| {
            objects.map(|object| {
                let rows = objects.rows(object);
                let calls = objects::calls(self.specification, table, rows)?;
                let decision = (self.decide)(&calls, budget);
                if let Some(progress) = &options.progress {
                    progress.add(rows.len());
                }
                Ok(decision)
            })
        });
        let decisions = self.all_or_first_unfit(table, decisions)?;
        let failing: Vec<(usize, &Contradiction)> = decisions
            .iter()
            .enumerate()
            .filter_map(|(object, decision)| match &decision.answer {
                Answer::Impossible(contradiction) => Some((object, contradiction)),
                Answer::Linearizable | Answer::Unknown(..) => None,
            })
            .collect();
        // The clearest can only be known once all are explained; a bound on their number bounds the time.
        let explained = &failing[..failing.len().min(4 * EXPLAINED)];
        let explain = |(object, contradiction): &(usize, &Contradiction)| {
            let rows = objects.rows(*object);
            let calls = objects::calls(self.specification, table, rows).unwrap_or_default();
            let (key, _) = objects.name(*object);
            let (specification, decide, sharing) = (self.specification, self.decide, explained.len());
            (self.explain)(&Failure {
                specification,
                table,
                key,
                rows,
                calls: &calls,
                contradiction,
                decide,
                sharing,
            })
        };
        let mut violations: Vec<Violation> = pool.install(|| {
            use rayon::prelude::*;
            explained.par_iter().map(explain).collect()
        });
        violations.sort_by_key(|violation| (violation.operations.len(), violation.window));
        violations.truncate(EXPLAINED);
        let unknown = describe_unknown(table, &objects, &decisions, options);
        let validity = match (failing.is_empty(), &unknown) {
            (false, _) => Validity::Violation,
            (true, Some(_)) => Validity::Unknown,
            (true, None) => Validity::Pass,
        };
        Ok(CheckResult {
            checker: "linearizable".into(),
            model: self.name.into(),
            engine: engines_used(&decisions),
            validity,
            keys: objects.count(),
            operations: table.rows().len(),
            violating_keys: failing.len(),
            violations,
            unknown,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// The decisions, or the earliest operation that does not fit the model.
    fn all_or_first_unfit(
        &self,
        table: &Table,
        decisions: Vec<Result<Decision, Unfit>>,
    ) -> Result<Vec<Decision>, CheckError> {
        let unfit = decisions.iter().filter_map(|decision| decision.as_ref().err());
        let Some(Unfit { row, misfit }) = unfit.min_by_key(|unfit| unfit.row) else {
            return Ok(decisions.into_iter().flatten().collect());
        };
        let view = table.view(*row as usize);
        let index = view.index();
        Err(match misfit {
            Misfit::Unknown { hint } => CheckError::UnknownOperation {
                index,
                f: view.f().to_owned(),
                model: self.name.to_owned(),
                hint,
            },
            Misfit::Malformed(problem) => CheckError::Malformed { index, problem: problem.clone() },
        })
    }
}

/// The engines that decided, the most used first.
fn engines_used(decisions: &[Decision]) -> String {
    let mut used: Vec<(&str, usize)> = Vec::new();
    for Decision { engine, .. } in decisions {
        match used.iter_mut().find(|(name, _)| name == engine) {
            Some((_, count)) => *count += 1,
            None => used.push((engine, 1)),
        }
    }
    used.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let names: Vec<&str> = used.into_iter().map(|(name, _)| name).collect();
    names.join(", ")
}

fn describe_unknown(
    table: &Table,
    objects: &Objects,
    decisions: &[Decision],
    options: &Options,
) -> Option<String> {
    let mut undecided = decisions.iter().enumerate().filter_map(|(object, decision)| match decision.answer {
        Answer::Unknown(limit, done) => Some((object, limit, done)),
        Answer::Linearizable | Answer::Impossible(_) => None,
    });
    let (object, limit, done) = undecided.next()?;
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
        Exhausted::Unsuited => format!("the engine `{}` cannot decide this", options.engine),
        Exhausted::Width => "more operations were open at once than the search can hold".into(),
    };
    let (key, _) = objects.name(object);
    let of_key = if key.is_present() { format!(" of key {}", table.values.show(key)) } else { String::new() };
    Some(format!(
        "{limit}: {count} of {} keys undecided; the first{of_key} came as far as {done} completed operations of {}",
        objects.count(),
        objects.rows(object).len()
    ))
}
