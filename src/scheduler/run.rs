//! The loop, and who goes through its first half while it sleeps.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use schism_workloads::{Connector, Gen};
use tokio_util::sync::CancellationToken;

use super::clients::Setup;
use super::inbox::{Inbox, Recorder, SPIN_MAX};
use super::lanes::Lanes;
use super::state::{Asked, Phase, State};
use super::threads::Threads;
use super::{Config, Ended, NemesisExecutor, Observer, RunSummary, SchedulerError, Sink};

/// Drives generators with clients and keeps the history. Made once a run; [`Scheduler::run`] can be called for one phase
/// after the other, and continues indices, processes and time.
pub struct Scheduler<S> {
    shared: Arc<Mutex<Shared<S>>>,
    inbox: Arc<Inbox>,
    origin: Instant,
}

/// Everything the loop works on. The scheduler's thread holds the lock except while it sleeps.
struct Shared<S> {
    state: State<S>,
    phase: Phase,
    /// The scheduler sleeps until this time, in nanoseconds since the start of the run, and is not needed before, unless
    /// an event changes that.
    asleep_until: Option<u64>,
    /// A panic of whoever recorded in the scheduler's place. It belongs to the scheduler's thread.
    panic: Option<Box<dyn Any + Send>>,
}

/// Waking a thread that sleeps takes longer than recording a completion. So whoever has one does it right away if the
/// scheduler merely waits for the time of the next operation.
impl<S: Sink + Send> Recorder for Mutex<Shared<S>> {
    fn record(&self) -> bool {
        // Held by another: it may have looked into the inbox before this completion was there, so the scheduler must.
        let Ok(mut shared) = self.try_lock() else {
            return false;
        };
        let Some(wake) = shared.asleep_until else {
            return false;
        };
        let Shared { state, phase, panic, .. } = &mut *shared;
        match catch_unwind(AssertUnwindSafe(|| state.record_waiting(phase, wake))) {
            Ok(may_sleep_on) => may_sleep_on,
            Err(payload) => {
                *panic = Some(payload);
                false
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Sink + Send + 'static> Scheduler<S> {
    /// Starts the threads. Nothing is sent before [`Scheduler::run`].
    ///
    /// # Errors
    /// A configuration without workers, targets or threads; a thread that cannot be started.
    pub fn new(
        config: Config,
        sink: S,
        connector: Arc<dyn Connector>,
        nemesis: Arc<dyn NemesisExecutor>,
        observer: Box<dyn Observer>,
    ) -> Result<Self, SchedulerError> {
        if config.workers == 0 {
            return Err(SchedulerError::Config("there are no workers; set a concurrency of at least 1"));
        }
        let Some(deadline) = config.targets.iter().map(|target| target.deadline).max() else {
            return Err(SchedulerError::Config("there are no nodes to send operations to"));
        };
        if config.threads == 0 {
            return Err(SchedulerError::Config("clients need at least one thread"));
        }
        let inbox = Arc::new(Inbox::default());
        let origin = config.origin;
        let setup =
            Arc::new(Setup { targets: config.targets.clone(), connector, inbox: Arc::clone(&inbox), origin });
        let clients = Threads::start(setup, config.threads.min(config.workers))?;
        let lanes = Lanes::start(nemesis, Arc::clone(&inbox), origin).map_err(SchedulerError::Thread)?;
        let state = State::new(config, deadline, sink, observer, Arc::clone(&inbox), clients, lanes);
        let shared = Shared { state, phase: Phase::idle(), asleep_until: None, panic: None };
        Ok(Self { shared: Arc::new(Mutex::new(shared)), inbox, origin })
    }

    /// Gives the sink back.
    pub fn into_sink(self) -> S {
        let mut shared = self.shared;
        loop {
            match Arc::try_unwrap(shared) {
                Ok(shared) => {
                    return shared.into_inner().unwrap_or_else(PoisonError::into_inner).state.sink;
                }
                // A client that was abandoned sends its answer just now, and will see that it is of no use.
                Err(used) => {
                    shared = used;
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Nanoseconds since the start of the run.
    pub fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Drives `generator` until it is done or `stop` is cancelled, then waits for what is open, at most until deadline
    /// and grace have passed (the nemesis' operations: until they end). Blocks the calling thread.
    ///
    /// # Errors
    /// See [`SchedulerError`]. Open operations have come to an end in this case, too.
    pub fn run(&mut self, generator: Gen, stop: &CancellationToken) -> Result<RunSummary, SchedulerError> {
        let mut guard = lock(&self.shared);
        if guard.state.closed {
            return Err(SchedulerError::Closed);
        }
        let recorder: Weak<Mutex<Shared<S>>> = Arc::downgrade(&self.shared);
        self.inbox.attach(recorder);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cancelled = pin!(stop.cancelled());
        // Registers the waker: from now on a cancellation ends whatever sleep this thread is in.
        let _ = cancelled.as_mut().poll(&mut TaskContext::from_waker(&waker));

        guard.phase = guard.state.phase(generator);
        let mut done = false;
        let mut watch = false;
        loop {
            let Shared { state, phase, .. } = &mut *guard;
            state.receive(phase);
            state.abandon_expired(phase);

            if !done && stop.is_cancelled() {
                phase.summary.ended = Ended::Stopped;
                done = true;
            }
            let asked = if done || phase.failure.is_some() { Asked::Done } else { state.invoke_due(phase) };
            state.flush_and_dispatch(phase);
            let wake = match asked {
                Asked::More => continue,
                Asked::Wait(until) => until,
                Asked::Done => {
                    done = true;
                    None
                }
            };
            if state.open == 0 {
                if done || phase.failure.is_some() {
                    break;
                }
                if wake.is_none() {
                    phase.failure = Some(SchedulerError::Stalled);
                    break;
                }
            }
            (guard, watch) = self.sleep(guard, wake, watch);
            if let Some(panic) = guard.panic.take() {
                drop(guard);
                resume_unwind(panic);
            }
        }
        let phase = std::mem::replace(&mut guard.phase, Phase::idle());
        let summary = RunSummary { finished: guard.state.now(), ..phase.summary };
        match phase.failure {
            None => Ok(summary),
            Some(error) => Err(error),
        }
    }

    /// Waits for the next thing to do. `watch`: look out for a moment before sleeping. Whether to do so the next time:
    /// only while answers come that fast. When this thread got around to running again does not count: on a busy
    /// machine that takes longer than any answer.
    fn sleep<'a>(
        &'a self,
        mut guard: MutexGuard<'a, Shared<S>>,
        wake: Option<u64>,
        watch: bool,
    ) -> (MutexGuard<'a, Shared<S>>, bool) {
        let began = self.now();
        let soon = began.saturating_add(SPIN_MAX.as_nanos() as u64);
        let (open, expiry) = (guard.state.open, guard.state.expiry());
        // Until an operation that is due that soon there is no time to sleep.
        let watch_now = watch && open > 0 && wake.is_none_or(|wake| wake <= soon);
        guard.asleep_until = wake.filter(|_| !watch_now);
        drop(guard);
        let until = wake.map(|time| self.origin + Duration::from_nanos(time));
        self.inbox.wait([until, expiry].into_iter().flatten().min(), watch_now, open);
        let watch = match self.inbox.filled_at() {
            Some(at) => at < soon,
            // Woken by the clock, which says nothing about answers.
            None => watch,
        };
        let mut guard = lock(&self.shared);
        guard.asleep_until = None;
        (guard, watch)
    }
}
