//! An operation that a generator proposes.

use std::borrow::Cow;

use schism_history::Process;
use serde_json::Value;

/// Who can carry out an operation. The scheduler maps a worker to its current process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// Client worker number, from 0. It is bound to node `number % nodes`.
    Client(usize),
    /// A lane of the nemesis, from 0. All lanes write as process `nemesis`.
    Nemesis(usize),
}

/// One operation, before it has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Earliest time to invoke it, nanoseconds since the start of the run. In the future: only a proposal.
    pub time: u64,
    /// The worker to run it; it must be free.
    pub worker: Worker,
    /// `read`, `write`, `cas`, `partition`, …
    pub f: Cow<'static, str>,
    /// Independent key, where the workload has keys.
    pub key: Option<Value>,
    /// The argument.
    pub value: Value,
}

/// Which process each worker currently is. A process is single-threaded in the history: after an operation of unknown
/// outcome its worker goes on under its number plus the number of client workers.
#[derive(Clone, Debug)]
pub struct Processes {
    current: Vec<u64>,
}

impl Processes {
    /// Client workers `0..workers`, each as the process of its own number.
    pub fn new(workers: usize) -> Self {
        Self { current: (0..workers as u64).collect() }
    }

    /// The worker's process.
    pub fn of(&self, worker: Worker) -> Process {
        match worker {
            Worker::Client(number) => {
                Process::Client(self.current.get(number).copied().unwrap_or(number as u64))
            }
            Worker::Nemesis(_) => Process::Nemesis,
        }
    }

    /// The worker's process never acts again; another takes its place.
    pub fn crash(&mut self, worker: Worker) {
        let total = self.current.len() as u64;
        if let Worker::Client(number) = worker
            && let Some(process) = self.current.get_mut(number)
        {
            *process += total;
        }
    }
}
