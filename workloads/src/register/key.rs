//! The operations on one key.

use std::sync::Arc;

use schism_history::{Event, Kind, Random};
use serde_json::Value;

use super::OPERATIONS;
use crate::generator::{Context, Gen, Generator, Step};
use crate::op::{Op, Worker};

/// One compare-and-set in this many expects some earlier value instead of the latest, so that refusals are exercised
/// too.
const STALE_CAS_ONE_IN: u64 = 8;

struct KeyOperations {
    random: Random,
    /// Of [`OPERATIONS`], in order.
    weights: Arc<[u64; 3]>,
    /// Values are `1..=written` so far: unique, so that a read names the write it saw.
    written: u64,
    /// The register's value as far as completions tell; 0 is null.
    latest: u64,
}

/// Reads, writes and compare-and-sets by `weights`, by random free workers, without end.
pub(super) fn operations(random: Random, weights: Arc<[u64; 3]>) -> Gen {
    Arc::new(KeyOperations { random, weights, written: 0, latest: 0 })
}

fn register_value(number: u64) -> Value {
    if number == 0 { Value::Null } else { Value::from(number) }
}

/// What a completed operation says about the register's value.
fn seen(event: &Event) -> Option<u64> {
    let value = match &*event.f {
        "cas" => event.value.get(1)?,
        _ => &event.value,
    };
    if value.is_null() { Some(0) } else { value.as_u64() }
}

impl Generator for KeyOperations {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut random = self.random;
        let chosen = usize::try_from(random.below(context.free.len() as u64)).unwrap_or(0);
        let Some(worker) = context.free.nth(chosen) else {
            return Step::pending();
        };
        let mut ticket = random.below(self.weights.iter().sum());
        let choice = self.weights.iter().position(|weight| {
            let hit = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            hit
        });
        let Some(choice) = choice else {
            return Step::Done;
        };
        let mut written = self.written;
        let value = match choice {
            0 => Value::Null,
            1 => {
                written += 1;
                Value::from(written)
            }
            _ => {
                let stale = random.below(STALE_CAS_ONE_IN) == 0;
                let expected = if stale { random.below(written + 1) } else { self.latest };
                written += 1;
                Value::Array(vec![register_value(expected), Value::from(written)])
            }
        };
        let op = Op { time: context.time, worker, f: OPERATIONS[choice].into(), key: None, value };
        let next = Self { random, weights: Arc::clone(&self.weights), written, latest: self.latest };
        Step::Op(op, Arc::new(next))
    }

    fn update(&self, _: &Context<'_>, _: Worker, event: &Event) -> Option<Gen> {
        if event.kind != Kind::Ok {
            return None;
        }
        let latest = seen(event).filter(|latest| *latest != self.latest)?;
        Some(Arc::new(Self { weights: Arc::clone(&self.weights), latest, ..*self }))
    }
}
