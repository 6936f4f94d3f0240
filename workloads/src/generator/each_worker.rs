//! The same for every worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use schism_history::Event;

use super::survey::Survey;
use super::{Context, Gen, Generator, Step, WorkerSet};
use crate::op::Worker;

struct EachWorker {
    fresh: Gen,
    /// Where it differs from `fresh`: what it is now, `None` when done.
    states: BTreeMap<Worker, Option<Gen>>,
}

/// A copy of `inner` for every worker, which sees and hears of that worker only. Done when all copies are.
pub fn each_worker(inner: Gen) -> Gen {
    Arc::new(EachWorker { fresh: inner, states: BTreeMap::new() })
}

impl EachWorker {
    fn with(&self, change: impl FnOnce(&mut BTreeMap<Worker, Option<Gen>>)) -> Gen {
        let mut states = self.states.clone();
        change(&mut states);
        Arc::new(Self { fresh: Arc::clone(&self.fresh), states })
    }

    fn state(&self, worker: Worker) -> Option<&Gen> {
        self.states.get(&worker).map_or(Some(&self.fresh), Option::as_ref)
    }
}

impl Generator for EachWorker {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut survey = Survey::new();
        let workers: Vec<Worker> = context.all.iter().collect();
        for (index, &worker) in workers.iter().enumerate() {
            if let Some(state) = self.state(worker) {
                let own: WorkerSet = [worker].into_iter().collect();
                let free = context.free.intersection(own.view());
                survey.ask(index, state, &context.within(free.view(), own.view()));
            }
        }
        survey.answer(context, |changes| {
            self.with(|states| {
                changes.each(|index, now| {
                    states.insert(workers[index], now);
                });
            })
        })
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let own: WorkerSet = [worker].into_iter().collect();
        let free = context.free.intersection(own.view());
        let now = self.state(worker)?.update(&context.within(free.view(), own.view()), worker, event)?;
        Some(self.with(|states| {
            states.insert(worker, Some(now));
        }))
    }
}
