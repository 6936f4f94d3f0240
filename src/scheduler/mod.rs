//! The scheduler: the one place that decides the order of events.
//!
//! One thread (whoever calls [`Scheduler::run`]) owns the generator, the clock and the history. An iteration drains the
//! waiting completions and records them, asks the generator for as many invocations as are due for free workers, records
//! those, flushes the history once, and only then dispatches the batch. So a completion is always in the history before
//! an invocation that came after it, and an invocation before its request leaves; and the cost of a lock, a wake-up and a
//! write is shared by the batch.
//!
//! While that thread sleeps until the next operation is due, whoever brings a completion goes through the first half of an
//! iteration in its place: records, flushes, lets the generator know, all under the lock that the scheduler holds
//! whenever it is awake. It is woken only if it is needed sooner than it would wake up by itself.
//!
//! Clients run on threads of their own ([`clients`]), nemesis operations on another ([`lanes`]); both answer through the
//! [`inbox`]. A client that outlives its deadline is abandoned, thread and all if it blocks it, so a run never hangs.
//!
//! The scheduler does not know what operations mean, what a history looks like on disk, nor what a fault is.

mod clients;
mod inbox;
mod lanes;
mod run;
mod state;
mod threads;

use std::io;
use std::time::{Duration, Instant};

use schism_history::Event;
use schism_workloads::{BoxFuture, Op, Target, Worker};
use serde_json::Value;

pub use run::Scheduler;

/// Where events go. The history's writer, seen from here.
pub trait Sink {
    /// Takes an event.
    ///
    /// # Errors
    /// Whatever the disk says. The scheduler stops the load at the first error.
    fn append(&mut self, event: &Event) -> io::Result<()>;

    /// Hands everything appended so far to the operating system, so that it survives the death of this process.
    ///
    /// # Errors
    /// As [`Sink::append`].
    fn flush(&mut self) -> io::Result<()>;
}

impl Sink for schism_history::Writer {
    fn append(&mut self, event: &Event) -> io::Result<()> {
        schism_history::Writer::append(self, event)
    }

    fn flush(&mut self) -> io::Result<()> {
        schism_history::Writer::flush(self)
    }
}

/// Watches the history grow, in its order, on the scheduler's thread or on that of a client or the nemesis while the
/// scheduler sleeps: must be cheap and never block.
pub trait Observer: Send {
    /// An event was recorded. `invoked` is the time of the invocation where the event is a completion.
    fn event(&mut self, event: &Event, invoked: Option<u64>);
}

/// Observes nothing.
impl Observer for () {
    fn event(&mut self, _: &Event, _: Option<u64>) {}
}

/// Carries out the nemesis' operations. It bounds their time itself: the scheduler waits for them.
pub trait NemesisExecutor: Send + Sync {
    /// Carries out one operation; what it returns becomes the value of the completion. The future runs on a tokio runtime
    /// of the scheduler's, on one thread with those of other lanes, and must not block it.
    fn invoke(&self, op: Op) -> BoxFuture<'static, Value>;
}

/// No nemesis: an operation routed to it completes at once with its own value.
impl NemesisExecutor for () {
    fn invoke(&self, op: Op) -> BoxFuture<'static, Value> {
        Box::pin(std::future::ready(op.value))
    }
}

/// How to run.
#[derive(Clone)]
pub struct Config {
    /// Where clients go, one target a node. Worker `w` is bound to target `w % targets.len()`. The longest of their
    /// deadlines is the one after which a client is abandoned.
    pub targets: Vec<Target>,
    /// Client workers.
    pub workers: usize,
    /// Lanes of the nemesis: how many of its operations can be open at once.
    pub lanes: usize,
    /// How long after its deadline an operation is abandoned whose client has not come back.
    pub grace: Duration,
    /// Threads for the clients.
    pub threads: usize,
    /// Time 0 of the history.
    pub origin: Instant,
}

impl Config {
    /// `workers` workers on `targets`, one nemesis lane, time 0 now, the default grace and threads.
    pub fn new(targets: Vec<Target>, workers: usize) -> Self {
        // One core is the scheduler's own. More than a few threads only help against clients that block.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            targets,
            workers,
            lanes: 1,
            grace: Duration::from_millis(500),
            threads: (cores - 1).clamp(1, 4),
            origin: Instant::now(),
        }
    }
}

/// Why a run of a generator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The generator was done.
    Done,
    /// It was told to stop.
    Stopped,
}

/// What a run of a generator came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Why it ended.
    pub ended: Ended,
    /// When it began and when its last operation was recorded, in nanoseconds since the start of the run.
    pub began: u64,
    /// See `began`.
    pub finished: u64,
    /// Operations of clients that were invoked.
    pub invoked: u64,
    /// Of these: happened.
    pub ok: u64,
    /// Of these: certainly did not happen.
    pub fail: u64,
    /// Of these: unknown.
    pub info: u64,
    /// Of the unknown ones: abandoned, because the client did not come back after its deadline.
    pub abandoned: u64,
    /// Operations of the nemesis.
    pub nemesis: u64,
}

/// Why a run could not go on. What was recorded until then is in the history.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The configuration makes no sense.
    #[error("cannot schedule operations: {0}")]
    Config(&'static str),
    /// A thread or its runtime could not be made.
    #[error(
        "cannot start a thread for clients: {0}; raise the limit on processes (ulimit -u) or lower the concurrency"
    )]
    Thread(#[source] io::Error),
    /// The history could not be written.
    #[error(
        "cannot write the history (event {index}): {source}; the load was stopped, what was written before is kept"
    )]
    Sink {
        /// Index of the first event that is missing.
        index: u64,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// An earlier run on this scheduler failed to write the history.
    #[error("the history could not be written before; nothing can be recorded any more")]
    Closed,
    /// The generator waits for an event, but none can ever come.
    #[error("the workload is stuck: its generator waits, but no operation is open and no time was named")]
    Stalled,
    /// The generator broke the rules.
    #[error("the workload is broken: its generator chose {0:?}, which is not free")]
    NotFree(Worker),
    /// Clients keep blocking their threads.
    #[error(
        "{0} threads were lost to clients that block instead of waiting; the client must not make blocking calls"
    )]
    ClientsBlock(usize),
}
