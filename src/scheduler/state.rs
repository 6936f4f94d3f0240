//! What the scheduler knows, and the steps of its loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schism_history::{Event, Kind};
use schism_workloads::generator::{WorkerSet, nothing};
use schism_workloads::{Context, Gen, Op, Outcome, Processes, Step, Worker};
use serde_json::Value;

use super::clients::Job;
use super::inbox::{Completion, Inbox};
use super::lanes::Lanes;
use super::threads::Threads;
use super::{Config, Ended, Observer, RunSummary, SchedulerError, Sink};

/// How many operations share a flush. More would delay the first of a batch for the sake of the last.
const BATCH_MAX: usize = 64;

/// An operation under way.
struct Open {
    ticket: u64,
    op: Op,
    invoked: u64,
    /// The thread that has it; see [`Threads::current`].
    thread: u64,
}

/// What lasts from one run of a generator to the next.
pub(super) struct State<S> {
    pub config: Config,
    pub sink: S,
    observer: Box<dyn Observer>,
    inbox: Arc<Inbox>,
    clients: Threads,
    lanes: Lanes,
    deadline: Duration,

    all: WorkerSet,
    free: WorkerSet,
    processes: Processes,
    /// By worker number.
    open_clients: Vec<Option<Open>>,
    /// By lane.
    open_nemesis: Vec<Option<Open>>,
    pub open: usize,
    /// When to abandon what, in order.
    expiries: VecDeque<(Instant, usize, u64)>,
    next_index: u64,
    last_time: u64,
    turn: u64,
    pub closed: bool,
}

/// What a single call of [`Scheduler::run`] keeps.
pub(super) struct Phase {
    generator: Gen,
    pub summary: RunSummary,
    pub failure: Option<SchedulerError>,
    /// Whether something was appended since the last flush.
    unflushed: bool,
    /// Room for completions, kept for the next time.
    arrived: Vec<Completion>,
    /// A batch for each client thread, and the nemesis' operations.
    jobs: Vec<Vec<Job>>,
    nemesis_jobs: Vec<(u64, Op)>,
}

/// What asking the generator came to.
pub(super) enum Asked {
    /// There may be more right now.
    More,
    /// Nothing before this time, or before an event.
    Wait(Option<u64>),
    /// Nothing ever again.
    Done,
}

impl<S: Sink> State<S> {
    pub(super) fn new(
        config: Config,
        deadline: Duration,
        sink: S,
        observer: Box<dyn Observer>,
        inbox: Arc<Inbox>,
        clients: Threads,
        lanes: Lanes,
    ) -> Self {
        let (workers, lane_count) = (config.workers, config.lanes);
        Self {
            config,
            sink,
            observer,
            inbox,
            clients,
            lanes,
            deadline,
            all: WorkerSet::new(workers, lane_count),
            free: WorkerSet::new(workers, lane_count),
            processes: Processes::new(workers),
            open_clients: (0..workers).map(|_| None).collect(),
            open_nemesis: (0..lane_count).map(|_| None).collect(),
            open: 0,
            expiries: VecDeque::new(),
            next_index: 0,
            last_time: 0,
            turn: 0,
            closed: false,
        }
    }

    /// Nanoseconds since the start of the run.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.config.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A run of `generator` that begins now.
    pub(super) fn phase(&self, generator: Gen) -> Phase {
        Phase::new(generator, self.now(), self.clients.len())
    }

