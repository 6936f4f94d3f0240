//! Client workers set aside for a purpose.

use std::sync::Arc;

use schism_history::Event;

use super::survey::Survey;
use super::{Context, Gen, Generator, Step, WorkerSet};
use crate::op::Worker;

struct Reserve {
    /// The last one is for everybody else.
    branches: Vec<Gen>,
    /// Client workers of each reserved branch.
    reserved: Arc<[WorkerSet]>,
}

/// The first so many client workers run the first generator, the next so many the second, and so on; all other workers
/// run `rest`. Each generator sees and hears of its own workers only.
pub fn reserve(parts: impl IntoIterator<Item = (usize, Gen)>, rest: Gen) -> Gen {
    let (mut branches, mut reserved, mut from) = (Vec::new(), Vec::new(), 0);
    for (count, branch) in parts {
        reserved.push((from..from + count).map(Worker::Client).collect());
        branches.push(branch);
        from += count;
    }
    branches.push(rest);
    Arc::new(Reserve { branches, reserved: reserved.into() })
}

impl Reserve {
    /// The branch that `worker` belongs to.
    fn branch(&self, worker: Worker) -> usize {
        self.reserved.iter().position(|set| set.view().contains(worker)).unwrap_or(self.reserved.len())
    }

    /// `(free, all)` of a branch.
    fn scope(&self, branch: usize, context: &Context<'_>) -> (WorkerSet, WorkerSet) {
        match self.reserved.get(branch) {
            Some(set) => (context.free.intersection(set.view()), context.all.intersection(set.view())),
            None => {
                let others = |workers: super::Workers<'_>| {
                    workers.iter().filter(|worker| self.branch(*worker) == branch).collect()
                };
                (others(context.free), others(context.all))
            }
        }
    }
}

impl Generator for Reserve {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut survey = Survey::new();
        for (index, branch) in self.branches.iter().enumerate() {
            let (free, all) = self.scope(index, context);
            survey.ask(index, branch, &context.within(free.view(), all.view()));
        }
        survey.answer(context, |changes| {
            let mut branches = self.branches.clone();
            changes.each(|index, now| branches[index] = now.unwrap_or_else(super::nothing));
            Arc::new(Self { branches, reserved: Arc::clone(&self.reserved) })
        })
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let index = self.branch(worker);
        let (free, all) = self.scope(index, context);
        let now = self.branches[index].update(&context.within(free.view(), all.view()), worker, event)?;
        let mut branches = self.branches.clone();
        branches[index] = now;
        Some(Arc::new(Self { branches, reserved: Arc::clone(&self.reserved) }))
    }
}
