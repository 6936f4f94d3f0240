//! An operation that a generator proposes.

use std::borrow::Cow;

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
