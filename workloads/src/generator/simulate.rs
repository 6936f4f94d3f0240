//! Drives a generator in virtual time, with simulated clients: for tests of generators and for showing a plan's
//! operations without touching anything. The order of things is the scheduler's: completions before invocations,
//! proposals dropped whenever something happens first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use schism_history::{Event, Kind, Random};
use serde_json::Value;

use super::{Context, Gen, Step, WorkerSet};
use crate::client::Outcome;
use crate::op::{Op, Processes, Worker};

/// The world a generator is simulated in.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Client workers.
    pub clients: usize,
    /// Lanes of the nemesis.
    pub lanes: usize,
    /// Stop after this many events.
    pub events_max: usize,
    /// Stop at this time, in nanoseconds.
    pub time_max: u64,
}

impl World {
    /// So many client workers, one nemesis lane, at most 100,000 events in an hour.
    pub fn new(clients: usize) -> Self {
        Self { clients, lanes: 1, events_max: 100_000, time_max: 3_600_000_000_000 }
    }
}

/// Why a simulation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The generator was done and every operation complete.
    Done,
    /// The generator waits for an event, but none can ever come.
    Stalled,
    /// The world's bound on events or time was reached.
    Bound,
}

/// What a simulated client does with an operation: how many nanoseconds it takes, and how it ends. The outcome of a nemesis
/// operation counts by its value only.
pub type Reply = (u64, Outcome);

/// A client that takes `latency` nanoseconds and always succeeds with the operation's own value.
pub fn perfect(latency: u64) -> impl FnMut(&Op) -> Reply {
    move |op| (latency, Outcome::Ok(op.value.clone()))
}

/// A client that is fast, slow, fails or crashes, as chance has it.
pub fn hostile(mut random: Random) -> impl FnMut(&Op) -> Reply {
    move |op| {
        let latency = random.below(5_000_000);
        match random.below(10) {
            0..=5 => (latency, Outcome::Ok(op.value.clone())),
            6 | 7 => (latency / 10, Outcome::Fail("refused".to_owned())),
            _ => (latency * 10, Outcome::Info("timed out".to_owned())),
        }
    }
}

struct Simulator<F> {
    world: World,
    client: F,
    generator: Gen,
    all: WorkerSet,
    free: WorkerSet,
    processes: Processes,
    time: u64,
    turn: u64,
    events: Vec<Event>,
    /// Open operations: when each completes, a number to keep ties in order of invocation, and its place in `open`.
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    open: BTreeMap<u64, (Op, Outcome)>,
}

/// Runs `generator` in `world` against `client` to the end.
pub fn simulate(generator: Gen, world: World, client: impl FnMut(&Op) -> Reply) -> (Vec<Event>, End) {
    let mut simulator = Simulator {
        world,
        client,
        generator,
        all: WorkerSet::new(world.clients, world.lanes),
        free: WorkerSet::new(world.clients, world.lanes),
        processes: Processes::new(world.clients),
        time: 0,
        turn: 0,
        events: Vec::new(),
        agenda: BinaryHeap::new(),
        open: BTreeMap::new(),
    };
    let end = simulator.run();
    (simulator.events, end)
}

/// The first `count` operations `generator` invokes in `world` against clients that take a millisecond.
pub fn sample(generator: Gen, world: World, count: usize) -> Vec<Op> {
    let mut ops = Vec::new();
    let world = World { events_max: world.events_max.min(count.saturating_mul(2)), ..world };
    let mut client = perfect(1_000_000);
    simulate(generator, world, |op| {
        if ops.len() < count {
            ops.push(op.clone());
        }
        client(op)
    });
    ops
}

impl<F: FnMut(&Op) -> Reply> Simulator<F> {
    fn run(&mut self) -> End {
        let mut done = false;
        loop {
            if self.events.len() >= self.world.events_max || self.time > self.world.time_max {
                return End::Bound;
            }
            while let Some(Reverse((at, number))) = self.agenda.peek().copied() {
                if at > self.time {
                    break;
                }
                self.agenda.pop();
                self.complete(number);
            }
            let next_event = self.agenda.peek().map(|Reverse((at, _))| *at);
            let step = if done { Step::Done } else { self.ask() };
            let wake = match step {
                Step::Done => {
                    done = true;
                    if next_event.is_none() {
                        return End::Done;
                    }
                    None
                }
                Step::Pending(wait) => {
                    if let Some(next) = wait.next {
                        self.generator = next;
                    }
                    wait.until
                }
                Step::Op(op, _) if op.time > self.time => Some(op.time),
                Step::Op(op, next) => {
                    self.generator = next;
                    self.invoke(op);
                    continue;
                }
            };
            match [wake, next_event].into_iter().flatten().min() {
                // A wake-up that lies in the past is the generator's mistake; it must not stop the clock.
                Some(at) => self.time = at.max(self.time + u64::from(next_event != Some(at))),
                None => return End::Stalled,
            }
        }
    }

    fn context(&self) -> Context<'_> {
        Context { time: self.time, turn: self.turn, free: self.free.view(), all: self.all.view() }
    }

    fn ask(&self) -> Step {
        self.generator.op(&self.context())
    }

    fn invoke(&mut self, mut op: Op) {
        op.time = self.time;
        let (latency, outcome) = (self.client)(&op);
        self.free.remove(op.worker);
        self.turn += 1;
        let kind = match op.worker {
            Worker::Client(_) => Kind::Invoke,
            Worker::Nemesis(_) => Kind::Info,
        };
        self.record(&op, kind, op.value.clone(), None);
        self.agenda.push(Reverse((self.time.saturating_add(latency), self.turn)));
        self.open.insert(self.turn, (op, outcome));
    }

    fn complete(&mut self, number: u64) {
        let Some((op, outcome)) = self.open.remove(&number) else {
            return;
        };
        self.free.insert(op.worker);
        let (mut kind, value, error) = outcome.completion(&op.value);
        if matches!(op.worker, Worker::Nemesis(_)) {
            kind = Kind::Info;
        }
        self.record(&op, kind, value, error);
        if kind == Kind::Info {
            self.processes.crash(op.worker);
        }
    }

    fn record(&mut self, op: &Op, kind: Kind, value: Value, error: Option<Value>) {
        let event = Event {
            index: self.events.len() as u64,
            time: self.time,
            process: self.processes.of(op.worker),
            kind,
            f: op.f.clone(),
            key: op.key.clone(),
            value,
            node: None,
            error,
            extra: serde_json::Map::new(),
        };
        let update = self.generator.update(&self.context(), op.worker, &event);
        if let Some(next) = update {
            self.generator = next;
        }
        self.events.push(event);
    }
}
