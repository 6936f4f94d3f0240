//! Histories of simulated objects, built directly as tables: ten million operations in seconds.
//!
//! Every process invokes an operation, lets it take effect, and completes it; which process acts next is drawn. So operations overlap
//! as much as there are processes, and every history without a lie is linearizable.

use schism_history::{BuildError, Builder, Process, Random, Record, Table, ValueId};

use super::object::{Domain, Effect, Kind, Object, Request};

/// How operations are spread over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// One object, without a key.
    One,
    /// So many, each operation on one of them at random.
    Fixed(u64),
    /// All processes on one key for so many operations, then on the next.
    Rotating(u64),
    /// Every other operation on one key, the rest as with `Rotating`.
    Skewed(u64),
}

impl Keys {
    /// How many keys a history of so many operations has.
    pub fn count(self, operations: u64) -> u64 {
        match self {
            Keys::One => 1,
            Keys::Fixed(keys) => keys,
            Keys::Rotating(each) => operations.div_ceil(each),
            Keys::Skewed(each) => 1 + operations.div_ceil(2 * each),
        }
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: Kind,
    pub domain: Domain,
    pub keys: Keys,
    pub operations: u64,
    pub processes: u64,
    /// Of 1,000 operations, so many have an unknown outcome: half of them take effect at once, the others much later or never.
    pub unknown: u64,
    /// Whether one operation near the end says what cannot be.
    pub lie: bool,
}

struct Open {
    request: Request,
    key: usize,
    /// Its result, or that it was refused; none before it took effect.
    effect: Option<Option<ValueId>>,
    doomed: bool,
}

struct Subject {
    object: Object,
    /// Operations of unknown outcome that may still take effect.
    pending: Vec<Request>,
}

struct Simulation {
    builder: Builder,
    keyed: bool,
}

impl Simulation {
    fn push(
        &mut self,
        process: u64,
        kind: schism_history::Kind,
        f: &str,
        key: usize,
        value: ValueId,
    ) -> Result<(), BuildError> {
        let key = if self.keyed { self.builder.values().int(key as i64)? } else { ValueId::ABSENT };
        let time = Some(u64::from(self.builder.position()) * 100_000);
        let process = Process::Client(process);
        let (index, node, error) = (None, None, ValueId::ABSENT);
        self.builder.push(&Record { process, kind, f, key, value, time, index, node, error })
    }
}

/// A history of this shape; the same one for the same seed.
///
/// # Errors
/// It has more values or events than can be numbered.
pub fn history(shape: &Shape, seed: u64) -> Result<Table, BuildError> {
    use schism_history::Kind::{Fail, Info, Invoke, Ok as Completed};
    let mut random = Random::new(seed, "history");
    let mut simulation = Simulation { builder: Builder::new(), keyed: shape.keys != Keys::One };
    let each = shape.operations / shape.keys.count(shape.operations).max(1);
    let subject = || Subject { object: Object::new(shape.kind, shape.domain, each), pending: Vec::new() };
    let mut subjects: Vec<Subject> = Vec::new();
    let mut processes: Vec<u64> = (0..shape.processes).collect();
    let mut fresh = shape.processes;
    let mut open: Vec<Option<Open>> = Vec::new();
    open.resize_with(shape.processes as usize, || None);
    let (mut started, mut running) = (0, 0);
    // Nothing else is open when the lie is told.
    let mut lie_after = if shape.lie { shape.operations - shape.operations / 100 - 1 } else { u64::MAX };
    while started < shape.operations || running > 0 {
        let worker = random.below(shape.processes) as usize;
        let process = processes[worker];
        let Some(operation) = &mut open[worker] else {
            if started >= lie_after {
                if running == 0 {
                    let key = key_of(shape.keys, started.saturating_sub(1), &mut random);
                    let (request, result) = subjects[key].object.lie(simulation.builder.values())?;
                    simulation.push(process, Invoke, request.f, key, request.argument)?;
                    simulation.push(process, Completed, request.f, key, result)?;
                    started += 1;
                    lie_after = u64::MAX;
                }
                continue;
            }
            if started == shape.operations {
                continue;
            }
            let key = key_of(shape.keys, started, &mut random);
            if subjects.len() <= key {
                subjects.resize_with(key + 1, subject);
            }
            let request = subjects[key].object.draw(process, &mut random, simulation.builder.values())?;
            simulation.push(process, Invoke, request.f, key, request.argument)?;
            let doomed = random.below(1000) < shape.unknown;
            open[worker] = Some(Open { request, key, effect: None, doomed });
            started += 1;
            running += 1;
            continue;
        };
        let (request, key) = (operation.request, operation.key);
        let Subject { object, pending } = &mut subjects[key];
        let values = simulation.builder.values();
        if operation.doomed {
            // A lock that is taken by a process that is gone would never be released.
            let never = request.f == "acquire";
            if !never && random.below(2) == 0 {
                object.apply(&request, process, values)?;
            } else if !never {
                pending.push(request);
            }
            simulation.push(process, Info, request.f, key, request.argument)?;
            processes[worker] = fresh;
            fresh += 1;
            open[worker] = None;
            running -= 1;
            continue;
        }
        match operation.effect {
            None => {
                if !pending.is_empty() && random.below(40) == 0 {
                    let late = pending.swap_remove(random.below(pending.len() as u64) as usize);
                    object.apply(&late, process, values)?;
                }
                operation.effect = match object.apply(&request, process, values)? {
                    Effect::Done(result) => Some(Some(result)),
                    Effect::Refused => Some(None),
                    // Who holds the lock may not get another turn, to release it.
                    Effect::Blocked if started >= shape.operations.min(lie_after) => Some(None),
                    Effect::Blocked => None,
                };
            }
            Some(effect) => {
                let (kind, value) = match effect {
                    Some(result) => (Completed, result),
                    None => (Fail, request.argument),
                };
                simulation.push(process, kind, request.f, key, value)?;
                open[worker] = None;
                running -= 1;
            }
        }
    }
    Ok(simulation.builder.finish())
}

fn key_of(keys: Keys, started: u64, random: &mut Random) -> usize {
    match keys {
        Keys::One => 0,
        Keys::Fixed(count) => random.below(count) as usize,
        Keys::Rotating(each) => (started / each) as usize,
        Keys::Skewed(_) if started.is_multiple_of(2) => 0,
        Keys::Skewed(each) => 1 + (started / (2 * each)) as usize,
    }
}
