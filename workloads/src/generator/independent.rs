//! Independent keys: many short histories instead of one long one.

use std::sync::Arc;

use schism_history::{Event, Random};
use serde_json::Value;

use super::{Context, Gen, Generator, Step, Wait, WorkerSet};
use crate::op::Worker;

type Make = dyn Fn(u64) -> Gen + Send + Sync;

#[derive(Clone)]
struct Group {
    workers: Arc<WorkerSet>,
    /// The keys in rotation, and what is left to do on each.
    active: Vec<(u64, Gen)>,
}

struct Independent {
    random: Random,
    groups: Vec<Arc<Group>>,
    next_key: u64,
    make: Arc<Make>,
}

/// Groups of workers, each of which works on a few keys at a time; when the generator of a key is done, its place is
/// taken by a fresh key. Fresh keys keep each key's history short, so that it is checked fast and its crashed writes do
/// not follow the run forever.
///
/// `groups` gives each group's workers and how many keys it has in rotation; a worker belongs to one group at most.
/// `make` gives the generator of a key; keys are numbered from 0 in the order in which they come into use. Each operation
/// is made by a random free worker's group on a random one of its keys, and a key's generator hears of the events on that
/// key only. Never done, unless a fresh key has nothing to do.
pub fn independent(
    random: Random,
    groups: impl IntoIterator<Item = (WorkerSet, usize)>,
    make: impl Fn(u64) -> Gen + Send + Sync + 'static,
) -> Gen {
    let mut next_key = 0;
    let groups = groups.into_iter().map(|(workers, keys)| {
        let active = (next_key..).take(keys).map(|key| (key, make(key))).collect();
        next_key += keys as u64;
        Arc::new(Group { workers: Arc::new(workers), active })
    });
    let groups = groups.collect();
    Arc::new(Independent { random, groups, next_key, make: Arc::new(make) })
}

/// All of `0..count`, beginning with a random one.
fn rotation(random: &mut Random, count: usize) -> impl Iterator<Item = usize> + use<> {
    let start = usize::try_from(random.below(count as u64)).unwrap_or(0);
    (start..count).chain(0..start)
}

impl Independent {
    fn group_of(&self, worker: Worker) -> Option<usize> {
        self.groups.iter().position(|group| group.workers.view().contains(worker))
    }

    /// The same, with another generator in one place.
    fn with(&self, random: Random, group: usize, place: usize, key: u64, generator: Gen) -> Self {
        let mut groups = self.groups.clone();
        let mut changed = Group::clone(&groups[group]);
        changed.active[place] = (key, generator);
        groups[group] = Arc::new(changed);
        Self { random, groups, next_key: self.next_key, make: Arc::clone(&self.make) }
    }

    /// Puts a fresh key in the place of one that is done and goes on from there.
    fn renew(&self, group: usize, place: usize, context: &Context<'_>, narrow: &Context<'_>) -> Step {
        let fresh = (self.make)(self.next_key);
        if matches!(fresh.op(narrow), Step::Done) {
            return Step::Done;
        }
        let renewed = Self {
            next_key: self.next_key + 1,
            ..self.with(self.random, group, place, self.next_key, fresh)
        };
        match renewed.op(context) {
            Step::Pending(Wait { until, next }) => {
                Step::Pending(Wait { until, next: Some(next.unwrap_or_else(|| Arc::new(renewed))) })
            }
            step => step,
        }
    }
}

impl Generator for Independent {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut random = self.random;
        let chosen = usize::try_from(random.below(context.free.len() as u64)).unwrap_or(0);
        let Some(first) = context.free.nth(chosen) else {
            return Step::pending();
        };
        let start = self.group_of(first).unwrap_or(0);
        let mut soonest: Option<(crate::op::Op, Self)> = None;
        let mut until: Option<u64> = None;
        let mut remembered: Option<Self> = None;
        for group in (start..self.groups.len()).chain(0..start) {
            let Group { workers, active } = &*self.groups[group];
            let free = context.free.intersection(workers.view());
            if free.view().is_empty() {
                continue;
            }
            let narrow = context.within(free.view(), workers.view());
            for place in rotation(&mut random, active.len()) {
                let (key, generator) = &active[place];
                match generator.op(&narrow) {
                    Step::Done => return self.renew(group, place, context, &narrow),
                    Step::Pending(wait) => {
                        until = [until, wait.until].into_iter().flatten().min();
                        if let Some(next) = wait.next {
                            let base = remembered.as_ref().unwrap_or(self);
                            remembered = Some(base.with(self.random, group, place, *key, next));
                        }
                    }
                    Step::Op(mut op, next) => {
                        op.key = Some(Value::from(*key));
                        let base = remembered.as_ref().unwrap_or(self);
                        if op.time <= context.time {
                            let next = base.with(random, group, place, *key, next);
                            return Step::Op(op, Arc::new(next));
                        }
                        if soonest.as_ref().is_none_or(|(best, _)| op.time < best.time) {
                            soonest = Some((op, base.with(random, group, place, *key, next)));
                        }
                    }
                }
            }
        }
        match soonest {
            Some((op, next)) if remembered.is_none() && until.is_none_or(|until| op.time <= until) => {
                Step::Op(op, Arc::new(next))
            }
            proposal => {
                let until = [until, proposal.map(|(op, _)| op.time)].into_iter().flatten().min();
                Step::Pending(Wait { until, next: remembered.map(|next| -> Gen { Arc::new(next) }) })
            }
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let key = event.key.as_ref()?.as_u64()?;
        let group = self.group_of(worker)?;
        let Group { workers, active } = &*self.groups[group];
        let place = active.iter().position(|(active, _)| *active == key)?;
        let free = context.free.intersection(workers.view());
        let now = active[place].1.update(&context.within(free.view(), workers.view()), worker, event)?;
        Some(Arc::new(self.with(self.random, group, place, key, now)))
    }
}
