//! Checks all objects of a history against one model, whichever it is.

use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;
use schism_history::{Table, ValueId};

use super::budget::{Budget, Exhausted};
use super::call::{Answer, Call, Contradiction, Decision};
use super::engines::general;
use super::evidence::Failure;
use super::objects::{self, Objects, Unfit};
use super::select::{Engine, Engines};
use super::specification::{Misfit, Specification};
use super::witness::{self, Witness};
use super::{CheckError, EXPLAINED, Options};
use crate::{CheckResult, Validity, Violation};

/// The part of the time budget that the explanations have, if the decision left less.
const GRACE: u32 = 10;

/// Decides one object.
pub(super) type Decide<'d, S> = dyn Fn(&[Call<<S as Specification>::Action>], Budget) -> Decision + Sync + 'd;
/// Explains one object that failed.
type Explain<'e, S> = dyn Fn(&Failure<'_, S>) -> Violation + Sync + 'e;
/// Puts one object in order.
type Order<'o, S> = dyn Fn(&[Call<<S as Specification>::Action>]) -> Option<Vec<usize>> + Sync + 'o;
/// Decides one object as the special engine would, from its rows; `None` if that engine does not decide it, or a row does not fit.
pub(super) type Direct<'d> = dyn Fn(&Table, &[u32], Budget) -> Option<Decision> + Sync + 'd;

/// Everything there is to know about a model in order to check it.
pub(super) struct Checker<'c, S: Specification> {
    pub name: &'c str,
    pub specification: &'c S,
    pub engines: Engines<'c, S::Action>,
    /// The special engine on the rows themselves, where making calls of them would take longer than deciding them.
    pub direct: Option<&'c Direct<'c>>,
    /// Explains one object that failed.
    pub explain: &'c Explain<'c, S>,
    /// An order of an object that passed, if the special engine can build one.
    pub order: &'c Order<'c, S>,
}

fn pool(options: &Options) -> Result<ThreadPool, CheckError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|number| format!("check-{number}"))
        .build()
        .map_err(|error| CheckError::Threads(error.to_string()))
}

impl<S: Specification> Checker<'_, S> {
    /// Checks all objects, and explains those that fail.
    pub fn run(&self, table: &Table, options: &Options) -> Result<CheckResult, CheckError> {
        let started = Instant::now();
        let pool = pool(options)?;
        let decide =
            |calls: &[Call<S::Action>], budget: Budget| self.engines.decide(options.engine, calls, budget);
        let budget = options.budget(&pool);
        if let Some(progress) = &options.progress {
            progress.begin(table.rows().len());
        }
        let objects = Objects::of(self.specification, table);
        let decisions = pool.install(|| {
            objects.map(|object| {
                let rows = objects.rows(object);
                let decision = match self.directly(table, rows, options.engine, &budget) {
                    Some(decision) => decision,
                    None => decide(&objects::calls(self.specification, table, rows)?, budget.clone()),
                };
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
        // What the decision left of the time; some, if it left none, since a violation without evidence is of little use.
        let deadline = budget
            .deadline
            .map(|(deadline, granted)| (deadline.max(Instant::now() + granted / GRACE), granted));
        let explain = |(object, contradiction): &(usize, &Contradiction)| {
            let rows = objects.rows(*object);
            let calls = objects::calls(self.specification, table, rows).unwrap_or_default();
            let key = shown_key(&objects, *object);
            let (specification, sharing) = (self.specification, explained.len());
            let decide = &decide;
            (self.explain)(&Failure {
                specification,
                table,
                key,
                rows,
                calls: &calls,
                contradiction,
                decide,
                sharing,
                deadline,
            })
        };
        let mut violations: Vec<Violation> = pool.install(|| explained.par_iter().map(explain).collect());
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

    fn directly(&self, table: &Table, rows: &[u32], engine: Engine, budget: &Budget) -> Option<Decision> {
        match engine {
            Engine::Auto | Engine::Special => (self.direct?)(table, rows, budget.clone()),
            Engine::JustInTime | Engine::Search => None,
        }
    }

    /// Orders of all objects that pass, each replayed.
    pub fn witness(&self, table: &Table, options: &Options) -> Result<Vec<Witness>, CheckError> {
        let pool = pool(options)?;
        let objects = Objects::of(self.specification, table);
        let orders = pool.install(|| {
            objects.map(|object| {
                let calls = objects::calls(self.specification, table, objects.rows(object))?;
                let order = (self.order)(&calls)
                    .or_else(|| general::order(self.specification, &calls, options.budget(&pool)));
                let replayed = match &order {
                    Some(order) => witness::replay(self.specification, &calls, order),
                    None => Err("no order was found within the budget, or there is none".to_owned()),
                };
                let (key, part) = objects.name(object);
                let json = |value: ValueId| value.is_present().then(|| table.values.to_json(value));
                let events = |order: Vec<usize>| {
                    order.iter().map(|call| table.view(calls[*call].source as usize).index()).collect()
                };
                Ok(Witness {
                    key: json(key),
                    part: json(part),
                    order: replayed.map(|()| order.map(events).unwrap_or_default()),
                })
            })
        });
        self.all_or_first_unfit(table, orders)
    }

    /// The results, or the earliest operation that does not fit the model.
    fn all_or_first_unfit<T>(
        &self,
        table: &Table,
        decisions: Vec<Result<T, Unfit>>,
    ) -> Result<Vec<T>, CheckError> {
        let unfit = decisions.iter().filter_map(|decision| decision.as_ref().err());
        let Some(Unfit { row, misfit }) = unfit.min_by_key(|unfit| unfit.row) else {
            return Ok(decisions.into_iter().flatten().collect());
        };
        let view = table.view(*row as usize);
        Err(CheckError::of(misfit, view.index(), view.f(), self.name))
    }
}

impl CheckError {
    /// What does not fit the model called `model`: the operation `f`, invoked at event `index`.
    pub(super) fn of(misfit: &Misfit, index: u64, f: &str, model: &str) -> Self {
        match misfit {
            Misfit::Unknown { hint } => {
                CheckError::UnknownOperation { index, f: f.to_owned(), model: model.to_owned(), hint }
            }
            Misfit::Malformed(problem) => CheckError::Malformed { index, problem: problem.clone() },
        }
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

impl Options {
    /// What one thread may spend from now on.
    fn budget(&self, pool: &ThreadPool) -> Budget {
        let threads = pool.current_num_threads().max(1);
        Budget {
            deadline: self.time_budget.and_then(|time| Some((Instant::now().checked_add(time)?, time))),
            bytes: self.memory_budget.map_or(usize::MAX, |bytes| bytes / threads),
            ..Budget::UNLIMITED
        }
    }
}

/// By what people know the object: its key in the history or, without one, the part that its operations name.
fn shown_key(objects: &Objects, object: usize) -> ValueId {
    match objects.name(object) {
        (key, part) if !key.is_present() => part,
        (key, _) => key,
    }
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
        Exhausted::Cancelled => "the check was called off".into(),
        Exhausted::Unsuited => format!("the engine `{}` cannot decide this", options.engine),
        Exhausted::Width => "more operations were open at once than the search can hold".into(),
    };
    let key = shown_key(objects, object);
    let of_key = if key.is_present() { format!(" of key {}", table.values.show(key)) } else { String::new() };
    Some(format!(
        "{limit}: {count} of {} keys undecided; the first{of_key} came as far as {done} completed operations of {}",
        objects.count(),
        objects.rows(object).len()
    ))
}