    /// When something is to be abandoned at the earliest.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.expiries.front().map(|(at, _, _)| *at)
    }

    fn context(&self, time: u64) -> Context<'_> {
        Context { time, turn: self.turn, free: self.free.view(), all: self.all.view() }
    }

    /// Records the completions that wait.
    pub(super) fn receive(&mut self, phase: &mut Phase) {
        let mut arrived = std::mem::take(&mut phase.arrived);
        self.inbox.take(&mut arrived);
        // Several threads send; the order in which answers arrived is that of their times.
        arrived.sort_by_key(|completion: &Completion| completion.time);
        for completion in arrived.drain(..) {
            self.complete(phase, completion);
        }
        phase.arrived = arrived;
    }

    /// Invokes what is due, up to a batch.
    pub(super) fn invoke_due(&mut self, phase: &mut Phase) -> Asked {
        for _ in 0..BATCH_MAX {
            // Before every single one: an answer that is here must not look concurrent to what comes after it.
            self.receive(phase);
            if phase.failure.is_some() {
                return Asked::Done;
            }
            let time = self.now();
            match phase.generator.op(&self.context(time)) {
                Step::Done => return Asked::Done,
                Step::Pending(wait) => {
                    if let Some(next) = wait.next {
                        phase.generator = next;
                    }
                    return match wait.until {
                        // It may have something by now.
                        Some(until) if until <= time => Asked::More,
                        until => Asked::Wait(until),
                    };
                }
                Step::Op(op, _) if op.time > time => return Asked::Wait(Some(op.time)),
                Step::Op(op, next) => {
                    if !self.free.remove(op.worker) {
                        phase.failure = Some(SchedulerError::NotFree(op.worker));
                        return Asked::Done;
                    }
                    phase.generator = next;
                    self.invoke(phase, op, time);
                    if phase.failure.is_some() {
                        return Asked::Done;
                    }
                }
            }
        }
        Asked::More
    }

    fn invoke(&mut self, phase: &mut Phase, op: Op, time: u64) {
        let ticket = self.next_index;
        self.turn += 1;
        if let Worker::Client(worker) = op.worker {
            self.clients.announce(worker);
        }
        let kind = match op.worker {
            Worker::Client(_) => Kind::Invoke,
            Worker::Nemesis(_) => Kind::Info,
        };
        let event = self.event(&op, time, kind, op.value.clone(), None);
        let invoked = event.time;
        if !self.record(phase, op.worker, &event, None) {
            self.free.insert(op.worker);
            return;
        }
        match op.worker {
            Worker::Client(worker) => {
                phase.summary.invoked += 1;
                let place = self.clients.place(worker);
                let deadline = self.config.origin + Duration::from_nanos(invoked) + self.deadline;
                phase.jobs[place].push(Job { worker, ticket, op: op.clone(), deadline });
                self.expiries.push_back((deadline + self.config.grace, worker, ticket));
                let thread = self.clients.current(worker);
                self.open_clients[worker] = Some(Open { ticket, op, invoked, thread });
            }
            Worker::Nemesis(lane) => {
                phase.summary.nemesis += 1;
                phase.nemesis_jobs.push((ticket, op.clone()));
                self.open_nemesis[lane] = Some(Open { ticket, op, invoked, thread: 0 });
            }
        }
        self.open += 1;
    }

    fn slot(&mut self, worker: Worker) -> Option<&mut Option<Open>> {
        match worker {
            Worker::Client(number) => self.open_clients.get_mut(number),
            Worker::Nemesis(lane) => self.open_nemesis.get_mut(lane),
        }
    }

    /// An operation has ended. One that was abandoned before has ended already.
    fn complete(&mut self, phase: &mut Phase, completion: Completion) {
        let Completion { ticket, worker, time, outcome } = completion;
        let Some(open) = self.slot(worker).and_then(|slot| slot.take_if(|open| open.ticket == ticket)) else {
            return;
        };
        self.open -= 1;
        self.free.insert(worker);
        let (mut kind, value, error) = outcome.completion(&open.op.value);
        let mut fresh_process = kind == Kind::Info;
        match worker {
            Worker::Nemesis(_) => kind = Kind::Info,
            // The client stayed behind on a thread that was given up.
            Worker::Client(number) => fresh_process |= self.clients.current(number) != open.thread,
        }
        if phase.failure.is_none() {
            if let Worker::Client(_) = worker {
                match kind {
                    Kind::Ok => phase.summary.ok += 1,
                    Kind::Fail => phase.summary.fail += 1,
                    Kind::Info | Kind::Invoke => phase.summary.info += 1,
                }
            }
            let event = self.event(&open.op, time, kind, value, error);
            self.record(phase, worker, &event, Some(open.invoked));
        }
        if fresh_process {
            self.processes.crash(worker);
        }
    }

    /// Abandons operations whose client did not come back. Clients on a healthy thread are ended there before that, so
    /// whatever is left means that the thread is blocked.
    pub(super) fn abandon_expired(&mut self, phase: &mut Phase) {
        while let Some(&(at, worker, ticket)) = self.expiries.front() {
            let open = self.open_clients[worker].as_ref().filter(|open| open.ticket == ticket);
            let Some(thread) = open.map(|open| open.thread) else {
                self.expiries.pop_front();
                continue;
            };
            if at > Instant::now() {
                return;
            }
            self.expiries.pop_front();
            let reason = "abandoned: the client blocks its thread and did not come back after its deadline";
            phase.summary.abandoned += 1;
            self.end_from_here(phase, worker, ticket, Outcome::Info(reason.to_owned()));
            if self.clients.current(worker) == thread {
                self.give_up_thread(phase, worker);
            }
        }
    }

    /// Replaces the thread that `worker`'s client blocks.
    fn give_up_thread(&mut self, phase: &mut Phase, worker: usize) {
        let place = self.clients.place(worker);
        tracing::warn!(worker, "a client blocks its thread; going on with another");
        match self.clients.replace(place) {
            Ok(unstarted) => {
                for job in unstarted {
                    let reason = "never sent: another client blocked the thread";
                    self.end_from_here(phase, job.worker, job.ticket, Outcome::Fail(reason.to_owned()));
                }
            }
            Err(error) => phase.failure = Some(phase.failure.take().unwrap_or(error)),
        }
        // Clients that were idle are lost as well; a fresh client is a fresh process.
        for idle in (place..self.config.workers).step_by(self.clients.len()) {
            if self.open_clients[idle].is_none() && idle != worker {
                self.processes.crash(Worker::Client(idle));
            }
        }
    }

    fn end_from_here(&mut self, phase: &mut Phase, worker: usize, ticket: u64, outcome: Outcome) {
        let time = self.now();
        self.complete(phase, Completion { ticket, worker: Worker::Client(worker), time, outcome });
    }

    fn event(&mut self, op: &Op, time: u64, kind: Kind, value: Value, error: Option<Value>) -> Event {
        // A completion may have arrived just before an invocation that was recorded first. Moving it after that one is
        // safe: it only makes the two look concurrent, which they may have been.
        self.last_time = self.last_time.max(time);
        let node = match op.worker {
            Worker::Client(worker) => {
                Some(Arc::clone(&self.config.targets[worker % self.config.targets.len()].node))
            }
            Worker::Nemesis(_) => None,
        };
        Event {
            index: self.next_index,
            time: self.last_time,
            process: self.processes.of(op.worker),
            kind,
            f: op.f.clone(),
            key: op.key.clone(),
            value,
            node,
            error,
            extra: serde_json::Map::new(),
        }
    }

    /// Whether the event is in the sink.
    fn record(&mut self, phase: &mut Phase, worker: Worker, event: &Event, invoked: Option<u64>) -> bool {
        if let Err(source) = self.sink.append(event) {
            self.fail(phase, event.index, source);
            return false;
        }
        self.next_index += 1;
        phase.unflushed = true;
        if let Some(next) = phase.generator.update(&self.context(event.time), worker, event) {
            phase.generator = next;
        }
        self.observer.event(event, invoked);
        true
    }

    fn fail(&mut self, phase: &mut Phase, index: u64, source: std::io::Error) {
        self.closed = true;
        phase.failure.get_or_insert(SchedulerError::Sink { index, source });
    }

    fn flush(&mut self, phase: &mut Phase) {
        if std::mem::take(&mut phase.unflushed)
            && let Err(source) = self.sink.flush()
        {
            self.fail(phase, self.next_index, source);
        }
    }

    /// Records the completions that wait, on behalf of the scheduler, which sleeps until `wake`. Whether it may sleep on:
    /// nothing it is needed for is due before that.
    pub(super) fn record_waiting(&mut self, phase: &mut Phase, wake: u64) -> bool {
        self.receive(phase);
        self.flush(phase);
        if phase.failure.is_some() {
            return false;
        }
        match phase.generator.op(&self.context(self.now())) {
            Step::Op(op, _) => op.time >= wake,
            // One that must remember when it was asked is better asked by the scheduler, at once.
            Step::Pending(wait) => wait.next.is_none() && wait.until.is_some_and(|until| until >= wake),
            Step::Done => false,
        }
    }

    /// What was recorded goes to the operating system, then the requests may leave. If it cannot, they do not.
    pub(super) fn flush_and_dispatch(&mut self, phase: &mut Phase) {
        self.flush(phase);
        if phase.failure.is_some() {
            self.withdraw(phase);
            return;
        }
        let now = self.now();
        for (thread, jobs) in self.clients.iter().zip(&mut phase.jobs) {
            thread.dispatch(jobs, now);
        }
        for (ticket, op) in phase.nemesis_jobs.drain(..) {
            self.lanes.dispatch(ticket, op);
        }
    }

    /// Takes back what was about to be dispatched.
    fn withdraw(&mut self, phase: &mut Phase) {
        let clients = phase.jobs.iter_mut().flat_map(|jobs| jobs.drain(..));
        let workers: Vec<Worker> = clients
            .map(|job| Worker::Client(job.worker))
            .chain(phase.nemesis_jobs.drain(..).map(|(_, op)| op.worker))
            .collect();
        for worker in workers {
            if self.slot(worker).and_then(Option::take).is_some() {
                self.open -= 1;
                self.free.insert(worker);
            }
        }
    }
}

impl Phase {
    /// A run of nothing.
    pub(super) fn idle() -> Self {
        Self::new(nothing(), 0, 0)
    }

    fn new(generator: Gen, began: u64, threads: usize) -> Self {
        let summary = RunSummary {
            ended: Ended::Done,
            began,
            finished: began,
            invoked: 0,
            ok: 0,
            fail: 0,
            info: 0,
            abandoned: 0,
            nemesis: 0,
        };
        let jobs = (0..threads).map(|_| Vec::new()).collect();
        Self {
            generator,
            summary,
            failure: None,
            unflushed: false,
            arrived: Vec::new(),
            jobs,
            nemesis_jobs: Vec::new(),
        }
    }
}
