//! The leaves: operations themselves.

use std::borrow::Cow;
use std::sync::Arc;

use schism_history::{Event, Random};
use serde_json::Value;

use super::{Context, Gen, Generator, Step};
use crate::op::{Op, Worker};

/// What an operation does, without when and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// `read`, `write`, `cas`, `partition`, …
    pub f: Cow<'static, str>,
    /// Independent key, where the workload has keys.
    pub key: Option<Value>,
    /// The argument.
    pub value: Value,
}

impl Action {
    /// An action without a key.
    pub fn new(f: impl Into<Cow<'static, str>>, value: Value) -> Self {
        Self { f: f.into(), key: None, value }
    }

    pub(super) fn by(self, worker: Worker, time: u64) -> Op {
        Op { time, worker, f: self.f, key: self.key, value: self.value }
    }
}

struct One(Action);

/// This operation once, by whichever free worker's turn it is.
pub fn operation(action: Action) -> Gen {
    Arc::new(One(action))
}

impl Generator for One {
    fn op(&self, context: &Context<'_>) -> Step {
        match context.worker() {
            Some(worker) => Step::Op(self.0.clone().by(worker, context.time), super::nothing()),
            None => Step::pending(),
        }
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}

type Make = dyn Fn(&mut Random, &Context<'_>) -> Action + Send + Sync;

struct Endless {
    random: Random,
    make: Arc<Make>,
}

/// Operations without end, each made by `make` from the randomness at hand, each by a random free worker.
pub fn operations(
    random: Random,
    make: impl Fn(&mut Random, &Context<'_>) -> Action + Send + Sync + 'static,
) -> Gen {
    Arc::new(Endless { random, make: Arc::new(make) })
}

impl Generator for Endless {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut random = self.random;
        let chosen = random.below(context.free.len() as u64);
        let Some(worker) = usize::try_from(chosen).ok().and_then(|n| context.free.nth(n)) else {
            return Step::pending();
        };
        let action = (self.make)(&mut random, context);
        let next = Arc::new(Self { random, make: Arc::clone(&self.make) });
        Step::Op(action.by(worker, context.time), next)
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}
